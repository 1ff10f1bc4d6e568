"""
The sender of the open loop, a process of its own: events at times that no arm can slow down.

    python -m benchmarks.peers.sending PLAN

PLAN is a file that `send` writes, and the milliseconds by which each event was late replace it.
"""

import asyncio
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

import msgspec
from aiokafka import AIOKafkaProducer

from benchmarks.peers.texts import Event, value_of
from tagstream.stream.settings.settings import Settings

# The intended time of an event, in Unix microseconds; every arm passes headers on.
HEADER = "intended-us"
LEAD_SECONDS = 0.5
# Beyond the last event: the start of the process, and what is queued when the last event's time has come.
END_SECONDS = 120.0


class Plan(msgspec.Struct, frozen=True):
    """
    Events, and when each is sent.

    Attributes:
        brokers: Their addresses.
        topic: Where the events go.
        events: In their order.
        after: For each event its seconds after the first moment, ascending.
    """

    brokers: list[str]
    topic: str
    events: list[Event]
    after: list[float]


def send(settings: Settings, events: Sequence[Event], after: Sequence[float]) -> list[float]:
    """
    Send each event to `content` at its time, or as soon after it as the sender can; the intended time goes with it in a header.

    Returns:
        For each event how many milliseconds after its time the sender came to it.

    Raises:
        CalledProcessError: The sender ended before it had sent all; it has said why.
        TimeoutExpired: It did not end.
    """
    plan = Plan(brokers=settings.broker_list, topic=settings.topics.content, events=list(events), after=list(after))
    with TemporaryDirectory(prefix="tagstream-sending-") as folder:
        file = Path(folder) / "plan.json"
        file.write_bytes(msgspec.json.encode(plan))
        subprocess.run(
            [sys.executable, "-m", "benchmarks.peers.sending", str(file)],
            check=True,
            timeout=max(after, default=0.0) + END_SECONDS,
        )
        return msgspec.json.decode(file.read_bytes(), type=list[float])


async def sent(plan: Plan) -> list[float]:
    """Send, and wait until the broker has confirmed all; the milliseconds by which each event was late."""
    late: list[float] = []
    async with AIOKafkaProducer(bootstrap_servers=plan.brokers, acks="all", enable_idempotence=True) as producer:
        began = time.time() + LEAD_SECONDS
        confirmations = []
        for event, moment in zip(plan.events, plan.after, strict=True):
            intended = began + moment
            if (wait := intended - time.time()) > 0:
                await asyncio.sleep(wait)
            late.append(1000 * (time.time() - intended))
            header = [(HEADER, str(round(1e6 * intended)).encode())]
            confirmations.append(await producer.send(plan.topic, value_of(event), key=event.id.encode(), headers=header))
        await asyncio.gather(*confirmations)
    return late


def main() -> None:
    """Send what the file says."""
    file = Path(sys.argv[1])
    file.write_bytes(msgspec.json.encode(asyncio.run(sent(msgspec.json.decode(file.read_bytes(), type=Plan)))))


if __name__ == "__main__":
    main()

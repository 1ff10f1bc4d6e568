"""`tagstream send --samples`, the producer of `docker-compose.yml`: sample events at a steady rate, which may drift."""

import secrets
import time
from collections.abc import Callable

from tagstream.stream.demo.interrupt import Interrupt, interrupts
from tagstream.stream.demo.samples import load_events
from tagstream.stream.demo.shifts import Drift, Shift
from tagstream.stream.kafka import producer
from tagstream.stream.settings.settings import Settings

# How soon a signal is seen between two events.
LOOK_SECONDS = 0.2


def produce(
    settings: Settings,
    *,
    topic: str,
    rate: float,
    drift: Drift,
    say: Callable[[str], None],
) -> int:
    """
    Send until SIGINT or SIGTERM; the broker has confirmed everything when it returns.

    Args:
        settings: Where the brokers are.
        topic: A topic that exists.
        rate: Events a second.
        drift: How and when the events drift.
        say: Called with a sentence about the events, once.

    Returns:
        How many events the broker has confirmed.

    Raises:
        BrokerUnreachableError: No broker answered in time.
        SendError: An event was refused.
    """
    with interrupts() as interrupt, producer.sender(settings) as sender:
        interrupt.postpone()
        say(f"sending {rate:g} sample events a second to {topic}" + _about(drift))
        started = time.monotonic()
        # Without the malformed ones of the demo: dead letters are a page, and a healthy stream raises none.
        # The broker outlives the producer, and decisions are idempotent by id: each run needs ids of its own.
        for number, sample in enumerate(drift.mixed(load_events(), (), rate=rate, run=secrets.token_hex(3))):
            if not _wait(interrupt, started + number / rate):
                break
            sender.send(topic, key=sample.key.encode(), value=sample.value)
        sender.flush()
        return sender.acknowledged


def _about(drift: Drift) -> str:
    if drift.shift is Shift.NONE:
        return ""
    return f"; they drift ({drift.shift})" + (f" from second {drift.after_seconds:g} on" if drift.after_seconds else "")


def _wait(interrupt: Interrupt, moment: float) -> bool:
    """Wait for the moment; False if it was told to stop before."""
    while not interrupt.asked and (left := moment - time.monotonic()) > 0:
        time.sleep(min(left, LOOK_SECONDS))
    return not interrupt.asked

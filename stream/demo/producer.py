"""`tagstream send --samples`, the producer of `docker-compose.yml`: sample events at a steady rate, which may drift."""

import itertools
import secrets
import time
from collections.abc import Callable, Iterator

from stream.demo import samples
from stream.demo.interrupt import Interrupt, interrupts
from stream.demo.samples import Sample
from stream.demo.shifts import Shift, shifted
from stream.kafka import producer
from stream.settings.settings import Settings

# How soon a signal is seen between two events.
LOOK_SECONDS = 0.2


def produce(
    settings: Settings,
    *,
    topic: str,
    rate: float,
    drift: Shift,
    after_seconds: float,
    say: Callable[[str], None],
) -> int:
    """
    Send until SIGINT or SIGTERM; the broker has confirmed everything when it returns.

    Args:
        settings: Where the brokers are.
        topic: A topic that exists.
        rate: Events a second.
        drift: How the events drift.
        after_seconds: When they begin to.
        say: Called with a sentence about the events, once.

    Returns:
        How many events the broker has confirmed.

    Raises:
        BrokerUnreachableError: No broker answered in time.
        SendError: An event was refused.
    """
    with interrupts() as interrupt, producer.sender(settings) as sender:
        interrupt.postpone()
        before = round(after_seconds * rate)
        say(f"sending {rate:g} sample events a second to {topic}" + _about(drift, after_seconds))
        started = time.monotonic()
        for number, sample in enumerate(itertools.chain(itertools.islice(_samples(Shift.NONE), before), _samples(drift))):
            if not _wait(interrupt, started + number / rate):
                break
            sender.send(topic, key=sample.key.encode(), value=sample.value)
        sender.flush()
        return sender.acknowledged


def _about(drift: Shift, after_seconds: float) -> str:
    if drift is Shift.NONE:
        return ""
    return f"; they drift ({drift})" + (f" from second {after_seconds:g} on" if after_seconds else "")


def _samples(drift: Shift) -> Iterator[Sample]:
    """Without the malformed ones of the demo: dead letters are a page, and a healthy stream raises none."""
    # The broker outlives the producer, and decisions are idempotent by id: each run needs ids of its own.
    return samples.mix(shifted(samples.load_events(), drift), (), run=secrets.token_hex(3))


def _wait(interrupt: Interrupt, moment: float) -> bool:
    """Wait for the moment; False if it was told to stop before."""
    while not interrupt.asked and (left := moment - time.monotonic()) > 0:
        time.sleep(min(left, LOOK_SECONDS))
    return not interrupt.asked

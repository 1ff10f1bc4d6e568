"""`tagstream send --samples`, the producer of `docker-compose.yml`: it sends sample events at a steady rate. The events may drift."""

import secrets
import time
from collections.abc import Callable

from tagstream.stream.demo.interrupt import Interrupt, interrupts
from tagstream.stream.demo.samples import load_events
from tagstream.stream.demo.shifts import Drift, Shift
from tagstream.stream.kafka import producer
from tagstream.stream.settings.settings import Settings

# The interval at which the wait between two events checks for a signal.
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
    Send until SIGINT or SIGTERM, then wait until the broker has confirmed all events.

    Args:
        settings: The brokers and the client's settings.
        topic: An existing topic.
        rate: The number of events a second.
        drift: How and when the events drift.
        say: Called once with a sentence about the events.

    Returns:
        The number of events that the broker has confirmed.

    Raises:
        BrokerUnreachableError: No broker answered in time.
        SendError: The broker refused an event.
    """
    with interrupts() as interrupt, producer.sender(settings) as sender:
        interrupt.postpone()
        say(f"sending {rate:g} sample events a second to {topic}" + _about(drift))
        started = time.monotonic()
        # The demo's malformed samples are left out: dead letters raise a paging alarm, and a healthy stream must not.
        # The broker outlives the producer, and a repeated id counts as a redelivery. So each run needs its own ids.
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
    """Wait until a time of `time.monotonic`; False if a signal came before."""
    while not interrupt.asked and (left := moment - time.monotonic()) > 0:
        time.sleep(min(left, LOOK_SECONDS))
    return not interrupt.asked

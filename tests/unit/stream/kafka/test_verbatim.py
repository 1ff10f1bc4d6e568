"""Records as they are: what is handed over too late may arrive after somebody else has given it up."""

from typing import Any

import pytest
from kafka.errors import KafkaTimeoutError

from stream.contract.record import Record
from stream.kafka.clients import TooLateError, VerbatimSender
from tests.fakes import Clock

RECORD = Record(topic="content", key=None, value=b"{}")


class Producer:
    """Of kafka-python's what is used here; to know the partitions takes its time."""

    made = 0

    def __init__(self, clock: Clock, seconds: float, error: Exception | None = None) -> None:
        """`error` is what becomes of each record."""
        Producer.made += 1
        self.clock, self.seconds, self.error = clock, seconds, error
        self.sent: list[str] = []

    def partitions_for(self, _: str) -> set[int]:
        """One, in a while."""
        self.clock.now += self.seconds
        return {0}

    def send(self, topic: str, **_: Any) -> "Producer":
        """Take it; the future is this object."""
        self.sent.append(topic)
        return self

    def get(self, **_: float) -> None:
        """The broker's word."""
        if self.error is not None:
            raise self.error

    def close(self, **_: float) -> None:
        """Nothing is held."""


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    """The sender's."""
    found = Clock()
    monkeypatch.setattr("stream.kafka.clients.time.monotonic", found)
    return found


def test_a_record_whose_time_is_over_before_its_topic_is_known_is_not_sent(clock: Clock) -> None:
    """The look at the clock comes after the last wait, and the producer that has waited is kept: it knows now."""
    producer = Producer(clock, seconds=5)
    sender = VerbatimSender(lambda: producer)  # type: ignore[arg-type, return-value]
    made = Producer.made

    assert sender.deliver([RECORD], until=clock.now + 5) == [None]
    (error,) = sender.deliver([RECORD], until=clock.now + 4)
    assert isinstance(error, TooLateError)
    assert producer.sent == ["content"]
    assert Producer.made == made


def test_a_producer_that_has_failed_is_replaced(clock: Clock) -> None:
    """An idempotent one of kafka-python takes nothing after an error."""
    failure = KafkaTimeoutError()
    sender = VerbatimSender(lambda: Producer(clock, 0, failure))  # type: ignore[arg-type, return-value]
    made = Producer.made

    assert sender.deliver([RECORD]) == [failure]
    assert Producer.made == made + 1

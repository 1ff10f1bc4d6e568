"""The producer of replays: a record whose time is over is not sent, since another run may send it meanwhile."""

from typing import Any

import pytest
from kafka.errors import KafkaError, KafkaTimeoutError, MessageSizeTooLargeError, RecordListTooLargeError

from tagstream.stream.contract.event import Record
from tagstream.stream.kafka.producer import RecordTooLargeError, TooLateError, VerbatimSender
from tests.fakes import Clock

RECORD = Record(topic="content", key=None, value=b"{}")


class Producer:
    """The part of kafka-python's producer that is used; asking for partitions takes `seconds`."""

    made = 0

    def __init__(self, clock: Clock, seconds: float, error: Exception | None = None) -> None:
        """Every record fails with `error`, if there is one."""
        Producer.made += 1
        self.clock, self.seconds, self.error = clock, seconds, error
        self.sent: list[str] = []

    def partitions_for(self, _: str) -> set[int]:
        """One partition, after `seconds`."""
        self.clock.now += self.seconds
        return {0}

    def send(self, topic: str, **_: Any) -> "Producer":
        """Note the topic; the future is this object."""
        self.sent.append(topic)
        return self

    def get(self, **_: float) -> None:
        """Raise the error."""
        if self.error is not None:
            raise self.error

    def close(self, **_: float) -> None:
        """There is no connection."""


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    """The clock of the sender."""
    found = Clock()
    monkeypatch.setattr("tagstream.stream.kafka.producer.time.monotonic", found)
    return found


def test_a_record_whose_time_is_over_before_its_topic_is_known_is_not_sent(clock: Clock) -> None:
    """The clock is read after the partitions are known; the producer, which knows them now, is kept."""
    producer = Producer(clock, seconds=5)
    sender = VerbatimSender(lambda: producer)  # type: ignore[arg-type, return-value]
    made = Producer.made

    assert sender.deliver([RECORD], until=clock.now + 5) == [None]
    (error,) = sender.deliver([RECORD], until=clock.now + 4)
    assert isinstance(error, TooLateError)
    assert producer.sent == ["content"]
    assert Producer.made == made


def test_a_producer_that_has_failed_is_replaced(clock: Clock) -> None:
    """An idempotent producer of kafka-python takes no record after an error, so a new one is made."""
    failure = KafkaTimeoutError()
    sender = VerbatimSender(lambda: Producer(clock, 0, failure))  # type: ignore[arg-type, return-value]
    made = Producer.made

    (error,) = sender.deliver([RECORD])
    assert error is not None
    assert error.__cause__ is failure
    sender.deliver([RECORD])
    assert Producer.made == made + 1


@pytest.mark.parametrize("failure", [MessageSizeTooLargeError("no"), RecordListTooLargeError("no")])
def test_a_record_that_is_too_large_has_an_error_of_its_own(clock: Clock, failure: KafkaError) -> None:
    """A replay goes on without such a record, and stops at every other error."""
    (error,) = VerbatimSender(lambda: Producer(clock, 0, failure)).deliver([RECORD])  # type: ignore[arg-type, return-value]
    assert isinstance(error, RecordTooLargeError)

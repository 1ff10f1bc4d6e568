"""Sending with a count: what a broker that is silent, refuses or is slow does to whoever sends."""

from collections.abc import Callable
from typing import Any

import pytest
from kafka.errors import KafkaConnectionError, KafkaError, KafkaTimeoutError, MessageSizeTooLargeError

from stream.kafka import clients
from stream.kafka.clients import CONFIRM_SECONDS, DELIVERY_SECONDS, FLUSH_SECONDS, UNCONFIRMED_BYTES, SendError, sender
from stream.settings.settings import Settings


class Future:
    """Of kafka-python's what is used here; confirmed when it is waited for."""

    def __init__(self, error: KafkaError | None) -> None:
        """`error` is what becomes of the record."""
        self.error = error
        self.waited: list[float] = []
        self.confirmed: Callable[[object], None] = lambda _: None

    def add_callback(self, confirmed: Callable[[object], None]) -> "Future":
        """Called when the broker has it."""
        self.confirmed = confirmed
        return self

    def add_errback(self, failed: Callable[[BaseException], None]) -> "Future":
        """Called at once, if it fails."""
        if self.error is not None:
            failed(self.error)
        return self

    def get(self, *, timeout: float) -> None:
        """The broker's word."""
        self.waited.append(timeout)
        self.confirmed(None)


class Producer:
    """In the place of kafka-python's."""

    def __init__(self, **options: Any) -> None:
        """Keep what it was made with."""
        self.options = options
        self.error: KafkaError | None = None
        self.futures: list[Future] = []
        self.closed: list[float] = []

    def send(self, _: str, **__: object) -> Future:
        """Take it."""
        self.futures.append(Future(self.error))
        return self.futures[-1]

    def flush(self, *, timeout: float) -> None:
        """Nothing is waited for."""

    def close(self, *, timeout: float) -> None:
        """As kafka-python does: what is still under way is an error when nobody waits for it."""
        self.closed.append(timeout)
        if not timeout:
            message = "Timeout waiting for future"
            raise KafkaTimeoutError(message)


@pytest.fixture
def producer(monkeypatch: pytest.MonkeyPatch) -> Producer:
    """The one that the sender makes."""
    found = Producer()

    def make(**options: Any) -> Producer:
        found.options = options
        return found

    monkeypatch.setattr(clients, "KafkaProducer", make)
    monkeypatch.setattr(clients, "admitted", lambda _: ({}, 1.0))
    return found


@pytest.mark.parametrize(
    ("error", "code", "says"),
    [
        (
            KafkaTimeoutError("Expiring 1 record(s)"),
            3,
            "confirmed 0 records and did not confirm the next: KafkaTimeoutError: Exp",
        ),
        (KafkaConnectionError("gone"), 3, "did not confirm the next: KafkaConnectionError: gone"),
        (MessageSizeTooLargeError("too large"), 1, "confirmed 0 records and refused the next: "),
    ],
)
def test_a_broker_that_does_not_answer_is_none_that_refuses(
    producer: Producer, error: KafkaError, code: int, says: str
) -> None:
    """The exit code tells which, and what is said is the first error, not the one that comes of letting go of the rest."""
    producer.error = error
    with pytest.raises(SendError, match=r"Next: `tagstream doctor`") as caught, sender(Settings()) as made:
        made.send("content", key=None, value=b"{}")
    assert caught.value.exit_code == code
    assert says in str(caught.value)
    assert producer.closed == [0]


def test_a_record_is_given_up_after_a_stated_time(producer: Producer) -> None:
    """Two minutes of silence are the client's own."""
    with sender(Settings()) as made:
        made.send("content", key=None, value=b"{}")
        made.flush()
    assert producer.options["delivery_timeout_ms"] == DELIVERY_SECONDS * 1000
    assert producer.options["request_timeout_ms"] < producer.options["delivery_timeout_ms"]
    assert producer.closed == [FLUSH_SECONDS]


def test_what_is_not_confirmed_is_bounded(producer: Producer) -> None:
    """Else the time of a record would run out while a large file lies in the producer's memory."""
    value = b"x" * (UNCONFIRMED_BYTES // 4)
    with sender(Settings()) as made:
        for _ in range(6):
            made.send("content", key=None, value=value)
    assert [future.waited for future in producer.futures] == [[CONFIRM_SECONDS]] * 3 + [[]] * 3

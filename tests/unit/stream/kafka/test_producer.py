"""The producer that counts: its errors when the broker is silent, refuses or is slow, and its bounds."""

from collections.abc import Callable
from typing import Any

import pytest
from kafka.errors import KafkaConnectionError, KafkaError, KafkaTimeoutError, MessageSizeTooLargeError

from tagstream.stream.kafka.producer import SEND_SECONDS, UNCONFIRMED_BYTES, WAIT_SECONDS, CountingSender, SendError, sender
from tagstream.stream.settings.settings import Settings


class Future:
    """The part of kafka-python's future that is used; the broker confirms when `get` is called."""

    def __init__(self, error: KafkaError | None) -> None:
        """A future whose record fails with `error`, if there is one."""
        self.error = error
        self.waited: list[float] = []
        self.confirmed: Callable[[object], None] = lambda _: None

    def add_callback(self, confirmed: Callable[[object], None]) -> "Future":
        """Keep the callback for `get`."""
        self.confirmed = confirmed
        return self

    def add_errback(self, failed: Callable[[BaseException], None]) -> "Future":
        """Call back at once, if the record fails."""
        if self.error is not None:
            failed(self.error)
        return self

    def get(self, *, timeout: float) -> None:
        """Confirm the record, and note the timeout."""
        self.waited.append(timeout)
        self.confirmed(None)


class Producer:
    """Stands in for kafka-python's producer."""

    def __init__(self, **options: Any) -> None:
        """Keep the options."""
        self.options = options
        self.error: KafkaError | None = None
        self.futures: list[Future] = []
        self.closed: list[float] = []
        self.flushed: list[float] = []

    def send(self, _: str, **__: object) -> Future:
        """Return a future that fails with `error`, if it is set."""
        self.futures.append(Future(self.error))
        return self.futures[-1]

    def flush(self, *, timeout: float) -> None:
        """Confirm nothing, and note the timeout."""
        self.flushed.append(timeout)

    def close(self, *, timeout: float) -> None:
        """Like kafka-python: with timeout 0, records under way raise an error."""
        self.closed.append(timeout)
        if not timeout:
            message = "Timeout waiting for future"
            raise KafkaTimeoutError(message)


@pytest.fixture
def producer(monkeypatch: pytest.MonkeyPatch) -> Producer:
    """The producer that `sender` makes."""
    found = Producer()

    def make(**options: Any) -> Producer:
        found.options = options
        return found

    monkeypatch.setattr("tagstream.stream.kafka.producer.KafkaProducer", make)
    monkeypatch.setattr("tagstream.stream.kafka.producer.admitted", lambda _: ({}, 1.0))
    return found


@pytest.mark.parametrize(
    ("error", "code", "says"),
    [
        (
            KafkaTimeoutError("Expiring 1 record(s)"),
            3,
            "confirmed 0 records and did not confirm another one: KafkaTimeoutError: Exp",
        ),
        (KafkaConnectionError("gone"), 3, "did not confirm another one: KafkaConnectionError: gone"),
        (MessageSizeTooLargeError("too large"), 1, "confirmed 0 records and refused another one: "),
    ],
)
def test_a_silent_broker_and_a_refusal_have_different_exit_codes(
    producer: Producer, error: KafkaError, code: int, says: str
) -> None:
    """A silent broker exits with 3, a refusal with 1; the message has the first error and not the one of closing."""
    producer.error = error
    with pytest.raises(SendError, match=r"Next: `tagstream doctor`") as caught, sender(Settings()) as made:
        made.send("content", key=None, value=b"{}")
    assert caught.value.exit_code == code
    assert says in str(caught.value)
    assert producer.closed == [0]


def test_a_record_is_given_up_after_a_stated_time(producer: Producer) -> None:
    """The producer gives a record up after `SEND_SECONDS`, and every wait of ours leaves it that time."""
    with sender(Settings()) as made:
        for _ in range(2):
            made.send("content", key=None, value=b"x" * UNCONFIRMED_BYTES)
        made.flush()
    assert producer.options["delivery_timeout_ms"] == SEND_SECONDS * 1000
    assert producer.options["request_timeout_ms"] < producer.options["delivery_timeout_ms"]
    waits = [*producer.flushed, *producer.closed, *(wait for future in producer.futures for wait in future.waited)]
    assert len(waits) == 4
    assert min(waits) > SEND_SECONDS


def test_unconfirmed_bytes_are_bounded(producer: Producer) -> None:
    """Above `UNCONFIRMED_BYTES` the oldest record is waited for, so that no record's time runs out in the producer's queue."""
    value = b"x" * (UNCONFIRMED_BYTES // 4)
    with sender(Settings()) as made:
        for _ in range(6):
            made.send("content", key=None, value=value)
    assert [future.waited for future in producer.futures] == [[WAIT_SECONDS]] * 3 + [[]] * 3


def test_an_error_of_the_client_is_named_once() -> None:
    """kafka-python's message begins with the error's kind, and ours does not repeat it."""

    class Refusing:
        """Stands in for a producer."""

        def send(self, *_: object, **__: object) -> None:
            """Fail."""
            message = "Unable to bootstrap"
            raise KafkaTimeoutError(message)

    with pytest.raises(SendError, match=r"did not confirm another one: KafkaTimeoutError: Unable to bootstrap\. Next: "):
        CountingSender(Refusing()).send("content", key=None, value=b"")

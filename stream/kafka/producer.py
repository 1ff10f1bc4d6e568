"""Producers of the commands: one counts the records that the broker confirmed, and one sends records byte for byte. kafka-python."""

import contextlib
import math
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

from kafka import KafkaProducer
from kafka.errors import (
    KafkaConnectionError,
    KafkaError,
    KafkaTimeoutError,
    MessageSizeTooLargeError,
    NodeNotReadyError,
    RecordListTooLargeError,
)
from kafka.serializer import Serializer

from tagstream.stream.contract.event import Headers, Record
from tagstream.stream.kafka.admission import admitted
from tagstream.stream.kafka.errors import CONNECT_FAILURES, summary_of, translated
from tagstream.stream.settings.settings import Settings
from tagstream.stream.terminal.text import counted

# The producer gives a record up after `SEND_SECONDS`. We wait for its result a little longer, for `WAIT_SECONDS`.
SEND_SECONDS, WAIT_SECONDS = 30, 35
# The same two bounds of a sender that waits for the result of each record: a replay, a saved answer, an event of `serve`.
DELIVERY_SECONDS, CONFIRM_SECONDS = 15, 20
REQUEST_SECONDS = 10
MAX_REQUEST_BYTES = 4 * 1024 * 1024
# The most bytes that wait for confirmation: the producer queues without bound, and a record's time runs while it is queued.
UNCONFIRMED_BYTES, RECORD_BYTES = 4 * 1024 * 1024, 100
UNANSWERED = (KafkaTimeoutError, KafkaConnectionError, NodeNotReadyError)
TOO_LARGE = (MessageSizeTooLargeError, RecordListTooLargeError)


class SendError(Exception):
    """The broker refused a record. The message has the number of records confirmed before, and the reason."""

    exit_code = 1


class UnansweredError(SendError):
    """The broker did not confirm a record in time. The message has the number of records confirmed before."""

    exit_code = 3


class CountingSender:
    """Sends records. `acknowledged` is the number of records that the broker has confirmed."""

    def __init__(self, producer: KafkaProducer) -> None:
        """Send with this producer."""
        self._producer = producer
        self._error: BaseException | None = None
        self._unconfirmed: deque[tuple[Any, int]] = deque()
        self._unconfirmed_bytes = 0
        self.acknowledged = 0

    @property
    def failed(self) -> bool:
        """True if a record was refused, or not confirmed in time."""
        return self._error is not None

    def send(self, topic: str, *, key: bytes | None, value: bytes | None, headers: Headers = ()) -> None:
        """
        Queue one record, then wait until at most `UNCONFIRMED_BYTES` are not confirmed.

        Args:
            topic: The topic's name.
            key: Chooses the partition; None for any partition.
            value: The bytes; None is a tombstone.
            headers: Name and value of each header.

        Raises:
            SendError: This record or an earlier one was refused, or not confirmed in time.
        """
        self._raise()
        try:
            future = self._producer.send(topic, key=key, value=value, headers=list(headers))
            future = future.add_callback(self._confirmed).add_errback(self._failed)
            self._wait_for_room(future, RECORD_BYTES + len(key or b"") + len(value or b""))
        except (KafkaError, AssertionError, ValueError) as error:
            self._error = self._error or error
        self._raise()

    def _wait_for_room(self, future: Any, size: int) -> None:
        self._unconfirmed.append((future, size))
        self._unconfirmed_bytes += size
        while self._unconfirmed_bytes > UNCONFIRMED_BYTES:
            oldest, its_size = self._unconfirmed.popleft()
            self._unconfirmed_bytes -= its_size
            oldest.get(timeout=WAIT_SECONDS)

    def flush(self) -> None:
        """
        Wait until the broker has confirmed all records.

        Raises:
            SendError: A record was refused, or not confirmed in time.
        """
        try:
            self._producer.flush(timeout=WAIT_SECONDS)
        except KafkaError as error:
            self._error = self._error or error
        self._raise()

    def _confirmed(self, _: Any) -> None:
        self.acknowledged += 1

    def _failed(self, error: BaseException) -> None:
        self._error = self._error or error

    def _raise(self) -> None:
        if self._error is None:
            return
        silent = isinstance(self._error, UNANSWERED)
        msg = (
            f"the broker confirmed {counted(self.acknowledged, 'record')} and {'did not confirm' if silent else 'refused'} another "
            f"one: {summary_of(self._error)}. Next: `tagstream doctor`; then send all of the input again: the confirmed records need "
            f"not be its first ones, and an event that comes again gets the same id and the same decision."
        )
        raise (UnansweredError if silent else SendError)(msg) from self._error


@contextlib.contextmanager
def sender(settings: Settings) -> Iterator[CountingSender]:
    """
    A `CountingSender` whose records are confirmed by all replicas, each within `SEND_SECONDS`.

    Raises:
        BrokerUnreachableError: No broker answered in time, or a broker refused us.
    """
    options = _options(settings, SEND_SECONDS)
    with translated(settings, CONNECT_FAILURES):
        producer = KafkaProducer(**options, client_id="tagstream-send", enable_idempotence=False, linger_ms=5)
    made = CountingSender(producer)
    try:
        yield made
    finally:
        if made.failed:
            # The first error is being raised already. A close at once fails the records after it, and raises another error.
            with contextlib.suppress(KafkaError):
                producer.close(timeout=0)
        else:
            producer.close(timeout=WAIT_SECONDS)


def _options(settings: Settings, delivery_seconds: int) -> dict[str, Any]:
    options, seconds = admitted(settings)
    timeout_ms = int(seconds * 1000)
    return {
        **options,
        "acks": "all",
        "delivery_timeout_ms": delivery_seconds * 1000,
        "request_timeout_ms": REQUEST_SECONDS * 1000,
        "max_block_ms": timeout_ms,
        "bootstrap_timeout_ms": timeout_ms,
        "max_request_size": MAX_REQUEST_BYTES,
    }


def pace(values: Iterable[Any], per_second: float | None) -> Iterator[Any]:
    """Yield the values at a steady rate (values/s); without a rate, as fast as the caller takes them."""
    started = time.monotonic()
    for number, value in enumerate(values):
        if per_second:
            time.sleep(max(0.0, started + number / per_second - time.monotonic()))
        yield value


class UndeliveredError(Exception):
    """The broker may lack a record. The client's own error is the cause."""


class TooLateError(UndeliveredError):
    """The record's time was over before it was handed to the producer: the record will not arrive."""


class RecordTooLargeError(UndeliveredError):
    """The broker will never accept this record, because of its size."""


_NO_VALUE = object()


class _Verbatim(Serializer):  # type: ignore[misc]
    """Passes bytes through. `_NO_VALUE` stands for None: the producer refuses a record without key and value before it serialises."""

    def serialize(self, topic: str, headers: Any, data: Any) -> Any:  # noqa: ARG002
        return None if data is _NO_VALUE else data


class VerbatimSender:
    """Sends records exactly as they are, each to the partition that it names, and waits for the result of each."""

    def __init__(self, make: Callable[[], KafkaProducer]) -> None:
        """`make` gives a producer that serialises with `_Verbatim`. It is called again for the first record after a failure."""
        self._make = make
        self._producer: KafkaProducer | None = make()

    def deliver(self, records: Sequence[Record], *, until: float = math.inf) -> list[UndeliveredError | None]:
        """
        Send records and wait for the results, at most `CONFIRM_SECONDS` after the last record was handed to the producer.

        If kafka-python's idempotent producer gets an error, it fails all its records with that error. So if several records are sent
        together, a record's error only means that the record may not have arrived.

        Args:
            records: A record whose partition does not exist goes to the partition of its key.
            until: The time, by `time.monotonic`, after which no record is handed to the producer. A request for a topic's partitions can
                take longer than the caller may wait.

        Returns:
            For each record None if all replicas have it, else the error: `TooLateError` if it was not handed over in time,
            `RecordTooLargeError` if it is too large for the broker.

        Raises:
            BrokerUnreachableError: No producer can be made after an earlier failure, and no record was handed over.
        """
        if self._producer is None:
            self._producer = self._make()
        sent = [self._send(self._producer, record, until) for record in records]
        deadline = time.monotonic() + CONFIRM_SECONDS
        results = [future if isinstance(future, UndeliveredError) else _result(future, deadline) for future in sent]
        if any(error is not None and not isinstance(error, TooLateError) for error in results):
            self.close()
        return results

    def close(self) -> None:
        """Close the connection."""
        if self._producer is not None:
            self._producer.close(timeout=CONFIRM_SECONDS)
            self._producer = None

    def _send(self, producer: KafkaProducer, record: Record, until: float) -> Any:
        try:
            known = producer.partitions_for(record.topic) or ()
            if time.monotonic() > until:
                return TooLateError("the topic's partitions were not known in time")
            return producer.send(
                record.topic,
                key=record.key,
                value=_NO_VALUE if record.value is None else record.value,
                headers=list(record.headers),
                partition=record.partition if record.partition in known else None,
            )
        except KafkaError as error:
            return _undelivered(error)


def _result(future: Any, deadline: float) -> UndeliveredError | None:
    try:
        future.get(timeout=max(0.0, deadline - time.monotonic()))
    except KafkaError as error:
        return _undelivered(error)
    return None


def _undelivered(error: KafkaError) -> UndeliveredError:
    found = (RecordTooLargeError if isinstance(error, TOO_LARGE) else UndeliveredError)(summary_of(error))
    found.__cause__ = error
    return found


@contextlib.contextmanager
def verbatim_sender(settings: Settings, *, idempotent: bool) -> Iterator[VerbatimSender]:
    """
    A `VerbatimSender` whose records are confirmed by all replicas and keep their order within a partition.

    Args:
        settings: Brokers and bounds.
        idempotent: True if the producer asks for producer ids, so that a retried send is written once.

    Raises:
        BrokerUnreachableError: No broker answered in time, or a broker refused us.
    """
    options = _options(settings, DELIVERY_SECONDS)

    def make() -> KafkaProducer:
        with translated(settings, CONNECT_FAILURES):
            return KafkaProducer(
                **options,
                client_id="tagstream-replay",
                enable_idempotence=idempotent,
                max_in_flight_requests_per_connection=1,
                value_serializer=_Verbatim(),
            )

    verbatim = VerbatimSender(make)
    try:
        yield verbatim
    finally:
        verbatim.close()

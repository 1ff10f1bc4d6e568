"""Plain Kafka clients for the tools: a producer that counts what the broker took, and a reader without a group. kafka-python."""

import contextlib
import math
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

from kafka import KafkaConsumer, KafkaProducer, TopicPartition
from kafka.errors import KafkaConnectionError, KafkaError, KafkaTimeoutError, NodeNotReadyError
from kafka.serializer import Serializer

from stream.contract.record import Record
from stream.kafka.admin import admitted, said, unreachable
from stream.kafka.admin import partitions as partitions_of_cluster
from stream.kafka.backlog import Backlog
from stream.settings.settings import Settings

FLUSH_SECONDS = 30
POLL_MS, POLL_RECORDS = 200, 1000
# A partition that brings nothing for so long, though there is something, does not keep the others waiting any longer.
PATIENCE_SECONDS = 5.0
# After so long without a record the brokers are asked whether they are still there.
QUIET_SECONDS = 2.0
# A record that was not confirmed by then is given up; whoever waits for it waits a little longer.
DELIVERY_SECONDS, REQUEST_SECONDS, CONFIRM_SECONDS = 15, 10, 20
# The producer takes whatever it is given, and the time to give up a record runs while it waits in there: this much goes out in time.
UNCONFIRMED_BYTES, RECORD_BYTES = 4 * 1024 * 1024, 100
UNANSWERED = (KafkaTimeoutError, KafkaConnectionError, NodeNotReadyError)


class SendError(Exception):
    """The broker did not take a record: the message says how many it took and why it stopped."""

    exit_code = 1


class UnansweredError(SendError):
    """No broker answered for a record in time: the message says how many were confirmed before."""

    exit_code = 3


class Sender:
    """Sends and keeps count; `acknowledged` is what the broker has confirmed."""

    def __init__(self, producer: KafkaProducer) -> None:
        """Wrap a producer."""
        self._producer = producer
        self._error: BaseException | None = None
        self._unconfirmed: deque[tuple[Any, int]] = deque()
        self._unconfirmed_bytes = 0
        self.acknowledged = 0

    @property
    def failed(self) -> bool:
        """Was a record refused, or not confirmed in time?"""
        return self._error is not None

    def send(self, topic: str, *, key: bytes | None, value: bytes | None) -> None:
        """
        Queue one record, once there is room for it.

        Raises:
            SendError: An earlier record, or this one, was refused, or not confirmed in time.
        """
        self._raise()
        try:
            future = self._producer.send(topic, key=key, value=value).add_callback(self._confirmed).add_errback(self._failed)
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
            oldest.get(timeout=CONFIRM_SECONDS)

    def flush(self) -> None:
        """
        Wait until the broker has confirmed everything.

        Raises:
            SendError: Something was refused, or the broker did not confirm in time.
        """
        try:
            self._producer.flush(timeout=FLUSH_SECONDS)
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
            f"the broker confirmed {self.acknowledged} records and {'did not confirm' if silent else 'refused'} the next: "
            f"{said(self._error)}. Next: `tagstream doctor`; then send the rest again: the same ids give the same decisions."
        )
        raise (UnansweredError if silent else SendError)(msg) from self._error


@contextlib.contextmanager
def sender(settings: Settings) -> Iterator[Sender]:
    """
    A producer that waits for all replicas, `DELIVERY_SECONDS` for each record.

    Raises:
        BrokerUnreachableError: No broker answered in time, or one refused us.
    """
    options, seconds = admitted(settings)
    timeout_ms = int(seconds * 1000)
    try:
        producer = KafkaProducer(
            **options,
            client_id="tagstream-send",
            acks="all",
            enable_idempotence=False,
            linger_ms=5,
            delivery_timeout_ms=DELIVERY_SECONDS * 1000,
            request_timeout_ms=REQUEST_SECONDS * 1000,
            max_block_ms=timeout_ms,
            bootstrap_timeout_ms=timeout_ms,
            max_request_size=4 * 1024 * 1024,
        )
    except (KafkaError, OSError, ValueError) as error:
        raise unreachable(settings, error) from error
    made = Sender(producer)
    try:
        yield made
    finally:
        if made.failed:
            # Nobody waits for the rest, and what `close` says of it has been said.
            with contextlib.suppress(KafkaError):
                producer.close(timeout=0)
        else:
            producer.close(timeout=FLUSH_SECONDS)


@contextlib.contextmanager
def _consumer(settings: Settings) -> Iterator[KafkaConsumer]:
    options, seconds = admitted(settings)
    timeout_ms = int(seconds * 1000)
    try:
        consumer = KafkaConsumer(
            **options,
            client_id="tagstream-read",
            group_id=None,
            enable_auto_commit=False,
            auto_offset_reset="earliest",
            # What a transaction has rolled back is no outcome; see docs/exactly-once.md.
            isolation_level="read_committed",
            bootstrap_timeout_ms=timeout_ms,
            fetch_max_wait_ms=100,
        )
    except (KafkaError, OSError, ValueError) as error:
        raise unreachable(settings, error) from error
    try:
        yield consumer
    finally:
        consumer.close()


def read(
    settings: Settings, topics: Sequence[str], *, from_beginning: bool, quiet_seconds: float = QUIET_SECONDS
) -> Iterator[list[Record]]:
    """
    Batches of records of some topics, in no consumer group, for as long as it is asked; empty lists while nothing comes.

    From the beginning, what lies there comes by its time, whichever partition it is in; what is new comes as it comes.

    Args:
        settings: Where the brokers are.
        topics: Names of topics that exist.
        from_beginning: Start at the oldest record, else after the newest.
        quiet_seconds: After so long without a record the brokers are asked whether they are still there.

    Raises:
        BrokerUnreachableError: No broker answered in time, or one refused us; later, too.
    """
    with _consumer(settings) as consumer:
        assigned = [
            TopicPartition(topic, partition)
            for topic in topics
            for partition in sorted(consumer.partitions_for_topic(topic) or ())
        ]
        consumer.assign(assigned)
        if from_beginning:
            consumer.seek_to_beginning(*assigned)
            yield from _backlog(consumer, assigned)
        else:
            consumer.seek_to_end(*assigned)
            for partition in assigned:
                consumer.position(partition)
        heard = time.monotonic()
        while True:
            found = _polled(consumer)
            quiet = not found and time.monotonic() - heard > quiet_seconds
            if quiet:
                _still_there(consumer, assigned, settings)
            if found or quiet:
                heard = time.monotonic()
            yield found


def _still_there(consumer: KafkaConsumer, assigned: Sequence[TopicPartition], settings: Settings) -> None:
    """Is it that nothing comes, or that nobody is there? To who polls it looks the same. A partition without a leader is no reason to end."""
    try:
        consumer.end_offsets(assigned, timeout_ms=int(PATIENCE_SECONDS * 1000))
    except KafkaError:
        partitions_of_cluster(settings)


def _backlog(consumer: KafkaConsumer, assigned: Sequence[TopicPartition]) -> Iterator[list[Record]]:
    """What lies before the ends of this moment. Only who holds the others up is asked, so of each no more than a poll is held."""
    try:
        positions = consumer.beginning_offsets(assigned, timeout_ms=int(PATIENCE_SECONDS * 1000))
        ends = consumer.end_offsets(assigned, timeout_ms=int(PATIENCE_SECONDS * 1000))
    except KafkaError:
        # Where a partition cannot say where it ends, those that can be read are worth more than their order.
        return
    backlog: Backlog[Record] = Backlog(partition for partition in assigned if positions[partition] < ends[partition])
    moved = time.monotonic()
    while not backlog.over:
        wanting = [TopicPartition(*partition) for partition in backlog.wanting]
        before = sum(positions.values())
        backlog.add(_asked(consumer, wanting, positions))
        # The positions, not the records: a log may begin with what was rolled back.
        if sum(positions.values()) > before:
            moved = time.monotonic()
        late = time.monotonic() - moved > PATIENCE_SECONDS
        for partition in wanting:
            if late or positions[partition] >= ends[partition]:
                backlog.end(partition)
        if found := backlog.take():
            yield found
            moved = time.monotonic()
    _assign(consumer, assigned, positions)


def _asked(consumer: KafkaConsumer, partitions: Sequence[TopicPartition], positions: dict[TopicPartition, int]) -> list[Record]:
    """What these bring now; `positions` follow."""
    if not partitions:
        return []
    _assign(consumer, partitions, positions)
    came = _polled(consumer)
    for partition in partitions:
        # The position, not the last record: what ends a partition may be a mark of a transaction or a gap of compaction.
        found = consumer.position(partition, timeout_ms=POLL_MS)
        positions[partition] = positions[partition] if found is None else found
    return came


def _assign(consumer: KafkaConsumer, partitions: Sequence[TopicPartition], positions: Mapping[TopicPartition, int]) -> None:
    """To pause the others would be the way, but kafka-python 3.0.12 may never give what it had fetched of one that is resumed."""
    if consumer.assignment() != set(partitions):
        consumer.assign(partitions)
        for partition in partitions:
            consumer.seek(partition, positions[partition])


def _polled(consumer: KafkaConsumer) -> list[Record]:
    polled = consumer.poll(timeout_ms=POLL_MS, max_records=POLL_RECORDS)
    return [_record(found) for records in polled.values() for found in records]


def _record(found: Any) -> Record:
    return Record(
        topic=found.topic,
        key=found.key,
        value=found.value,
        headers=tuple(found.headers or ()),
        partition=found.partition,
        offset=found.offset,
        timestamp_ms=found.timestamp,
    )


def pace(values: Iterable[Any], per_second: float | None) -> Iterator[Any]:
    """The values at a steady rate (events/s), or as fast as they are taken."""
    started = time.monotonic()
    for number, value in enumerate(values):
        if per_second:
            time.sleep(max(0.0, started + number / per_second - time.monotonic()))
        yield value


_NOTHING = object()


class _AsItIs(Serializer):  # type: ignore[misc]
    """Bytes, or `_NOTHING` for none: the producer refuses neither key nor value before it serialises, though it is legal."""

    def serialize(self, topic: str, headers: Any, data: Any) -> Any:  # noqa: ARG002
        return None if data is _NOTHING else data


class TooLateError(KafkaError):  # type: ignore[misc]
    """A record was not handed over, since its time was over."""


class VerbatimSender:
    """Sends records exactly as they are, each to its partition where it names one, and waits for the broker's word on each."""

    def __init__(self, make: Callable[[], KafkaProducer]) -> None:
        """`make` gives a producer that serialises with `_AsItIs`; it is called anew when one has failed."""
        self._make = make
        self._producer = make()

    def deliver(self, records: Sequence[Record], *, until: float = math.inf) -> list[KafkaError | None]:
        """
        For each record None, when all replicas have it, or why not; at most `CONFIRM_SECONDS` after the last was handed over.

        After `until` (of `time.monotonic`) none is handed over: a `TooLateError`, and nothing is on its way. To know a topic's partitions
        can take longer than whoever asks may wait.

        One that is refused makes an idempotent producer of kafka-python fail all that is under way with the same words: of several
        records an error says only that it is not known to have arrived.
        """
        sent = [self._send(record, until) for record in records]
        deadline = time.monotonic() + CONFIRM_SECONDS
        results = [future if isinstance(future, KafkaError) else _result(future, deadline) for future in sent]
        if any(error is not None and not isinstance(error, TooLateError) for error in results):
            self.close()
            self._producer = self._make()
        return results

    def close(self) -> None:
        """Let go of the connection."""
        self._producer.close(timeout=CONFIRM_SECONDS)

    def _send(self, record: Record, until: float) -> Any:
        try:
            known = self._producer.partitions_for(record.topic) or ()
            if time.monotonic() > until:
                return TooLateError("the topic's partitions were not known in time")
            return self._producer.send(
                record.topic,
                key=record.key,
                value=_NOTHING if record.value is None else record.value,
                headers=list(record.headers),
                partition=record.partition if record.partition in known else None,
            )
        except KafkaError as error:
            return error


def _result(future: Any, deadline: float) -> KafkaError | None:
    try:
        future.get(timeout=max(0.0, deadline - time.monotonic()))
    except KafkaError as error:
        return error
    return None


@contextlib.contextmanager
def verbatim_sender(settings: Settings, *, idempotent: bool) -> Iterator[VerbatimSender]:
    """
    A producer that waits for all replicas and keeps the order of a partition; `idempotent`: a retried send is written once.

    Raises:
        BrokerUnreachableError: No broker answered in time, or one refused us.
    """
    options, seconds = admitted(settings)
    timeout_ms = int(seconds * 1000)

    def make() -> KafkaProducer:
        try:
            return KafkaProducer(
                **options,
                client_id="tagstream-replay",
                acks="all",
                enable_idempotence=idempotent,
                max_in_flight_requests_per_connection=1,
                delivery_timeout_ms=DELIVERY_SECONDS * 1000,
                request_timeout_ms=REQUEST_SECONDS * 1000,
                max_block_ms=timeout_ms,
                bootstrap_timeout_ms=timeout_ms,
                max_request_size=4 * 1024 * 1024,
                value_serializer=_AsItIs(),
            )
        except (KafkaError, OSError, ValueError) as error:
            raise unreachable(settings, error) from error

    sender = VerbatimSender(make)
    try:
        yield sender
    finally:
        sender.close()


class Log:
    """Reads what lies in a topic, up to where it ended when it was asked. Every wait is bounded by `startup_timeout_seconds`."""

    def __init__(self, consumer: KafkaConsumer, settings: Settings, topic: str) -> None:
        """Look at a topic that exists."""
        self._consumer = consumer
        self._settings = settings
        self._seconds = settings.startup_timeout_seconds
        with self._answered():
            numbers = consumer.partitions_for_topic(topic)
        if not numbers:
            # An empty answer must not be taken for an empty topic.
            raise unreachable(settings, KafkaTimeoutError(f"it did not say which partitions {topic} has"))
        self._partitions = [TopicPartition(topic, number) for number in sorted(numbers)]

    def starts(self) -> dict[int, int]:
        """The oldest offset that is still there, by partition."""
        with self._answered():
            found = self._consumer.beginning_offsets(self._partitions, timeout_ms=int(self._seconds * 1000))
            return {partition.partition: offset for partition, offset in found.items()}

    def ends(self) -> dict[int, int]:
        """The offset of the next record to come, by partition."""
        with self._answered():
            found = self._consumer.end_offsets(self._partitions, timeout_ms=int(self._seconds * 1000))
            return {partition.partition: offset for partition, offset in found.items()}

    def offsets_since(self, moment_ms: int) -> dict[int, int]:
        """The first offset that was written at or after a moment (Unix milliseconds), by partition; the end where there is none."""
        ends = self.ends()
        with self._answered():
            found = self._consumer.offsets_for_times(
                dict.fromkeys(self._partitions, moment_ms), timeout_ms=int(self._seconds * 1000)
            )
        return {
            number: ends[number] if (at := found.get(of)) is None else at.offset
            for of in self._partitions
            for number in [of.partition]
        }

    def read(self, first: Mapping[int, int], last: Mapping[int, int]) -> Iterator[Record]:
        """
        Records from `first` on and before `last`, one partition after the other, in the order of offsets.

        Args:
            first: Offset by partition; a partition that is not named is not read.
            last: Offset by partition.

        Raises:
            BrokerUnreachableError: The broker gave nothing more, though there is more.
        """
        oldest = self.starts()
        for partition in self._partitions:
            number = partition.partition
            if number not in first or number not in last:
                continue
            begin = max(first[number], oldest[number])
            if begin < last[number]:
                yield from self._one(partition, begin, last[number])

    def _one(self, partition: TopicPartition, begin: int, end: int) -> Iterator[Record]:
        with self._answered():
            self._consumer.assign([partition])
            self._consumer.seek(partition, begin)
        position, moved = begin, time.monotonic()
        # The position, not the last record: what ends a partition may be a mark of a transaction or a gap of compaction.
        while position < end:
            with self._answered():
                polled = self._consumer.poll(timeout_ms=200, max_records=500).get(partition, [])
                before, position = position, self._consumer.position(partition, timeout_ms=int(self._seconds * 1000))
            yield from (_record(found) for found in polled if found.offset < end)
            if position > before:
                moved = time.monotonic()
            elif time.monotonic() - moved > self._seconds:
                raise unreachable(
                    self._settings, KafkaTimeoutError(f"partition {partition.partition} stands at {position} of {end}")
                )

    @contextlib.contextmanager
    def _answered(self) -> Iterator[None]:
        try:
            yield
        except KafkaError as error:
            raise unreachable(self._settings, error) from error


@contextlib.contextmanager
def log_of(settings: Settings, topic: str) -> Iterator[Log]:
    """
    A topic's log, with a consumer of its own and in no group.

    Raises:
        BrokerUnreachableError: No broker answered in time.
    """
    with _consumer(settings) as consumer:
        yield Log(consumer, settings, topic)

"""A reader without a consumer group, for commands that follow topics. kafka-python."""

import contextlib
import heapq
import time
from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Generic, Protocol, TypeVar

from kafka import KafkaConsumer, TopicPartition
from kafka.errors import KafkaError

from tagstream.stream.contract.event import Record
from tagstream.stream.kafka import admin
from tagstream.stream.kafka.admission import admitted
from tagstream.stream.kafka.errors import CONNECT_FAILURES, translated
from tagstream.stream.settings.settings import Settings

POLL_MS, POLL_RECORDS = 200, 1000
PARTITION_BYTES = 1_048_576
# After so long without progress a partition is no longer waited for, though records of it are outstanding.
NO_PROGRESS_SECONDS = 5.0
# After so long without a record the brokers are asked whether they are up.
QUIET_SECONDS = 2.0
# Topic and number.
Partition = tuple[str, int]


class Timed(Protocol):
    """The fields of a record that are needed here."""

    @property
    def topic(self) -> str:
        """The record's topic."""

    @property
    def partition(self) -> int:
        """The number of its partition."""

    @property
    def timestamp_ms(self) -> int:
        """Its time in Unix milliseconds."""


R = TypeVar("R", bound=Timed)


class Backlog(Generic[R]):
    """
    Merges partitions by time. A record is held back as long as a partition without held records may still bring an older one.

    A caller that reads only the partitions in `awaited` bounds the memory: of each partition, what one read brought is held.
    """

    def __init__(self, partitions: Iterable[Partition]) -> None:
        """Expect records of these partitions."""
        self._held: dict[Partition, deque[R]] = {partition: deque() for partition in partitions}
        self._open = set(self._held)

    @property
    def awaited(self) -> list[Partition]:
        """The open partitions without held records: the others wait for these."""
        return [partition for partition, held in self._held.items() if not held and partition in self._open]

    @property
    def finished(self) -> bool:
        """Are all partitions ended, and all records taken?"""
        return not self._open and not any(self._held.values())

    def add(self, records: Iterable[R]) -> None:
        """Hold records, those of each partition in its order."""
        for record in records:
            self._held[record.topic, record.partition].append(record)

    def end(self, partition: Partition) -> None:
        """Wait for this partition no longer; records of it that come later are still taken in their turn."""
        self._open.discard(partition)

    def take(self) -> list[R]:
        """The held records before which no older one can come, the oldest first."""
        if self.awaited:
            return []
        heads = [(held[0].timestamp_ms, partition) for partition, held in self._held.items() if held]
        heapq.heapify(heads)
        taken: list[R] = []
        while heads:
            _, partition = heads[0]
            held = self._held[partition]
            taken.append(held.popleft())
            if held:
                heapq.heapreplace(heads, (held[0].timestamp_ms, partition))
            elif partition in self._open:
                break
            else:
                heapq.heappop(heads)
        return taken


@contextlib.contextmanager
def consumer(
    settings: Settings, *, partition_bytes: int = PARTITION_BYTES, isolation_level: str = "read_committed"
) -> Iterator[KafkaConsumer]:
    """
    A consumer in no group, which sees committed records alone unless `isolation_level` says otherwise.

    Args:
        settings: Brokers and bounds.
        partition_bytes: About how much of a partition one answer brings.
        isolation_level: `read_uncommitted` shows the records of transactions that are open or were aborted too.

    Raises:
        BrokerUnreachableError: No broker answered in time, or one refused us.
    """
    options, seconds = admitted(settings)
    timeout_ms = int(seconds * 1000)
    with translated(settings, CONNECT_FAILURES):
        made = KafkaConsumer(
            **options,
            client_id="tagstream-read",
            group_id=None,
            enable_auto_commit=False,
            auto_offset_reset="earliest",
            # A record of an aborted transaction is no outcome; see docs/exactly-once.md.
            isolation_level=isolation_level,
            bootstrap_timeout_ms=timeout_ms,
            fetch_max_wait_ms=100,
            max_partition_fetch_bytes=partition_bytes,
        )
    try:
        yield made
    finally:
        made.close()


def read(
    settings: Settings, topics: Sequence[str], *, from_beginning: bool, quiet_seconds: float = QUIET_SECONDS
) -> Iterator[list[Record]]:
    """
    Batches of records of some topics, without end; an empty batch for every poll that brings no record.

    Args:
        settings: Brokers and bounds.
        topics: Names of topics that exist.
        from_beginning: Start at the oldest record, in the order of time over all partitions; else after the newest.
        quiet_seconds: After so long without a record the brokers are asked whether they are up.

    Raises:
        BrokerUnreachableError: No broker answered in time, or one refused us; also later, when all have gone.
    """
    with consumer(settings) as client:
        assigned = [
            TopicPartition(topic, partition)
            for topic in topics
            for partition in sorted(client.partitions_for_topic(topic) or ())
        ]
        client.assign(assigned)
        if from_beginning:
            client.seek_to_beginning(*assigned)
            yield from backlog_by_time(client, assigned)
        else:
            client.seek_to_end(*assigned)
            for partition in assigned:
                client.position(partition)
        heard = time.monotonic()
        while True:
            found = _poll(client)
            quiet = not found and time.monotonic() - heard > quiet_seconds
            if quiet:
                _require_brokers(client, assigned, settings)
            if found or quiet:
                heard = time.monotonic()
            yield found


def _require_brokers(client: KafkaConsumer, assigned: Sequence[TopicPartition], settings: Settings) -> None:
    """An empty poll can mean an idle topic or an unreachable broker, so ask. One partition without a leader is no reason to stop."""
    try:
        client.end_offsets(assigned, timeout_ms=int(NO_PROGRESS_SECONDS * 1000))
    except KafkaError:
        admin.partitions(settings)


def backlog_by_time(client: KafkaConsumer, assigned: Sequence[TopicPartition]) -> Iterator[list[Record]]:
    """
    The records that partitions hold now, oldest first; the client is then positioned behind them.

    Only partitions that the others wait for are polled, so that at most one poll of each partition is in memory. A partition
    without progress for `NO_PROGRESS_SECONDS` is not waited for. Without an answer on where partitions end there is no backlog.
    """
    try:
        positions = client.beginning_offsets(assigned, timeout_ms=int(NO_PROGRESS_SECONDS * 1000))
        ends = client.end_offsets(assigned, timeout_ms=int(NO_PROGRESS_SECONDS * 1000))
    except KafkaError:
        # Partitions that can be read are worth more than their order: the caller reads them as they come.
        return
    backlog: Backlog[Record] = Backlog(partition for partition in assigned if positions[partition] < ends[partition])
    moved = time.monotonic()
    while not backlog.finished:
        awaited = [TopicPartition(*partition) for partition in backlog.awaited]
        before = sum(positions.values())
        backlog.add(_poll_only(client, awaited, positions))
        # Positions, not records: a partition may begin with records of an aborted transaction.
        if sum(positions.values()) > before:
            moved = time.monotonic()
        late = time.monotonic() - moved > NO_PROGRESS_SECONDS
        for partition in awaited:
            if late or positions[partition] >= ends[partition]:
                backlog.end(partition)
        if found := backlog.take():
            yield found
            moved = time.monotonic()
    _assign(client, assigned, positions)


def _poll_only(
    client: KafkaConsumer, partitions: Sequence[TopicPartition], positions: dict[TopicPartition, int]
) -> list[Record]:
    """Poll these partitions and no others; their `positions` are updated."""
    if not partitions:
        return []
    _assign(client, partitions, positions)
    records = _poll(client)
    for partition in partitions:
        # The last offset of a partition may be a transaction marker or a gap of compaction: no record has it.
        found = client.position(partition, timeout_ms=POLL_MS)
        positions[partition] = positions[partition] if found is None else found
    return records


def _assign(client: KafkaConsumer, partitions: Sequence[TopicPartition], positions: Mapping[TopicPartition, int]) -> None:
    """Assign anew instead of pausing: kafka-python 3.0.12 may lose what it had fetched of a partition that is resumed."""
    if client.assignment() != set(partitions):
        client.assign(partitions)
        for partition in partitions:
            client.seek(partition, positions[partition])


def _poll(client: KafkaConsumer) -> list[Record]:
    polled = client.poll(timeout_ms=POLL_MS, max_records=POLL_RECORDS)
    return [record_of(found) for records in polled.values() for found in records]


def record_of(found: Any) -> Record:
    """A `ConsumerRecord` of kafka-python as our record."""
    return Record(
        topic=found.topic,
        key=found.key,
        value=found.value,
        headers=tuple(found.headers or ()),
        partition=found.partition,
        offset=found.offset,
        timestamp_ms=found.timestamp,
    )

"""A reader without a consumer group, for commands that follow topics. kafka-python."""

import contextlib
import time
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from kafka import KafkaConsumer, TopicPartition
from kafka.errors import KafkaError

from stream.contract.record import Record
from stream.kafka import admin
from stream.kafka.connect.handshake import admitted
from stream.kafka.errors import CONNECT_FAILURES, translated
from stream.kafka.reading.backlog import Backlog
from stream.settings.settings import Settings

POLL_MS, POLL_RECORDS = 200, 1000
PARTITION_BYTES = 1_048_576
# After so long without progress a partition is no longer waited for, though records of it are outstanding.
PATIENCE_SECONDS = 5.0
# After so long without a record the brokers are asked whether they are up.
QUIET_SECONDS = 2.0


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
        client.end_offsets(assigned, timeout_ms=int(PATIENCE_SECONDS * 1000))
    except KafkaError:
        admin.partitions(settings)


def backlog_by_time(client: KafkaConsumer, assigned: Sequence[TopicPartition]) -> Iterator[list[Record]]:
    """
    The records that partitions hold now, oldest first; the client is then positioned behind them.

    Only partitions that the others wait for are polled, so that at most one poll of each partition is in memory. A partition
    without progress for `PATIENCE_SECONDS` is not waited for. Without an answer on where partitions end there is no backlog.
    """
    try:
        positions = client.beginning_offsets(assigned, timeout_ms=int(PATIENCE_SECONDS * 1000))
        ends = client.end_offsets(assigned, timeout_ms=int(PATIENCE_SECONDS * 1000))
    except KafkaError:
        # Partitions that can be read are worth more than their order: the caller reads them as they come.
        return
    backlog: Backlog[Record] = Backlog(partition for partition in assigned if positions[partition] < ends[partition])
    moved = time.monotonic()
    while not backlog.finished:
        wanting = [TopicPartition(*partition) for partition in backlog.wanting]
        before = sum(positions.values())
        backlog.add(_poll_only(client, wanting, positions))
        # Positions, not records: a partition may begin with records of an aborted transaction.
        if sum(positions.values()) > before:
            moved = time.monotonic()
        late = time.monotonic() - moved > PATIENCE_SECONDS
        for partition in wanting:
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

"""The log of one topic: its offsets, and the records between two of them. kafka-python."""

import contextlib
import time
from collections.abc import Iterator, Mapping

from kafka import KafkaConsumer, TopicPartition
from kafka.errors import KafkaTimeoutError

from tagstream.stream.contract.event import Record
from tagstream.stream.kafka.errors import translated, unreachable
from tagstream.stream.kafka.reading.reader import consumer, record_of
from tagstream.stream.settings.settings import Settings

POLL_MS, POLL_RECORDS = 200, 500


class Log:
    """
    A topic's offsets and records. Every wait is bounded by `startup_timeout_seconds`.

    All methods raise `BrokerUnreachableError` if the brokers do not answer.
    """

    def __init__(self, client: KafkaConsumer, settings: Settings, topic: str) -> None:
        """
        Ask for the partitions of the topic.

        Args:
            client: In no group; the log seeks with it.
            settings: Has the bound of every wait.
            topic: The name of a topic that exists.
        """
        self._client = client
        self._settings = settings
        self._seconds = settings.startup_timeout_seconds
        self._timeout_ms = int(self._seconds * 1000)
        with translated(settings):
            numbers = client.partitions_for_topic(topic)
        if not numbers:
            # No answer must not be taken for an empty topic.
            raise unreachable(settings, KafkaTimeoutError(f"it did not say which partitions {topic} has"))
        self._partitions = [TopicPartition(topic, number) for number in sorted(numbers)]

    def starts(self) -> dict[int, int]:
        """The oldest offset that is still there, by partition."""
        with translated(self._settings):
            found = self._client.beginning_offsets(self._partitions, timeout_ms=self._timeout_ms)
        return {partition.partition: offset for partition, offset in found.items()}

    def ends(self) -> dict[int, int]:
        """The offset that the next record will get, by partition."""
        with translated(self._settings):
            found = self._client.end_offsets(self._partitions, timeout_ms=self._timeout_ms)
        return {partition.partition: offset for partition, offset in found.items()}

    def offsets_since(self, moment_ms: int) -> dict[int, int]:
        """The offset of the first record at or after a moment (Unix milliseconds), by partition; the end where there is none."""
        ends = self.ends()
        return {number: ends[number] if at is None else at[0] for number, at in self.first_since(moment_ms).items()}

    def first_since(self, moment_ms: int) -> dict[int, tuple[int, int] | None]:
        """Offset and time (Unix milliseconds) of the first record at or after a moment, by partition; None where there is none."""
        with translated(self._settings):
            found = self._client.offsets_for_times(dict.fromkeys(self._partitions, moment_ms), timeout_ms=self._timeout_ms)
        return {
            partition.partition: None if (at := found.get(partition)) is None else (at.offset, at.timestamp)
            for partition in self._partitions
        }

    def read(self, first: Mapping[int, int], last: Mapping[int, int]) -> Iterator[Record]:
        """
        Records from offset `first` on and before offset `last`, one partition after the other, in the order of offsets.

        Args:
            first: Offset by partition; a partition without one is not read.
            last: Offset by partition.

        Raises:
            BrokerUnreachableError: Records are outstanding, and the broker does not send them.
        """
        oldest = self.starts()
        for partition in self._partitions:
            number = partition.partition
            if number not in first or number not in last:
                continue
            begin = max(first[number], oldest[number])
            if begin < last[number]:
                yield from self._read_one(partition, begin, last[number])

    def _read_one(self, partition: TopicPartition, begin: int, end: int) -> Iterator[Record]:
        with translated(self._settings):
            self._client.assign([partition])
            self._client.seek(partition, begin)
        position, moved = begin, time.monotonic()
        # The last offset of a partition may be a transaction marker or a gap of compaction: no record has it.
        while position < end:
            with translated(self._settings):
                polled = self._client.poll(timeout_ms=POLL_MS, max_records=POLL_RECORDS).get(partition, [])
                before, position = position, self._client.position(partition, timeout_ms=self._timeout_ms)
            yield from (record_of(found) for found in polled if found.offset < end)
            if position > before:
                moved = time.monotonic()
            elif time.monotonic() - moved > self._seconds:
                stuck = KafkaTimeoutError(f"partition {partition.partition} stands at {position} of {end}")
                raise unreachable(self._settings, stuck)


@contextlib.contextmanager
def log_of(settings: Settings, topic: str) -> Iterator[Log]:
    """
    The log of a topic, read by a consumer of its own that is in no group.

    Raises:
        BrokerUnreachableError: No broker answered in time, or one refused us.
    """
    with consumer(settings) as client:
        yield Log(client, settings, topic)

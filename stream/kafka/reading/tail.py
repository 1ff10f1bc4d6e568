"""Follows topics without end, from their oldest records in the order of time, or from now on."""

import heapq
import time
from collections import deque
from collections.abc import Iterable, Iterator, Sequence

from kafka.errors import KafkaTimeoutError

from tagstream.stream.contract.event import Record
from tagstream.stream.kafka import admin
from tagstream.stream.kafka.errors import BrokerUnreachableError, unreachable
from tagstream.stream.kafka.reading.reader import Place, Reader, reader_of
from tagstream.stream.settings.settings import Settings

# The others no longer wait for a partition without progress for this long, though its records are outstanding.
NO_PROGRESS_SECONDS = 5.0
# The time without a record after which the brokers are asked whether they are up.
QUIET_SECONDS = 2.0


class Backlog:
    """
    Merges partitions by time. A record is held back while an open partition without held records may still bring an older record.

    A caller that reads only the partitions in `awaited` bounds the memory: for each partition, the records of one read are held.
    """

    def __init__(self, partitions: Iterable[Place]) -> None:
        """All these partitions are open."""
        self._held: dict[Place, deque[Record]] = {partition: deque() for partition in partitions}
        self._open = set(self._held)

    @property
    def awaited(self) -> list[Place]:
        """The open partitions without held records: the other partitions wait for them."""
        return [partition for partition, held in self._held.items() if not held and partition in self._open]

    @property
    def finished(self) -> bool:
        """True if all partitions have ended and all records are taken."""
        return not self._open and not any(self._held.values())

    def add(self, records: Iterable[Record]) -> None:
        """Hold records. The records of a partition must come in their order."""
        for record in records:
            self._held[record.topic, record.partition].append(record)

    def end(self, partition: Place) -> None:
        """Wait for this partition no longer. Its later records are still taken in their turn."""
        self._open.discard(partition)

    def take(self) -> list[Record]:
        """Take the held records that are surely the oldest, in the order of time."""
        if self.awaited:
            return []
        heads = [(held[0].timestamp_ms, partition) for partition, held in self._held.items() if held]
        heapq.heapify(heads)
        taken: list[Record] = []
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


def read(
    settings: Settings, topics: Sequence[str], *, from_beginning: bool, quiet_seconds: float = QUIET_SECONDS
) -> Iterator[list[Record]]:
    """
    Batches of records of some topics, without end; an empty batch for every poll that brings no record.

    Args:
        settings: Brokers and bounds.
        topics: Names of topics that exist.
        from_beginning: True to start at the oldest record, in the order of time over all partitions. False to start after the newest
            record, for which every partition needs a leader.
        quiet_seconds: The time without a record after which the brokers are asked whether they are up.

    Raises:
        BrokerUnreachableError: No broker answered in time, or a broker refused us; also later, when all brokers have gone.
    """
    with reader_of(settings, topics) as reader:
        if not reader.partitions():
            # A missing answer must not be taken for an empty topic: no record would ever come.
            raise unreachable(settings, KafkaTimeoutError(f"it did not say which partitions {', '.join(topics)} have"))
        if from_beginning:
            yield from backlog_by_time(reader)
        else:
            reader.begin(reader.ends())
        heard = time.monotonic()
        while True:
            found = reader.poll()
            quiet = not found and time.monotonic() - heard > quiet_seconds
            if quiet:
                _require_brokers(reader, settings)
            if found or quiet:
                heard = time.monotonic()
            yield found


def _require_brokers(reader: Reader, settings: Settings) -> None:
    """Ask whether the topic is idle or the brokers are unreachable. A partition without a leader does not end the reading."""
    try:
        reader.ends(seconds=NO_PROGRESS_SECONDS)
    except BrokerUnreachableError:
        admin.partitions(settings)


def backlog_by_time(reader: Reader) -> Iterator[list[Record]]:
    """
    The records that the topics hold now, oldest first. Afterwards the reader stands after these records.

    Only partitions that the others wait for are polled, so at most one poll of each partition is in memory. The others do not wait for a
    partition without progress for `NO_PROGRESS_SECONDS`. If the brokers do not tell the partitions' ends, there is no backlog.
    """
    try:
        starts, ends = reader.starts(seconds=NO_PROGRESS_SECONDS), reader.ends(seconds=NO_PROGRESS_SECONDS)
    except BrokerUnreachableError:
        # Reading is worth more than order: the caller reads the records as they come.
        reader.begin(dict.fromkeys(reader.partitions(), 0))
        return
    reader.begin(starts)
    backlog = Backlog(reader.outstanding(ends))
    moved = time.monotonic()
    while not backlog.finished:
        if awaited := backlog.awaited:
            backlog.add(reader.poll(awaited))
            # Progress is measured by positions and not by records: a partition may begin with records of an aborted transaction.
            if reader.moved:
                moved = time.monotonic()
        late = time.monotonic() - moved > NO_PROGRESS_SECONDS
        for place in awaited:
            if late or reader.positions[place] >= ends[place]:
                backlog.end(place)
        if found := backlog.take():
            yield found
            moved = time.monotonic()

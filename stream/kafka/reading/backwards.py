"""Reads partitions of a topic backwards from their ends, so that a search within a time limit sees the newest records first. kafka-python."""

from collections.abc import Collection, Iterator

from kafka.partitioner.default import murmur2

from tagstream.stream.contract.event import Record
from tagstream.stream.kafka.reading.log import Log

CHUNK_OFFSETS = 10_000


def partition_of(key: bytes, partitions: int) -> int:
    """
    The partition of a key, as the producers of Java, Faust and kafka-python hash it.

    >>> partition_of(b"e-1", 6), partition_of(b"e-2", 6)
    (3, 4)
    """
    return int((murmur2(key) & 0x7FFFFFFF) % partitions)


class Backwards:
    """Some partitions of one topic, up to their present ends. Every `chunk` is older than the previous chunk."""

    def __init__(self, log: Log) -> None:
        """Ask for the first and last offsets of all partitions."""
        self._log = log
        self._starts, self._ends = log.starts(), log.ends()
        self._read_from: dict[int, int] = {}

    @property
    def partitions(self) -> int:
        """The number of partitions of the topic."""
        return len(self._ends)

    def take(self, partitions: Collection[int]) -> None:
        """Read these partitions too. Partitions that were taken before go on where they are."""
        for number in partitions:
            self._read_from.setdefault(number, self._ends[number])

    @property
    def is_done(self) -> bool:
        """True if the partitions that were taken are read to their beginnings."""
        return all(offset <= self._starts[number] for number, offset in self._read_from.items())

    def chunk(self) -> Iterator[Record]:
        """
        The records of the next `CHUNK_OFFSETS` offsets of each partition, oldest first within a partition.

        Raises:
            BrokerUnreachableError: Records are outstanding, and the broker does not send them.
        """
        before = {number: offset for number, offset in self._read_from.items() if offset > self._starts[number]}
        first = {number: max(self._starts[number], offset - CHUNK_OFFSETS) for number, offset in before.items()}
        yield from self._log.read(first, before)
        self._read_from |= first

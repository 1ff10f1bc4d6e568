"""Puts the records of several partitions in the order of time. Pure: the caller says which came and which partitions have ended.

A consumer returns what a fetch brought, one partition after the other, so that the first thousands of records would come from one
or two partitions. Each partition keeps its own order, whatever the times of its records are.
"""

import heapq
from collections import deque
from collections.abc import Iterable
from typing import Generic, Protocol, TypeVar

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

    A caller that reads only the partitions in `wanting` bounds the memory: of each partition, what one read brought is held.
    """

    def __init__(self, partitions: Iterable[Partition]) -> None:
        """Expect records of these partitions."""
        self._held: dict[Partition, deque[R]] = {partition: deque() for partition in partitions}
        self._open = set(self._held)

    @property
    def wanting(self) -> list[Partition]:
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
        if self.wanting:
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

"""What lies in several partitions already, put in the order of its time. Pure: whoever reads says what came and what has ended.

A consumer gives what a fetch brought, one partition after the other, so that the first thousands would be of one or two of them.
Each partition keeps its own order, whatever times its records have.
"""

import heapq
from collections import deque
from collections.abc import Iterable
from typing import Generic, Protocol, TypeVar

# Topic and number.
Partition = tuple[str, int]


class Timed(Protocol):
    """What a record needs to have here."""

    @property
    def topic(self) -> str:
        """Where it lies."""

    @property
    def partition(self) -> int:
        """Of which partition it is."""

    @property
    def timestamp_ms(self) -> int:
        """Unix milliseconds."""


R = TypeVar("R", bound=Timed)


class Backlog(Generic[R]):
    """
    Holds what came and cannot be given yet: a partition of which nothing is held may still bring something that is older.

    Who reads only those that are `wanting` bounds what is held: of each partition as much as it once brought.
    """

    def __init__(self, partitions: Iterable[Partition]) -> None:
        """Of each of them something may come."""
        self._held: dict[Partition, deque[R]] = {partition: deque() for partition in partitions}
        self._open = set(self._held)

    @property
    def wanting(self) -> list[Partition]:
        """Those that the others wait for."""
        return [partition for partition, held in self._held.items() if not held and partition in self._open]

    @property
    def over(self) -> bool:
        """Nothing is held, and nobody is waited for."""
        return not self._open and not any(self._held.values())

    @property
    def holds(self) -> bool:
        """Is anything kept back?"""
        return any(self._held.values())

    def add(self, records: Iterable[R]) -> None:
        """These came, each partition's in its order."""
        for record in records:
            self._held[record.topic, record.partition].append(record)

    def end(self, partition: Partition) -> None:
        """This one is not waited for any more; what it still brings is taken in its turn."""
        self._open.discard(partition)

    def take(self) -> list[R]:
        """All that nothing older can come before, the oldest first."""
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

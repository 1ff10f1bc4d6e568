"""
Counts the events that this process takes a second time. Pure.

A new process does not know which events the one before it had taken. `stream/contract/distinct.py` counts duplicates on the outcomes'
topics, where all of them are visible.
"""

from collections.abc import Iterable


class Taken:
    """
    The highest offset that was taken of each partition.

    >>> taken = Taken()
    >>> taken.again([(0, 5), (0, 6), (1, 5)]), taken.again([(0, 6), (0, 7)])
    (0, 1)
    """

    def __init__(self) -> None:
        """Begin with no events taken."""
        self._highest: dict[int, int] = {}

    def again(self, places: Iterable[tuple[int, int]]) -> int:
        """Note that these events (partition and offset) are taken; returns how many of them were taken before."""
        repeated = 0
        for partition, offset in places:
            if offset <= self._highest.get(partition, -1):
                repeated += 1
            else:
                self._highest[partition] = offset
        return repeated

"""Which events a worker takes a second time: all that one process can know of redeliveries. Pure.

After a restart nothing is known: the process that took the events before is gone, and so is its memory. `stream/contract/distinct.py` counts
duplicates where they can be seen, on the outcomes' topics.
"""

from collections.abc import Iterable


class Taken:
    """
    The highest offset that was taken, by partition.

    >>> taken = Taken()
    >>> taken.again([(0, 5), (0, 6), (1, 5)]), taken.again([(0, 6), (0, 7)])
    (0, 1)
    """

    def __init__(self) -> None:
        """Nothing was taken yet."""
        self._highest: dict[int, int] = {}

    def again(self, places: Iterable[tuple[int, int]]) -> int:
        """How many of these, partition and offset, were taken before; they are taken now."""
        repeated = 0
        for partition, offset in places:
            if offset <= self._highest.get(partition, -1):
                repeated += 1
            else:
                self._highest[partition] = offset
        return repeated

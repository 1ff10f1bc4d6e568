"""Computes up to which offset a partition may be committed, and how many bytes of its records are in memory."""

from collections import deque
from collections.abc import Container, Sequence


class Committable:
    """
    The offsets of one partition that were handed out and may not be committed yet, in order.

    A partition may be committed up to the first record that was handed out and is not acknowledged.

    Offsets that are never handed out (transaction markers, records removed by compaction or retention) are no gap and cost nothing,
    however many they are. Faust instead adds each of them, as a number in a list, to what was acknowledged: ten million of them,
    after an outage longer than the retention, need more memory than a worker has.

    >>> committable = Committable()
    >>> for offset in (0, 4, 5, 9_000_000):
    ...     committable.hand_out(offset)
    >>> committable.advance({0, 4, 9_000_000}, None), committable.advance({5, 9_000_000}, 5)
    (5, 9000001)

    Attributes:
        unacknowledged_bytes: The size of all records that were handed out and are not acknowledged.
    """

    def __init__(self) -> None:
        """Begin with no record handed out."""
        self._open: deque[int] = deque()
        self._sizes: dict[int, int] = {}
        self.unacknowledged_bytes = 0

    def __len__(self) -> int:
        return len(self._open)

    @property
    def first_open(self) -> int | None:
        """The first offset that was handed out and may not be committed yet; None if there is none."""
        return self._open[0] if self._open else None

    def missing(self, first: int, offsets: Sequence[int]) -> int | None:
        """
        The first open offset, from `first` to the last of `offsets`, that is not among `offsets`; None if there is none.

        >>> committable = Committable()
        >>> for offset in (3, 4, 9, 12):
        ...     committable.hand_out(offset)
        >>> committable.missing(4, [9]), committable.missing(4, [4, 9]), committable.missing(4, [4, 12])
        (4, None, 9)
        """
        here = set(offsets)
        for offset in self._open:
            if offset >= offsets[-1]:
                break
            if offset >= first and offset not in here:
                return offset
        return None

    def hand_out(self, offset: int, size: int = 0) -> None:
        """
        Note that a record of so many bytes is handed out.

        If it was before, the reader has gone back to it and will be handed all later ones again.
        """
        while self._open and self._open[-1] >= offset:
            self.acknowledge(self._open.pop())
        self._open.append(offset)
        self._sizes[offset] = size
        self.unacknowledged_bytes += size

    def acknowledge(self, offset: int) -> None:
        """
        Note that a record is done with; it may still be open, until `advance` has passed it.

        >>> committable = Committable()
        >>> committable.hand_out(7, 100)
        >>> committable.acknowledge(7)
        >>> committable.unacknowledged_bytes, committable.first_open
        (0, 7)
        """
        self.unacknowledged_bytes -= self._sizes.pop(offset, 0)

    def advance(self, acknowledged: Container[int], committed: int | None) -> int | None:
        """
        Forget the offsets that are acknowledged, from the first on, up to the first that is not.

        Args:
            acknowledged: The acknowledged offsets.
            committed: The group's offset; a record before it is done, even if another member has done it.

        Returns:
            The offset to commit: the one after the last acknowledged offset that was forgotten; None if there is none.
        """
        behind = None
        while self._open:
            offset = self._open[0]
            if offset in acknowledged:
                behind = offset + 1
            elif committed is None or offset >= committed:
                break
            self.acknowledge(self._open.popleft())
        return behind

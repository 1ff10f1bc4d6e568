"""Up to where may a partition be committed? Up to the first record that was given out and is not acknowledged. Knows no Faust."""

from collections import deque
from collections.abc import Container, Sequence


class Given:
    """
    The offsets that a reader of one partition was given and that are not committable yet, in order.

    Offsets that nobody was given (transaction markers, what compaction or retention has taken) are no gap and cost nothing, however
    many they are. Faust instead adds each of them to what was acknowledged, as a number in a list: ten million of them, after an outage
    that outlasted retention, are more memory than a worker has.

    >>> given = Given()
    >>> for offset in (0, 4, 5, 9_000_000):
    ...     given.out(offset)
    >>> given.done({0, 4, 9_000_000}, None), given.done({5, 9_000_000}, 5)
    (5, 9000001)
    """

    def __init__(self) -> None:
        """Nothing was given out."""
        self._offsets: deque[int] = deque()

    def __len__(self) -> int:
        return len(self._offsets)

    @property
    def first(self) -> int | None:
        """The first that is not committable; None if there is none."""
        return self._offsets[0] if self._offsets else None

    def missing(self, first: int, offsets: Sequence[int]) -> int | None:
        """
        The first from `first` on that is not among `offsets` and lies before the last of them; None if there is none.

        >>> given = Given()
        >>> for offset in (3, 4, 9, 12):
        ...     given.out(offset)
        >>> given.missing(4, [9]), given.missing(4, [4, 9]), given.missing(4, [4, 12])
        (4, None, 9)
        """
        here = set(offsets)
        for offset in self._offsets:
            if offset >= offsets[-1]:
                break
            if offset >= first and offset not in here:
                return offset
        return None

    def out(self, offset: int) -> None:
        """A record is given out; if it was before, the reader has gone back to it, and all behind it will come again."""
        while self._offsets and self._offsets[-1] >= offset:
            self._offsets.pop()
        self._offsets.append(offset)

    def done(self, acknowledged: Container[int], committed: int | None) -> int | None:
        """
        Forget what is acknowledged, from the first on, up to the first that is not.

        Args:
            acknowledged: The offsets of what is.
            committed: The group's offset: what lies before it is done, whoever has done it.

        Returns:
            The offset behind the last that was forgotten for being acknowledged; None if there is none.
        """
        behind = None
        while self._offsets:
            offset = self._offsets[0]
            if offset in acknowledged:
                behind = offset + 1
            elif committed is None or offset >= committed:
                break
            self._offsets.popleft()
        return behind

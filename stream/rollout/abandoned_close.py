"""An epoch whose controller is gone between close and marks."""

# A close without marks for so long was left by a controller that is gone. A change takes a tenth of that.
FINISH_SECONDS = 5.0


class AbandonedClose:
    """Notices an epoch that stays closing: whoever closed it is gone. Time is this process's own, from when it first saw the close."""

    def __init__(self, seconds: float = FINISH_SECONDS) -> None:
        """Wait for so long before it counts as left, and between two tries to finish it."""
        self._seconds = seconds
        self._seen: tuple[int | None, float] = (None, 0.0)

    def at(self, closing: int | None, now: float) -> bool:
        """
        Is an epoch to be finished now?

        Args:
            closing: The epoch that is closing; None if none is.
            now: Seconds of a clock that does not go back.

        >>> left = AbandonedClose(5.0)
        >>> [left.at(7, now) for now in (0.0, 4.0, 5.0, 6.0, 10.0)]
        [False, False, True, False, True]
        """
        epoch, since = self._seen
        if closing != epoch:
            self._seen = closing, now
            return False
        if closing is None or now - since < self._seconds:
            return False
        self._seen = closing, now
        return True

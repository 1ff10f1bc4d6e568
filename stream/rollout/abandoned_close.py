"""Detects an epoch whose controller ended between the close and the marks."""

# The controller of a close that has no marks after this time has ended. A change takes a tenth of this time.
FINISH_SECONDS = 5.0


class AbandonedClose:
    """Notices an epoch that stays closing because its controller has ended. Time counts from when this process first saw the close."""

    def __init__(self, seconds: float = FINISH_SECONDS) -> None:
        """`seconds`: the time after which a close counts as abandoned, and the pause between two tries to finish its epoch."""
        self._seconds = seconds
        self._seen: tuple[int | None, float] = (None, 0.0)

    def at(self, closing: int | None, now: float) -> bool:
        """
        Return True if the closing epoch is to be finished now.

        Args:
            closing: The epoch that is closing; None if no epoch is closing.
            now: Seconds of a monotonic clock.

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

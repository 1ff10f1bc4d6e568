"""How long a row takes in the model, as the last batches took it."""

# The share of the newest batch in the estimate: a slow batch is forgotten after a few.
NEWEST_WEIGHT = 0.3


class Pace:
    """
    Estimates how long rows that wait will wait, in seconds. Before the first batch the estimate is 0: nothing is refused on a guess.

    >>> pace = Pace(threads=2)
    >>> pace.wait_seconds(100)
    0.0
    >>> pace.took(1.0, rows=10)
    >>> pace.wait_seconds(100)
    5.0
    """

    def __init__(self, *, threads: int) -> None:
        """`threads`: batches in the model at once."""
        self._threads = threads
        self._row_seconds: float | None = None

    def took(self, seconds: float, *, rows: int) -> None:
        """A batch of so many rows was so long in the model."""
        newest = seconds / rows / self._threads
        last = newest if self._row_seconds is None else self._row_seconds
        self._row_seconds = last + NEWEST_WEIGHT * (newest - last)

    def wait_seconds(self, rows: int) -> float:
        """The time in which so many rows are decided."""
        return (self._row_seconds or 0.0) * rows

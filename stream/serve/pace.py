"""How long a row takes in the model, as the last batches took it."""

# The estimate is that of about so many rows that were decided last. It is kept by rows: by batches, many small ones, whose rows are
# dear, would outweigh the large ones that a full queue becomes.
LAST_ROWS = 512


class Pace:
    """
    Estimates how long rows that wait will wait, in seconds. Before a full batch of rows the estimate is 0: nothing is refused on a guess.

    >>> pace = Pace(threads=2, least_rows=64)
    >>> pace.took(0.1, rows=1)
    >>> pace.wait_seconds(100)
    0.0
    >>> pace.took(6.4, rows=64)
    >>> pace.wait_seconds(100)
    5.0
    """

    def __init__(self, *, threads: int, least_rows: int) -> None:
        """
        Begin without an estimate.

        Args:
            threads: Batches in the model at once.
            least_rows: Fewer say nothing: the first batch of a burst may be one row, beside a thousand connections that begin.
        """
        self._threads = threads
        self._least_rows = least_rows
        self._seconds = self._rows = 0.0

    def took(self, seconds: float, *, rows: int) -> None:
        """A batch of so many rows was so long in the model."""
        kept = LAST_ROWS / (LAST_ROWS + rows)
        self._seconds = self._seconds * kept + seconds
        self._rows = self._rows * kept + rows

    def wait_seconds(self, rows: int) -> float:
        """The time in which so many rows are decided."""
        return self._seconds / self._rows / self._threads * rows if self._rows >= self._least_rows else 0.0

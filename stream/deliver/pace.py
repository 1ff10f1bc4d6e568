"""How long a worker waits between two fetches, by what its threads lack of a processor."""

import time
from collections.abc import Callable

# Of the seconds that a batch took in its thread over those that the thread had a processor. What lies between is a fetch's own wait,
# from none to `MOST_SECONDS`.
EASY, CROWDED = 1.15, 1.45
MOST_SECONDS = 0.010
# The memory of the ratio: a batch counts half once so many seconds of work have followed.
HALF_SECONDS = 0.2
# The wait rises at once and falls slowly, by so many seconds in a second.
FALL = 0.001


class Pace:
    """
    Waits that make batches larger while the processor is short.

    A batch begins as soon as a thread is free, so that at a third of a worker's load most batches have one event, whose fetch, hand-over and
    request cost more than its text. Where cores are shared with a broker or with other programs, this work is what the texts wait for. A
    thread that waits for a core (or for Python's lock) takes longer for a batch than it has a processor, and that ratio is what counts here: no
    figure of the machine is read, so that a quota on a container is seen, too. Where there are cores to spare, no fetch waits.

    >>> pace = Pace(monotonic=lambda: 0.0)
    >>> pace.decided(0.020, 0.020)
    >>> pace.seconds
    0.0
    >>> for _ in range(100):
    ...     pace.decided(0.040, 0.020)
    >>> pace.seconds
    0.01
    """

    def __init__(self, monotonic: Callable[[], float] = time.monotonic) -> None:
        """Begin without a wait."""
        self._monotonic = monotonic
        self._took = self._had = 0.0
        self._wait, self._at = 0.0, monotonic()

    def decided(self, took: float, had: float) -> None:
        """
        A batch was decided.

        Args:
            took: Seconds from its beginning in the thread to its end.
            had: Processor seconds of the thread meanwhile.
        """
        keep = 0.5 ** (had / HALF_SECONDS)
        self._took, self._had = self._took * keep + took, self._had * keep + had
        short = self._took / self._had if self._had else EASY
        wanted = MOST_SECONDS * min(1.0, max(0.0, (short - EASY) / (CROWDED - EASY)))
        self._wait, self._at = max(wanted, self.seconds), self._monotonic()

    @property
    def seconds(self) -> float:
        """So long after a fetch the next one is sent."""
        return max(0.0, self._wait - FALL * (self._monotonic() - self._at))

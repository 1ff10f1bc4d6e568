"""How long a worker waits between two fetches: the longer its threads wait for a processor, the longer it waits."""

import time
from collections.abc import Callable

# Ratios of a batch's seconds in its thread to the thread's processor seconds. Between the two ratios a fetch's wait rises from 0 to
# `MOST_SECONDS`.
EASY, CROWDED = 1.15, 1.45
MOST_SECONDS = 0.010
# The memory of the ratio, in processor seconds: a batch counts half after this much more work.
HALF_SECONDS = 0.2
# The wait rises at once and falls slowly, by this many seconds per second.
FALL = 0.001


class Pace:
    """
    Waits that make batches larger while the processor is short.

    A batch begins as soon as a thread is free, so at a third of a worker's load most batches have one event. The fetch, hand-over and
    request of such a batch cost more than its text. Where the worker shares cores with a broker or other programs, texts wait for this
    work. A thread that waits for a core (or for Python's lock) takes more seconds for a batch than it has processor seconds, and this
    ratio sets the wait. No figure of the machine is read, so a container's quota is seen, too. Where there are cores to spare, no fetch
    waits.

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
        """`monotonic` gives seconds."""
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
        """The wait between two fetches, in seconds."""
        return max(0.0, self._wait - FALL * (self._monotonic() - self._at))

"""Is the worker making progress? A pure answer from a few clock readings that the stream writes and the HTTP thread reads.

Progress is a batch acknowledged or a commit that moved, while there is something to do. An idle worker is ready; a worker with
lag that neither acknowledges nor commits is not, and neither is one whose event loop has stopped ticking, or whose brokers are silent: it does
not know whether there is something to do.
"""

import threading
from collections.abc import Callable
from dataclasses import dataclass

# What readiness begins with then; who reads it knows by this whom to look at.
SILENT = "the brokers have not said"


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """`ready`, and in words why or why not."""

    ready: bool
    why: str


class Progress:
    """
    What the worker last did. Every method may be called from any thread.

    >>> clock = iter([0.0, 1.0, 2.0, 30.0])
    >>> progress = Progress(stall_seconds=20, monotonic=lambda: next(clock))
    >>> progress.assigned(4)
    >>> progress.ticked(lag=7)
    >>> progress.verdict()
    Verdict(ready=False, why='the event loop has not run for 28 s')
    """

    def __init__(self, *, stall_seconds: float, monotonic: Callable[[], float]) -> None:
        """`stall_seconds` is the longest time without progress that is still called ready."""
        self._stall = stall_seconds
        self._now = monotonic
        self._lock = threading.Lock()
        self._partitions: int | None = None
        self._lag = 0
        self._tick = self._moved = self._known = monotonic()
        self._stopping = False
        self._refused: str | None = None

    def assigned(self, partitions: int) -> None:
        """The group gave this worker so many partitions; that counts as progress."""
        with self._lock:
            self._partitions = partitions
            self._moved = self._now()

    def moved(self) -> None:
        """A batch was acknowledged or a commit went through."""
        with self._lock:
            self._moved = self._now()

    def ticked(self, *, lag: int, known: bool = True) -> None:
        """The event loop runs; `lag` events wait in the assigned partitions, or did when the brokers last said so, if not `known`."""
        with self._lock:
            self._tick = self._now()
            if known:
                self._known = self._tick
            if self._lag == 0 and lag > 0:
                # Work has just arrived: the clock of a stall starts now, not when the last batch before the pause ended.
                self._moved = self._tick
            self._lag = lag

    def stopping(self) -> None:
        """The worker drains and will end."""
        with self._lock:
            self._stopping = True

    def refuse(self, why: str | None) -> None:
        """The worker does not go on until a person has answered; None: somebody has."""
        with self._lock:
            self._refused = why

    def verdict(self) -> Verdict:
        """Ready or not, now."""
        with self._lock:
            why_not = self._why_not(self._now())
            if why_not is not None:
                return Verdict(ready=False, why=why_not)
            return Verdict(ready=True, why=f"{self._partitions} partitions, {self._lag} events wait")

    def _why_not(self, now: float) -> str | None:
        """Must be called under the lock. What weighs most comes first."""
        reasons = (
            (self._refused is not None, self._refused),
            (self._stopping, "the worker is stopping"),
            (now - self._tick > self._stall, f"the event loop has not run for {now - self._tick:.0f} s"),
            (self._partitions is None, "the group has not given this worker its partitions yet"),
            (now - self._known > self._stall, f"{SILENT} for {now - self._known:.0f} s what waits"),
            (
                self._lag > 0 and now - self._moved > self._stall,
                f"{self._lag} events wait and none has moved for {now - self._moved:.0f} s",
            ),
        )
        return next((why for holds, why in reasons if holds), None)

"""Readiness: is the worker making progress? Computed from a few clock readings that the stream writes and the HTTP
thread reads.

Progress is a batch that was acknowledged or a commit that moved. An idle worker is ready. A worker is not ready if it
has lag and neither acknowledges nor commits, if its event loop has stopped, or if the brokers are silent, because then
its lag is unknown.
"""

import threading
from collections.abc import Callable
from dataclasses import dataclass

# How the reason begins while the brokers are silent; `top` and the page recognise the state by it.
SILENT = "the brokers have not answered"


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """Whether the worker is ready, and the reason in words."""

    ready: bool
    why: str


class Progress:
    """
    The times of the worker's last steps. Every method may be called from any thread.

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
        """The consumer group assigned this many partitions to the worker; that counts as progress."""
        with self._lock:
            self._partitions = partitions
            self._moved = self._now()

    def moved(self) -> None:
        """A batch was acknowledged or a commit went through."""
        with self._lock:
            self._moved = self._now()

    def ticked(self, *, lag: int, known: bool = True) -> None:
        """The event loop runs and `lag` events wait; with `known=False` the lag is from an earlier answer of the brokers."""
        with self._lock:
            self._tick = self._now()
            if known:
                self._known = self._tick
            if self._lag == 0 and lag > 0:
                # Work has just arrived: a stall is timed from now, not from the last batch before the pause.
                self._moved = self._tick
            self._lag = lag

    def stopping(self) -> None:
        """The worker finishes its batches and ends."""
        with self._lock:
            self._stopping = True

    def refuse(self, why: str | None) -> None:
        """The worker waits for a person, for this reason; None ends the wait."""
        with self._lock:
            self._refused = why

    def verdict(self) -> Verdict:
        """Ready or not, now."""
        with self._lock:
            why_not = self._why_not(self._now())
            if why_not is not None:
                return Verdict(ready=False, why=why_not)
            lag = (
                f"{self._lag} events wait"
                if self._known == self._tick
                else f"{SILENT} the last question, so the lag is unknown"
            )
            return Verdict(ready=True, why=f"{self._partitions} partitions, {lag}")

    def _why_not(self, now: float) -> str | None:
        """Call it under the lock. The most serious reason comes first."""
        reasons = (
            (self._refused is not None, self._refused),
            (self._stopping, "the worker is stopping"),
            (now - self._tick > self._stall, f"the event loop has not run for {now - self._tick:.0f} s"),
            (self._partitions is None, "the group has not given this worker its partitions yet"),
            (now - self._known > self._stall, f"{SILENT} for {now - self._known:.0f} s, so the lag is unknown"),
            (
                self._lag > 0 and now - self._moved > self._stall,
                f"{self._lag} events wait and none has moved for {now - self._moved:.0f} s",
            ),
        )
        return next((why for holds, why in reasons if holds), None)

"""Readiness: whether the worker makes progress, computed from clock readings that the stream writes and the HTTP thread reads.

Progress is a batch that was acknowledged or a commit that moved. An idle worker is ready. A worker is not ready if it has lag and neither
acknowledges nor commits, if its event loop has stopped, or if the brokers are silent, because then its lag is unknown. A worker is also not
ready while it waits for its partitions and while it stops, without being at fault.
"""

import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass

# `top` and the page recognise a state by its reason: the beginning of the reason while the brokers are silent, and the two reasons of a
# worker that is not at fault.
SILENT = "the brokers have not answered"
STARTING = "the group has not given this worker its partitions yet"
STOPPING = "the worker is stopping"


@dataclass(frozen=True, slots=True, kw_only=True)
class HealthVerdict:
    """`ready` is true if the worker is ready; `why` has the reason in words."""

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
    HealthVerdict(ready=False, why='the event loop has not run for 28 s')
    """

    def __init__(self, *, stall_seconds: float, monotonic: Callable[[], float]) -> None:
        """`stall_seconds` is the longest time without progress that is still called ready."""
        self._stall = stall_seconds
        self._now = monotonic
        self._lock = threading.Lock()
        self._partitions: int | None = None
        # None until the brokers have answered for the first time; then the lag of their last answer.
        self._lag: int | None = None
        self._behind = 0
        self._tick = self._moved = self._known = monotonic()
        self._stopping = False
        self._refused: str | None = None

    def assigned(self, partitions: int) -> None:
        """The consumer group assigned this many partitions to the worker; that counts as progress."""
        with self._lock:
            self._moved = self._now()
            if self._partitions is None:
                # The worker looks at its position only from now on; the wait for the group does not count.
                self._tick = self._known = self._moved
            self._partitions = partitions

    def moved(self) -> None:
        """A batch was acknowledged or a commit went through."""
        with self._lock:
            self._moved = self._now()

    def ticked(self, *, lag: int | None, behind: int = 0) -> None:
        """
        The event loop runs.

        Args:
            lag: The number of events that wait and may be read; None if the brokers have not answered.
            behind: The number of events behind an open transaction, which no worker may read.
        """
        with self._lock:
            self._behind = behind
            before, self._tick = self._tick, self._now()
            if lag is None:
                # An unknown lag is not a stall, so the time since the last tick does not count.
                self._moved = min(self._tick, self._moved + self._tick - before)
                return
            if not self._lag:
                # Work has just arrived: a stall is timed from now, not from the last batch before the pause.
                self._moved = self._tick
            self._known, self._lag = self._tick, lag

    def stopping(self) -> None:
        """The worker finishes its batches and ends."""
        with self._lock:
            self._stopping = True

    def refuse(self, why: str | None) -> None:
        """The worker waits for a person, for this reason; None ends the wait."""
        with self._lock:
            self._refused = why

    def verdict(self) -> HealthVerdict:
        """The worker's readiness now."""
        with self._lock:
            why_not = self._why_not(self._now())
            if why_not is not None:
                return HealthVerdict(ready=False, why=why_not)
            return HealthVerdict(ready=True, why=f"{self._partitions} partitions, {self._lag_in_words()}")

    def _lag_in_words(self) -> str:
        if self._known != self._tick:
            return f"{SILENT} the last question, so the lag is unknown"
        if self._lag is None:
            return "the lag is not known yet"
        return events_wait(self._lag) + (f", {self._behind} more behind an open transaction" if self._behind else "")

    def _why_not(self, now: float) -> str | None:
        """Why the worker is not ready, the most serious reason first; None if it is ready. The caller holds the lock."""
        # The stall counts up to the last tick, because the lag may turn out to be unknown since then.
        stood = self._tick - self._moved
        asof = "" if self._known == self._tick else ", as of the brokers' last answer"
        reasons = (
            (self._refused is not None, self._refused),
            (self._stopping, STOPPING),
            # The brokers are asked only after the group has given partitions, so the clocks below do not run yet.
            (self._partitions is None, STARTING),
            (now - self._tick > self._stall, f"the event loop has not run for {now - self._tick:.0f} s"),
            (now - self._known > self._stall, f"{SILENT} for {now - self._known:.0f} s, so the lag is unknown"),
            (
                bool(self._lag) and stood > self._stall,
                f"{events_wait(self._lag or 0)} and none has moved for {stood:.0f} s{asof}",
            ),
        )
        return next((why for holds, why in reasons if holds), None)


class Readiness:
    """
    The readiness of a worker on all topics that it reads.

    The verdict is the first topic's verdict. If only another topic makes no progress, the verdict is that topic's.

    >>> events, answers = (Progress(stall_seconds=20, monotonic=lambda: 1.0) for _ in range(2))
    >>> events.assigned(4)
    >>> Readiness({"content": events, "reviewed": answers}).verdict()
    HealthVerdict(ready=False, why='reviewed: the group has not given this worker its partitions yet')
    """

    def __init__(self, topics: Mapping[str, Progress]) -> None:
        """`topics` is the progress on each topic, by its name."""
        self._topics = topics

    def verdict(self) -> HealthVerdict:
        """The worker's readiness now."""
        (_, first), *others = [(topic, progress.verdict()) for topic, progress in self._topics.items()]
        if not first.ready:
            return first
        waiting = ((topic, verdict) for topic, verdict in others if not verdict.ready)
        return next((HealthVerdict(ready=False, why=f"{topic}: {verdict.why}") for topic, verdict in waiting), first)


def events_wait(count: int) -> str:
    """
    The number of events that wait, in words.

    >>> events_wait(1), events_wait(7)
    ('1 event waits', '7 events wait')
    """
    return "1 event waits" if count == 1 else f"{count} events wait"

"""The last minutes of one or several workers, kept in memory so that rates can be computed."""

import threading
from collections import deque
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace

from monitoring.figures.snapshot import Snapshot, difference, pool

# A snapshot is a few hundred figures; so many of them are kept at most.
SPACING_SECONDS = 5.0
LONGEST_SECONDS = 600.0
# Flow and latency are those of the last seconds.
FLOW_SECONDS = 10.0
LEAST_FLOW_SECONDS = 1.0
# Drift is judged on as few minutes as hold so many decisions: under 500 the figures are mostly chance.
JUDGED_SECONDS = 60.0
JUDGED_DECISIONS = 1000.0
DECISIONS = "tagstream_predictions_total"

# When, and what every worker said then.
Kept = tuple[float, Mapping[str, Snapshot]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Windows:
    """
    The present, in three spans.

    Attributes:
        total: Since the workers began.
        flow: The last seconds; None where this is the first look.
        judged: The span on which drift is judged.
        since_start: `judged` goes back to the beginning of the workers.
    """

    total: Snapshot
    flow: Snapshot | None
    judged: Snapshot
    since_start: bool


class History:
    """
    Earlier snapshots by worker. Every method may be called from any thread.

    The page, the terminal and each scrape fill it; without them it stays empty.
    """

    def __init__(self) -> None:
        """Nothing has been seen."""
        self._lock = threading.Lock()
        self._kept: deque[Kept] = deque()

    def see(self, now: Mapping[str, Snapshot]) -> Windows:
        """
        Take the workers' present snapshots, by any name that stays the same, and put them beside the earlier ones.

        Raises:
            ValueError: There is none.
        """
        total = pool(list(now.values()))
        with self._lock:
            if self._kept and total.at < self._kept[-1][0]:
                # The clock was set back: spans to what was kept before would be negative until it has caught up.
                self._kept.clear()
            earlier = list(self._kept)
            self._keep(total.at, now)
        judged = self._judged(now, earlier, total.at)
        return Windows(
            total=total,
            flow=self._flow(now, earlier, total.at),
            judged=total if judged is None else judged,
            since_start=judged is None,
        )

    def _keep(self, at: float, now: Mapping[str, Snapshot]) -> None:
        if self._kept and at - self._kept[-1][0] < SPACING_SECONDS:
            return
        self._kept.append((at, {name: _lean(one) for name, one in now.items()}))
        # One that is old enough to be the beginning of the longest span stays.
        while len(self._kept) > 1 and at - self._kept[1][0] >= LONGEST_SECONDS:
            self._kept.popleft()

    @staticmethod
    def _flow(now: Mapping[str, Snapshot], earlier: Sequence[Kept], at: float) -> Snapshot | None:
        old = [one for one in earlier if at - one[0] >= FLOW_SECONDS]
        if old:
            return _since(now, old[-1][1], at - old[-1][0])
        if earlier and at - earlier[0][0] >= LEAST_FLOW_SECONDS:
            return _since(now, earlier[0][1], at - earlier[0][0])
        return None

    @staticmethod
    def _judged(now: Mapping[str, Snapshot], earlier: Sequence[Kept], at: float) -> Snapshot | None:
        for when, kept in reversed(earlier):
            if at - when < JUDGED_SECONDS:
                continue
            if at - when >= LONGEST_SECONDS or _decisions(now, now) - _decisions(kept, now) >= JUDGED_DECISIONS:
                return _since(now, kept, at - when)
        return None


def _decisions(snapshots: Mapping[str, Snapshot], of: Collection[str]) -> float:
    return sum(one.counter(DECISIONS) or 0.0 for name, one in snapshots.items() if name in of)


def _since(now: Mapping[str, Snapshot], then: Mapping[str, Snapshot], seconds: float) -> Snapshot:
    spans = []
    for name, one in now.items():
        began_within = one.seconds is not None and one.seconds <= seconds
        # A worker that runs for longer and was not seen then: its share of this span is unknown, so it counts as 0.
        spans.append(difference(one, then.get(name, None if began_within else one)))
    return pool(spans)


def _lean(one: Snapshot) -> Snapshot:
    """The counters that are not 0: a later difference needs no others."""
    counters = {name: {key: value for key, value in series.items() if value} for name, series in one.counters.items()}
    return replace(one, counters={name: series for name, series in counters.items() if series}, gauges={})

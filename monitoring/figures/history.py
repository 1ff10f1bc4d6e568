"""The last minutes of one or several workers, kept in memory so that rates can be computed."""

import threading
from collections import deque
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace

from tagstream.monitoring.figures.snapshot import Snapshot, difference, pool

# Least time between two kept snapshots, and the longest time that one is kept: about 120 of a few hundred figures each.
SPACING_SECONDS = 5.0
LONGEST_SECONDS = 600.0
# Flow and latency are those of the last seconds.
FLOW_SECONDS = 10.0
LEAST_FLOW_SECONDS = 1.0
# Drift is judged on the shortest span of at least a minute that holds this many decisions; with few, distances are chance.
JUDGED_SECONDS = 60.0
JUDGED_DECISIONS = 1000.0
# Late outcomes are an alarm if they came in each of the last three minutes. A backlog that is worked off within a minute lies in
# two of them at most.
MINUTE_SECONDS = 60.0
MINUTES = 3
DECISIONS = "tagstream_predictions_total"
MODEL = "tagstream_model_info"
# Its edges count where no value is below them, too: in a minute between two kept snapshots all outcomes may be late.
AGES = "tagstream_event_age_seconds_bucket"

# A time, and the snapshot of each worker at that time.
Kept = tuple[float, Mapping[str, Snapshot]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Windows:
    """
    The pooled metrics of several spans.

    Attributes:
        total: Since the workers started.
        flow: The last seconds; None at the first look.
        judged: The span on which drift is judged.
        minutes: Each of the last three minutes, the newest first; empty until all three are known.
        since_start: `judged` goes back to the start of the workers.
    """

    total: Snapshot
    flow: Snapshot | None
    judged: Snapshot
    minutes: tuple[Snapshot, ...]
    since_start: bool


class History:
    """
    Earlier snapshots by worker. Every method may be called from any thread.

    The page, the terminal and each scrape fill it; without them it stays empty.
    """

    def __init__(self) -> None:
        """Start without snapshots."""
        self._lock = threading.Lock()
        self._kept: deque[Kept] = deque()

    def see(self, now: Mapping[str, Snapshot]) -> Windows:
        """
        Add the workers' snapshots of now, by worker, and compare them with the earlier ones.

        Raises:
            ValueError: `now` is empty.
        """
        total = pool(list(now.values()))
        with self._lock:
            if self._kept and total.at < self._kept[-1][0]:
                # The clock was set back: spans since the kept snapshots would be negative.
                self._kept.clear()
            earlier = list(self._kept)
            self._keep(total.at, now)
        judged = self._judged(now, earlier, total.at)
        return Windows(
            total=total,
            flow=self._flow(now, earlier, total.at),
            judged=total if judged is None else judged,
            minutes=self._minutes(now, earlier, total.at),
            since_start=judged is None,
        )

    def _keep(self, at: float, now: Mapping[str, Snapshot]) -> None:
        if self._kept and at - self._kept[-1][0] < SPACING_SECONDS:
            return
        self._kept.append((at, {name: _lean(one) for name, one in now.items()}))
        # One snapshot older than the longest span is kept as its beginning.
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
    def _minutes(now: Mapping[str, Snapshot], earlier: Sequence[Kept], at: float) -> tuple[Snapshot, ...]:
        found: list[Snapshot] = []
        for when, kept in reversed(earlier):
            if at - when >= MINUTE_SECONDS:
                found.append(_since(now, kept, at - when))
                at, now = when, kept
                if len(found) == MINUTES:
                    return tuple(found)
        return ()

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
        # A worker that has run for longer but was not seen at the start: its events in this span are unknown and count as 0.
        before = then.get(name, None if began_within else one)
        span = difference(one, before)
        if before is not None and MODEL in before.gauges:
            # The model that decided as the span began has decided in it too.
            models = {**before.gauges[MODEL], **span.gauges.get(MODEL, {})}
            span = replace(span, gauges={**span.gauges, MODEL: models})
        spans.append(span)
    return pool(spans)


def _lean(one: Snapshot) -> Snapshot:
    """The snapshot without gauges and counters at 0, which a later difference does not need, but with its model and all edges of ages."""
    models = {MODEL: one.gauges[MODEL]} if MODEL in one.gauges else {}
    counters = {
        name: {key: value for key, value in series.items() if value or name == AGES} for name, series in one.counters.items()
    }
    return replace(one, counters={name: series for name, series in counters.items() if series}, gauges=models)

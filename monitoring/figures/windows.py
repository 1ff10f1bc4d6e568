"""The time spans from which rates and shares are computed."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace

from tagstream.monitoring.figures.history import LONGEST_SECONDS, MODEL, Kept, Look
from tagstream.monitoring.figures.scrape import Scrape
from tagstream.monitoring.figures.snapshot import Snapshot, difference, pool

# Flow and latency cover this many last seconds. Until then, they need at least LEAST_FLOW_SECONDS.
FLOW_SECONDS = 10.0
LEAST_FLOW_SECONDS = 1.0
# Drift is judged on the shortest span that has at least these seconds and decisions: with few decisions, distances are chance.
JUDGED_SECONDS = 60.0
JUDGED_DECISIONS = 1000.0
# Late outcomes are an alarm if each of the last three minutes has them. A backlog that is worked off within a minute lies in at most
# two of these minutes.
MINUTE_SECONDS = 60.0
MINUTES = 3
DECISIONS = "tagstream_predictions_total"


@dataclass(frozen=True, slots=True, kw_only=True)
class Windows:
    """
    The pooled metrics of several time spans.

    Attributes:
        total: Metrics since the workers started.
        flow: Metrics of the last seconds; None at the first look.
        judged: Metrics of the span on which drift is judged.
        minutes: Metrics of each of the last three minutes, the newest first; empty until all three are known.
        since_start: `judged` goes back to the start of the workers.
    """

    total: Snapshot
    flow: Snapshot | None
    judged: Snapshot
    minutes: tuple[Snapshot, ...]
    since_start: bool


def windows(look: Look) -> Windows:
    """
    Compare the workers' current metrics with the earlier metrics.

    Raises:
        ValueError: There is no worker.
    """
    now, earlier, total = look.now, look.earlier, pool(list(look.now.values()))
    judged = _judged(now, earlier, total.at)
    return Windows(
        total=total,
        flow=_flow(now, earlier, total.at),
        judged=total if judged is None else judged,
        minutes=_minutes(now, earlier, total.at),
        since_start=judged is None,
    )


def _flow(now: Mapping[str, Scrape], earlier: Sequence[Kept], at: float) -> Snapshot | None:
    old = [one for one in earlier if at - one[0] >= FLOW_SECONDS]
    if old:
        return _since(now, old[-1][1], at - old[-1][0])
    if earlier and at - earlier[0][0] >= LEAST_FLOW_SECONDS:
        return _since(now, earlier[0][1], at - earlier[0][0])
    return None


def _minutes(now: Mapping[str, Scrape], earlier: Sequence[Kept], at: float) -> tuple[Snapshot, ...]:
    found: list[Snapshot] = []
    for when, kept in reversed(earlier):
        if at - when >= MINUTE_SECONDS:
            found.append(_since(now, kept, at - when))
            at, now = when, kept
            if len(found) == MINUTES:
                return tuple(found)
    return ()


def _judged(now: Mapping[str, Scrape], earlier: Sequence[Kept], at: float) -> Snapshot | None:
    for when, kept in reversed(earlier):
        if at - when < JUDGED_SECONDS:
            continue
        if at - when >= LONGEST_SECONDS or _decisions(now, now) - _decisions(kept, now) >= JUDGED_DECISIONS:
            return _since(now, kept, at - when)
    return None


def _decisions(snapshots: Mapping[str, Scrape], of: Collection[str]) -> float:
    return sum(sum(one.counters.get(DECISIONS, {}).values()) for name, one in snapshots.items() if name in of)


def _since(now: Mapping[str, Scrape], then: Mapping[str, Scrape], seconds: float) -> Snapshot:
    spans = []
    for name, one in now.items():
        began_within = one.seconds is not None and one.seconds <= seconds
        # A worker may have run for longer than the span without a look at its start: its events in the span are unknown and count as 0.
        before = then.get(name, None if began_within else one)
        span = difference(one, before)
        if before is not None and MODEL in before.gauges:
            # The model in force at the beginning of the span has decided in the span, too.
            models = {**before.gauges[MODEL], **span.gauges.get(MODEL, {})}
            span = replace(span, gauges={**span.gauges, MODEL: models})
        spans.append(span)
    return pool(spans)

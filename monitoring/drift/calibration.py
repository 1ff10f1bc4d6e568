"""Thresholds from stable data: the lowest that give at most one false alarm in a stated number of events. Pure.

The data is replayed in its own order, then in resampled blocks until there are enough events to judge the rate of
alarms (a block bootstrap). Blocks keep the correlation between neighbouring events, which a shuffle would remove. A
threshold never falls below the shipped one, because smaller effects do not matter in practice; calibration only raises
it as far as this stream's noise needs.
"""

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from tagstream.monitoring.drift import baseline
from tagstream.monitoring.drift.sudden_change import ChangeDetector
from tagstream.monitoring.drift.thresholds import CHANGE_DELTA, DriftPlan, Thresholds, setting_of
from tagstream.monitoring.drift.window_comparison import compare
from tagstream.monitoring.observer import Observation
from tagstream.monitoring.signals import WATCHED, DriftSignal
from tagstream.monitoring.vocabulary import DriftScore

# Rule of three: without an alarm in 3n events, the mean number of events between alarms is at least n, at 95 % confidence.
RUNS = 3
MOST_EVENTS = 3_000_000
DELTAS = (CHANGE_DELTA, 1e-3, 1e-4, 1e-5, 1e-6, 1e-8, 1e-10, 1e-15)
# The factor by which a threshold lies above the highest score that must not be an alarm.
MARGIN = 1.05
LEAST_WINDOWS = 5


class TooFewError(Exception):
    """There are too few decisions to calibrate on; the message says how many are needed."""

    exit_code = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class Calibrated:
    """
    One calibrated threshold.

    Attributes:
        detector: Name of the detector.
        setting: Name of the setting for the threshold.
        threshold: The lowest threshold with few enough alarms, or the strictest threshold if all have too many.
        shipped: The default.
        alarms: False alarms in the replay with this threshold.
        events: Number of events in the replay.
        reached: True if there are as few alarms as was asked for.
    """

    detector: str
    setting: str
    threshold: float
    shipped: float
    alarms: int
    events: int
    reached: bool

    @property
    def run(self) -> float:
        """Mean number of events between false alarms; without an alarm, its lower bound at 95 % confidence."""
        return self.events / self.alarms if self.alarms else self.events / RUNS


def calibrate(
    observations: Sequence[Observation],
    *,
    plan: DriftPlan,
    run_events: int,
    seed: int = 1,
) -> list[Calibrated]:
    """
    Find thresholds that give each detector at most one false alarm in `run_events` events.

    Args:
        observations: Decisions of a stable time, in the order of the stream; the first windows become the baseline.
        plan: Sizes of the windows; its thresholds are not used.
        run_events: Events per false alarm.
        seed: Seed of the resampling.

    Raises:
        TooFewError: Fewer than five windows remain after the baseline.
    """
    decided = [seen for seen in observations if seen.signals is not None and seen.label is not None]
    require(len(decided), plan, of="decisions")
    learned = plan.reference_windows * plan.window_events
    reference = baseline.of(decided[:learned])
    rest = decided[learned:]
    replays = list(_replays(rest, block=plan.window_events // 2, events=min(RUNS * run_events, MOST_EVENTS), seed=seed))
    total = sum(len(replay) for replay in replays)
    allowed = total // run_events
    scores: dict[DriftScore, list[float]] = {score: [] for score in DriftScore}
    for replay in replays:
        for start in range(0, len(replay) - plan.window_events + 1, plan.window_events):
            window = replay[start : start + plan.window_events]
            # Labels are compared with the stream's own mix: a difference from the bundle's mix is drift, and not noise to calibrate away.
            found = compare(window, baseline=reference, label_ratio=reference.label_ratio)
            for score, value in found.scores.items():
                scores[score].append(value)
    shipped = Thresholds()
    return [
        *_changes(replays, total=total, allowed=allowed),
        *(_window(score, values, shipped.of(score), total=total, allowed=allowed) for score, values in scores.items()),
    ]


def require(count: int, plan: DriftPlan, *, of: str) -> None:
    """
    Refuse to calibrate on too few events.

    Args:
        count: The number of events.
        plan: Sizes of the windows and of the baseline.
        of: The events in the words of the message, such as "decisions".

    Raises:
        TooFewError: Fewer than five windows remain after the baseline.
    """
    learned = plan.reference_windows * plan.window_events
    least = learned + LEAST_WINDOWS * plan.window_events
    if count < least:
        msg = (
            f"{count} {of} are too few to calibrate on: {learned} become the reference and {LEAST_WINDOWS} windows "
            f"of {plan.window_events} must remain. Next: give {least} events or more of a healthy time."
        )
        raise TooFewError(msg)


def _replays(rest: Sequence[Observation], *, block: int, events: int, seed: int) -> Iterator[Sequence[Observation]]:
    yield rest
    chance = random.Random(seed)  # noqa: S311 - a resampling that repeats
    replayed = len(rest)
    while replayed < events:
        starts = [chance.randrange(0, len(rest) - block + 1) for _ in range(-(-len(rest) // block))]
        yield [seen for start in starts for seen in rest[start : start + block]]
        replayed += len(starts) * block


def _window(score: DriftScore, values: Sequence[float], shipped: float, *, total: int, allowed: int) -> Calibrated:
    highest = sorted(values, reverse=True)
    threshold = shipped
    if len(highest) > allowed and highest[allowed] >= shipped:
        threshold = float(f"{highest[allowed] * MARGIN:.3g}")
    if score is DriftScore.SOURCES:
        threshold = min(1.0, threshold)
    alarms = sum(value >= threshold for value in values)
    return Calibrated(
        detector=score.value,
        setting=setting_of(score),
        threshold=threshold,
        shipped=shipped,
        alarms=alarms,
        events=total,
        reached=alarms <= allowed,
    )


def _changes(replays: Sequence[Sequence[Observation]], *, total: int, allowed: int) -> list[Calibrated]:
    """All signals share one delta: the largest with few enough false alarms in each signal."""
    alarms: dict[DriftSignal, int] = {}
    delta = DELTAS[0]
    for delta in DELTAS:
        alarms = {signal: sum(_count(signal, replay, delta) for replay in replays) for signal in WATCHED}
        if all(count <= allowed for count in alarms.values()):
            break
    return [
        Calibrated(
            detector=f"change of {signal.value}",
            setting="drift_change_delta",
            threshold=delta,
            shipped=CHANGE_DELTA,
            alarms=count,
            events=total,
            reached=count <= allowed,
        )
        for signal, count in alarms.items()
    ]


def _count(signal: DriftSignal, replay: Sequence[Observation], delta: float) -> int:
    detector = ChangeDetector(signal, delta=delta)
    return sum(
        detector.update(detector.read(seen.confidence, seen.signals)) is not None
        for seen in replay
        if seen.signals is not None and seen.confidence is not None
    )

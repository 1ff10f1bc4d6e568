"""Drift detection in one worker: sudden changes of four signals, and comparisons of windows with the reference.

This module uses no Kafka, no Prometheus and no clock: decisions come with their time of publication, and findings are returned as values. A
`DriftWatch` is not thread-safe.

A worker sees only its own partitions, so its findings explain an alarm and do not raise one: most alerts use figures that the recording
rules pool over all workers. Words and producers are not in those figures, so the alert ContentDrift uses the worker's own scores.
"""

from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from tagstream.monitoring.drift.baseline import Baseline
from tagstream.monitoring.drift.findings import MOST_ITEMS, Finding, Model, Source, Span, moment
from tagstream.monitoring.drift.learning import GroupLearning, ReferenceNote
from tagstream.monitoring.drift.sudden_change import ChangeDetector, SuddenChange
from tagstream.monitoring.drift.thresholds import DriftPlan
from tagstream.monitoring.drift.window_comparison import (
    Comparison,
    compare,
    examples,
    first_ids,
    flooding,
)
from tagstream.monitoring.observer import Observation
from tagstream.monitoring.signals import WATCHED, DriftSignal
from tagstream.monitoring.vocabulary import DriftKind, DriftScore

# People read findings, so time bounds their number and not events: one finding of a kind, or of a signal, in an hour. A stream that swings to
# and fro is reported once.
REPEAT_MS = 3_600_000
# A finding is reported earlier if its score is `WORSE` times the last reported score, but not before `WORSE_MS`.
WORSE, WORSE_MS = 1.5, 600_000
RECENT_EVENTS = 128
# The kind of finding of each comparison. A comparison without a kind fails at import.
KINDS = {score: DriftKind(score.value) for score in DriftScore}


@dataclass(frozen=True, slots=True, kw_only=True)
class WindowScores:
    """
    The comparison of one window.

    Attributes:
        events: The number of its events.
        scores: The scores that could be computed.
        floods: For each score that is a finding of one producer alone, that producer's share of the events.
        at_ms: When it was compared, Unix milliseconds.
    """

    events: int
    scores: Mapping[DriftScore, float]
    floods: Mapping[DriftScore, float]
    at_ms: int


@dataclass(slots=True)
class Noticed:
    """The results of adding decisions: all sudden `changes`, the `findings` to publish, and `notes` for the topic `references`."""

    changes: list[DriftSignal] = field(default_factory=list)
    evaluations: list[WindowScores] = field(default_factory=list)
    findings: list[Finding] = field(default_factory=list)
    notes: list[ReferenceNote] = field(default_factory=list)


@dataclass(slots=True)
class _LastReport:
    """The last report of a kind or of a signal: its score, and its time in Unix milliseconds."""

    score: float
    at_ms: int


class DriftWatch:
    """The detectors of one worker."""

    def __init__(
        self,
        *,
        model: Model,
        worker: str,
        group: str = "tagstream",
        baseline: Baseline | None = None,
        plan: DriftPlan | None = None,
    ) -> None:
        """
        No decision has been added yet.

        Args:
            model: The bundle that decides.
            worker: The worker's name in findings.
            group: The consumer group, whose workers learn a baseline together.
            baseline: A baseline from a file; None if the group's first healthy windows become the baseline.
            plan: Sizes and thresholds.
        """
        self._model = model
        self._worker = worker
        self._plan = plan or DriftPlan()
        self._given = baseline
        self._detectors = [ChangeDetector(signal, delta=self._plan.change_delta) for signal in WATCHED]
        self._group = GroupLearning(group=group, model=model.digest, worker=worker, plan=self._plan)
        self._digests: tuple[Baseline | None, str] = (None, "")
        self._start()

    def _start(self) -> None:
        self._window: list[Observation] = []
        self._since_ms = 0
        self._healthy = True
        self._recent: deque[Observation] = deque(maxlen=RECENT_EVENTS)
        self._said: dict[DriftKind | DriftSignal, _LastReport] = {}

    @property
    def learning(self) -> bool:
        """True while the group learns its baseline, and no window is compared."""
        return self.baseline is None

    @property
    def baseline(self) -> Baseline | None:
        """The baseline in force, from the file or learned by the group; None while the group learns."""
        return self._given if self._given is not None else self._group.in_force

    def progress(self, now_ms: int) -> float:
        """The progress of learning at `now_ms` (Unix milliseconds), 0 to 1."""
        return 1.0 if self._given is not None else self._group.progress(now_ms)

    def read(self, note: ReferenceNote) -> None:
        """
        Take a record of the topic `references`.

        Raises:
            NoteRefusedError: There is no room for the record.
        """
        self._group.read(note)

    @property
    def plan(self) -> DriftPlan:
        """The settings."""
        return self._plan

    def reset(self) -> None:
        """Start again, because other partitions are read now. The baseline stays, since it covers all partitions of the group."""
        for detector in self._detectors:
            detector.reset()
        self._start()

    def add(self, observations: Sequence[Observation], now_ms: int) -> Noticed:
        """Add decisions in the order of publication, at `now_ms` (Unix milliseconds). Dead letters are skipped."""
        report = Noticed()
        for seen in observations:
            if seen.signals is None or seen.label is None or seen.confidence is None:
                continue
            if not self._window:
                self._since_ms = now_ms
            self._window.append(seen)
            self._recent.append(seen)
            for detector in self._detectors:
                change = detector.update(detector.read(seen.confidence, seen.signals))
                if change is not None:
                    self._healthy = False
                    report.changes.append(change.signal)
                    if self._is_news(change.signal, abs(change.after - change.before), now_ms):
                        report.findings.append(self._changed(change, now_ms))
            if len(self._window) >= self._plan.window_events:
                self._close(report, now_ms)
        return report

    def _close(self, report: Noticed, now_ms: int) -> None:
        baseline = self.baseline
        ratio = baseline.label_ratio if baseline is not None else None
        comparison = compare(self._window, baseline=baseline, label_ratio=ratio)
        drifted = [score for score in DriftScore if self._is_drift(score, comparison)]
        floods = self._floods(drifted)
        shares = {score: flood.share for score, flood in floods.items()}
        report.evaluations.append(WindowScores(events=comparison.events, scores=comparison.scores, floods=shares, at_ms=now_ms))
        for score in drifted:
            if self._is_news(KINDS[score], comparison.scores[score], now_ms):
                report.findings.append(self._found(score, comparison, floods.get(score), now_ms))
        # A window with a sudden change mixes decisions before and after the change, so it does not enter the baseline.
        if self._given is None and self._healthy:
            report.notes += self._group.offer(self._window, now_ms)
        self._window, self._healthy = [], True

    def _is_drift(self, score: DriftScore, comparison: Comparison) -> bool:
        return comparison.scores.get(score, 0.0) >= self._plan.thresholds.of(score)

    def _floods(self, drifted: Sequence[DriftScore]) -> dict[DriftScore, Source]:
        """The one producer without whose events a score is no finding, for each of these scores that has such a producer."""
        baseline = self.baseline
        if not drifted or baseline is None:
            return {}
        flood = flooding(self._window, baseline, least=self._plan.thresholds.sources)
        if flood is None:
            return {}
        others = [seen for seen in self._window if seen.signals is not None and seen.signals.source != flood.source]
        rest = compare(others, baseline=baseline, label_ratio=baseline.label_ratio)
        return {score: flood for score in drifted if not self._is_drift(score, rest)}

    def _baseline_digest(self) -> str:
        # The digest covers some thousand words, so it is computed once for each baseline.
        baseline = self.baseline
        if baseline is not self._digests[0]:
            self._digests = (baseline, baseline.digest if baseline is not None else "")
        return self._digests[1]

    def _is_news(self, subject: DriftKind | DriftSignal, score: float, now_ms: int) -> bool:
        last = self._said.get(subject)
        if last is not None:
            since = now_ms - last.at_ms
            if since < REPEAT_MS and (since < WORSE_MS or score < WORSE * last.score):
                return False
        self._said[subject] = _LastReport(score=score, at_ms=now_ms)
        return True

    def _found(self, score: DriftScore, comparison: Comparison, flood: Source | None, now_ms: int) -> Finding:
        # New producers bring other words and labels, so each finding carries the changes of all three.
        return Finding(
            kind=KINDS[score],
            at=moment(now_ms),
            worker=self._worker,
            window=Span(events=comparison.events, start=moment(self._since_ms), end=moment(now_ms)),
            reference_digest=self._baseline_digest() or self._model.digest,
            model=self._model,
            score=round(comparison.scores[score], 4),
            threshold=self._plan.thresholds.of(score),
            words=comparison.words[:MOST_ITEMS],
            labels=comparison.labels[:MOST_ITEMS],
            sources=comparison.sources[:MOST_ITEMS],
            flood=flood,
            example_ids=examples(score, self._window, comparison),
        )

    def _changed(self, change: SuddenChange, now_ms: int) -> Finding:
        record, _ = WATCHED[change.signal]
        rising = change.after > change.before
        values = [
            (record.read(seen.confidence, seen.signals), seen.signals.event_id)
            for seen in self._recent
            if seen.signals is not None and seen.confidence is not None
        ]
        values.sort(key=lambda item: -item[0] if rising else item[0])
        return Finding(
            kind=DriftKind.CHANGE,
            at=moment(now_ms),
            worker=self._worker,
            window=Span(events=len(self._recent), start=moment(min(self._since_ms, now_ms)), end=moment(now_ms)),
            reference_digest=self._model.digest,
            model=self._model,
            signal=change.signal,
            before=round(change.before, 4),
            after=round(change.after, 4),
            example_ids=first_ids(event_id for _, event_id in values),
        )

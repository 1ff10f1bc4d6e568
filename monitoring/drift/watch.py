"""Drift detection in one worker: sudden changes of four signals, and comparisons of windows with the reference.

It uses no Kafka, no Prometheus and no clock: decisions come with their time of publication, findings are returned as
values. A `DriftWatch` must not be called from two threads at once.

A worker sees only its own partitions, so its findings explain an alarm rather than raise one: most alerts use figures
that the recording rules pool over all workers. Words and producers are not in those figures, so ContentDrift uses the
worker's own scores.
"""

from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from monitoring.drift.baseline import Baseline, Learning
from monitoring.drift.findings import MOST_ITEMS, Finding, Model, Span, moment
from monitoring.drift.sudden_change import READ, WATCHED, Change, ChangeDetector
from monitoring.drift.thresholds import DriftPlan
from monitoring.drift.window_comparison import (
    Comparison,
    compare,
    examples_of_labels,
    examples_of_sources,
    examples_of_words,
    first_ids,
)
from monitoring.observer import Observation
from monitoring.vocabulary import DriftKind, DriftScore, DriftSignal

# A lasting finding is reported again after ten windows; a new finding of the same kind after two at the earliest.
REPEAT_WINDOWS, LEAST_WINDOWS_BETWEEN = 10, 2
# A lasting finding is reported earlier if its score is this many times the last reported one.
WORSE = 1.5
RECENT_EVENTS = 128


@dataclass(frozen=True, slots=True, kw_only=True)
class Evaluation:
    """The comparison of one window: its number of events, and the scores that could be computed."""

    events: int
    scores: Mapping[DriftScore, float]
    at_ms: int


@dataclass(slots=True)
class Noticed:
    """The results of adding decisions. Each of the `changes` is also in the `findings`."""

    changes: list[DriftSignal] = field(default_factory=list)
    evaluations: list[Evaluation] = field(default_factory=list)
    findings: list[Finding] = field(default_factory=list)


@dataclass(slots=True)
class _Episode:
    """A lasting finding of one kind: the score of its last report, the windows since, and whether it has ended."""

    score: float
    windows: int = 0
    over: bool = False


class DriftWatch:
    """The detectors of one worker."""

    def __init__(
        self,
        *,
        model: Model,
        worker: str,
        label_ratio: Mapping[str, float] | None,
        baseline: Baseline | None = None,
        plan: DriftPlan | None = None,
    ) -> None:
        """
        Start without events.

        Args:
            model: The bundle that decides.
            worker: The worker's name in findings.
            label_ratio: The bundle's shares of labels; a baseline from a file replaces them. None: labels are not compared.
            baseline: A baseline from a file; None: the first healthy windows become the baseline.
            plan: Sizes and thresholds.
        """
        self._model = model
        self._worker = worker
        self._plan = plan or DriftPlan()
        self._given = baseline
        self._label_ratio = baseline.label_ratio if baseline is not None else label_ratio
        self._detectors = [(ChangeDetector(signal, delta=self._plan.change_delta), READ[signal]) for signal in WATCHED]
        self._start()

    def _start(self) -> None:
        self._baseline = self._given
        self._baseline_digest = self._given.digest if self._given is not None else ""
        self._learning = Learning()
        self._learnt_windows = 0
        self._window: list[Observation] = []
        self._since_ms = 0
        self._healthy = True
        self._recent: deque[Observation] = deque(maxlen=RECENT_EVENTS)
        self._episodes: dict[DriftKind, _Episode] = {}

    @property
    def learning(self) -> bool:
        """Whether the baseline of words and sources is still being collected."""
        return self._baseline is None

    @property
    def plan(self) -> DriftPlan:
        """The settings."""
        return self._plan

    def reset(self) -> None:
        """
        Start again, because other partitions are read now.

        A baseline from a file is kept. A collected one is dropped: compared with the words of the old partitions, those
        of the new ones would be findings.
        """
        for detector, _ in self._detectors:
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
            for detector, read in self._detectors:
                change = detector.update(read(seen.confidence, seen.signals))
                if change is not None:
                    self._healthy = False
                    report.changes.append(change.signal)
                    report.findings.append(self._changed(change, now_ms))
            if len(self._window) >= self._plan.window_events:
                self._close(report, now_ms)
        return report

    def _close(self, report: Noticed, now_ms: int) -> None:
        comparison = compare(self._window, baseline=self._baseline, label_ratio=self._label_ratio)
        report.evaluations.append(Evaluation(events=comparison.events, scores=comparison.scores, at_ms=now_ms))
        report.findings += [self._found(kind, comparison, now_ms) for kind in _KINDS if self._is_news(kind, comparison)]
        self._learn()
        self._window, self._healthy = [], True

    def _learn(self) -> None:
        # A window with a sudden change mixes the time before and after it, so it is no baseline.
        if self._baseline is not None or not self._healthy:
            return
        self._learning.add(self._window)
        self._learnt_windows += 1
        if self._learnt_windows >= self._plan.reference_windows:
            self._baseline = self._learning.baseline(model=self._model.digest)
            self._baseline_digest = self._baseline.digest
            self._learning = Learning()

    def _is_news(self, kind: DriftKind, comparison: Comparison) -> bool:
        score = comparison.scores.get(_KINDS[kind], 0.0)
        episode = self._episodes.get(kind)
        if episode is not None:
            episode.windows += 1
        if score < self._plan.thresholds.of(_KINDS[kind]):
            if episode is not None:
                episode.over = True
            return False
        if episode is not None:
            again = episode.over and episode.windows >= LEAST_WINDOWS_BETWEEN
            if not again and episode.windows < REPEAT_WINDOWS and score < WORSE * episode.score:
                return False
        self._episodes[kind] = _Episode(score=score)
        return True

    def _found(self, kind: DriftKind, comparison: Comparison, now_ms: int) -> Finding:
        names = {
            DriftKind.WORDS: lambda: examples_of_words(self._window, comparison.words[:MOST_ITEMS]),
            DriftKind.LABELS: lambda: examples_of_labels(self._window, comparison.labels),
            DriftKind.SOURCES: lambda: examples_of_sources(self._window, comparison.sources),
        }
        # New producers bring other words and labels, so each finding carries the changes of all three.
        return Finding(
            kind=kind,
            at=moment(now_ms),
            worker=self._worker,
            window=Span(events=comparison.events, start=moment(self._since_ms), end=moment(now_ms)),
            reference_digest=self._baseline_digest or self._model.digest,
            model=self._model,
            score=round(comparison.scores[_KINDS[kind]], 4),
            threshold=self._plan.thresholds.of(_KINDS[kind]),
            words=comparison.words[:MOST_ITEMS],
            labels=comparison.labels[:MOST_ITEMS],
            sources=comparison.sources[:MOST_ITEMS],
            example_ids=names[kind](),
        )

    def _changed(self, change: Change, now_ms: int) -> Finding:
        read = READ[change.signal]
        rising = change.after > change.before
        values = [
            (read(seen.confidence, seen.signals), seen.signals.event_id)
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


_KINDS: Mapping[DriftKind, DriftScore] = {
    DriftKind.WORDS: DriftScore.WORDS,
    DriftKind.LABELS: DriftScore.LABELS,
    DriftKind.SOURCES: DriftScore.SOURCES,
}

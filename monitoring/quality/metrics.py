"""The metrics of a review console: live quality, what the stream is worth, and the items that wait for people. Label sets are closed, units are base units.

Each console estimates from the whole store, so all consoles of one job report the same figures: take `max`, never a sum.
"""

import math
from collections.abc import Mapping, Sequence
from typing import Self

from prometheus_client import CollectorRegistry, Counter, Gauge, generate_latest

from tagstream.monitoring.quality.amounts import Amount
from tagstream.monitoring.quality.estimate import Estimate, Figure
from tagstream.monitoring.quality.report import QualityReport
from tagstream.monitoring.quality.value import WAYS, ValueReport
from tagstream.monitoring.quality.viewers_metrics import ViewersMetrics
from tagstream.monitoring.vocabulary import Arm

SCOPES = ("published", "model")
BOUNDS = ("value", "low", "high")
FIGURES = ("precision", "recall", "f1")
ITEM_KINDS = ("audit", "second_opinion", "user_report", "review", "correction")
UNUSED = ("decisions", "answers")
DOORS = ("tagged", "review")
# The fallback is the champion, so it is not an arm of its own.
ARMS = (Arm.CHAMPION, Arm.CHALLENGER)


class QualityMetrics:
    """The gauges of one console on one registry."""

    def __init__(self, registry: CollectorRegistry, *, labels: Sequence[str] = ()) -> None:
        """Register every metric. `labels` are the bundle's labels; a later report may add labels."""
        self._registry = registry
        self._labels = tuple(labels)

        def gauge(name: str, text: str, *names: str) -> Gauge:
            return Gauge(name, text, names, registry=registry)

        self._accuracy = gauge(
            "tagstream_quality_accuracy_ratio",
            "Measured share of right decisions, with its 95 % interval; NaN under 50 answers.",
            "scope",
            "bound",
        )
        self._figure = gauge(
            "tagstream_quality_label_ratio",
            "Measured precision, recall and F1 of a label, with the 95 % interval; NaN under 50 answers, and where slips hide it.",
            "scope",
            "figure",
            "label",
            "bound",
        )
        self._expected = gauge(
            "tagstream_quality_expected_accuracy_ratio", "Accuracy that the model expects of what it publishes, without labels."
        )
        self._gap = gauge(
            "tagstream_quality_gap_ratio",
            "Expected minus measured accuracy of what is published, with its 95 % interval; NaN under 50 answers.",
            "bound",
        )
        self._promise = gauge(
            "tagstream_quality_promise_ratio",
            "Accuracy of what is published that the bundle promises; NaN where the console lacks it.",
        )
        self._answers = gauge("tagstream_quality_answers", "Settled answers that the estimates rest on.", "scope")
        self._arm_accuracy = gauge(
            "tagstream_quality_arm_accuracy_ratio",
            "Measured share of right decisions of champion and challenger of the newest canary; NaN under 50 answers.",
            "arm",
            "scope",
            "bound",
        )
        self._arm_answers = gauge(
            "tagstream_quality_arm_answers", "Settled answers that these rest on; 0 without a canary.", "arm", "scope"
        )
        self._gain = gauge(
            "tagstream_quality_recalibration_gain_ratio",
            "Share of decisions that new thresholds could publish and today's send to people.",
        )
        self._evaluated = gauge(
            "tagstream_quality_evaluated_timestamp_seconds", "Time of the last estimate; 0 before the first."
        )
        self._slip = gauge(
            "tagstream_quality_slip_ratio",
            "Share of first answers that are slips, with its 95 % interval; NaN if unknown.",
            "bound",
        )
        self._seconds = gauge("tagstream_quality_second_opinions", "Audits against the model that a second person has settled.")
        self._overturned = gauge(
            "tagstream_quality_overturned_answers", "Of these, the ones in which the model was right after all."
        )
        self._unused = gauge(
            "tagstream_quality_unused_records",
            "Records that the estimates do not use: decisions that no worker makes so, and answers "
            "to no decision that the console has read.",
            "kind",
        )
        self._failures = Counter(
            "tagstream_quality_failures", "Estimates that failed; the gauges keep those of the last one.", registry=registry
        )
        self._events = gauge(
            "tagstream_value_events", "Decisions of the window: published without a person, or sent to people.", "door"
        )
        self._item_seconds = gauge(
            "tagstream_value_item_seconds", "Median time of an answer, with its 95 % interval; NaN under 6 times.", "bound"
        )
        self._way_seconds = gauge(
            "tagstream_value_people_seconds",
            "People's time under a way to decide: as now, everything to people, or nothing to people.",
            "way",
            "bound",
        )
        self._way_wrong = gauge(
            "tagstream_value_wrong_decisions", "Wrong publications under a way; NaN under 50 answers.", "way", "bound"
        )
        self._way_cost = gauge(
            "tagstream_value_cost",
            "Time and mistakes under a way, by the prices in costs.toml; NaN without it.",
            "way",
            "bound",
        )
        self._open = gauge("tagstream_queue_open_items", "Items that wait for a person.", "door")
        self._held = gauge("tagstream_queue_held_items", "Of these, the ones that are in someone's hands.")
        self._oldest = gauge(
            "tagstream_queue_oldest_timestamp_seconds",
            "When the oldest waiting item was decided, without second opinions; NaN if none waits.",
        )
        self._answered = gauge("tagstream_queue_answered_events", "Events with an answer.")
        self._unmatched = gauge("tagstream_queue_unmatched_reports", "Readers' reports about events that no topic knows.")
        self.viewers = ViewersMetrics(registry)
        self._begin()

    @classmethod
    def alone(cls) -> Self:
        """Create the metrics on a new registry: a console has no other metrics."""
        return cls(CollectorRegistry())

    def queue(
        self, *, waiting: Mapping[str, int], held: int, oldest_ms: int | None, answered: int, unmatched_reports: int
    ) -> None:
        """
        Set the gauges of the queue.

        Args:
            waiting: Number of waiting items, by the value of the label `door`; 0 for a missing value.
            held: Number of waiting items that a person holds.
            oldest_ms: When the oldest waiting item was decided, Unix milliseconds; None if none waits.
            answered: Events with an answer.
            unmatched_reports: Readers' reports about events that no topic knows.
        """
        for kind in ITEM_KINDS:
            self._open.labels(kind).set(waiting.get(kind, 0))
        self._held.set(held)
        self._oldest.set(math.nan if oldest_ms is None else oldest_ms / 1000)
        self._answered.set(answered)
        self._unmatched.set(unmatched_reports)

    def left_out(self, *, decisions: int, answers: int) -> None:
        """Set the numbers of records in the window that the estimates do not use."""
        for kind, count in zip(UNUSED, (decisions, answers), strict=True):
            self._unused.labels(kind).set(count)

    def failed(self) -> None:
        """Count an estimate that failed."""
        self._failures.inc()

    def report(self, found: QualityReport, *, now: float) -> None:
        """Set the gauges from an estimate that was made at `now`, Unix seconds."""
        for scope, estimate in zip(SCOPES, (found.published, found.model), strict=True):
            self._estimate(scope, estimate)
        self._begin_arms()
        for arm in found.arms:
            for scope, estimate in zip(SCOPES, (arm.published, arm.model), strict=True):
                self._bounds(self._arm_accuracy, (arm.name, scope), estimate.accuracy)
                self._arm_answers.labels(arm.name, scope).set(estimate.answers)
        self._expected.set(math.nan if found.expected.accuracy is None else found.expected.accuracy)
        self._bounds(self._gap, (), found.gap)
        self._promise.set(math.nan if found.promise is None else found.promise)
        self._gain.set(found.advice.share_then - found.advice.share_now)
        people = found.reviewers
        self._seconds.set(people.second_opinions)
        self._overturned.set(people.overturned)
        slip = (people.slip, people.slip_low, people.slip_high)
        for bound, value in zip(BOUNDS, slip, strict=True):
            self._slip.labels(bound).set(math.nan if value is None or people.slip is None else value)
        self._evaluated.set(now)

    def value(self, found: ValueReport) -> None:
        """Set the gauges of what the window is worth."""
        whole = found.whole
        for door, count in zip(DOORS, (whole.published, whole.events - whole.published), strict=True):
            self._events.labels(door).set(count)
        self._amount(self._item_seconds, (), found.seconds)
        for way in found.ways:
            self._amount(self._way_seconds, (way.name,), way.minutes, times=60)
            self._amount(self._way_wrong, (way.name,), way.wrong)
            self._amount(self._way_cost, (way.name,), way.cost)

    def text(self) -> bytes:
        """Return the body of `/metrics`, in the format `CONTENT_TYPE`."""
        return generate_latest(self._registry)

    def _begin(self) -> None:
        for scope in SCOPES:
            for bound in BOUNDS:
                self._accuracy.labels(scope, bound).set(math.nan)
                for label in self._labels:
                    for figure in FIGURES:
                        self._figure.labels(scope, figure, label, bound).set(math.nan)
            self._answers.labels(scope)
        self._begin_arms()
        for bound in BOUNDS:
            self._gap.labels(bound).set(math.nan)
            self._slip.labels(bound).set(math.nan)
        for gauge in (self._expected, self._promise, self._oldest):
            gauge.set(math.nan)
        self._begin_value()
        for kind in ITEM_KINDS:
            self._open.labels(kind)
        for kind in UNUSED:
            self._unused.labels(kind)

    def _begin_value(self) -> None:
        for door in DOORS:
            self._events.labels(door)
        self._amount(self._item_seconds, (), None)
        for way in WAYS:
            for one in (self._way_seconds, self._way_wrong, self._way_cost):
                self._amount(one, (way,), None)

    def _begin_arms(self) -> None:
        for arm in ARMS:
            for scope in SCOPES:
                self._arm_answers.labels(arm, scope).set(0)
                for bound in BOUNDS:
                    self._arm_accuracy.labels(arm, scope, bound).set(math.nan)

    def _estimate(self, scope: str, found: Estimate) -> None:
        self._bounds(self._accuracy, (scope,), found.accuracy)
        for label, figures in found.by_label.items():
            for name, figure in figures.items():
                self._bounds(self._figure, (scope, name, label), figure)
        self._answers.labels(scope).set(found.answers)

    def _bounds(self, gauge: Gauge, names: tuple[str, ...], figure: Figure) -> None:
        for bound, value in zip(BOUNDS, (figure.value, figure.low, figure.high), strict=True):
            gauge.labels(*names, bound).set(value if figure.shown and value is not None else math.nan)

    def _amount(self, gauge: Gauge, names: tuple[str, ...], found: Amount | None, *, times: float = 1) -> None:
        ends = (math.nan,) * 3 if found is None else (found.value, found.low, found.high)
        for bound, value in zip(BOUNDS, ends, strict=True):
            gauge.labels(*names, bound).set(times * value)

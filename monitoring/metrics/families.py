"""The metrics of a worker: names, labels, buckets and help texts. `docs/metrics.md` is made from these texts.

Units are base units. Label sets are closed, and all their combinations exist from the start, because a counter that is missing until its
first event silently drops out of sums. The registry is an argument and not a global.
"""

from collections.abc import Iterable, Sequence
from enum import StrEnum
from typing import TypeVar

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, Info, disable_created_metrics

from tagstream.monitoring.signals import CONFIDENCE, DISTRIBUTIONS, DriftSignal
from tagstream.monitoring.vocabulary import (
    Arm,
    Destination,
    DriftKind,
    DriftScore,
    PlanState,
    Reason,
    ReviewReason,
    SourceKind,
    TextFlag,
    score_in_words,
)

STAGES = ("decode", "inference", "encode", "publish")
STAGE_BUCKETS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10)
AGE_BUCKETS = (*STAGE_BUCKETS, 30, 60, 300, 1800)
HOLD_BUCKETS = (0.01, 0.05, 0.1, 0.25, 0.5, 1, 5)
BATCH_BUCKETS = (1, 2, 4, 8, 16, 32, 64, 128, 256)

M = TypeVar("M", Counter, Gauge, Histogram)

# Otherwise each counter would have a second series with its time of creation, which Prometheus does not use.
disable_created_metrics()  # type: ignore[no-untyped-call]


class _Registry:
    """Makes metrics on one registry. If a metric has a label, the series of all its values exist from the start."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._registry = registry

    def counter(self, name: str, text: str, label: str = "", values: Iterable[str] = ()) -> Counter:
        return _filled(Counter(name, text, [label] if label else [], registry=self._registry), values)

    def gauge(self, name: str, text: str, label: str = "", values: Iterable[str] = ()) -> Gauge:
        return _filled(Gauge(name, text, [label] if label else [], registry=self._registry), values)

    def histogram(
        self, name: str, text: str, buckets: Sequence[float], label: str = "", values: Iterable[str] = ()
    ) -> Histogram:
        return _filled(Histogram(name, text, [label] if label else [], buckets=buckets, registry=self._registry), values)


def _filled(metric: M, values: Iterable[str]) -> M:
    for value in values:
        metric.labels(value.value if isinstance(value, StrEnum) else value)
    return metric


class FlowFamilies:
    """Events in, outcomes out, and their times."""

    def __init__(self, registry: CollectorRegistry, *, labels: Sequence[str], topics: Sequence[str]) -> None:
        """
        Register the metrics.

        Args:
            registry: The registry for the metrics.
            labels: The values of the label `label`.
            topics: The values of the label `topic`: the topics that are read.
        """
        new = _Registry(registry)
        self.received = new.counter("tagstream_events_received", "Events taken from the topic.", "topic", topics)
        self.redelivered = new.counter(
            "tagstream_redelivered_events",
            "Events taken that the same process had taken before, as after a rebalance.",
        )
        self.published = new.counter(
            "tagstream_events_published", "Outcomes that the broker has acknowledged.", "destination", Destination
        )
        self.audits = new.counter(
            "tagstream_audits", "Tagged decisions of which a copy went to the topic `audit`.", "label", labels
        )
        self.review = new.counter(
            "tagstream_review_requested",
            "Decisions sent to a person; one may have several reasons.",
            "reason",
            ReviewReason,
        )
        self.dead = new.counter("tagstream_events_dead_lettered", "Dead letters.", "reason", Reason)
        self.expired = new.counter(
            "tagstream_events_expired", "Events that the topic's retention had deleted before this group read them."
        )
        self.stage = new.histogram(
            "tagstream_stage_duration_seconds", "Time of one batch in one stage.", STAGE_BUCKETS, "stage", STAGES
        )
        self.batch = new.histogram("tagstream_batch_size_events", "Events in one batch.", BATCH_BUCKETS)
        self.repeats = new.counter(
            "tagstream_repeated_texts", "Texts that had come before and cost no call of the model (`repeats_bytes`)."
        )
        self.saved = new.counter("tagstream_repeats_saved_seconds", "Time that the model would have taken for them.")
        self.age = new.histogram(
            "tagstream_event_age_seconds",
            "Time from the record's timestamp to its acknowledged outcome, without events of the next two counters.",
            AGE_BUCKETS,
        )
        self.before_group = new.counter(
            "tagstream_events_before_group",
            "Outcomes of events that were written before the consumer group began to read.",
        )
        self.untimed = new.counter(
            "tagstream_events_untimed",
            "Outcomes of events without a timestamp, or with one before 2011 or more than an hour ahead.",
        )
        self.last_event = new.gauge("tagstream_last_event_timestamp_seconds", "Time of the last acknowledged outcome.")

    def know(self, labels: Iterable[str]) -> None:
        """Begin the series of these labels, if they are new."""
        _filled(self.audits, labels)


class PositionFamilies:
    """The worker's place in the log."""

    def __init__(self, registry: CollectorRegistry) -> None:
        """Register the metrics."""
        new = _Registry(registry)
        self.inflight = new.gauge("tagstream_inflight_events", "Events taken and not yet acknowledged.")
        self.lag = new.gauge(
            "tagstream_committed_lag_events",
            "High watermark minus committed offset, over the assigned partitions; NaN while the brokers do not answer.",
        )
        self.behind = new.gauge(
            "tagstream_open_transaction_events",
            "Events behind an open transaction; only partitions with such events.",
            "partition",
        )
        self.behind_since = new.gauge(
            "tagstream_open_transaction_since_timestamp_seconds",
            "Time since which the transaction is seen open.",
            "partition",
        )
        self.partitions = new.gauge("tagstream_assigned_partitions", "Partitions assigned to this worker.")
        self.known_at = new.gauge(
            "tagstream_position_timestamp_seconds", "Time of the brokers' last answer about offsets and lag."
        )
        self.last_commit = new.gauge(
            "tagstream_last_commit_timestamp_seconds", "Time at which the committed offset last moved."
        )
        self.oldest = new.gauge(
            "tagstream_oldest_unprocessed_seconds",
            "Age of the oldest event in hand; 0 if there is none.",
        )


class PoisonFamilies:
    """Events that make the model raise or the worker die."""

    def __init__(self, registry: CollectorRegistry) -> None:
        """Register the metrics."""
        new = _Registry(registry)
        self.raised = new.counter("tagstream_model_exceptions", "Calls of the model that raised an exception.")
        self.guard = new.gauge(
            "tagstream_crash_guard_active",
            "Is 1 while events in the model are noted; at 0 one event can crash the worker again and again.",
        )
        self.suspects = new.gauge(
            "tagstream_crash_suspects_events",
            "Events in the model when a worker died, not decided since.",
        )
        self.breaker = new.gauge("tagstream_circuit_breaker_open", "Is 1 while the worker has stopped and waits for a person.")


class AnswerFamilies:
    """The decisions and dead letters of reviewers' answers."""

    def __init__(self, registry: CollectorRegistry) -> None:
        """Register the metrics."""
        new = _Registry(registry)
        self.active = new.gauge("tagstream_answers_active", "Is 1 where this worker turns answers into decisions.")
        self.published = new.counter(
            "tagstream_answers_published",
            "Answers whose decision or dead letter the broker has acknowledged.",
            "destination",
            (Destination.TAGGED, Destination.DLQ),
        )
        self.dead = new.counter("tagstream_answers_dead_lettered", "Answers that are dead letters.", "reason", Reason)
        self.age = new.histogram(
            "tagstream_answer_age_seconds", "Time from the answer's record to its acknowledged decision.", AGE_BUCKETS
        )
        self.lag = new.gauge(
            "tagstream_answers_lag_events",
            "Answers not committed yet, over the assigned partitions; NaN while the brokers do not answer.",
        )
        self.expired = new.counter(
            "tagstream_answers_expired", "Answers that the topic's retention had deleted before this group read them."
        )


class RolloutFamilies:
    """The models of a rollout, as this worker follows it."""

    def __init__(self, registry: CollectorRegistry) -> None:
        """Register the metrics."""
        new = _Registry(registry)
        self.followed = new.gauge("tagstream_rollout_followed", "Is 1 while this worker follows a rollout.")
        self.epoch = new.gauge(
            "tagstream_rollout_epoch",
            "Epoch by whose champion this worker decides the newest events; 0 before the first change.",
        )
        self.arms = new.counter(
            "tagstream_rollout_decisions", "Published decisions of models after the first change.", "arm", Arm
        )
        self.planned = new.gauge(
            "tagstream_rollout_planned_epoch",
            "Planned epoch, under this worker's state before it; 0 under the other states, and without a plan.",
            "state",
            PlanState,
        )
        self.refusals = new.counter("tagstream_rollout_refusals", "Plans that this worker refused.")
        self.closing = new.gauge(
            "tagstream_rollout_closing_epoch",
            "Epoch that is about to begin, so that events are held; 0 without one.",
        )
        self.held_events = new.gauge("tagstream_rollout_held_events", "Events held now, since their epoch is not known.")
        self.held_seconds = new.gauge(
            "tagstream_rollout_held_seconds", "For how long the oldest of them is held; 0 if there is none."
        )
        self.holds = new.histogram(
            "tagstream_rollout_hold_duration_seconds",
            "Time from a batch's fetch until its models were known and loaded.",
            HOLD_BUCKETS,
        )


class ModelFamilies:
    """The model that decides."""

    def __init__(self, registry: CollectorRegistry) -> None:
        """Register the metrics."""
        new = _Registry(registry)
        self.model = Info("tagstream_model", "The bundle that decides, or the keyword rules.", registry=registry)
        self.model_loaded = new.gauge("tagstream_model_loaded_timestamp_seconds", "Time at which the bundle was loaded.")
        self.threshold = new.gauge(
            "tagstream_confidence_threshold_ratio",
            "Decisions below this confidence go to a person; above 1 all of them do.",
            "label",
        )


class InputFamilies:
    """The decisions of the model: their labels, its confidence, and the texts."""

    def __init__(self, registry: CollectorRegistry, *, labels: Sequence[str]) -> None:
        """`labels` are the values of the label `label`."""
        new = _Registry(registry)
        self.predictions = new.counter("tagstream_predictions", "Published decisions of the model.", "label", labels)
        sure = DISTRIBUTIONS[CONFIDENCE]
        self.confidence = new.histogram(sure.metric, sure.meaning, sure.edges, "label", labels)
        self.numbers = [
            (signal.value, new.histogram(counted.metric, counted.meaning, counted.edges))
            for signal, counted in DISTRIBUTIONS.items()
            if signal.value is not None
        ]
        self.truncated = new.counter("tagstream_events_truncated", "Decisions on a text that was too long and was cut.")
        self.undescribed = new.counter("tagstream_events_without_description", "Decisions on a title alone.")
        self.sources = new.counter(
            "tagstream_events_by_source",
            "Decisions by producer; unseen: not in known_sources.",
            "source",
            SourceKind,
        )
        self.ood = new.counter("tagstream_ood_events", "Decisions on a text unlike the training texts.")
        self.flags = new.counter(
            "tagstream_text_flags", "Decisions on a text with hidden or misleading characters.", "flag", TextFlag
        )

    def know(self, labels: Iterable[str]) -> None:
        """Begin the series of these labels, if they are new."""
        _filled(self.predictions, labels)
        _filled(self.confidence, labels)


class DriftFamilies:
    """Drift as this worker sees it."""

    def __init__(self, registry: CollectorRegistry) -> None:
        """Register the metrics."""
        new = _Registry(registry)
        self.changes = new.counter("tagstream_drift_changes", "Sudden changes of a signal's mean.", "signal", DriftSignal)
        self.last_change = new.gauge(
            "tagstream_drift_last_change_timestamp_seconds", "Time of the last sudden change of any signal; 0 before the first."
        )
        self.scores = new.gauge(
            "tagstream_drift_score",
            f"Score of the last window: {'; '.join(f'{score}: {score_in_words(score)}' for score in DriftScore)}.",
            "signal",
            DriftScore,
        )
        self.thresholds = new.gauge(
            "tagstream_drift_threshold",
            "Score from which a window is a finding; 0: drift is off.",
            "signal",
            DriftScore,
        )
        self.floods = new.gauge(
            "tagstream_drift_flood_ratio",
            "Share of the last window that one source sent, without which the score is below its threshold; 0 if there is no such source.",
            "signal",
            DriftScore,
        )
        self.window = new.gauge("tagstream_drift_window_events", "Decisions in a window; 0: drift is off.")
        self.evaluated = new.gauge(
            "tagstream_drift_last_evaluated_timestamp_seconds",
            "Time of the last comparison with the reference; 0 before the first.",
        )
        self.from_bundle = new.gauge(
            "tagstream_reference_distance_from_bundle",
            "Distance of the reference in force from the bundle's calibration rows: the labels' stability index, and "
            "the largest difference of the distributions.",
            "figure",
        )
        self.learned = new.gauge(
            "tagstream_drift_learned_ratio",
            "How far the group has learned its reference, 0 to 1.",
        )
        self.learned.set(1)
        self.findings = new.counter("tagstream_drift_findings", "Drift findings published.", "kind", DriftKind)
        self.unpublished = new.counter(
            "tagstream_drift_findings_unpublished",
            "Drift findings that did not reach the topic `drift`.",
            "kind",
            DriftKind,
        )

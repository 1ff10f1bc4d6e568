"""Counts the stream's reports in the worker's metrics. `families` has the metrics, and `reference` the series of the drift reference."""

import math
from collections import Counter as Tally
from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from types import MappingProxyType
from typing import Any

from prometheus_client import CollectorRegistry

from tagstream.monitoring.metrics.answers import AnswerMetrics
from tagstream.monitoring.metrics.bulk import observe_all
from tagstream.monitoring.metrics.families import DriftFamilies, FlowFamilies, InputFamilies, PoisonFamilies, PositionFamilies
from tagstream.monitoring.metrics.reference import ReferenceGauges, distances
from tagstream.monitoring.metrics.rollout import RolloutMetrics
from tagstream.monitoring.metrics.traces import TraceMetrics
from tagstream.monitoring.observer import NO_TOPICS, Observation
from tagstream.monitoring.record_time import can_be_true
from tagstream.monitoring.signals import DriftSignal, Signals
from tagstream.monitoring.vocabulary import (
    Arm,
    Destination,
    DriftKind,
    DriftScore,
    Reason,
    ReviewReason,
    SourceKind,
    TextFlag,
)

# A label that the bundle does not have is counted under this name, so that the label set stays closed. Its series is made only then, so the
# page of a bundle without such a label has no line for it.
UNKNOWN_LABEL = "other"
NOTHING: Mapping[str, Any] = MappingProxyType({})


class Metrics:
    """
    The worker's metrics on one registry. Implements `Observer`; updates are per batch.

    Attributes:
        answers: The metrics of reviewers' answers.
        rollout: The metrics of a rollout.
        traces: The metrics of spans.
    """

    def __init__(
        self,
        registry: CollectorRegistry,
        *,
        labels: Sequence[str],
        topic: str,
        further_topics: Sequence[str] = (),
        known_sources: Collection[str] = (),
        answers: AnswerMetrics | None = None,
    ) -> None:
        """
        Register every metric and create every series.

        Args:
            registry: The registry for the metrics.
            labels: The bundle's labels, the closed set of the label `label`.
            topic: The topic of events that is read.
            further_topics: Further topics of events that are read.
            known_sources: The expected producers; if empty, every producer that gives a name is known.
            answers: The metrics of answers on the same registry; None to make them.
        """
        self._topic = topic
        self._flow = FlowFamilies(registry, labels=labels, topics=[topic, *further_topics])
        self._position = PositionFamilies(registry)
        self._poison = PoisonFamilies(registry)
        self._inputs = InputFamilies(registry, labels=labels)
        self._drift = DriftFamilies(registry)
        self.answers = AnswerMetrics(registry) if answers is None else answers
        self.rollout = RolloutMetrics(registry)
        self.traces = TraceMetrics(registry)
        self._reference = ReferenceGauges(labels=labels)
        registry.register(self._reference)
        self._of_bundle: Mapping[str, Any] = NOTHING
        self._group_began_ms = -math.inf
        self._labels = frozenset(labels)
        self._known_sources = frozenset(known_sources)

    def model_loaded(
        self,
        *,
        name: str,
        version: str,
        digest: str,
        arithmetic: str | None = None,
        now: float,
        thresholds: Mapping[str, float] = NOTHING,
        reference: Mapping[str, Any] = NOTHING,
    ) -> None:
        """
        Show the bundle that decides from now on. Counters of labels that only earlier bundles had stay.

        Args:
            name: The bundle's name.
            version: The bundle's version.
            digest: The bundle's digest.
            arithmetic: The processor's arithmetic, if it differs from the arithmetic of the machine that made the bundle; else None.
            now: The time of the loading, Unix seconds.
            thresholds: By label, for all labels of the bundle, the confidence below which a person is asked.
            reference: The reference in the bundle's manifest; empty if it has none.
        """
        own = {"arithmetic": arithmetic} if arithmetic is not None else {}
        self._position.model.info({"name": name, "version": version, "digest": digest, **own})
        self._position.model_loaded.set(now)
        self._position.threshold.clear()
        self._labels |= thresholds.keys()
        self._reference.labels = tuple(thresholds) or self._reference.labels
        self._flow.know(thresholds)
        self._inputs.know(thresholds)
        for label, threshold in thresholds.items():
            self._position.threshold.labels(label).set(threshold)
        self._reference.replace(reference)
        self._of_bundle = reference
        self._drift.from_bundle.clear()

    def group_began(self, at: float) -> None:
        """The consumer group began to read at this time (Unix seconds; 0: unknown). Outcomes of older events are counted apart."""
        self._group_began_ms = at * 1000 if at else -math.inf

    def received(self, events: int, repeated: int = 0, topics: Mapping[str, int] = NO_TOPICS) -> None:
        """Count a batch that was taken."""
        for topic, count in (topics or {self._topic: events}).items():
            self._flow.received.labels(topic).inc(count)
        self._flow.redelivered.inc(repeated)
        self._flow.batch.observe(events)

    def stage(self, name: str, seconds: float) -> None:
        """Observe the seconds of a batch in one stage."""
        self._flow.stage.labels(name).observe(seconds)

    def model_raised(self) -> None:
        """Count a call of the model that raised."""
        self._poison.raised.inc()

    def remembered(self, texts: int, seconds: float) -> None:
        """Count repeated texts, and the seconds of the model that they saved."""
        self._flow.repeats.inc(texts)
        self._flow.saved.inc(seconds)

    def crash_guard(self, *, active: bool, suspects: int) -> None:
        """Show if the crash guard is active, and the number of suspects."""
        self._poison.guard.set(active)
        self._poison.suspects.set(suspects)

    def circuit_breaker(self, *, is_open: bool) -> None:
        """Show if the worker has stopped because of too many dead letters."""
        self._poison.breaker.set(is_open)

    def published(self, observations: Sequence[Observation], now_ms: int) -> None:
        """Count outcomes that the broker has acknowledged."""
        destinations: Tally[Destination] = Tally()
        reasons: Tally[ReviewReason] = Tally()
        rejections: Tally[Reason] = Tally()
        flags: Tally[TextFlag] = Tally()
        arms: Tally[Arm] = Tally()
        truncated = 0
        for seen in observations:
            destinations[seen.destination] += 1
            # Most events have neither reasons nor flags, and an update without values costs as much as any other.
            if seen.review_reasons:
                reasons.update(seen.review_reasons)
            if seen.text_flags:
                flags.update(seen.text_flags)
            truncated += seen.truncated
            if seen.arm is not None:
                arms[seen.arm] += 1
            if seen.rejection is not None:
                rejections[seen.rejection] += 1
        self._observe_ages([seen.created_ms for seen in observations], now_ms)
        for destination, count in destinations.items():
            self._flow.published.labels(destination.value).inc(count)
        for review_reason, count in reasons.items():
            self._flow.review.labels(review_reason.value).inc(count)
        for flag, count in flags.items():
            self._inputs.flags.labels(flag.value).inc(count)
        for reason, count in rejections.items():
            self._flow.dead.labels(reason.value).inc(count)
        self.rollout.decided(arms)
        self._observe_decisions(observations)
        self._inputs.truncated.inc(truncated)
        self._observe_signals([seen.signals for seen in observations if seen.signals is not None])
        self._flow.last_event.set(now_ms / 1000)

    def _observe_decisions(self, observations: Sequence[Observation]) -> None:
        confidences: defaultdict[str, list[float]] = defaultdict(list)
        audits: Tally[str] = Tally()
        for seen in observations:
            if seen.label is not None and seen.confidence is not None:
                label = seen.label if seen.label in self._labels else UNKNOWN_LABEL
                confidences[label].append(seen.confidence)
                audits[label] += seen.audited
        for label, values in confidences.items():
            self._flow.predictions.labels(label).inc(len(values))
            self._flow.audits.labels(label).inc(audits[label])
            observe_all(self._inputs.confidence.labels(label), values)

    def _observe_ages(self, created_ms: Sequence[int], now_ms: int) -> None:
        timed = [one for one in created_ms if can_be_true(one, now_ms)]
        fresh = [one for one in timed if one >= self._group_began_ms]
        observe_all(self._flow.age, [max(0, now_ms - one) / 1000 for one in fresh])
        self._flow.untimed.inc(len(created_ms) - len(timed))
        self._flow.before_group.inc(len(timed) - len(fresh))

    def _observe_signals(self, signals: Sequence[Signals]) -> None:
        sources: Tally[SourceKind] = Tally()
        undescribed = strange = 0
        for seen in signals:
            undescribed += not seen.described
            strange += seen.out_of_distribution
            sources[self._kind_of(seen.source)] += 1
        for value, histogram in self._inputs.numbers:
            observe_all(histogram, list(map(value, signals)))
        for source, count in sources.items():
            self._inputs.sources.labels(source.value).inc(count)
        self._inputs.undescribed.inc(undescribed)
        self._inputs.ood.inc(strange)

    def _kind_of(self, source: str | None) -> SourceKind:
        if source is None:
            return SourceKind.MISSING
        return SourceKind.KNOWN if not self._known_sources or source in self._known_sources else SourceKind.UNSEEN

    def open_transactions(self, found: Mapping[str, tuple[int, float]]) -> None:
        """By partition with an open transaction, show the events behind it, and since when the transaction is open (Unix seconds)."""
        for family in (self._position.behind, self._position.behind_since):
            family.clear()
        for partition, (events, since) in found.items():
            self._position.behind.labels(partition).set(events)
            self._position.behind_since.labels(partition).set(since)

    def drift_reference(self, reference: Mapping[str, Any]) -> None:
        """Show the reference in force from now on; empty while the group learns."""
        self._reference.replace(reference)
        self._drift.from_bundle.clear()
        for figure, distance in distances(reference, self._of_bundle).items():
            self._drift.from_bundle.labels(figure).set(distance)

    def drift_learned(self, ratio: float) -> None:
        """Show the share of the reference that the group has learned, 0 to 1."""
        self._drift.learned.set(ratio)

    def drift_change(self, signal: str, now: float) -> None:
        """A signal, one of `DriftSignal`, changed suddenly, and it was seen at `now` (Unix seconds)."""
        self._drift.last_change.set(now)
        self._drift.changes.labels(DriftSignal(signal).value).inc()

    def drift_evaluated(self, window_events: int, scores: Mapping[str, float], now: float) -> None:
        """
        A window was compared with the reference.

        Args:
            window_events: The number of decisions in the window.
            scores: The scores that could be computed, by `DriftScore`.
            now: The time of the comparison, Unix seconds.
        """
        for score, value in scores.items():
            self._drift.scores.labels(DriftScore(score).value).set(value)
        self._drift.window.set(window_events)
        self._drift.evaluated.set(now)

    def drift_finding(self, kind: str) -> None:
        """A drift event of this kind, one of `DriftKind`, was published."""
        self._drift.findings.labels(DriftKind(kind).value).inc()

    def drift_unpublished(self, kind: str) -> None:
        """A finding of this kind, one of `DriftKind`, could not be published."""
        self._drift.unpublished.labels(DriftKind(kind).value).inc()

    def drift_plan(self, window_events: int, thresholds: Mapping[str, float]) -> None:
        """The size of a window, and by `DriftScore` the score from which a window is a finding."""
        self._drift.window.set(window_events)
        for score, value in thresholds.items():
            self._drift.thresholds.labels(DriftScore(score).value).set(value)

    def expired(self, events: int) -> None:
        """The topic's retention deleted this many events before they were read."""
        self._flow.expired.inc(events)

    def position(
        self,
        *,
        partitions: int,
        lag: int | None,
        inflight: int,
        last_commit: float | None,
        oldest_seconds: float = 0.0,
        known_at: float | None = None,
    ) -> None:
        """
        Show the worker's place in the log.

        Args:
            partitions: Number of assigned partitions.
            lag: The number of events from the committed offsets to the ends of the log. It includes events that are taken and not committed,
                and events behind an open transaction. None if the brokers have not answered the last request; it is exported as NaN.
            inflight: The number of events taken and not yet acknowledged.
            last_commit: Time of the last commit, Unix seconds; None before the first.
            oldest_seconds: Age of the oldest event taken and not yet acknowledged; 0 if there is none.
            known_at: Time of the brokers' last answer, Unix seconds; None leaves it unchanged.
        """
        self._position.oldest.set(oldest_seconds)
        self._position.partitions.set(partitions)
        self._position.lag.set(math.nan if lag is None else lag)
        self._position.inflight.set(inflight)
        if known_at is not None:
            self._position.known_at.set(known_at)
        if last_commit is not None:
            self._position.last_commit.set(last_commit)

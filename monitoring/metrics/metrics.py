"""Counts the stream's reports in the worker's metrics. `families` has the metrics, and `decisions` counts what a model decides."""

import math
from collections import Counter as Tally
from collections.abc import Collection, Mapping, Sequence

from prometheus_client import CollectorRegistry

from tagstream.monitoring.metrics.answers import AnswerMetrics
from tagstream.monitoring.metrics.bulk import observe_all
from tagstream.monitoring.metrics.decisions import DecisionMetrics
from tagstream.monitoring.metrics.families import FlowFamilies, PoisonFamilies, PositionFamilies
from tagstream.monitoring.metrics.rollout import RolloutMetrics
from tagstream.monitoring.metrics.traces import TraceMetrics
from tagstream.monitoring.observer import NO_TOPICS, Observation
from tagstream.monitoring.record_time import can_be_true
from tagstream.monitoring.vocabulary import Arm, Destination, Reason, ReviewReason


class Metrics(DecisionMetrics):
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
        super().__init__(registry, labels=labels, known_sources=known_sources)
        self.answers = AnswerMetrics(registry) if answers is None else answers
        self.rollout = RolloutMetrics(registry)
        self.traces = TraceMetrics(registry)
        self._group_began_ms = -math.inf

    def know(self, labels: Collection[str]) -> None:
        """Begin the series of these labels, if they are new."""
        super().know(labels)
        self._flow.know(labels)

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
        arms: Tally[Arm] = Tally()
        audits: Tally[str] = Tally()
        for seen in observations:
            destinations[seen.destination] += 1
            # Most events have no reasons, and an update without values costs as much as any other.
            if seen.review_reasons:
                reasons.update(seen.review_reasons)
            if seen.audited and seen.label is not None:
                audits[self.known(seen.label)] += 1
            if seen.arm is not None:
                arms[seen.arm] += 1
            if seen.rejection is not None:
                rejections[seen.rejection] += 1
        self._observe_ages([seen.created_ms for seen in observations], now_ms)
        for destination, count in destinations.items():
            self._flow.published.labels(destination.value).inc(count)
        for review_reason, count in reasons.items():
            self._flow.review.labels(review_reason.value).inc(count)
        for reason, count in rejections.items():
            self._flow.dead.labels(reason.value).inc(count)
        for label, count in audits.items():
            self._flow.audits.labels(label).inc(count)
        self.rollout.decided(arms)
        self.decided(observations)
        self._flow.last_event.set(now_ms / 1000)

    def _observe_ages(self, created_ms: Sequence[int], now_ms: int) -> None:
        timed = [one for one in created_ms if can_be_true(one, now_ms)]
        fresh = [one for one in timed if one >= self._group_began_ms]
        observe_all(self._flow.age, [max(0, now_ms - one) / 1000 for one in fresh])
        self._flow.untimed.inc(len(created_ms) - len(timed))
        self._flow.before_group.inc(len(timed) - len(fresh))

    def open_transactions(self, found: Mapping[str, tuple[int, float]]) -> None:
        """By partition with an open transaction, show the events behind it, and since when the transaction is open (Unix seconds)."""
        for family in (self._position.behind, self._position.behind_since):
            family.clear()
        for partition, (events, since) in found.items():
            self._position.behind.labels(partition).set(events)
            self._position.behind_since.labels(partition).set(since)

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

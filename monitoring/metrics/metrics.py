"""Every metric, in one place. The registry is an argument; nothing here is global.

    tagstream_events_received_total{topic}             events taken from the topic
    tagstream_redelivered_events_total                 of these, taken before by this same process; a restart forgets
    tagstream_events_published_total{destination}      outcomes that the broker has acknowledged
    tagstream_predictions_total{label}                 of these, decisions of the model (the rules have none)
    tagstream_review_requested_total{reason}           of these, sent to a person, by reason (an event may have several)
    tagstream_events_dead_lettered_total{reason}       of these, dead letters
    tagstream_events_expired_total                     events that retention had deleted before they were read
    tagstream_events_truncated_total                   decisions on a text that did not fit into the network
    tagstream_confidence_ratio{label}                  calibrated probability of the decision (histogram)
    tagstream_stage_duration_seconds{stage}            one batch in one stage (histogram)
    tagstream_batch_size_events                        events in a batch (histogram)
    tagstream_event_age_seconds                        from the record's timestamp to the acknowledged outcome (histogram)
    tagstream_inflight_events                          events taken and not yet acknowledged
    tagstream_committed_lag_events                     end of the log minus committed offset, over the assigned partitions
    tagstream_assigned_partitions                      partitions that this worker has
    tagstream_last_event_timestamp_seconds             when an outcome was last acknowledged
    tagstream_last_commit_timestamp_seconds            when the committed offset last moved
    tagstream_position_timestamp_seconds               when the brokers last said where this worker stands
    tagstream_model_info{name,version,digest}          which bundle decides, or which rules (always 1)
    tagstream_model_loaded_timestamp_seconds           when it was loaded
    tagstream_model_exceptions_total                   calls of the model that raised, for a batch or for a part of one
    tagstream_crash_guard_active                       1 while what is in the model is written down; 0: a crash loop has no end
    tagstream_crash_suspects_events                    events that a worker died with, not settled yet
    tagstream_circuit_breaker_open                     1 while the worker has stopped until a person answers

What a decision was made of:

    tagstream_energy_score                             -logsumexp(logits), higher is stranger (histogram; without a sum)
    tagstream_text_tokens                              tokens that the network read (histogram)
    tagstream_text_tokens_per_word_ratio               tokens without the special ones, a word between white space (histogram)
    tagstream_events_without_description_total         decisions on a title alone
    tagstream_events_by_source_total{source}           decisions by producer: known, unseen (not in known_sources), missing
    tagstream_text_flags_total{flag}                   decisions on a text with something hidden in it, by what it is
    tagstream_ood_events_total                         decisions on a text whose energy is above the bundle's ood_energy
    tagstream_confidence_threshold_ratio{label}        below it a person is asked; above 1 where one always is
    tagstream_oldest_unprocessed_seconds               age of the oldest event taken and not yet acknowledged; 0 if there is none

What the bundle calls ordinary, for comparison; a figure that an older bundle lacks has no series:

    tagstream_reference_label_ratio{label}             share of each predicted label
    tagstream_reference_confidence_cdf{le}             share of confidences at most le, for every bucket of the live histogram
    tagstream_reference_energy_cdf{le}                 the same of energies
    tagstream_reference_text_tokens_cdf{le}            the same of tokens
    tagstream_reference_text_tokens_per_word_cdf{le}   the same of tokens a word
    tagstream_reference_ood_ratio                      share of texts above ood_energy
    tagstream_reference_truncated_ratio                share of texts that did not fit
    tagstream_reference_without_description_ratio      share of texts that are a title alone
    tagstream_reference_events                         texts in the reference

What drift detection of this worker says:

    tagstream_drift_changes_total{signal}              sudden changes of confidence, energy, tokens_per_word or described
    tagstream_drift_score{signal}                      last window: largest likelihood-ratio z of a word, stability index of labels, share
                                                       of new producers beyond chance
    tagstream_drift_threshold{signal}                  the score from which a window is a finding; 0 where drift detection is off
    tagstream_drift_window_events                      decisions in a window; 0 where drift detection is switched off
    tagstream_drift_last_evaluated_timestamp_seconds   when a window was last evaluated; 0 before the first
    tagstream_drift_findings_total{kind}               drift events published: change, words, labels or sources
    tagstream_drift_findings_unpublished_total{kind}   findings that did not get to the topic: there is none, or the broker refused

Base units, closed label sets, every combination present from the start: a counter that is missing until its first event drops
silently out of sums.
"""

from collections import Counter as Tally
from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from enum import StrEnum
from types import MappingProxyType
from typing import Any

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, Info, disable_created_metrics

from monitoring import edges
from monitoring.metrics.reference import ReferenceGauges
from monitoring.observer import Observation, Signals
from monitoring.vocabulary import Destination, DriftKind, DriftScore, DriftSignal, Reason, ReviewReason, SourceKind, TextFlag

STAGES = ("decode", "inference", "encode", "publish")
STAGE_BUCKETS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10)
AGE_BUCKETS = (*STAGE_BUCKETS, 30, 60, 300, 1800)
BATCH_BUCKETS = (1, 2, 4, 8, 16, 32, 64, 128, 256)

# Where a label that the bundle does not have is counted, so that the label sets stay closed whatever comes.
UNKNOWN_LABEL = "other"
NOTHING: Mapping[str, Any] = MappingProxyType({})

# The moment of a series' birth would be a second series for each; Prometheus does not use it.
disable_created_metrics()  # type: ignore[no-untyped-call]


class Metrics:
    """The worker's metrics on one registry. Implements `Observer`; updates are per batch."""

    def __init__(
        self, registry: CollectorRegistry, *, labels: Sequence[str], topic: str, known_sources: Collection[str] = ()
    ) -> None:
        """
        Register every metric and create every series.

        Args:
            registry: Where the metrics live.
            labels: The bundle's labels, the closed set of the label `label`.
            topic: The topic that is read.
            known_sources: Producers that are expected; if none is named, any that names itself is.
        """
        self._received = Counter(
            "tagstream_events_received", "Events taken from the topic.", ["topic"], registry=registry
        ).labels(topic)
        self._redelivered = Counter(
            "tagstream_redelivered_events",
            "Events taken that this same process had taken before, as after a rebalance; what a restart repeats is not among them.",
            registry=registry,
        )
        self._published = Counter(
            "tagstream_events_published",
            "Outcomes that the broker has acknowledged.",
            ["destination"],
            registry=registry,
        )
        self._predictions = Counter("tagstream_predictions", "Published decisions of the model.", ["label"], registry=registry)
        self._review = Counter(
            "tagstream_review_requested", "Decisions sent to a person, by reason.", ["reason"], registry=registry
        )
        self._dead = Counter("tagstream_events_dead_lettered", "Dead letters, by reason.", ["reason"], registry=registry)
        self._expired = Counter(
            "tagstream_events_expired",
            "Events that the topic's retention had deleted before this group read them.",
            registry=registry,
        )
        self._truncated = Counter(
            "tagstream_events_truncated", "Decisions on a text that did not fit into the network.", registry=registry
        )
        self._confidence = Histogram(
            "tagstream_confidence_ratio",
            "Calibrated probability of the decision.",
            ["label"],
            buckets=edges.CONFIDENCE,
            registry=registry,
        )
        self._stage = Histogram(
            "tagstream_stage_duration_seconds",
            "Time of one batch in one stage.",
            ["stage"],
            buckets=STAGE_BUCKETS,
            registry=registry,
        )
        self._batch = Histogram("tagstream_batch_size_events", "Events in one batch.", buckets=BATCH_BUCKETS, registry=registry)
        self._age = Histogram(
            "tagstream_event_age_seconds",
            "From the record's timestamp to its acknowledged outcome.",
            buckets=AGE_BUCKETS,
            registry=registry,
        )
        self._inflight = Gauge("tagstream_inflight_events", "Events taken and not yet acknowledged.", registry=registry)
        self._lag = Gauge(
            "tagstream_committed_lag_events",
            "End of the log minus committed offset, over the assigned partitions.",
            registry=registry,
        )
        self._partitions = Gauge("tagstream_assigned_partitions", "Partitions that this worker has.", registry=registry)
        self._last_event = Gauge(
            "tagstream_last_event_timestamp_seconds", "When an outcome was last acknowledged.", registry=registry
        )
        self._known_at = Gauge(
            "tagstream_position_timestamp_seconds",
            "When the brokers last said where this worker stands and what waits.",
            registry=registry,
        )
        self._last_commit = Gauge(
            "tagstream_last_commit_timestamp_seconds", "When the committed offset last moved.", registry=registry
        )
        self._model = Info("tagstream_model", "Which bundle decides, or which rules.", registry=registry)
        self._model_loaded = Gauge("tagstream_model_loaded_timestamp_seconds", "When the bundle was loaded.", registry=registry)
        self._labels = frozenset(labels)
        self._known_sources = frozenset(known_sources)
        self._reference = ReferenceGauges(labels=labels)
        registry.register(self._reference)
        self._register_poison(registry)
        self._register_signals(registry)
        self._register_drift(registry)
        self._create_series((*labels, UNKNOWN_LABEL))

    def _register_poison(self, registry: CollectorRegistry) -> None:
        self._raised = Counter(
            "tagstream_model_exceptions", "Calls of the model that raised, for a batch or for a part of one.", registry=registry
        )
        self._guard = Gauge(
            "tagstream_crash_guard_active",
            "Set to 1 while what is in the model is written down; at 0 a crash loop on one event has no end.",
            registry=registry,
        )
        self._suspects = Gauge(
            "tagstream_crash_suspects_events", "Events that a worker died with, not settled yet.", registry=registry
        )
        self._breaker = Gauge(
            "tagstream_circuit_breaker_open", "Set to 1 while the worker has stopped until a person answers.", registry=registry
        )

    def _register_signals(self, registry: CollectorRegistry) -> None:
        self._energy = Histogram(
            "tagstream_energy_score",
            "Energy of a decision, -logsumexp(logits): higher is stranger.",
            buckets=edges.ENERGY,
            registry=registry,
        )
        self._tokens = Histogram(
            "tagstream_text_tokens", "Tokens that the network read.", buckets=edges.TOKENS, registry=registry
        )
        self._tokens_per_word = Histogram(
            "tagstream_text_tokens_per_word_ratio",
            "Tokens without the special ones, a word between white space.",
            buckets=edges.TOKENS_PER_WORD,
            registry=registry,
        )
        self._undescribed = Counter("tagstream_events_without_description", "Decisions on a title alone.", registry=registry)
        self._sources = Counter(
            "tagstream_events_by_source",
            "Decisions by producer: known, unseen (not in known_sources), missing.",
            ["source"],
            registry=registry,
        )
        self._ood = Counter(
            "tagstream_ood_events", "Decisions on a text whose energy is above the bundle's ood_energy.", registry=registry
        )
        self._flags = Counter(
            "tagstream_text_flags",
            "Decisions on a text with something hidden in it, by what it is.",
            ["flag"],
            registry=registry,
        )
        self._threshold = Gauge(
            "tagstream_confidence_threshold_ratio",
            "Below it a person is asked, by predicted label; above 1 where one is asked about all of it.",
            ["label"],
            registry=registry,
        )
        self._oldest = Gauge(
            "tagstream_oldest_unprocessed_seconds",
            "Age of the oldest event taken and not yet acknowledged; 0 if there is none.",
            registry=registry,
        )

    def _register_drift(self, registry: CollectorRegistry) -> None:
        self._changes = Counter(
            "tagstream_drift_changes", "Sudden changes of a signal in this worker.", ["signal"], registry=registry
        )
        self._scores = Gauge(
            "tagstream_drift_score",
            "Last window: largest likelihood-ratio z of a word, stability index of labels, share of new producers beyond chance.",
            ["signal"],
            registry=registry,
        )
        self._thresholds = Gauge(
            "tagstream_drift_threshold",
            "The score from which a window is a finding; 0 where drift detection is switched off.",
            ["signal"],
            registry=registry,
        )
        self._window = Gauge(
            "tagstream_drift_window_events",
            "Decisions in a window; 0 where drift detection is switched off.",
            registry=registry,
        )
        self._evaluated = Gauge(
            "tagstream_drift_last_evaluated_timestamp_seconds",
            "When a window was last evaluated; 0 before the first.",
            registry=registry,
        )
        self._findings = Counter("tagstream_drift_findings", "Drift events published, by kind.", ["kind"], registry=registry)
        self._unpublished = Counter(
            "tagstream_drift_findings_unpublished",
            "Findings that did not get to the topic `drift`, by kind: there is no such topic, or the broker did not take them.",
            ["kind"],
            registry=registry,
        )

    def _create_series(self, labels: Sequence[str]) -> None:
        for label in labels:
            self._predictions.labels(label)
            self._confidence.labels(label)
        for stage in STAGES:
            self._stage.labels(stage)
        closed: tuple[tuple[Counter | Gauge, type[StrEnum]], ...] = (
            (self._published, Destination),
            (self._review, ReviewReason),
            (self._dead, Reason),
            (self._flags, TextFlag),
            (self._sources, SourceKind),
            (self._changes, DriftSignal),
            (self._scores, DriftScore),
            (self._thresholds, DriftScore),
            (self._findings, DriftKind),
            (self._unpublished, DriftKind),
        )
        for metric, values in closed:
            for value in values:
                metric.labels(value.value)

    def model_loaded(
        self,
        *,
        name: str,
        version: str,
        digest: str,
        now: float,
        thresholds: Mapping[str, float] = NOTHING,
        reference: Mapping[str, Any] = NOTHING,
    ) -> None:
        """This bundle decides from now (Unix seconds) on, with these thresholds by label; `reference` as its manifest has it."""
        self._model.info({"name": name, "version": version, "digest": digest})
        self._model_loaded.set(now)
        self._threshold.clear()
        for label, threshold in thresholds.items():
            self._threshold.labels(label).set(threshold)
        self._reference.replace(reference)

    def received(self, events: int) -> None:
        """See `Observer`."""
        self._received.inc(events)
        self._batch.observe(events)

    def redelivered(self, events: int) -> None:
        """See `Observer`."""
        self._redelivered.inc(events)

    def stage(self, name: str, seconds: float) -> None:
        """See `Observer`."""
        self._stage.labels(name).observe(seconds)

    def model_raised(self) -> None:
        """See `Observer`."""
        self._raised.inc()

    def crash_guard(self, *, active: bool, suspects: int) -> None:
        """Whether the guard against crash loops works, and how many events it suspects."""
        self._guard.set(active)
        self._suspects.set(suspects)

    def circuit_breaker(self, *, is_open: bool) -> None:
        """Whether the worker has stopped for the number of its dead letters."""
        self._breaker.set(is_open)

    def published(self, observations: Sequence[Observation], now_ms: int) -> None:
        """See `Observer`."""
        destinations: Tally[Destination] = Tally()
        reasons: Tally[ReviewReason] = Tally()
        rejections: Tally[Reason] = Tally()
        flags: Tally[TextFlag] = Tally()
        confidences: defaultdict[str, list[float]] = defaultdict(list)
        truncated = 0
        for seen in observations:
            destinations[seen.destination] += 1
            reasons.update(seen.review_reasons)
            flags.update(seen.text_flags)
            truncated += seen.truncated
            if seen.rejection is not None:
                rejections[seen.rejection] += 1
            if seen.label is not None and seen.confidence is not None:
                confidences[seen.label if seen.label in self._labels else UNKNOWN_LABEL].append(seen.confidence)
            self._age.observe(max(0, now_ms - seen.created_ms) / 1000)
        for destination, count in destinations.items():
            self._published.labels(destination.value).inc(count)
        for review_reason, count in reasons.items():
            self._review.labels(review_reason.value).inc(count)
        for flag, count in flags.items():
            self._flags.labels(flag.value).inc(count)
        for reason, count in rejections.items():
            self._dead.labels(reason.value).inc(count)
        for label, values in confidences.items():
            self._predictions.labels(label).inc(len(values))
            histogram = self._confidence.labels(label)
            for value in values:
                histogram.observe(value)
        self._truncated.inc(truncated)
        self._observe_signals([seen.signals for seen in observations if seen.signals is not None])
        self._last_event.set(now_ms / 1000)

    def _observe_signals(self, signals: Sequence[Signals]) -> None:
        sources: Tally[SourceKind] = Tally()
        undescribed = strange = 0
        for seen in signals:
            self._energy.observe(seen.energy)
            self._tokens.observe(seen.tokens)
            self._tokens_per_word.observe(seen.tokens_per_word)
            undescribed += not seen.described
            strange += seen.out_of_distribution
            sources[self._kind_of(seen.source)] += 1
        for source, count in sources.items():
            self._sources.labels(source.value).inc(count)
        self._undescribed.inc(undescribed)
        self._ood.inc(strange)

    def _kind_of(self, source: str | None) -> SourceKind:
        if source is None:
            return SourceKind.MISSING
        return SourceKind.KNOWN if not self._known_sources or source in self._known_sources else SourceKind.UNSEEN

    def drift_change(self, signal: str) -> None:
        """A signal, one of `DriftSignal`, changed suddenly."""
        self._changes.labels(DriftSignal(signal).value).inc()

    def drift_evaluated(self, window_events: int, scores: Mapping[str, float], now: float) -> None:
        """A window of so many events was compared with the reference at `now` (Unix seconds); scores by `DriftScore`."""
        for score, value in scores.items():
            self._scores.labels(DriftScore(score).value).set(value)
        self._window.set(window_events)
        self._evaluated.set(now)

    def drift_finding(self, kind: str) -> None:
        """A drift event of this kind, one of `DriftKind`, was published."""
        self._findings.labels(DriftKind(kind).value).inc()

    def drift_unpublished(self, kind: str) -> None:
        """A finding of this kind, one of `DriftKind`, did not get to its topic."""
        self._unpublished.labels(DriftKind(kind).value).inc()

    def drift_plan(self, window_events: int, thresholds: Mapping[str, float]) -> None:
        """So many decisions are a window, and from these scores, by `DriftScore`, on it is a finding."""
        self._window.set(window_events)
        for score, value in thresholds.items():
            self._thresholds.labels(DriftScore(score).value).set(value)

    def expired(self, events: int) -> None:
        """So many `events` were deleted before they were read."""
        self._expired.inc(events)

    def position(
        self,
        *,
        partitions: int,
        lag: int,
        inflight: int,
        last_commit: float | None,
        oldest_seconds: float = 0.0,
        known_at: float | None = None,
    ) -> None:
        """
        Where the worker stands in the log.

        Args:
            partitions: How many it has.
            lag: Events that wait in them, whatever has been taken and is not committed included.
            inflight: Events in the batches under way.
            last_commit: Unix seconds; None before the first commit.
            oldest_seconds: Age of the oldest event taken and not yet acknowledged; 0 if there is none.
            known_at: Unix seconds at which the brokers last said all this; None: as before.
        """
        self._oldest.set(oldest_seconds)
        self._partitions.set(partitions)
        self._lag.set(lag)
        self._inflight.set(inflight)
        if known_at is not None:
            self._known_at.set(known_at)
        if last_commit is not None:
            self._last_commit.set(last_commit)

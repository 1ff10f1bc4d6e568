"""Every metric, in one place. The registry is an argument; nothing here is global.

    tagstream_events_received_total{topic}             events taken from the topic
    tagstream_events_published_total{destination}      outcomes that the broker has acknowledged
    tagstream_predictions_total{label}                 of these, decisions of the model
    tagstream_review_requested_total{reason}           of these, sent to a person, by reason (an event may have several)
    tagstream_events_dead_lettered_total{reason}       of these, dead letters
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
    tagstream_model_info{name,version,digest}          which bundle decides (always 1)
    tagstream_model_loaded_timestamp_seconds           when it was loaded

Base units, closed label sets, every combination present from the start: a counter that is missing until its first event drops
silently out of sums.
"""

from collections import Counter as Tally
from collections import defaultdict
from collections.abc import Sequence

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, Info, disable_created_metrics

from monitoring.observer import Destination, Observation, Reason, ReviewReason

STAGES = ("decode", "inference", "encode", "publish")
STAGE_BUCKETS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10)
AGE_BUCKETS = (*STAGE_BUCKETS, 30, 60, 300, 1800)
CONFIDENCE_BUCKETS = (0.25, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.85, 0.9, 0.95, 0.98, 0.99, 1)
BATCH_BUCKETS = (1, 2, 4, 8, 16, 32, 64, 128, 256)

# Where a label that the bundle does not have is counted, so that the label sets stay closed whatever comes.
UNKNOWN_LABEL = "other"

# The moment of a series' birth would be a second series for each; Prometheus does not use it.
disable_created_metrics()  # type: ignore[no-untyped-call]


class Metrics:
    """The worker's metrics on one registry. Implements `Observer`; updates are per batch."""

    def __init__(self, registry: CollectorRegistry, *, labels: Sequence[str], topic: str) -> None:
        """
        Register every metric and create every series.

        Args:
            registry: Where the metrics live.
            labels: The bundle's labels, the closed set of the label `label`.
            topic: The topic that is read.
        """
        self._received = Counter(
            "tagstream_events_received", "Events taken from the topic.", ["topic"], registry=registry
        ).labels(topic)
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
        self._truncated = Counter(
            "tagstream_events_truncated", "Decisions on a text that did not fit into the network.", registry=registry
        )
        self._confidence = Histogram(
            "tagstream_confidence_ratio",
            "Calibrated probability of the decision.",
            ["label"],
            buckets=CONFIDENCE_BUCKETS,
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
        self._last_commit = Gauge(
            "tagstream_last_commit_timestamp_seconds", "When the committed offset last moved.", registry=registry
        )
        self._model = Info("tagstream_model", "Which bundle decides.", registry=registry)
        self._model_loaded = Gauge("tagstream_model_loaded_timestamp_seconds", "When the bundle was loaded.", registry=registry)
        self._labels = frozenset(labels)
        self._create_series((*labels, UNKNOWN_LABEL))

    def _create_series(self, labels: Sequence[str]) -> None:
        for label in labels:
            self._predictions.labels(label)
            self._confidence.labels(label)
        for destination in Destination:
            self._published.labels(destination.value)
        for review_reason in ReviewReason:
            self._review.labels(review_reason.value)
        for reason in Reason:
            self._dead.labels(reason.value)
        for stage in STAGES:
            self._stage.labels(stage)

    def model_loaded(self, *, name: str, version: str, digest: str, now: float) -> None:
        """This bundle decides from now (Unix seconds) on."""
        self._model.info({"name": name, "version": version, "digest": digest})
        self._model_loaded.set(now)

    def received(self, events: int) -> None:
        """See `Observer`."""
        self._received.inc(events)
        self._batch.observe(events)

    def stage(self, name: str, seconds: float) -> None:
        """See `Observer`."""
        self._stage.labels(name).observe(seconds)

    def published(self, observations: Sequence[Observation], now_ms: int) -> None:
        """See `Observer`."""
        destinations: Tally[Destination] = Tally()
        reasons: Tally[ReviewReason] = Tally()
        rejections: Tally[Reason] = Tally()
        confidences: defaultdict[str, list[float]] = defaultdict(list)
        truncated = 0
        for seen in observations:
            destinations[seen.destination] += 1
            reasons.update(seen.review_reasons)
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
        for reason, count in rejections.items():
            self._dead.labels(reason.value).inc(count)
        for label, values in confidences.items():
            self._predictions.labels(label).inc(len(values))
            histogram = self._confidence.labels(label)
            for value in values:
                histogram.observe(value)
        self._truncated.inc(truncated)
        self._last_event.set(now_ms / 1000)

    def position(self, *, partitions: int, lag: int, inflight: int, last_commit: float | None) -> None:
        """Where the worker stands in the log. `last_commit` is Unix seconds, None before the first commit."""
        self._partitions.set(partitions)
        self._lag.set(lag)
        self._inflight.set(inflight)
        if last_commit is not None:
            self._last_commit.set(last_commit)

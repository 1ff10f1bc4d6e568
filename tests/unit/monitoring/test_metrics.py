"""The vocabulary of the metrics: what is documented is what is there, from the start, and no event can add to it."""

import re
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.openmetrics.exposition import generate_latest as generate_openmetrics

from monitoring import metrics as module
from monitoring.metrics import STAGES, Metrics
from monitoring.observer import Destination, Observation, Reason, ReviewReason

LABELS = ("natural-language-processing", "computer-vision", "mlops", "other")
MOST_SERIES = 400
NOW_MS = 1_700_000_060_000


def made() -> tuple[Metrics, CollectorRegistry]:
    """Metrics on a registry of their own, with a model."""
    registry = CollectorRegistry()
    metrics = Metrics(registry, labels=LABELS, topic="content")
    metrics.model_loaded(name="tiny", version="1", digest="d", now=7.0)
    return metrics, registry


def series(registry: CollectorRegistry) -> list[str]:
    """Every line that a scrape sees, without its value."""
    return [
        line.rpartition(" ")[0] for line in generate_latest(registry).decode().splitlines() if line and not line.startswith("#")
    ]


def value(registry: CollectorRegistry, name: str, **labels: str) -> float:
    """One series' value, which must be there."""
    found = registry.get_sample_value(name, labels)
    assert found is not None, (name, labels)
    return found


def documented() -> dict[str, set[str]]:
    """The module docstring's table: metric name to label names."""
    rows = re.findall(r"^    (tagstream_\w+?)(?:\{([\w,]+)\})?\s{2,}\S", module.__doc__ or "", re.MULTILINE)
    return {name: set(filter(None, labels.split(","))) for name, labels in rows}


def registered(registry: CollectorRegistry) -> Iterator[tuple[str, set[str]]]:
    """Every metric of the registry as the docstring would spell it."""
    for metric in registry.collect():
        for sample in metric.samples:
            name = (
                sample.name.removesuffix("_bucket").removesuffix("_sum").removesuffix("_count")
                if metric.type == "histogram"
                else sample.name
            )
            yield name, set(sample.labels) - {"le"}


def seen(destination: Destination = Destination.TAGGED, created_ms: int = NOW_MS, **more: object) -> Observation:
    """An outcome in numbers."""
    return Observation(destination=destination, created_ms=created_ms, **more)  # type: ignore[arg-type]


OBSERVATIONS = st.builds(
    Observation,
    destination=st.sampled_from(Destination),
    created_ms=st.integers(-(10**15), 10**15),
    label=st.one_of(st.none(), st.sampled_from(LABELS)),
    confidence=st.one_of(st.none(), st.floats(0, 1)),
    truncated=st.booleans(),
    rejection=st.one_of(st.none(), st.sampled_from(Reason)),
    review_reasons=st.lists(st.sampled_from(ReviewReason), unique=True).map(tuple),
)


def test_what_is_documented_is_what_is_registered() -> None:
    """Names and labels of the module's table, no more and no fewer."""
    _, registry = made()
    assert documented()
    assert dict(registered(registry)) == documented()


def test_every_metric_has_one_set_of_labels_and_a_sentence_of_help() -> None:
    """For the person who writes a query."""
    _, registry = made()
    assert len(set(map(str, registered(registry)))) == len(documented())
    for metric in registry.collect():
        assert metric.documentation[0].isupper()
        assert metric.documentation.endswith(".")


def test_every_series_is_there_from_the_start_at_zero() -> None:
    """A counter that is missing until its first event drops silently out of sums."""
    _, registry = made()
    expected = {
        "tagstream_predictions_total": ("label", LABELS),
        "tagstream_confidence_ratio_count": ("label", LABELS),
        "tagstream_events_published_total": ("destination", Destination),
        "tagstream_review_requested_total": ("reason", ReviewReason),
        "tagstream_events_dead_lettered_total": ("reason", Reason),
        "tagstream_stage_duration_seconds_count": ("stage", STAGES),
        "tagstream_events_received_total": ("topic", ["content"]),
    }
    for name, (label, values) in expected.items():
        assert {item: value(registry, name, **{label: item}) for item in values} == dict.fromkeys(values, 0.0)
    for name in ("tagstream_events_truncated_total", "tagstream_batch_size_events_count", "tagstream_event_age_seconds_count"):
        assert value(registry, name) == 0.0


def test_there_are_few_series_and_none_for_their_birth() -> None:
    """In both formats that Prometheus asks for."""
    _, registry = made()
    assert len(series(registry)) < MOST_SERIES
    assert "_created" not in generate_latest(registry).decode()
    assert "_created" not in generate_openmetrics(registry).decode()  # type: ignore[no-untyped-call]


@given(st.lists(OBSERVATIONS, min_size=1))
def test_no_outcome_makes_a_series(observations: list[Observation]) -> None:
    """Times before the epoch and after its end, labels without confidence, reasons where none belongs."""
    metrics, registry = made()
    before = series(registry)
    metrics.published(observations, NOW_MS)
    assert series(registry) == before


def test_ten_thousand_hostile_outcomes_make_no_series() -> None:
    """A label that the bundle does not have is counted as `other`, and is never a series of its own."""
    metrics, registry = made()
    before = series(registry)
    for batch in range(100):
        metrics.received(100)
        metrics.published(
            [seen(label=f'x"\n{batch}-{item}', confidence=float(item), created_ms=-item) for item in range(100)], NOW_MS
        )
        for stage in STAGES:
            metrics.stage(stage, batch * 1e9)
    assert series(registry) == before
    assert value(registry, "tagstream_predictions_total", label="other") == 10_000


@given(st.lists(OBSERVATIONS), st.lists(st.integers(1, 64)))
def test_counters_agree_with_what_was_observed(observations: list[Observation], batches: list[int]) -> None:
    """Every counter is recomputed from the list."""
    metrics, registry = made()
    for size in batches:
        metrics.received(size)
    metrics.published(observations, NOW_MS)
    decided = [seen for seen in observations if seen.label is not None and seen.confidence is not None]
    assert value(registry, "tagstream_events_received_total", topic="content") == sum(batches)
    assert value(registry, "tagstream_batch_size_events_count") == len(batches)
    assert value(registry, "tagstream_events_truncated_total") == sum(seen.truncated for seen in observations)
    assert value(registry, "tagstream_event_age_seconds_count") == len(observations)
    for destination in Destination:
        count = sum(seen.destination is destination for seen in observations)
        assert value(registry, "tagstream_events_published_total", destination=destination) == count
    for review_reason in ReviewReason:
        count = sum(review_reason in seen.review_reasons for seen in observations)
        assert value(registry, "tagstream_review_requested_total", reason=review_reason) == count
    for reason in Reason:
        count = sum(seen.rejection is reason for seen in observations)
        assert value(registry, "tagstream_events_dead_lettered_total", reason=reason) == count
    for label in LABELS:
        count = sum(seen.label == label for seen in decided)
        assert value(registry, "tagstream_predictions_total", label=label) == count
        assert value(registry, "tagstream_confidence_ratio_count", label=label) == count


def test_a_histogram_puts_an_observation_into_its_bucket() -> None:
    """Seconds for durations and ages, a ratio for confidence; a clock that runs backwards makes no negative age."""
    metrics, registry = made()
    metrics.published([seen(label="mlops", confidence=0.9, created_ms=NOW_MS - 2_000), seen(created_ms=NOW_MS + 9_000)], NOW_MS)
    metrics.stage("publish", 0.02)
    metrics.received(3)
    assert value(registry, "tagstream_confidence_ratio_bucket", label="mlops", le="0.9") == 1
    assert value(registry, "tagstream_confidence_ratio_bucket", label="mlops", le="0.85") == 0
    assert value(registry, "tagstream_event_age_seconds_sum") == 2.0
    assert value(registry, "tagstream_event_age_seconds_bucket", le="0.005") == 1
    assert value(registry, "tagstream_stage_duration_seconds_bucket", stage="publish", le="0.025") == 1
    assert value(registry, "tagstream_batch_size_events_bucket", le="4.0") == 1
    assert value(registry, "tagstream_batch_size_events_bucket", le="2.0") == 0


def test_gauges_say_where_the_worker_stands() -> None:
    """Before the first commit its time is zero, which no query takes for now."""
    metrics, registry = made()
    metrics.position(partitions=4, lag=17, inflight=3, last_commit=None)
    assert value(registry, "tagstream_last_commit_timestamp_seconds") == 0.0
    metrics.position(partitions=2, lag=5, inflight=1, last_commit=9.5)
    metrics.published([seen()], NOW_MS)
    names = ("assigned_partitions", "committed_lag_events", "inflight_events", "last_commit_timestamp_seconds")
    assert [value(registry, f"tagstream_{name}") for name in names] == [2, 5, 1, 9.5]
    assert value(registry, "tagstream_last_event_timestamp_seconds") == NOW_MS / 1000


def test_the_model_says_which_bundle_decides() -> None:
    """One series, also after another bundle was loaded."""
    metrics, registry = made()
    metrics.model_loaded(name="other", version="2", digest="e", now=8.0)
    assert [line for line in series(registry) if line.startswith("tagstream_model_info")] == [
        'tagstream_model_info{digest="e",name="other",version="2"}'
    ]
    assert value(registry, "tagstream_model_loaded_timestamp_seconds") == 8.0


def test_a_registry_takes_the_metrics_once() -> None:
    """Two workers in one process would count twice."""
    _, registry = made()
    with pytest.raises(ValueError, match="Duplicated"):
        Metrics(registry, labels=LABELS, topic="content")

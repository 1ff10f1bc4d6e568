"""All documented metrics exist from the start, and no event can add a series."""

import math
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.openmetrics.exposition import generate_latest as generate_openmetrics

from tagstream.monitoring.metrics.families import STAGES
from tagstream.monitoring.metrics.metrics import Metrics
from tagstream.monitoring.metrics.process import process_registry
from tagstream.monitoring.metrics.rollout import RolloutMetrics
from tagstream.monitoring.observer import Observation
from tagstream.monitoring.record_time import can_be_true
from tagstream.monitoring.signals import CONFIDENCE, DISTRIBUTIONS, ENERGY, TOKENS, TOKENS_PER_WORD, DriftSignal, Signals
from tagstream.monitoring.vocabulary import Arm, Destination, DriftKind, DriftScore, PlanState, Reason, ReviewReason, SourceKind

LABELS = ("natural-language-processing", "computer-vision", "mlops", "other")
MOST_SERIES = 475
NOW_MS = 1_700_000_060_000
# The names and labels that dashboards and alerts outside of this project may use: a metric, then its labels.
VOCABULARY = """
    tagstream_events_received_total topic
    tagstream_redelivered_events_total
    tagstream_repeated_texts_total
    tagstream_repeats_saved_seconds_total
    tagstream_events_published_total destination
    tagstream_predictions_total label
    tagstream_audits_total label
    tagstream_review_requested_total reason
    tagstream_events_dead_lettered_total reason
    tagstream_events_expired_total
    tagstream_events_truncated_total
    tagstream_confidence_ratio label
    tagstream_stage_duration_seconds stage
    tagstream_batch_size_events
    tagstream_event_age_seconds
    tagstream_events_before_group_total
    tagstream_events_untimed_total
    tagstream_open_transaction_events partition
    tagstream_open_transaction_since_timestamp_seconds partition
    tagstream_rollout_followed
    tagstream_rollout_epoch
    tagstream_rollout_decisions_total arm
    tagstream_rollout_planned_epoch state
    tagstream_rollout_refusals_total
    tagstream_rollout_closing_epoch
    tagstream_rollout_held_events
    tagstream_rollout_held_seconds
    tagstream_rollout_hold_duration_seconds
    tagstream_answers_active
    tagstream_answers_published_total destination
    tagstream_answers_dead_lettered_total reason
    tagstream_answer_age_seconds
    tagstream_answers_lag_events
    tagstream_answers_expired_total
    tagstream_trace_spans_total result
    tagstream_inflight_events
    tagstream_committed_lag_events
    tagstream_assigned_partitions
    tagstream_last_event_timestamp_seconds
    tagstream_last_commit_timestamp_seconds
    tagstream_position_timestamp_seconds
    tagstream_model_info name version digest
    tagstream_model_loaded_timestamp_seconds
    tagstream_model_exceptions_total
    tagstream_crash_guard_active
    tagstream_crash_suspects_events
    tagstream_circuit_breaker_open
    tagstream_energy_score
    tagstream_text_tokens
    tagstream_text_tokens_per_word_ratio
    tagstream_events_without_description_total
    tagstream_events_by_source_total source
    tagstream_text_flags_total flag
    tagstream_ood_events_total
    tagstream_confidence_threshold_ratio label
    tagstream_oldest_unprocessed_seconds
    tagstream_reference_label_ratio label
    tagstream_reference_confidence_cdf at_most
    tagstream_reference_energy_cdf at_most
    tagstream_reference_text_tokens_cdf at_most
    tagstream_reference_text_tokens_per_word_cdf at_most
    tagstream_reference_ood_ratio
    tagstream_reference_truncated_ratio
    tagstream_reference_without_description_ratio
    tagstream_reference_review_ratio
    tagstream_reference_distance_from_bundle figure
    tagstream_reference_events
    tagstream_drift_changes_total signal
    tagstream_drift_score signal
    tagstream_drift_flood_ratio signal
    tagstream_drift_threshold signal
    tagstream_drift_window_events
    tagstream_drift_last_evaluated_timestamp_seconds
    tagstream_drift_last_change_timestamp_seconds
    tagstream_drift_learned_ratio
    tagstream_drift_findings_total kind
    tagstream_drift_findings_unpublished_total kind
"""
REFERENCE: dict[str, Any] = {
    "rows": 40,
    "label_ratio": {"natural-language-processing": 0.4, "computer-vision": 0.3, "mlops": 0.2, "other": 0.1},
    "confidence_cdf": {str(edge): round(edge / 2, 4) for edge in DISTRIBUTIONS[CONFIDENCE].edges},
    "energy_cdf": {str(edge): 1 + edge / 12 for edge in DISTRIBUTIONS[ENERGY].edges},
    "tokens_cdf": {str(edge): edge / 128 for edge in DISTRIBUTIONS[TOKENS].edges},
    "tokens_per_word_cdf": {str(edge): edge / 8 for edge in DISTRIBUTIONS[TOKENS_PER_WORD].edges},
    "ood_ratio": 0.005,
    "truncated_ratio": 0.01,
    "without_description_ratio": 0.25,
}


def learned() -> tuple[Metrics, CollectorRegistry]:
    """The same, with the reference that a group has learned."""
    metrics, registry = made()
    metrics.drift_reference({**REFERENCE, "review_ratio": 0.3})
    return metrics, registry


def made() -> tuple[Metrics, CollectorRegistry]:
    """Metrics on a registry of their own, with a model."""
    registry = CollectorRegistry()
    metrics = Metrics(registry, labels=LABELS, topic="content")
    metrics.model_loaded(
        name="tiny", version="1", digest="d", now=7.0, thresholds=dict.fromkeys(LABELS, 0.9), reference=REFERENCE
    )
    metrics.open_transactions({"3": (500, NOW_MS / 1000)})
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
    """The contract's metric names, each with its label names."""
    return {name: set(labels) for name, *labels in map(str.split, VOCABULARY.strip().splitlines())}


def registered(registry: CollectorRegistry) -> Iterator[tuple[str, set[str]]]:
    """Every metric of the registry as the table spells it."""
    for metric in registry.collect():
        for sample in metric.samples:
            name = (
                sample.name.removesuffix("_bucket").removesuffix("_sum").removesuffix("_count")
                if metric.type == "histogram"
                else sample.name
            )
            yield name, set(sample.labels) - ({"le"} if metric.type == "histogram" else set())


def seen(destination: Destination = Destination.TAGGED, created_ms: int = NOW_MS, **more: object) -> Observation:
    """An outcome in numbers."""
    return Observation(destination=destination, created_ms=created_ms, **more)  # type: ignore[arg-type]


SIGNALS = st.builds(
    Signals,
    event_id=st.just("e"),
    energy=st.floats(-50, 50),
    tokens=st.integers(0, 10**6),
    tokens_per_word=st.floats(0, 10**6),
    words=st.just(()),
    described=st.booleans(),
    source=st.one_of(st.none(), st.text()),
    out_of_distribution=st.booleans(),
)


def signals(**fields: object) -> Signals:
    """The signals of an ordinary text, with these fields changed."""
    ordinary: dict[str, object] = {
        "event_id": "e",
        "energy": -4.0,
        "tokens": 12,
        "tokens_per_word": 1.25,
        "words": ("graphs",),
        "described": True,
        "source": "posts",
        "out_of_distribution": False,
    }
    return Signals(**(ordinary | fields))  # type: ignore[arg-type]


OBSERVATIONS = st.builds(
    Observation,
    destination=st.sampled_from(Destination),
    created_ms=st.one_of(st.integers(NOW_MS - 10**12, NOW_MS + 10**8), st.integers(-(2**63), 2**63 - 1)),
    label=st.one_of(st.none(), st.sampled_from(LABELS)),
    confidence=st.one_of(st.none(), st.floats(0, 1)),
    truncated=st.booleans(),
    rejection=st.one_of(st.none(), st.sampled_from(Reason)),
    review_reasons=st.lists(st.sampled_from(ReviewReason), unique=True).map(tuple),
    arm=st.one_of(st.none(), st.sampled_from(Arm)),
    signals=st.one_of(st.none(), SIGNALS),
)


def test_what_is_documented_is_what_is_registered() -> None:
    """The registered names and labels are exactly the documented ones."""
    _, registry = learned()
    assert documented()
    assert dict(registered(registry)) == documented()


def test_every_metric_has_one_set_of_labels_and_a_sentence_of_help() -> None:
    """Each metric has one set of labels and a help text."""
    _, registry = learned()
    assert len(set(map(str, registered(registry)))) == len(documented())
    for metric in registry.collect():
        assert metric.documentation[0].isupper()
        assert metric.documentation.endswith(".")


def test_every_series_is_there_from_the_start_at_zero() -> None:
    """Each series exists from the start at zero, because a missing counter drops out of sums."""
    _, registry = made()
    expected = {
        "tagstream_predictions_total": ("label", LABELS),
        "tagstream_confidence_ratio_count": ("label", LABELS),
        "tagstream_events_published_total": ("destination", Destination),
        "tagstream_review_requested_total": ("reason", ReviewReason),
        "tagstream_events_dead_lettered_total": ("reason", Reason),
        "tagstream_stage_duration_seconds_count": ("stage", STAGES),
        "tagstream_events_received_total": ("topic", ["content"]),
        "tagstream_events_by_source_total": ("source", SourceKind),
        "tagstream_drift_changes_total": ("signal", DriftSignal),
        "tagstream_drift_score": ("signal", DriftScore),
        "tagstream_drift_threshold": ("signal", DriftScore),
        "tagstream_drift_flood_ratio": ("signal", DriftScore),
        "tagstream_drift_findings_total": ("kind", DriftKind),
        "tagstream_drift_findings_unpublished_total": ("kind", DriftKind),
    }
    for name, (label, values) in expected.items():
        assert {item: value(registry, name, **{label: item}) for item in values} == dict.fromkeys(values, 0.0)
    for name in (
        "events_truncated_total",
        "batch_size_events_count",
        "event_age_seconds_count",
        "energy_score_count",
        "text_tokens_count",
        "text_tokens_per_word_ratio_count",
        "events_without_description_total",
        "ood_events_total",
        "oldest_unprocessed_seconds",
        "drift_window_events",
        "drift_last_evaluated_timestamp_seconds",
    ):
        assert value(registry, f"tagstream_{name}") == 0.0


def test_without_a_rollout_its_series_stand_at_zero_and_the_start_of_one_is_told_apart() -> None:
    """A worker that follows one decides by epoch 0 before the first change."""
    metrics, registry = made()
    found = [sample.value for metric in registry.collect() for sample in metric.samples if "_rollout_" in sample.name]
    assert len(found) > 10
    assert set(found) == {0.0}
    metrics.rollout.decides_by(0)
    assert (value(registry, "tagstream_rollout_epoch"), value(registry, "tagstream_rollout_followed")) == (0.0, 1.0)


def test_decisions_are_counted_by_arm_from_the_first_change_on() -> None:
    """Those from before have no arm, and count in none."""
    metrics, registry = made()
    metrics.published(
        [seen(label="mlops", confidence=0.9, arm=arm) for arm in (None, Arm.CHAMPION, *[Arm.CHALLENGER] * 2)], NOW_MS
    )
    found = {arm: value(registry, "tagstream_rollout_decisions_total", arm=arm) for arm in Arm}
    assert found == {Arm.CHAMPION: 1.0, Arm.CHALLENGER: 2.0, Arm.FALLBACK: 0.0}


@pytest.mark.parametrize("state", PlanState)
def test_a_plan_is_shown_under_one_state(state: PlanState) -> None:
    """The number of the plan stands under the worker's state before it, and is gone with the plan."""
    metrics, registry = made()
    metrics.rollout.planned(7, state, closing=7)
    assert {one: value(registry, "tagstream_rollout_planned_epoch", state=one) for one in PlanState} == {
        one: 7.0 if one is state else 0.0 for one in PlanState
    }
    metrics.rollout.planned(None, None, closing=None)
    assert {value(registry, "tagstream_rollout_planned_epoch", state=one) for one in PlanState} == {0.0}
    assert value(registry, "tagstream_rollout_closing_epoch") == 0.0


def test_a_batch_that_waits_for_its_epoch_is_held_and_one_that_only_asks_is_not() -> None:
    """Events count as held once the answer of the brokers is overdue; the oldest hold is shown, and each wait is measured."""
    now, registry = 100.0, CollectorRegistry()
    rollout = RolloutMetrics(registry, clock=lambda: now)

    def held() -> tuple[float, float]:
        return value(registry, "tagstream_rollout_held_events"), value(registry, "tagstream_rollout_held_seconds")

    with rollout.waiting(32):
        assert held() == (0.0, 0.0)
        now = 103.0
        with rollout.waiting(5):
            assert held() == (32.0, 3.0)
            now = 104.0
            assert held() == (37.0, 4.0)
    assert held() == (0.0, 0.0)
    assert value(registry, "tagstream_rollout_hold_duration_seconds_count") == 2.0
    assert value(registry, "tagstream_rollout_hold_duration_seconds_sum") == 5.0


def test_there_are_few_series_and_none_for_their_birth() -> None:
    """There are no series with creation times, in either format."""
    _, registry = learned()
    assert len(series(registry)) < MOST_SERIES
    assert "_created" not in generate_latest(registry).decode()
    assert "_created" not in generate_openmetrics(registry).decode()  # type: ignore[no-untyped-call]


@given(st.lists(OBSERVATIONS, min_size=1))
def test_no_outcome_makes_a_series(observations: list[Observation]) -> None:
    """No outcome adds a series, not even one with odd times, labels or reasons."""
    metrics, registry = made()
    before = series(registry)
    metrics.published(observations, NOW_MS)
    assert series(registry) == before


def test_ten_thousand_hostile_outcomes_make_no_series() -> None:
    """Unknown labels are counted as `other` and add no series."""
    metrics, registry = made()
    before = series(registry)
    for batch in range(100):
        metrics.received(100)
        metrics.published(
            [
                seen(
                    label=f'x"\n{batch}-{item}',
                    confidence=float(item),
                    created_ms=-item,
                    signals=signals(event_id=f"{batch}-{item}", source=f'x"\n{batch}-{item}', words=(f"w{item}",)),
                )
                for item in range(100)
            ],
            NOW_MS,
        )
        for stage in STAGES:
            metrics.stage(stage, batch * 1e9)
    assert series(registry) == before
    assert value(registry, "tagstream_predictions_total", label="other") == 10_000
    assert value(registry, "tagstream_events_by_source_total", source="known") == 10_000


@given(st.lists(OBSERVATIONS), st.lists(st.integers(1, 64)))
def test_counters_agree_with_what_was_observed(observations: list[Observation], batches: list[int]) -> None:
    """Each counter equals the count recomputed from the outcomes."""
    metrics, registry = made()
    for size in batches:
        metrics.received(size)
    metrics.published(observations, NOW_MS)
    decided = [seen for seen in observations if seen.label is not None and seen.confidence is not None]
    assert value(registry, "tagstream_events_received_total", topic="content") == sum(batches)
    assert value(registry, "tagstream_batch_size_events_count") == len(batches)
    assert value(registry, "tagstream_events_truncated_total") == sum(seen.truncated for seen in observations)
    timed = sum(can_be_true(seen.created_ms, NOW_MS) for seen in observations)
    assert value(registry, "tagstream_event_age_seconds_count") == timed
    assert value(registry, "tagstream_events_untimed_total") == len(observations) - timed
    told = [seen.signals for seen in observations if seen.signals is not None]
    for name in ("energy_score", "text_tokens", "text_tokens_per_word_ratio"):
        assert value(registry, f"tagstream_{name}_count") == len(told)
    assert value(registry, "tagstream_events_without_description_total") == sum(not seen.described for seen in told)
    assert value(registry, "tagstream_ood_events_total") == sum(seen.out_of_distribution for seen in told)
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


def test_events_older_than_the_group_have_no_age_and_are_counted_apart() -> None:
    """A group that begins on an old topic could not have been on time for the events before it."""
    metrics, registry = made()
    metrics.group_began(NOW_MS / 1000 - 100)
    ages = (3_600, 101, 99, 1)
    metrics.published([seen(label="mlops", confidence=0.9, created_ms=NOW_MS - 1000 * age) for age in ages], NOW_MS)
    assert value(registry, "tagstream_events_before_group_total") == 2
    assert value(registry, "tagstream_event_age_seconds_count") == 2
    assert value(registry, "tagstream_event_age_seconds_sum") == 100
    assert value(registry, "tagstream_predictions_total", label="mlops") == 4


@pytest.mark.parametrize("created_ms", [-(2**62), -1, 0, NOW_MS + 3_700_000, 2**62])
def test_a_time_that_cannot_be_true_is_no_age(created_ms: int) -> None:
    """A record with such a time is counted apart; one of -2^62 made the sum of all ages 4.6e15 seconds."""
    metrics, registry = made()
    metrics.published([seen(created_ms=created_ms), seen(created_ms=NOW_MS - 2_000)], NOW_MS)
    assert value(registry, "tagstream_events_untimed_total") == 1
    assert value(registry, "tagstream_events_before_group_total") == 0
    assert value(registry, "tagstream_event_age_seconds_count") == 1
    assert value(registry, "tagstream_event_age_seconds_sum") == 2.0


def test_gauges_say_where_the_worker_stands() -> None:
    """The gauges show the position of the worker; the time of the last commit is 0 before the first."""
    metrics, registry = made()
    metrics.position(partitions=4, lag=17, inflight=3, last_commit=None)
    assert value(registry, "tagstream_last_commit_timestamp_seconds") == 0.0
    metrics.position(partitions=2, lag=5, inflight=1, last_commit=9.5, oldest_seconds=2.5)
    metrics.published([seen()], NOW_MS)
    names = (
        "assigned_partitions",
        "committed_lag_events",
        "inflight_events",
        "last_commit_timestamp_seconds",
        "oldest_unprocessed_seconds",
    )
    assert [value(registry, f"tagstream_{name}") for name in names] == [2, 5, 1, 9.5, 2.5]
    assert value(registry, "tagstream_last_event_timestamp_seconds") == NOW_MS / 1000


def test_the_model_says_which_bundle_decides() -> None:
    """The model info has one series, also after another bundle was loaded."""
    metrics, registry = made()
    metrics.model_loaded(name="other", version="2", digest="e", now=8.0)
    assert [line for line in series(registry) if line.startswith("tagstream_model_info")] == [
        'tagstream_model_info{digest="e",name="other",version="2"}'
    ]
    assert value(registry, "tagstream_model_loaded_timestamp_seconds") == 8.0


def test_a_registry_takes_the_metrics_once() -> None:
    """Registering the metrics twice on one registry is an error."""
    _, registry = made()
    with pytest.raises(ValueError, match="Duplicated"):
        Metrics(registry, labels=LABELS, topic="content")


def test_signals_go_into_the_buckets_of_the_reference() -> None:
    """An energy is negative, and its histogram has no sum for that; edges are those of the module that cuts the reference."""
    metrics, registry = made()
    metrics.published([seen(signals=signals(energy=-4.0, tokens=9, tokens_per_word=1.21))], NOW_MS)
    for name, below, at in (
        ("energy_score", "-4.5", "-4.0"),
        ("text_tokens", "8.0", "16.0"),
        ("text_tokens_per_word_ratio", "1.2", "1.3"),
    ):
        assert value(registry, f"tagstream_{name}_bucket", le=below) == 0
        assert value(registry, f"tagstream_{name}_bucket", le=at) == 1
    assert registry.get_sample_value("tagstream_energy_score_sum") is None


@pytest.mark.parametrize(
    ("known", "source", "kind"),
    [
        ((), None, "missing"),
        ((), "anyone", "known"),
        (("posts",), "posts", "known"),
        (("posts",), "Posts", "unseen"),
        (("posts",), None, "missing"),
    ],
)
def test_a_source_is_known_unseen_or_missing(known: tuple[str, ...], source: str | None, kind: str) -> None:
    """A source is known, unseen or missing; without known sources, every named one is known."""
    registry = CollectorRegistry()
    metrics = Metrics(registry, labels=LABELS, topic="content", known_sources=known)
    metrics.published([seen(signals=signals(source=source))], NOW_MS)
    found = {item.value: value(registry, "tagstream_events_by_source_total", source=item) for item in SourceKind}
    assert found == {"known": 0, "unseen": 0, "missing": 0} | {kind: 1}


def test_titles_alone_and_strange_texts_are_counted() -> None:
    """Decisions on a title alone and out of distribution are counted; dead letters are not."""
    metrics, registry = made()
    metrics.published(
        [
            seen(signals=signals(described=False)),
            seen(signals=signals(out_of_distribution=True, described=False)),
            seen(signals=signals()),
            seen(Destination.DLQ, rejection=Reason.EMPTY),
        ],
        NOW_MS,
    )
    assert value(registry, "tagstream_events_without_description_total") == 2
    assert value(registry, "tagstream_ood_events_total") == 1


def test_the_reference_stands_beside_the_live_figures() -> None:
    """The reference has each edge of the live histogram, spelled alike, so that queries can join them."""
    _, registry = made()
    for live, other in (
        ("confidence_ratio", "confidence_cdf"),
        ("energy_score", "energy_cdf"),
        ("text_tokens", "text_tokens_cdf"),
        ("text_tokens_per_word_ratio", "text_tokens_per_word_cdf"),
    ):
        reference = edges_of(registry, f"tagstream_reference_{other}", label="at_most")
        assert edges_of(registry, f"tagstream_{live}_bucket", label="le") == reference
    assert value(registry, "tagstream_reference_label_ratio", label="mlops") == 0.2
    assert value(registry, "tagstream_reference_confidence_cdf", at_most="0.5") == 0.25
    assert value(registry, "tagstream_reference_energy_cdf", at_most="+Inf") == 1.0
    names = ("events", "ood_ratio", "truncated_ratio", "without_description_ratio")
    assert [value(registry, f"tagstream_reference_{name}") for name in names] == [40, 0.005, 0.01, 0.25]
    assert value(registry, "tagstream_confidence_threshold_ratio", label="mlops") == 0.9


def test_every_label_has_its_threshold_and_only_the_bundles_that_decides() -> None:
    """Another bundle with other labels leaves none of the old ones behind; above 1 stands as it is."""
    metrics, registry = made()
    metrics.model_loaded(name="other", version="2", digest="e", now=8.0, thresholds={"mlops": 0.6, "other": 1.0001})
    assert value(registry, "tagstream_confidence_threshold_ratio", label="other") == 1.0001
    assert [line for line in series(registry) if "threshold_ratio" in line] == [
        'tagstream_confidence_threshold_ratio{label="mlops"}',
        'tagstream_confidence_threshold_ratio{label="other"}',
    ]


def edges_of(registry: CollectorRegistry, name: str, *, label: str) -> set[str]:
    """The values of the label that holds the edges."""
    return {sample.labels[label] for metric in registry.collect() for sample in metric.samples if sample.name == name}


@pytest.mark.parametrize("lacking", list(REFERENCE))
def test_what_a_bundle_does_not_say_has_no_series(lacking: str) -> None:
    """A figure that a bundle lacks has no series."""
    metrics, registry = made()
    before = series(registry)
    metrics.model_loaded(
        name="old",
        version="0",
        digest="d",
        now=8.0,
        thresholds=dict.fromkeys(LABELS, 0.9),
        reference={key: REFERENCE[key] for key in REFERENCE if key != lacking},
    )
    after = series(registry)
    gone = {line.partition("{")[0] for line in before if "model_info" not in line and line not in after}
    assert len(gone) == 1
    assert all(name.startswith("tagstream_reference_") for name in gone)


def test_another_bundles_reference_replaces_the_one_before() -> None:
    """A new bundle replaces the whole reference; unknown labels and edges add no series."""
    metrics, registry = made()
    before = series(registry)
    metrics.model_loaded(
        name="new", version="2", digest="e", now=8.0, reference={"label_ratio": {"x": 1.0}, "confidence_cdf": {"0.123": 0.5}}
    )
    assert not [line for line in series(registry) if line.startswith("tagstream_reference_")]
    metrics.model_loaded(
        name="tiny", version="1", digest="d", now=9.0, thresholds=dict.fromkeys(LABELS, 0.9), reference=REFERENCE
    )
    assert series(registry) == before


def test_a_learned_reference_replaces_the_bundles_and_says_how_far_it_is_from_it() -> None:
    """While the group learns there is no reference; then it is the stream's own, beside its distances from the bundle's."""
    metrics, registry = made()
    metrics.drift_reference({})
    metrics.drift_learned(0.4)
    assert not [line for line in series(registry) if line.startswith("tagstream_reference_")]
    assert value(registry, "tagstream_drift_learned_ratio") == 0.4
    own = {"confidence_cdf": {**REFERENCE["confidence_cdf"], "0.5": 0.75}, "label_ratio": REFERENCE["label_ratio"]}
    metrics.drift_reference(own)
    assert value(registry, "tagstream_reference_confidence_cdf", at_most="0.5") == 0.75
    found = {
        name: value(registry, "tagstream_reference_distance_from_bundle", figure=name) for name in ("labels", "confidence")
    }
    assert found == {"labels": 0.0, "confidence": 0.5}
    metrics.model_loaded(name="tiny", version="1", digest="d", now=9.0, reference=REFERENCE)
    assert not [line for line in series(registry) if "distance_from_bundle" in line]


def test_drift_says_what_it_saw() -> None:
    """Changes and findings are counted; scores, window and time are those of the last evaluation."""
    metrics, registry = made()
    metrics.drift_plan(500, {"words": 6.0, "labels": 0.1, "sources": 0.02})
    assert value(registry, "tagstream_drift_threshold", signal="words") == 6.0
    assert value(registry, "tagstream_drift_window_events") == 500
    metrics.drift_unpublished("labels")
    metrics.drift_change("energy", 5.0)
    metrics.drift_finding("words")
    metrics.drift_finding("words")
    metrics.drift_evaluated(900, {"words": 9.0, "labels": 0.5, "sources": 0.1}, 10.0, {"words": 0.3, "sources": 0.3})
    assert value(registry, "tagstream_drift_flood_ratio", signal="words") == 0.3
    metrics.drift_evaluated(1000, {"words": 3.5, "labels": 0.25, "sources": 0.0}, 20.0)
    assert {s.value: value(registry, "tagstream_drift_changes_total", signal=s) for s in DriftSignal} == {
        "confidence": 0,
        "energy": 1,
        "tokens_per_word": 0,
        "described": 0,
    }
    assert {s.value: value(registry, "tagstream_drift_score", signal=s) for s in DriftScore} == {
        "words": 3.5,
        "labels": 0.25,
        "sources": 0.0,
    }
    assert {value(registry, "tagstream_drift_flood_ratio", signal=s) for s in DriftScore} == {0.0}
    assert value(registry, "tagstream_drift_findings_total", kind="words") == 2
    assert value(registry, "tagstream_drift_findings_unpublished_total", kind="labels") == 1
    assert value(registry, "tagstream_drift_window_events") == 1000
    assert value(registry, "tagstream_drift_last_evaluated_timestamp_seconds") == 20.0


def test_drift_knows_no_other_names() -> None:
    """A name outside the closed sets is an error and adds no series."""
    metrics, registry = made()
    before = series(registry)
    for mistaken in (
        lambda: metrics.drift_change("words", 1.0),
        lambda: metrics.drift_finding("energy"),
        lambda: metrics.drift_unpublished("energy"),
        lambda: metrics.drift_evaluated(1, {"energy": 1.0}, 1.0),
    ):
        with pytest.raises(ValueError, match="is not a valid Drift"):
            mistaken()
    assert series(registry) == before


def test_the_whole_worker_has_fewer_series_than_the_limit() -> None:
    """A worker with a real reference has fewer series than the documented limit."""
    registry = process_registry()
    metrics = Metrics(registry, labels=LABELS, topic="content", known_sources=["posts"])
    metrics.model_loaded(
        name="tiny", version="1", digest="d", now=7.0, thresholds=dict.fromkeys(LABELS, 0.9), reference=REFERENCE
    )
    metrics.published([seen(label=f"l{item}", signals=signals(source=f"s{item}")) for item in range(1_000)], NOW_MS)
    assert len(series(registry)) < MOST_SERIES


def test_answers_and_copies_for_audit_are_counted_apart_from_events() -> None:
    """An answer is no event of the stream: it moves none of the events' figures."""
    metrics, registry = made()
    audits = (("mlops", True), ("mlops", False), ("unheard of", True))
    metrics.published([seen(label=label, confidence=0.99, audited=audited) for label, audited in audits], NOW_MS)
    assert value(registry, "tagstream_audits_total", label="mlops") == 1.0
    assert value(registry, "tagstream_audits_total", label="other") == 1.0
    before = value(registry, "tagstream_events_published_total", destination="tagged")

    metrics.answers.taken()
    outcomes = [
        Observation(destination=Destination.TAGGED, created_ms=NOW_MS - 700),
        Observation(destination=Destination.DLQ, created_ms=0, rejection=Reason.INVALID_ANSWER),
    ]
    metrics.answers.published(outcomes, NOW_MS)
    metrics.answers.expired(2)
    metrics.answers.position(lag=4)
    assert [value(registry, f"tagstream_answers_{name}") for name in ("active", "expired_total", "lag_events")] == [1, 2, 4]
    assert [value(registry, "tagstream_answers_published_total", destination=door) for door in ("tagged", "dlq")] == [1, 1]
    assert value(registry, "tagstream_answers_dead_lettered_total", reason="invalid_answer") == 1
    # The record without a time that can be true has no age.
    assert value(registry, "tagstream_answer_age_seconds_count") == 1.0
    assert value(registry, "tagstream_answer_age_seconds_sum") == pytest.approx(0.7)
    assert value(registry, "tagstream_events_published_total", destination="tagged") == before
    metrics.answers.position(lag=None)
    assert math.isnan(value(registry, "tagstream_answers_lag_events") or 0.0)

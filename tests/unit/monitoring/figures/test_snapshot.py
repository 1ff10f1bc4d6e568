"""Snapshots of `/metrics` give the same figures as PromQL, pooled over workers, and tolerate missing series."""

import itertools
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry, Counter, Histogram, generate_latest

from tagstream.monitoring.comparison import ks, psi, psi_terms
from tagstream.monitoring.figures.scrape import Scrape, of_families
from tagstream.monitoring.figures.snapshot import Histogram as Read
from tagstream.monitoring.figures.snapshot import (
    NotMetricsError,
    Quantile,
    Snapshot,
    bins,
    difference,
    parse,
    pool,
)
from tests.observations import LABELS, MIX, Stream

PREDICTIONS = "tagstream_predictions_total"
CONFIDENCE = "tagstream_confidence_ratio"


def scrape(stream: Stream) -> Scrape:
    """The stream's registry, without the way through a text."""
    return of_families(stream.registry.collect(), at=stream.now)


def snapshot(stream: Stream) -> Snapshot:
    """The stream's registry, to be read."""
    return pool([scrape(stream)])


def text(stream: Stream) -> str:
    """The `/metrics` text of the stream."""
    return generate_latest(stream.registry).decode()


def test_a_text_and_its_registry_are_the_same_snapshot() -> None:
    """The text and the registry of a worker give the same snapshot."""
    stream = Stream()
    stream.run(30)
    assert parse(text(stream), at=stream.now) == scrape(stream)


def test_only_what_concerns_the_stream_is_kept() -> None:
    """A snapshot keeps tagstream's series and leaves out those of Python."""
    registry = CollectorRegistry()
    Counter("other_things", "Not ours.", registry=registry).inc()
    assert of_families(registry.collect(), at=1.0).counters == {}


@pytest.mark.parametrize(
    "wrong", ["<html>no</html>", "a b c d e\n", "tagstream_x{", "", "python_info 1\n", 'tagstream_x{a="1" 3\n']
)
def test_what_is_no_metrics_of_a_worker_is_refused_with_a_reason(wrong: str) -> None:
    """Other texts, such as a login page, are refused with a reason."""
    with pytest.raises(NotMetricsError, match=r"text format|none of its series"):
        parse(wrong, at=1.0)


def test_what_is_not_there_is_none_and_never_an_error() -> None:
    """A series that an older worker lacks gives None instead of an error."""
    old = pool([parse("# TYPE tagstream_events_received_total counter\ntagstream_events_received_total 3\n", at=1.0)])
    assert old.counter(PREDICTIONS) is None
    assert old.counter_by(PREDICTIONS, "label") == {}
    assert old.histogram(CONFIDENCE) is None
    assert old.gauge("tagstream_committed_lag_events") == ()
    assert old.reference_cdf("tagstream_reference_energy_cdf") == {}
    assert old.ratio("tagstream_ood_events_total", PREDICTIONS) is None
    assert old.rate("tagstream_events_received_total") is None
    assert old.seconds is None


def test_counters_of_several_workers_are_added_up_and_gauges_stand_side_by_side() -> None:
    """Pooling adds up counters and keeps the gauges of each worker."""
    streams = [Stream(seed=seed) for seed in range(4)]
    for stream in streams:
        stream.run(20)
    one, four = snapshot(streams[0]), pool([scrape(stream) for stream in streams])
    assert four.workers == 4
    assert four.counter("tagstream_events_received_total") == 4 * (one.counter("tagstream_events_received_total") or 0)
    assert len(four.gauge("tagstream_assigned_partitions")) == 4
    assert four.infos("tagstream_model_info") == one.infos("tagstream_model_info")
    assert four.gauge_by("tagstream_reference_label_ratio", "label") == one.gauge_by("tagstream_reference_label_ratio", "label")


def test_nothing_cannot_be_pooled() -> None:
    """Pooling without a snapshot is an error."""
    with pytest.raises(ValueError, match="no snapshot"):
        pool([])


def test_a_difference_has_the_events_of_its_span_alone() -> None:
    """A difference has only the events of its span."""
    stream = Stream()
    stream.run(100)
    before = scrape(stream)
    stream.run(10, rate=7)
    span = pool([difference(scrape(stream), before)])
    assert span.seconds == pytest.approx(10)
    assert span.counter("tagstream_events_received_total") == 70
    assert span.rate("tagstream_events_received_total") == pytest.approx(7)
    ages = span.histogram("tagstream_event_age_seconds")
    assert ages is not None
    assert ages.count == 70


def test_a_worker_that_was_started_anew_counts_from_its_start() -> None:
    """A counter that has fallen counts from 0, as in the increase of PromQL."""
    stream, again = Stream(), Stream(start=1_764_000_050.0)
    stream.run(100)
    again.run(10)
    span = pool([difference(scrape(again), scrape(stream))])
    assert span.counter("tagstream_events_received_total") == 200
    assert span.seconds == pytest.approx(10)


def test_a_sum_that_falls_is_no_new_start() -> None:
    """A falling sum is no restart, because it may add negative values."""

    def made(total: float) -> Scrape:
        counters = {"tagstream_x_bucket": {(("le", "+Inf"),): 2.0}, "tagstream_x_sum": {(): total}}
        return Scrape(at=5.0, seconds=5.0, counters=counters, gauges={})

    span = pool([difference(made(-9.0), made(-3.0))])
    assert span.counter("tagstream_x_sum") == -6.0
    assert span.counter("tagstream_x_bucket") == 0.0


def test_shares_and_distances_are_those_of_the_raw_events() -> None:
    """The stability index of pooled workers equals the one computed from the raw events."""
    registry = CollectorRegistry()
    counts = Counter("tagstream_predictions", "Decisions.", ["label"], registry=registry)
    for label, count in zip("abcd", (10, 30, 20, 40), strict=True):
        counts.labels(label).inc(count)
    found = pool([of_families(registry.collect(), at=1.0)]).counter_by(PREDICTIONS, "label")
    share = {label: count / sum(found.values()) for label, count in found.items()}
    reference = {"a": 0.4, "b": 0.3, "c": 0.2, "d": 0.1}
    by_hand = sum(
        (p - q) * math.log((p + 0.0001) / (q + 0.0001)) for p, q in zip((0.1, 0.3, 0.2, 0.4), (0.4, 0.3, 0.2, 0.1), strict=True)
    )
    assert psi(share, reference) == pytest.approx(by_hand)
    assert psi_terms(share, reference)["b"] == 0


def test_a_label_that_only_one_side_knows_adds_nothing() -> None:
    """A label that one side lacks has no term, as in the recording rule."""
    assert psi({"a": 0.5, "new": 0.5}, {"a": 0.5, "gone": 0.5}) == 0
    assert psi({"new": 1.0}, {"gone": 1.0}) is None


def test_a_distance_is_taken_at_the_edges_that_both_have() -> None:
    """A distance is taken at the common edges only, as in the recording rule."""
    assert ks({"1.0": 0.5, "2.0": 0.9, "+Inf": 1.0}, {"1.0": 0.4, "+Inf": 1.0}) == pytest.approx(0.1)
    assert ks({}, {"1.0": 1.0}) is None


def test_a_stream_like_its_reference_is_near_it_and_a_drifted_one_is_not() -> None:
    """A stream like the reference has small distances, and a drifted one has large ones."""
    calm, moved = Stream(), Stream()
    calm.run(100)
    moved.run(100, drift=1.0)
    distances = []
    for stream in (calm, moved):
        found = snapshot(stream)
        live = found.histogram(CONFIDENCE)
        assert live is not None
        reference = found.reference_cdf("tagstream_reference_confidence_cdf")
        assert live.cdf.keys() == reference.keys()
        distances.append(ks(live.cdf, reference))
    assert distances[0] is not None
    assert distances[1] is not None
    assert distances[0] < 0.06
    assert distances[1] > 0.5
    share = {label: (snapshot(calm).counter(PREDICTIONS, label=label) or 0) / 1990 for label in LABELS}
    assert share == pytest.approx(MIX, abs=0.05)


@given(st.lists(st.floats(0.0, 20.0), min_size=1, max_size=60), st.floats(0.01, 0.99))
def test_a_quantile_lies_in_the_bucket_of_the_true_one(values: list[float], q: float) -> None:
    """A quantile lies in the bucket of the true quantile; in a wide bucket it is the lower edge and says so."""
    registry = CollectorRegistry()
    histogram = Histogram("tagstream_h", "Values.", buckets=(1, 2, 10), registry=registry)
    for value in values:
        histogram.observe(value)
    read = pool([of_families(registry.collect(), at=1.0)]).histogram("tagstream_h")
    assert read is not None
    found = read.quantile(q)
    true = sorted(values)[math.ceil(q * len(values)) - 1]
    assert found is not None
    edges = (0, 1, 2, 10, math.inf)
    low, high = next((low, high) for low, high in itertools.pairwise(edges) if true <= high)
    if high > 2:
        assert found == Quantile(low, more=True)
    else:
        assert low <= found.value <= high
        assert not found.more
    assert read.mean == pytest.approx(sum(values) / len(values))


def test_a_histogram_without_values_has_no_quantile_no_mean_and_no_shares() -> None:
    """An empty histogram gives None instead of 0."""
    empty = Read(below={"1.0": 0.0, "+Inf": 0.0}, total=0.0)
    assert (empty.quantile(0.5), empty.mean, empty.cdf, empty.share_above(1.0)) == (None, None, {}, None)


def test_the_share_above_an_edge_needs_that_edge() -> None:
    """The share above a value that is no edge is None."""
    read = Read(below={"1.0": 3.0, "60.0": 9.0, "+Inf": 10.0}, total=99.0)
    assert read.share_above(60) == pytest.approx(0.1)
    assert read.share_above(61) is None


def test_bins_are_the_shares_between_the_edges() -> None:
    """Bins hold the shares between edges, with one for values above the last finite edge."""
    found = bins({"0.5": 0.25, "1.0": 0.75, "+Inf": 1.0})
    assert [(one.high, one.share) for one in found] == [(0.5, 0.25), (1.0, 0.5), (math.inf, 0.25)]
    assert bins({}) == []

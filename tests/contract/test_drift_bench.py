"""The promises of docs/error-rates.md on a few streams: few false alarms, and every shift is found in time."""

import pytest

from benchmarks import drift
from benchmarks.drift import DETECTORS, LEAST_FOUND, MOST_FALSE_ALARMS, SHIFTS, Pool, Results, Stream, logits, pool
from tagstream.model_export.bundle.model import predict
from tagstream.monitoring.drift.thresholds import DriftPlan

STREAMS = 3


@pytest.fixture(scope="module")
def small_pool() -> Pool:
    """The bundle's decisions on rows that it was not trained on."""
    return pool(most=600)


@pytest.fixture(scope="module")
def results(small_pool: Pool) -> Results:
    """Results on a few streams of every kind."""
    total = Results()
    for seed in range(STREAMS):
        total.add(drift.one(small_pool, seed, 10_000, DriftPlan()))
    return total


@pytest.mark.parametrize("detector", DETECTORS)
def test_a_detector_raises_at_most_one_false_alarm_in_ten_thousand_events(results: Results, detector: str) -> None:
    """Each detector keeps the bound under its default setting."""
    assert results.false_alarms_per_10000(detector) <= MOST_FALSE_ALARMS


@pytest.mark.parametrize("shift", SHIFTS)
def test_a_shift_is_found_within_two_thousand_events(results: Results, shift: str) -> None:
    """At least one detector finds each shift within 2,000 events."""
    assert results.found(shift) >= LEAST_FOUND


def test_the_planted_words_are_among_the_first_five(results: Results) -> None:
    """The last finding of words names the planted words among its first five."""
    assert all(results.planted_among_first_five)


def test_the_table_has_a_row_for_every_detector_and_one_for_all(results: Results) -> None:
    """The table has the rows that the docs show."""
    lines = drift.table(results).splitlines()
    assert len(lines) == 2 + len(DETECTORS) + 1
    assert {line.count("|") for line in lines} == {len(SHIFTS) + 3}


def test_a_stream_repeats(small_pool: Pool) -> None:
    """The same seed gives the same table."""
    first, second = (list(Stream(small_pool, 7).shifted("another language", 500)) for _ in range(2))
    assert first == second
    assert first != list(Stream(small_pool, 8).shifted("another language", 500))


def test_logits_come_back_from_a_prediction() -> None:
    """Logits are recovered from a prediction, since the energy gives the level that probabilities lose."""
    values = [2.0, -1.0, 0.5, 0.0]
    found = predict(values, labels=("a", "b", "c", "d"), temperature=1.3, tokens=5, truncated=False)
    assert logits(found, 1.3) == pytest.approx(values, abs=0.01)

"""Sudden changes of a signal's mean are reported once, with the means before and after, if they are large enough."""

import itertools
import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tagstream.monitoring.drift.sudden_change import QUIET_EVENTS, ChangeDetector, SuddenChange
from tagstream.monitoring.drift.thresholds import CHANGE_DELTA
from tagstream.monitoring.signals import WATCHED, DriftSignal

DELTA = CHANGE_DELTA


def normal(mean: float, sd: float, events: int, seed: int) -> list[float]:
    """A stream without a change in it."""
    chance = random.Random(seed)  # noqa: S311 - it must repeat
    return [chance.gauss(mean, sd) for _ in range(events)]


def reports(values: list[float], signal: DriftSignal = DriftSignal.CONFIDENCE) -> list[tuple[int, SuddenChange]]:
    """Every report with the number of the value that brought it."""
    detector = ChangeDetector(signal, delta=DELTA)
    return [(at, found) for at, value in enumerate(values) if (found := detector.update(value))]


@pytest.mark.parametrize(
    ("signal", "before", "after", "sd"),
    [
        (DriftSignal.CONFIDENCE, 0.8, 0.65, 0.15),
        (DriftSignal.CONFIDENCE, 0.6, 0.8, 0.15),
        (DriftSignal.ENERGY, -3.2, -2.2, 1.0),
        (DriftSignal.TOKENS_PER_WORD, 1.4, 1.7, 0.25),
    ],
)
def test_one_change_is_reported_once_with_its_means(signal: DriftSignal, before: float, after: float, sd: float) -> None:
    """A change in either direction is reported once within a thousand events, with both means."""
    for seed in range(5):
        values = normal(before, sd, 3_000, seed) + normal(after, sd, 4_000, seed + 100)
        [(at, change)] = reports(values, signal)
        assert 3_000 < at < 4_000
        assert change.signal is signal
        assert abs(change.before - before) < sd / 3
        assert abs(change.after - after) < sd / 2


@pytest.mark.parametrize(("signal", "mean", "sd"), [(DriftSignal.CONFIDENCE, 0.8, 0.17), (DriftSignal.ENERGY, -3.2, 1.1)])
def test_a_stable_stream_gives_no_report(signal: DriftSignal, mean: float, sd: float) -> None:
    """Twenty stable streams of ten thousand events give no report."""
    assert not [report for seed in range(20) for report in reports(normal(mean, sd, 10_000, seed), signal)]


def test_a_certain_change_that_is_too_small_to_matter_is_no_report() -> None:
    """A certain change below the least effect is not reported."""
    values = normal(0.80, 0.02, 3_000, 1) + normal(0.79, 0.02, 20_000, 2)
    assert reports(values) == []


def test_small_steps_are_reported_when_they_add_up() -> None:
    """Small steps are reported once they add up, with the mean before the first step."""
    values = [value for step in range(6) for value in normal(0.80 - 0.01 * step, 0.01, 2_000, step)]
    found = reports(values)
    assert found
    assert abs(found[0][1].before - 0.80) < 0.01


def test_a_second_change_is_reported_after_the_quiet() -> None:
    """A second change after the quiet time is reported too."""
    values = normal(0.8, 0.1, 2_000, 1) + normal(0.6, 0.1, QUIET_EVENTS + 2_000, 2) + normal(0.8, 0.1, 2_000, 3)
    (_, down), (_, up) = reports(values)
    assert down.after < down.before
    assert up.after > up.before


def test_a_change_across_a_reset_is_no_change() -> None:
    """A difference across a reset is not reported."""
    detector = ChangeDetector(DriftSignal.CONFIDENCE, delta=DELTA)
    for value in normal(0.9, 0.05, 3_000, 1):
        assert detector.update(value) is None
    detector.reset()
    for value in normal(0.5, 0.05, 3_000, 2):
        assert detector.update(value) is None


@settings(max_examples=25, deadline=None)
@given(
    st.sampled_from(list(WATCHED)),
    st.lists(st.floats(-1e9, 1e9) | st.sampled_from([0.0, 1.0]), max_size=400),
    st.integers(1, 20),
)
def test_no_number_breaks_a_detector_and_reports_are_far_apart(signal: DriftSignal, values: list[float], times: int) -> None:
    """Any finite values are accepted, and reports are more than the quiet time apart."""
    places = [at for at, _ in reports(values * times, signal)]
    assert all(later - earlier > QUIET_EVENTS for earlier, later in itertools.pairwise(places))

"""Calibrated thresholds are at or above the shipped ones, fit the data's own noise, and come with their false alarms."""

import random
from collections.abc import Iterator

import pytest

from tagstream.monitoring.drift.calibration import Calibrated, TooFewError, calibrate
from tagstream.monitoring.drift.thresholds import CHANGE_DELTA, LABELS_PSI, SOURCES_RATIO, WORDS_Z, DriftPlan
from tagstream.monitoring.observer import Observation
from tests.unit.monitoring.drift.drift_cases import decision, ordinary

PLAN = DriftPlan(window_events=200, reference_windows=5)
RUN = 10_000


def by_detector(observations: list[Observation], run_events: int = RUN) -> dict[str, Calibrated]:
    """The calibrated thresholds, by detector."""
    return {row.detector: row for row in calibrate(observations, plan=PLAN, run_events=run_events)}


def tidal(events: int) -> Iterator[Observation]:
    """Labels, words and confidence that come in tides of a few hundred events."""
    chance = random.Random(1)  # noqa: S311 - it must repeat
    for number in range(events):
        high = (number // 300) % 2
        yield decision(
            ("the", "high" if high and chance.random() < 0.5 else "low"),
            label="mlops" if chance.random() < (0.8 if high else 0.3) else "other",
            confidence=min(1.0, max(0.0, chance.gauss(0.85 if high else 0.7, 0.1))),
        )


def test_a_quiet_stream_keeps_the_shipped_thresholds() -> None:
    """A quiet stream keeps the shipped thresholds."""
    found = by_detector(list(ordinary(6_000)))
    assert {row.setting: row.threshold for row in found.values()} == {
        "drift_change_delta": CHANGE_DELTA,
        "drift_words_z": WORDS_Z,
        "drift_labels_psi": LABELS_PSI,
        "drift_sources_ratio": SOURCES_RATIO,
    }
    assert all(row.reached and row.alarms == 0 for row in found.values())


def test_without_an_alarm_a_third_of_the_events_is_promised() -> None:
    """Without an alarm, the stated run is a third of the replayed events (rule of three)."""
    for row in by_detector(list(ordinary(6_000))).values():
        assert row.events >= 3 * RUN
        assert row.run == pytest.approx(row.events / 3)


def test_a_stream_with_tides_gets_thresholds_above_them() -> None:
    """A stream with regular swings gets thresholds with as few false alarms as asked for."""
    found = by_detector(list(tidal(6_000)))
    assert found["labels"].threshold > LABELS_PSI
    assert found["labels"].reached
    assert found["labels"].alarms <= found["labels"].events // RUN
    assert found["change of confidence"].threshold < CHANGE_DELTA


def test_a_calibration_repeats() -> None:
    """Two calibrations of the same data give the same thresholds."""
    stream = list(tidal(4_000))
    assert by_detector(stream) == by_detector(stream)


def test_too_few_events_are_refused_with_how_many_it_takes() -> None:
    """Too few events are refused with the number needed."""
    with pytest.raises(TooFewError, match=r"1999 decisions are too few.*give 2000 events or more"):
        by_detector(list(ordinary(1_999)))

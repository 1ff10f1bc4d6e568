"""A day of an ordinary stream raises no alert of the shipped rules at default settings, and each shift of it raises one in time."""

import os
from pathlib import Path

import pytest

from benchmarks import drift_day
from benchmarks.drift import pool
from benchmarks.drift_day import BUNDLE, SHIFTS, Raised, broken_promises, run, table, titles

ROWS = 1_500
REAL = "TAGSTREAM_REAL"

pytestmark = [pytest.mark.needs("promtool"), pytest.mark.needs("prometheus")]


def assert_held(found: dict[str | None, list[Raised]]) -> None:
    """No page and no ticket on the ordinary day; every shift within 2,000 events."""
    assert broken_promises(found) == [], table(found)
    assert found.keys() == {None, BUNDLE, *SHIFTS}


@pytest.mark.slow
def test_a_day_of_authored_rows_raises_no_alert_and_five_shifts_do() -> None:
    """The whole way, through promtool's blocks and a real Prometheus."""
    assert_held(run(pool(most=ROWS)))


@pytest.mark.skipif(REAL not in os.environ, reason=f"{REAL} names no folder with titles.csv.gz and not_ml.csv.gz")
def test_a_day_of_real_titles_raises_no_alert_and_five_shifts_do() -> None:
    """Titles that no bundle was calibrated on, in random order."""
    found = run(titles(Path(os.environ[REAL]), ROWS))
    assert_held(found)
    assert found[BUNDLE], "compared with the bundle's rows, the same day alarms"


def test_a_day_that_alarms_and_a_shift_that_does_not_are_told() -> None:
    """The judgement can fail."""
    late = Raised(alert="EnergyDrift", tier="ticket", seen_after=drift_day.WITHIN_EVENTS + 1, fired_after=3_000)
    note = Raised(alert="StreamUnlikeBundle", tier="info", seen_after=0, fired_after=0)
    found: dict[str | None, list[Raised]] = {None: [late, note], "class mix": [late], "new topic": [note]}
    assert broken_promises(found) == [
        "the ordinary day raised EnergyDrift",
        "class mix: no alert within 2000 events",
        "new topic: no alert within 2000 events",
    ]

"""What is said of a change rests on the right events: those that waited in it, and not those beside it."""

import pytest

from benchmarks.changes import AFTER_MS, Change, changes_of, costs
from tagstream.stream.contract.event import Record
from tagstream.stream.contract.rollout import Abort, BundleName, Close, Marks, Plan, RolloutRecord, write_rollout

BUNDLE = BundleName(digest="0" * 64, name="tiny", version="1")
AT = "2026-11-29T12:00:00.000Z"


def record(said: RolloutRecord, at_ms: int) -> Record:
    """A record of the topic, written at this time."""
    return Record(topic="rollout", key=None, value=write_rollout(said), timestamp_ms=at_ms)


def test_a_change_is_one_that_began() -> None:
    """A plan that was given up is none."""
    written = [
        record(Plan(epoch=1, champion=BUNDLE, by="test", at=AT), 10),
        record(Abort(epoch=1, by="test", at=AT), 20),
        record(Plan(epoch=2, champion=BUNDLE, by="test", at=AT), 30),
        record(Close(epoch=2, by="test", at=AT), 40),
        record(Marks(epoch=2, marks=(), by="test", at=AT), 50),
    ]
    assert changes_of(written) == [Change(plan_ms=30, close_ms=40, marks_ms=50)]


def test_the_oldest_event_of_each_span_counts() -> None:
    """The hold is of close to marks, the pause begins with the plan, and the others are ordinary; the warm-up is none of these."""
    changes = [
        Change(plan_ms=10_000, close_ms=11_000, marks_ms=11_050),
        Change(plan_ms=30_000, close_ms=31_000, marks_ms=31_050),
    ]
    ages = [
        (100.0, 9_000.0),
        (9_900.0, 5.0),
        (10_100.0, 60.0),
        (11_010.0, 40.0),
        (12_060.0, 7.0),
        (30_200.0, 20.0),
        (31_020.0, 30.0),
    ]
    assert changes[0].marks_ms + AFTER_MS < ages[4][0]
    found = costs(ages, changes, [180.0, 180.0, 181.0, 182.0], begin_ms=9_800.0)
    assert (found.holds_ms, found.pauses_ms) == ([40.0, 30.0], [60.0, 30.0])
    assert found.ordinary_ms == [5.0, 7.0]


def test_a_change_in_which_no_event_was_sent_gives_no_figure() -> None:
    """A stream that stood still says nothing of a hold."""
    with pytest.raises(ValueError, match="max"):
        costs([(1.0, 1.0)], [Change(plan_ms=10, close_ms=20, marks_ms=30)], [1.0, 1.0, 1.0], begin_ms=0)

"""Partitions whose last stable offset stands still before the end of the log, since when, and how often it is logged."""

import structlog
from faust.types import TP

from tagstream.monitoring.limits import OPEN_TRANSACTION_SECONDS
from tagstream.stream.worker.position import SAY_SECONDS, OpenTransactions
from tests.fakes import Clock

ONE, OTHER = TP("content", 1), TP("content", 2)


def test_a_partition_is_open_since_its_stable_offset_stands_still() -> None:
    """Events that come behind it change the count and not the time; other partitions are not named."""
    clock = Clock()
    seen = OpenTransactions(clock)
    assert seen.see({ONE: 10, OTHER: 7}, {ONE: 10, OTHER: 7}) == {}
    clock.now = 1_005.0
    (found,) = seen.see({ONE: 15, OTHER: 7}, {ONE: 10, OTHER: 7}).items()
    assert (found[0], found[1].events, found[1].since) == (ONE, 5, 1_005.0)
    clock.now = 1_050.0
    assert seen.see({ONE: 500, OTHER: 9}, {ONE: 10, OTHER: 9})[ONE].since == 1_005.0
    assert seen.see({ONE: 500}, {ONE: 500}) == {}


def test_transactions_that_end_one_after_the_other_are_each_new() -> None:
    """A busy transactional producer has a transaction open at every look, and none of them hangs."""
    clock = Clock()
    seen = OpenTransactions(clock)
    for number in range(100):
        clock.now += 1
        assert seen.see({ONE: 10 * number + 15}, {ONE: 10 * number})[ONE].since == clock.now


def test_records_that_were_committed_between_the_two_questions_are_not_behind() -> None:
    """The end is asked for first, so on a busy partition without transactions the stable offset may lie after it."""
    assert OpenTransactions(Clock()).see({ONE: 10}, {ONE: 12}) == {}


def test_an_open_transaction_is_logged_once_a_minute_with_its_partition() -> None:
    """A transaction of a few seconds is no line in the log."""
    clock = Clock()
    seen = OpenTransactions(clock)
    with structlog.testing.capture_logs() as logs:
        for _ in range(int(OPEN_TRANSACTION_SECONDS)):
            seen.see({ONE: 9}, {ONE: 4})
            clock.now += 1
        assert logs == []
        for _ in range(int(2 * SAY_SECONDS)):
            seen.see({ONE: 9}, {ONE: 4})
            clock.now += 1
    assert [(line["event"], line["partition"], line["events"], line["from_offset"]) for line in logs] == [
        ("transaction_open", 1, 5, 4)
    ] * 2

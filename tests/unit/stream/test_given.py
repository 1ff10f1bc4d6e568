"""What may be committed: never beyond a record that was given out and is not acknowledged, and never held up by what nobody was given."""

import asyncio
from collections import defaultdict
from typing import Any

from faust.types import TP
from hypothesis import given as drawn
from hypothesis import strategies as st

from stream.app import Consumer
from stream.given import Given

PLACE = TP("content", 0)


@drawn(
    gaps=st.lists(st.integers(min_value=1, max_value=10**12), min_size=1, max_size=30),
    acknowledged=st.sets(st.integers(min_value=0, max_value=29)),
)
def test_a_commit_ends_at_the_first_record_that_is_not_acknowledged(gaps: list[int], acknowledged: set[int]) -> None:
    """Whatever offsets are missing in between."""
    offsets = [sum(gaps[: place + 1]) - 1 for place in range(len(gaps))]
    done = {offsets[place] for place in acknowledged if place < len(offsets)}
    given = Given()
    for offset in offsets:
        given.out(offset)
    first_open = next((offset for offset in offsets if offset not in done), None)
    expected = [offset for offset in offsets if first_open is None or offset < first_open]

    assert given.done(done, None) == (expected[-1] + 1 if expected else None)
    assert len(given) == len(offsets) - len(expected)
    assert given.done(done, None) is None


def test_who_goes_back_is_given_everything_again() -> None:
    """After a seek the records come once more, and each must be acknowledged once more."""
    given = Given()
    for offset in (5, 6, 7, 6, 7):
        given.out(offset)
    assert given.done({5}, None) == 6
    assert given.done({7}, None) is None
    assert given.done({6, 7}, None) == 8


def test_what_lies_before_the_commit_holds_nothing_up() -> None:
    """Another member may have done it; Faust takes no acknowledgement of it."""
    given = Given()
    for offset in (5, 6, 7):
        given.out(offset)
    assert given.done(set(), 6) is None
    assert given.done({6}, 6) == 7


def consumer(committed: int | None) -> Any:
    """Our consumer without a broker, with Faust's notes as they are after a seek."""
    made: Any = Consumer.__new__(Consumer)
    made._given = defaultdict(Given)
    made._acked, made._acked_index = defaultdict(list), defaultdict(set)
    made._committed_offset = defaultdict(lambda: None, {PLACE: committed})
    made._read_offset = defaultdict(lambda: None, {PLACE: committed})
    return made


def read(made: Any, *offsets: int) -> None:
    """As Faust reads between `getmany` and an agent."""

    async def run() -> None:
        for offset in offsets:
            before = made._read_offset[PLACE]
            assert before is None or offset >= before
            if before and offset - before > 1:
                await made._add_gap(PLACE, before + 1, offset)
            made._given[PLACE].out(offset)
            made._read_offset[PLACE] = offset

    asyncio.run(run())


def acknowledge(made: Any, *offsets: int) -> None:
    """As `Consumer.ack` notes it."""
    made._acked_index[PLACE].update(offsets)
    made._acked[PLACE].extend(offsets)


def test_retention_that_overtook_the_commit_costs_no_memory() -> None:
    """Ten thousand million offsets are gone: Faust would have put each into a list at the first commit, and died of it every time."""
    made = consumer(committed=100)
    read(made, 10**10, 10**10 + 1)
    acknowledge(made, 10**10)
    assert made._new_offset(PLACE) == 10**10 + 1
    acknowledge(made, 10**10 + 1)
    assert made._new_offset(PLACE) == 10**10 + 2
    assert made._acked[PLACE] == []
    assert made._acked_index[PLACE] == set()


def test_a_gap_behind_offset_0_does_not_stop_commits() -> None:
    """Markers of a transaction behind the very first record: Faust saw no gap there, and committed nothing more until a restart."""
    made = consumer(committed=None)
    read(made, 0)
    acknowledge(made, 0)
    assert made._new_offset(PLACE) == 1
    made._committed_offset[PLACE] = 1
    read(made, 4, 5)
    acknowledge(made, 4, 5)
    assert made._new_offset(PLACE) == 6


def test_a_record_that_an_agent_lost_holds_commits_up() -> None:
    """Should anything of ours forget a record, its partition stands still with it, and it is read again; it is not passed over."""
    made = consumer(committed=10)
    read(made, 10, 11, 12)
    acknowledge(made, 10, 12)
    assert made._new_offset(PLACE) == 11
    made._committed_offset[PLACE] = 11
    acknowledge(made, 13)
    assert made._new_offset(PLACE) is None

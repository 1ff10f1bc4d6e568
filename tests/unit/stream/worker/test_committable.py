"""A commit never passes a record that is not acknowledged, however many offsets are missing in between."""

from hypothesis import given
from hypothesis import strategies as st

from tagstream.stream.worker.consumer import Committable


@given(
    gaps=st.lists(st.integers(min_value=1, max_value=10**12), min_size=1, max_size=30),
    acknowledged=st.sets(st.integers(min_value=0, max_value=29)),
)
def test_a_commit_ends_at_the_first_record_that_is_not_acknowledged(gaps: list[int], acknowledged: set[int]) -> None:
    """For any gaps between the offsets and any acknowledged records, the commit is the offset after the last one without a gap."""
    offsets = [sum(gaps[: place + 1]) - 1 for place in range(len(gaps))]
    done = {offsets[place] for place in acknowledged if place < len(offsets)}
    committable = Committable()
    for offset in offsets:
        committable.hand_out(offset)
    first_open = next((offset for offset in offsets if offset not in done), None)
    expected = [offset for offset in offsets if first_open is None or offset < first_open]

    assert committable.advance(done, None) == (expected[-1] + 1 if expected else None)
    assert len(committable) == len(offsets) - len(expected)
    assert committable.advance(done, None) is None


def test_after_a_seek_back_each_record_must_be_acknowledged_again() -> None:
    """Records that are handed out twice count as open until they are acknowledged once more."""
    committable = Committable()
    for offset in (5, 6, 7, 6, 7):
        committable.hand_out(offset)
    assert committable.advance({5}, None) == 6
    assert committable.advance({7}, None) is None
    assert committable.advance({6, 7}, None) == 8


def test_records_before_the_commit_do_not_hold_it_up() -> None:
    """Another member may have processed them, and Faust takes no acknowledgement for them."""
    committable = Committable()
    for offset in (5, 6, 7):
        committable.hand_out(offset)
    assert committable.advance(set(), 6) is None
    assert committable.advance({6}, 6) == 7

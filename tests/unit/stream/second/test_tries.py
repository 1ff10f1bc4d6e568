"""Where the tries of a second begin, after audits that are put in any order."""

import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from tagstream.stream.second import proof, tries
from tagstream.stream.second.facts import Cell
from tagstream.stream.second.tries import Audit, Audits, Tries

ONE, OTHER = Cell(label="a", agrees=True), Cell(label="b", agrees=True)


def audit(at: int, *, wrong: bool = True, cell: Cell = ONE, after: int = 0, probability: float = 0.05) -> Audit:
    """The audit of an item, with the answer so many milliseconds after the opinion."""
    return Audit(place=(at + after, str(at)), cell=cell, at_ms=at, probability=probability, wrong=wrong)


def followed(audits: list[Audit]) -> Tries:
    """The tries after these audits, put in their order."""
    found = Audits(promise=0.9, largest=20.0)
    for one in sorted(audits, key=lambda one: one.place):
        found.put(one.place[1], one)
    return found.tries()


def until_withdrawn(before: list[Audit], first: int) -> int:
    """How many wrong audits of the first cell it takes, each beside nine right ones of the other."""
    begun, taken = followed(before).number_of(ONE), list(before)
    for number in range(first, first + 100):
        taken += [audit(10 * number), *(audit(10 * number + place, wrong=False, cell=OTHER) for place in range(1, 10))]
        if followed(taken).number_of(ONE) > begun:
            before[:] = taken
            return number - first + 1
    pytest.fail("a hundred wrong audits withdraw nothing")


def test_a_further_try_begins_with_nothing_on_its_watch() -> None:
    """Its withdrawal takes as many wrong audits as the first one; the other cell stays."""
    before: list[Audit] = []
    first = until_withdrawn(before, 1)
    assert until_withdrawn(before, 101) == first > 1
    found = followed(before)
    assert (found.number_of(ONE), found.number_of(OTHER)) == (3, 1)
    assert (found.begin_of(ONE), found.begin_of(OTHER)) == (10 * (100 + first), -1)


def test_an_item_from_before_the_try_says_nothing_about_it() -> None:
    """Not about its cell, and not about all."""
    before: list[Audit] = []
    first = until_withdrawn(before, 1)
    found = followed([*before, *(audit(at, after=10_000) for at in range(1, 10))])
    assert first < 10
    assert (found.number_of(ONE), found.number_of(OTHER)) == (2, 1)


def test_all_cells_begin_again_when_the_whole_second_is_withdrawn() -> None:
    """With nothing on any watch: a withdrawal takes as many wrong audits again, also if they are all of one cell."""
    wrong = [audit(at, cell=(ONE, OTHER)[at % 2]) for at in range(20)]
    first = [followed(wrong[:count]).of_all for count in range(20)].index(1)
    found = followed(wrong[:first])
    assert found.begin_of(ONE) == found.begin_of(OTHER) == first - 1
    # No cell alone has been seen to fall.
    assert found.withdrawn.total() == 0
    more = [audit(at) for at in range(first, 2 * first)]
    assert followed([*wrong[:first], *more[:-1]]).number_of(ONE) == 2
    assert followed([*wrong[:first], *more]).number_of(ONE) == 3


def test_a_rare_audit_weighs_more() -> None:
    """One with a probability of 0.5 takes a tenth of the bet of one with 0.05."""
    often = [audit(at, probability=0.5) for at in range(200)]
    rarely = [audit(at) for at in range(200)]
    assert [followed(often[:count]).of_all for count in range(200)].index(1) > 3 * [
        followed(rarely[:count]).of_all for count in range(200)
    ].index(1)


# One cell is mostly wrong and the other mostly right, so that cells are withdrawn, and sometimes all.
audits = st.builds(
    lambda at, after, cell, as_usual, probability: audit(
        at, after=after, cell=cell, wrong=(cell == ONE) == as_usual, probability=probability
    ),
    st.integers(0, 40),
    st.integers(0, 15),
    st.sampled_from([ONE, OTHER, OTHER]),
    st.sampled_from([True, True, True, True, False]),
    st.sampled_from([0.05, 0.05, 0.1]),
)


@given(st.lists(st.tuples(audits, st.sampled_from([True, True, True, False])), max_size=60))
@hypothesis_settings(max_examples=300, deadline=None)
def test_audits_in_any_order_begin_the_same_tries(puts: list[tuple[Audit, bool]]) -> None:
    """Also if they are replaced or taken back, and if the tries are asked for after each of them."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tries, "MARKED", 3)
        patch.setattr(proof, "PATIENCE", 3.0)
        found, last = Audits(promise=0.9, largest=20.0), dict[str, Audit]()
        for one, is_known in puts:
            event_id = one.place[1]
            found.put(event_id, one if is_known else None)
            last.pop(event_id, None)
            last |= {event_id: one} if is_known else {}
            now, plain = found.tries(), followed(list(last.values()))
            assert (now.begins, now.withdrawn, now.of_all, now.all_begin) == (
                plain.begins,
                plain.withdrawn,
                plain.of_all,
                plain.all_begin,
            )
            assert now.watch.keys() == plain.watch.keys()
            assert all((now.watch[cell] == plain.watch[cell]).all() for cell in now.watch)
            assert (now.watch_of_all == plain.watch_of_all).all()

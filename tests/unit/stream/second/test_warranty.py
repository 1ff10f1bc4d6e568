"""What a second may settle: by people's answers, in any order of the facts, for one fingerprint, until audits say no."""

import math
import sys
from collections.abc import Iterator, Sequence
from types import FrameType

import numpy as np
import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from benchmarks.second import stream_of_facts
from tagstream.stream.second import proof, tries
from tagstream.stream.second.facts import Answer, Cell, Cells, Opinion
from tagstream.stream.second.warranty import DAY_MS, LATE_DAYS, CellStatus, Warranty
from tests.replacing import replace

CELLS = Cells(("a", "b"))
HERE = CELLS.of("a", agrees=True)
Fact = Opinion | Answer


def warranty(facts: Sequence[Fact] = (), *, promise: float = 0.9, cells: Cells = CELLS, alpha: float = 0.05) -> Warranty:
    """A warranty after these facts."""
    found = Warranty(promise, cells, alpha=alpha)
    for fact in facts:
        found.take(fact)
    return found


def opinion(number: int, *, cell: Cell | None = HERE, fingerprint: str = "f", settled: bool = False) -> Opinion:
    """The opinion about an item, a second after the one before; if it was settled, one that is audited."""
    return Opinion(
        event_id=f"{number:06}",
        at_ms=1_000 * number,
        fingerprint=fingerprint,
        cell=cell,
        settled=settled,
        probability=0.05 if settled else 1.0,
    )


def answer(number: int, label: str | None = "a", *, after_ms: int = 500) -> Answer:
    """The answer to an item."""
    return Answer(event_id=f"{number:06}", at_ms=1_000 * number + after_ms, label=label)


def items(
    first: int, count: int, *, wrong: int = 0, settled: bool = False, cell: Cell = HERE, fingerprint: str = "f"
) -> Iterator[Fact]:
    """So many items with their answers, the wrong ones first."""
    for number in range(first, first + count):
        yield opinion(number, cell=cell, settled=settled, fingerprint=fingerprint)
        yield answer(number, None if number < first + wrong else cell.label)


def of_cell(found: Warranty, cell: Cell = HERE) -> CellStatus:
    """What is known of a cell."""
    return next(one for one in found.status().cells if one.cell == cell)


def test_nothing_is_settled_before_its_cell_is_certified() -> None:
    """Only with the last answer that is needed, and only in its cell."""
    found = warranty()
    assert not found.may_settle("f", HERE)
    for fact in items(0, 200):
        may, needed = found.may_settle("f", HERE), of_cell(found).missing_answers if found.status().cells else None
        found.take(fact)
        if found.may_settle("f", HERE):
            break
    assert not may
    assert needed == 1
    # So many answers, all right, multiply the stake to the inverse of a quarter of the risk.
    assert of_cell(found).evidence >= of_cell(found).needed == pytest.approx(4 * 2 / 0.05)
    others = [cell for cell in CELLS.every() if cell != HERE]
    assert not any(found.may_settle("f", cell) for cell in others)
    assert not found.may_settle("other", HERE)
    assert not found.may_settle("f", Cell(label="c", agrees=True))


def test_what_has_no_answer_counts_as_wrong() -> None:
    """Among answered items it weighs as a wrong answer does; the newest items may wait."""
    answered = list(items(0, 150, wrong=5))
    silent = [fact for fact in answered if not (isinstance(fact, Answer) and fact.label is None)]
    waiting = [opinion(number) for number in range(150, 400)]
    one, other = of_cell(warranty(answered)), of_cell(warranty(silent))
    assert (one.certified, one.evidence) == (other.certified, other.evidence)
    assert (one.wrong, one.unanswered) == (other.unanswered, other.wrong) == (5, 0)
    assert of_cell(warranty([*silent, *waiting])).evidence == one.evidence
    assert of_cell(warranty([*answered, *waiting])).missing_answers == one.missing_answers


def test_an_older_item_that_comes_later_takes_its_place_in_the_order() -> None:
    """Without an answer it takes the certificate that stood without it; when it is found to be of another cell, it gives it back."""
    found = warranty(list(items(100, 85)))
    assert found.may_settle("f", HERE)
    for number in range(8):
        found.take(opinion(number + 50))
    assert not found.may_settle("f", HERE)
    for number in range(8):
        found.take(replace(opinion(number, cell=CELLS.of("b", agrees=True)), event_id=f"{number + 50:06}"))
    assert found.may_settle("f", HERE)


def test_a_changed_fingerprint_begins_anew() -> None:
    """Without the certificates of the one before, and with a smaller risk; the one before keeps what it has."""
    found = warranty([*items(0, 120), *items(120, 1, fingerprint="g")])
    assert not found.may_settle("g", HERE)
    assert found.may_settle("f", HERE)
    assert of_cell(found).needed == pytest.approx(4 * 4 * 3 / 0.05)
    for fact in items(121, 80, fingerprint="g"):
        found.take(fact)
    # The first second needed no more.
    assert warranty(list(items(0, 81))).may_settle("f", HERE)
    assert not found.may_settle("g", HERE)
    for fact in items(201, 30, fingerprint="g"):
        found.take(fact)
    assert found.may_settle("g", HERE)
    assert found.status().fingerprint == "g"


def test_a_fingerprint_that_turns_out_to_be_older_takes_the_first_risk() -> None:
    """The numbers are those of the order, not of the arrival; and after a better known first opinion too."""
    found = warranty([*items(100, 80), *items(0, 1, fingerprint="g")])
    assert (found.may_settle("f", HERE), warranty(list(items(100, 80))).may_settle("f", HERE)) == (False, True)
    known = warranty(list(items(100, 80)))
    assert known.may_settle("f", HERE)
    known.take(opinion(0, fingerprint="g"))
    assert not known.may_settle("f", HERE)
    # The opinion of "g" was about an event of which an earlier one is known now: "g" has given none.
    found.take(replace(opinion(100), event_id="000000", at_ms=0))
    assert found.may_settle("f", HERE)


def test_audits_withdraw_a_cell() -> None:
    """It begins again with what comes later, and with a smaller risk; other cells keep their certificates."""
    there = CELLS.of("b", agrees=True)
    good = [*items(0, 90), *items(90, 90, cell=there), *items(180, 300, cell=there, settled=True)]
    found = warranty(good)
    assert found.may_settle("f", HERE)
    assert found.may_settle("f", there)
    for number in range(500, 600, 10):
        if not found.may_settle("f", HERE):
            break
        for fact in [*items(number, 1, settled=True, wrong=1), *items(number + 1, 9, settled=True, cell=there)]:
            found.take(fact)
    assert number < 580
    assert found.may_settle("f", there)
    assert (of_cell(found).withdrawn, of_cell(found, there).withdrawn) == (1, 0)
    assert (of_cell(found).right, of_cell(found).needed) == (0, pytest.approx(4 * 4 * 3 / 0.05))
    # What was asked before the withdrawal, or is answered later, certifies nothing any more.
    for fact in items(0, 200, fingerprint="f"):
        found.take(fact)
    assert not found.may_settle("f", HERE)
    for fact in items(600, 110):
        found.take(fact)
    assert found.may_settle("f", HERE)


def test_audits_of_all_cells_together_withdraw_the_second() -> None:
    """Where each cell alone has too few of them."""
    cells = Cells(("a", "b"), bands=(0.2, 0.4, 0.6, 0.8))
    found = warranty(
        [fact for place, cell in enumerate(cells.every()) for fact in items(200 * place, 150, cell=cell)], cells=cells
    )
    assert all(found.may_settle("f", cell) for cell in cells.every())
    for number, cell in enumerate(cells.every()):
        if not found.may_settle("f", cell):
            break
        found.take(opinion(9_000 + number, cell=cell, settled=True))
        found.take(answer(9_000 + number, None))
    assert number < len(cells) - 1
    assert not any(found.may_settle("f", cell) for cell in cells.every())
    assert {one.withdrawn for one in found.status().cells} == {1}


def test_an_audit_that_nobody_answers_counts_as_wrong_when_it_is_late() -> None:
    """Not before; an answer that comes later does not undo it, and an answer with a wrong clock makes no other audit late."""
    begun = [*items(0, 90), *(opinion(number, settled=True) for number in range(100, 110))]
    found = warranty(begun)
    assert found.may_settle("f", HERE)
    found.take(Answer(event_id="000100", at_ms=10**15, label="a"))
    assert found.may_settle("f", HERE)
    late_ms = 110_000 + LATE_DAYS * DAY_MS
    found.take(replace(opinion(200, cell=None), at_ms=late_ms - 20_000))
    assert found.may_settle("f", HERE)
    found.take(replace(opinion(201, cell=None), at_ms=late_ms))
    assert not found.may_settle("f", HERE)
    for number in range(100, 110):
        found.take(Answer(event_id=f"{number:06}", at_ms=late_ms, label="a"))
    assert not found.may_settle("f", HERE)
    # An answer in time, of which the process hears late, does.
    for number in range(100, 110):
        found.take(answer(number))
    assert found.may_settle("f", HERE)


def test_the_newest_answer_counts() -> None:
    """A corrected answer changes an item that all people are asked about, and an audit."""
    found = warranty(list(items(0, 90)))
    for number in range(8):
        found.take(answer(number, "b", after_ms=700))
    assert not found.may_settle("f", HERE)
    for number in range(8):
        found.take(answer(number, after_ms=900))
        found.take(answer(number, "b", after_ms=800))
    assert found.may_settle("f", HERE)
    for fact in items(100, 8, settled=True):
        found.take(fact)
    for number in range(100, 108):
        found.take(answer(number, "b", after_ms=900))
    assert not found.may_settle("f", HERE)


def test_of_two_opinions_about_one_event_the_earlier_counts() -> None:
    """Whichever comes first."""
    early, late = opinion(0), replace(opinion(5, fingerprint="g", cell=CELLS.of("b", agrees=False)), event_id="000000")
    one, other = warranty([early, late, answer(0)]).status(), warranty([answer(0), late, early]).status()
    assert one == other
    assert (one.items, one.fingerprint, sum(cell.right for cell in one.cells)) == (1, "f", 1)
    # An audit that was none withdraws nothing.
    found = warranty([*items(0, 90), *items(100, 10, settled=True, wrong=10)])
    assert not found.may_settle("f", HERE)
    for number in range(100, 110):
        found.take(replace(opinion(number, cell=None), at_ms=99_000))
    assert found.may_settle("f", HERE)


def test_a_later_opinion_that_does_not_count_tells_the_time_all_the_same() -> None:
    """Whether it comes before the one that counts, or after it."""
    facts = [*items(0, 90), *(opinion(number, settled=True) for number in range(100, 110))]
    one = replace(opinion(200, cell=None), at_ms=0)
    late = replace(one, at_ms=110_000 + LATE_DAYS * DAY_MS)
    assert [warranty([*facts, *order]).may_settle("f", HERE) for order in ((one,), (one, late), (late, one))] == [
        True,
        False,
        False,
    ]


def test_an_audit_is_in_time_by_its_first_answer_and_right_by_its_newest() -> None:
    """A correction after the time limit counts, and does not make the audit late."""
    begun = [*items(0, 90), *items(100, 10, settled=True), replace(opinion(200, cell=None), at_ms=20 * DAY_MS)]
    after_ms = 19 * DAY_MS
    found = warranty([*begun, *(answer(number, after_ms=after_ms) for number in range(100, 110))])
    assert found.may_settle("f", HERE)
    for number in range(100, 110):
        found.take(answer(number, "b", after_ms=after_ms + 1))
    assert not found.may_settle("f", HERE)


def test_a_try_begins_after_the_withdrawal() -> None:
    """An item of the same millisecond is of the try before, also if the answer that withdraws is older than the opinion."""
    found = warranty([*items(0, 90), *(opinion(number, settled=True) for number in range(100, 110))])
    for number in range(100, 110):
        found.take(answer(number, "b", after_ms=-60_000))
        if not found.may_settle("f", HERE):
            break
    for after_ms, counts in ((-1, 0), (0, 0), (1, 1)):
        each = replace(opinion(number), event_id=f"after {after_ms}", at_ms=1_000 * number + after_ms)
        found.take(each)
        assert of_cell(found).unanswered == counts


KINDS = {"asked": 1.0, "audited": 0.05, "often audited": 0.5, "saved": 0.05, "silent": 1.0}


@st.composite
def some_facts(draw: st.DrawFn) -> list[Fact]:
    """Facts about a few events, most of them with an opinion and an answer, some with several; days pass in between."""
    facts: list[Fact] = []
    for number in draw(st.lists(st.integers(0, 40), max_size=40)):
        kind = draw(st.sampled_from(["asked", "asked", "asked", *KINDS]))
        at_ms = (number + draw(st.sampled_from([0, 0, 0, 5]))) * DAY_MS // 2
        one = Opinion(
            event_id=str(number),
            at_ms=at_ms,
            fingerprint=draw(st.sampled_from("ffffg")),
            cell=None if kind == "silent" else draw(st.sampled_from([HERE, HERE, HERE, CELLS.of("b", agrees=True)])),
            settled=KINDS[kind] < 1,
            probability=KINDS[kind],
            asked=kind != "saved",
        )
        facts.append(one)
        for label in draw(st.sampled_from(["a", "a", "b", "ab", "", "aa"])):
            after_ms = draw(st.sampled_from([-DAY_MS, 1, 1, DAY_MS, LATE_DAYS * DAY_MS, 20 * DAY_MS]))
            facts.append(Answer(event_id=str(number), at_ms=max(0, at_ms + after_ms), label=label))
    return facts


@given(st.data())
@hypothesis_settings(max_examples=300, deadline=None)
def test_facts_in_any_order_give_the_same_warranty(data: st.DataObject) -> None:
    """And any number of times, also if it is asked in between; audits come late, in time, corrected, and of replaced opinions."""
    facts = data.draw(some_facts())
    again = data.draw(st.lists(st.sampled_from(facts), max_size=10)) if facts else []
    other = data.draw(st.permutations([*facts, *again]))
    # With such a promise a few answers certify and withdraw.
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tries, "MARKED", 3)
        patch.setattr(proof, "PATIENCE", 2.0)
        one, two = warranty(facts, promise=0.4, alpha=0.95), warranty(promise=0.4, alpha=0.95)
        asked = [(fingerprint, cell) for fingerprint in "fg" for cell in CELLS.every()]
        for fact in other:
            two.take(fact)
            for each in asked:
                two.may_settle(*each)
        assert one.status() == two.status()
        assert [one.may_settle(*each) for each in asked] == [two.may_settle(*each) for each in asked]


def test_such_facts_certify_and_withdraw() -> None:
    """Else the test above would compare nothing."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(proof, "PATIENCE", 2.0)
        found = warranty(list(items(0, 5)), promise=0.4, alpha=0.95)
        assert found.may_settle("f", HERE)
        for fact in items(10, 3, settled=True, wrong=3):
            found.take(fact)
        assert not found.may_settle("f", HERE)


def test_the_status_adds_up() -> None:
    """Items, settled ones, audits and what people were saved; the interval holds the share of the audits."""
    audited = items(100, 60, wrong=2, settled=True)
    saved = (replace(opinion(number, settled=True), asked=False) for number in range(200, 1_340))
    found = warranty(
        [
            *items(0, 100),
            *audited,
            *saved,
            # Three were in a person's hands.
            *map(answer, range(200, 203)),
            opinion(1_400, cell=None),
            *(opinion(number, settled=True) for number in range(1_401, 1_431)),
        ]
    ).status()
    assert (found.items, found.no_opinion, found.settled, found.audits, found.answered, found.agreed) == (
        1_331,
        1,
        1_230,
        90,
        60,
        58,
    )
    assert found.saved == 1_137
    assert found.fewer == pytest.approx(1_137 / 1_331)
    assert found.right is not None
    assert found.right[0] < 58 / 60 < found.right[1]
    low, high = proof.share_right(np.array([58]), np.array([2]), np.array([1_137]))
    assert found.saved_right == (math.floor(1_137 * low), math.ceil(1_137 * high))


def test_a_cell_says_what_is_missing() -> None:
    """Answers and days if it goes on so; nothing where no answer is known or the share is too low."""
    found = warranty([*items(0, 40), *items(40, 40, wrong=12, cell=CELLS.of("b", agrees=True)), *items(90, 1)])
    one, other, third = (of_cell(found, cell) for cell in (HERE, CELLS.of("b", agrees=True), CELLS.of("b", agrees=False)))
    assert one.missing_answers is not None
    assert one.missing_days == pytest.approx(one.missing_answers * 90_000 / DAY_MS / 41)
    assert (other.missing_answers, third.missing_answers, third.missing_days) == (None, None, None)
    facts = [*items(100, one.missing_answers)]
    for fact in facts:
        found.take(fact)
    assert found.may_settle("f", HERE)
    assert not warranty([*items(0, 40), *items(90, 1), *facts[:-4]]).may_settle("f", HERE)


BAD = {
    "none of the cells": opinion(0, cell=Cell(label="c", agrees=True)),
    "fixed in advance": opinion(0, cell=Cell(label="a", agrees=True, band=1)),
    "without an opinion": opinion(0, cell=None, settled=True),
    "give audited_at_least=0.01": replace(opinion(0, settled=True), probability=0.01),
    "may not be settled": replace(opinion(0, settled=True), probability=0.0),
    "above 0 and at most 1": replace(opinion(0, settled=True), probability=float("nan")),
    "not asked for sure": replace(opinion(0), asked=False),
    "no proof can count it": replace(opinion(0), probability=0.5),
    "before 1970": replace(opinion(0), at_ms=-1),
}


@pytest.mark.parametrize("sentence", BAD)
def test_an_opinion_that_no_proof_can_count_is_refused(sentence: str) -> None:
    """With a sentence that names the event, and without a trace in the warranty."""
    found = warranty()
    with pytest.raises(ValueError, match=sentence) as refused:
        found.take(BAD[sentence])
    assert "event 000000" in str(refused.value)
    assert found.status() == warranty().status()


@pytest.mark.parametrize(
    ("given", "sentence"),
    [
        ({"promise": 1.0}, "promise=1.0 is no share"),
        ({"promise": float("nan")}, "promise=nan is no share"),
        ({"alpha": 0.0}, "alpha=0.0 is no share"),
        ({"audited_at_least": 0.0}, "without audits nothing may be settled"),
    ],
)
def test_numbers_out_of_range_are_refused(given: dict[str, float], sentence: str) -> None:
    """Before a fact is taken."""
    with pytest.raises(ValueError, match=sentence):
        Warranty(**{"promise": 0.9, "cells": CELLS, **given})


@pytest.mark.parametrize(
    ("labels", "bands", "sentence"),
    [
        (("a",), (), "give two or more"),
        (("a", "a"), (), "each once"),
        (("a", "b"), (0.9, 0.8), "do not ascend"),
        (("a", "b"), (0.0,), "do not ascend"),
    ],
)
def test_cells_that_cannot_be_are_refused(labels: tuple[str, ...], bands: tuple[float, ...], sentence: str) -> None:
    """Fewer than two labels, one twice, and bands that do not ascend."""
    with pytest.raises(ValueError, match=sentence):
        Cells(labels, bands)


def test_there_are_as_many_cells_as_are_counted() -> None:
    """Each once; an opinion's score finds its band."""
    cells = Cells(("a", "b", "c"), bands=(0.8, 0.95))
    assert len(set(cells.every())) == len(cells) == 18
    assert [cells.of("a", agrees=True, score=score).band for score in (None, 0.1, 0.8, 0.94, 0.95, 1.0)] == [0, 0, 1, 1, 2, 2]
    assert all(cell in cells for cell in cells.every())


def calls_a_fact(facts: int, skill: float) -> float:
    """How many functions are called for each of so many facts, with a look at its cell after each."""
    number = 0

    def count(_frame: FrameType, event: str, _function: object) -> None:
        nonlocal number
        number += event in {"call", "c_call"}

    before = sys.getprofile()
    sys.setprofile(count)
    try:
        stream_of_facts(facts, skill)
    finally:
        sys.setprofile(before)
    return number / facts


@pytest.mark.parametrize("skill", [0.97, 0.899])
def test_a_fact_costs_the_same_after_few_facts_and_after_many(skill: float) -> None:
    """In functions called; answers come out of order."""
    few, many = calls_a_fact(2_000, skill), calls_a_fact(16_000, skill)
    assert many < 1.3 * few


def test_a_warranty_that_follows_all_audits_again_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """Known-bad: without marks, an answer that overtakes another one costs all audits again."""
    few = calls_a_fact(2_000, 0.97)
    monkeypatch.setattr(tries, "MARKED", 10**9)
    assert calls_a_fact(16_000, 0.97) > 1.3 * few

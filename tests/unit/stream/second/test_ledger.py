"""What a second model's process knows: nothing is settled without a proof, and the order of the topics makes no difference."""

import random
import uuid
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tagstream.stream.contract.outcome import timestamp
from tagstream.stream.contract.published import DecidedEvent
from tagstream.stream.contract.second_opinions import SecondOpinion
from tagstream.stream.second.facts import Cells
from tagstream.stream.second.ledger import GOLD, GOLD_MAY_DIFFER, GOLD_MS, Ledger
from tests.answering import NOW_MS, answer, decided, shown
from tests.fakes import LABELS
from tests.opinions import OF_A_BUNDLE, OF_AN_ENDPOINT
from tests.replacing import replace

# With so many right answers a promise of 0.9 is proved.
ENOUGH = 150
# The beginning of the first day (UTC) behind them.
TODAY_MS = (NOW_MS // GOLD_MS + 1) * GOLD_MS


def ledger(**asked: Any) -> Ledger:
    """A ledger with a promise of 0.9 and audits of a tenth."""
    return Ledger(Cells(tuple(LABELS), bands=(0.9,)), **{"promise": 0.9, "audit": 0.1, "asked_since_ms": 0, **asked})


def record_of(number: int) -> Any:
    """A record of `review`."""
    return decided(b'{"id":"e-%d","title":"maybe deployment of %d"}' % (number, number), now_ms=NOW_MS + number)


def item(number: int) -> DecidedEvent:
    """The item of this record."""
    return shown(record_of(number))


def opinion(number: int, label: str = "mlops", of: SecondOpinion = OF_A_BUNDLE, **said: Any) -> SecondOpinion:
    """A second model says this label of the item."""
    shown = item(number)
    made = {"event_id": shown.event.id, "prediction_id": shown.decision.prediction_id, "model_tag": shown.decision.tag}
    return replace(of, **made, label=label, reason=None, decided_at=timestamp(NOW_MS + number), **said)


def proved(of: SecondOpinion = OF_A_BUNDLE, **asked: Any) -> Ledger:
    """A ledger in which people have said `mlops` as often as it takes."""
    made = ledger(**asked)
    for number in range(ENOUGH):
        made.take_item(item(number))
        made.take_opinion(opinion(number, of=of), acted=False)
        made.take_answer(answer(record_of(number), "mlops"))
    return made


def test_nothing_is_settled_before_people_have_answered() -> None:
    """An opinion follows the item to people, whatever its score."""
    made = ledger()
    made.take_item(item(0))
    assert made.judged(opinion(0)) == opinion(0)


def test_what_is_proved_is_settled_and_a_tenth_of_it_audited() -> None:
    """The draw is the same in each process, and the record says its probability."""
    made = proved()
    found = []
    for number in range(ENOUGH, ENOUGH + 400):
        made.take_item(item(number))
        found.append(made.judged(opinion(number)))
    assert all(one.settles and one.audit_probability == 0.1 for one in found)
    assert 20 < sum(one.audited for one in found) < 60
    assert [one.audited for one in found] == [proved_again(one).audited for one in found]


def proved_again(judged: SecondOpinion) -> SecondOpinion:
    """The same opinion, judged by the ledger of another process."""
    number = int(judged.event_id.removeprefix("e-"))
    if "made" not in AGAIN:
        AGAIN["made"] = proved()
    AGAIN["made"].take_item(item(number))
    return AGAIN["made"].judged(opinion(number))


AGAIN: dict[str, Ledger] = {}


@pytest.mark.parametrize(
    "said",
    [
        {"label": "other"},
        {"score": 0.5},
        {"bundle": replace(OF_A_BUNDLE.bundle, digest="c" * 64)},
        {"label": "of an earlier bundle"},
    ],
    ids=["another label", "a lower score", "another bundle", "no label of the stream"],
)
def test_what_is_proved_of_one_kind_says_nothing_of_another(said: dict[str, Any]) -> None:
    """Each cell of each second model has a proof of its own."""
    made = proved()
    made.take_item(item(ENOUGH))
    assert not made.judged(opinion(ENOUGH, **said)).settles


def test_an_item_that_a_person_has_answered_is_not_settled() -> None:
    """The person's decision stands above, so nothing is to be said."""
    made = proved()
    made.take_item(item(ENOUGH))
    made.take_answer(answer(record_of(ENOUGH), "other"))
    assert not made.judged(opinion(ENOUGH)).settles


def test_of_two_opinions_on_one_item_the_first_holds() -> None:
    """What follows from a later one was never so."""
    made = proved()
    made.take_item(item(ENOUGH))
    made.take_opinion(opinion(ENOUGH), acted=False)
    later = opinion(ENOUGH, settles=True, audit_probability=0.1)
    made.take_opinion(later, acted=False)
    assert made.due() == []


def test_items_without_an_opinion_are_counted_by_their_reason() -> None:
    """Each item once, by its first record."""
    made = ledger()
    for number, reason in enumerate(("late", "over_budget", "over_budget")):
        silent = replace(opinion(number, of=OF_AN_ENDPOINT), label=None, reason=reason)
        made.take_opinion(silent, acted=False)
        made.take_opinion(silent, acted=False)
    made.take_opinion(opinion(3), acted=False)
    assert made.silent == {"late": 1, "over_budget": 2}


def test_what_was_written_and_not_done_is_due_until_it_is_done() -> None:
    """The record may be read before its item, and an item may be gone."""
    made = ledger()
    settled, gone = (opinion(number, settles=True, audit_probability=0.1) for number in (0, 1))
    made.take_opinion(settled, acted=False)
    made.take_opinion(gone, acted=False)
    made.take_opinion(opinion(2, settles=True, audit_probability=0.1), acted=True)
    made.take_item(item(0))
    assert [(one.opinion, one.item) for one in made.due()] == [(settled, item(0)), (gone, None)]
    made.done(settled)
    assert [one.opinion for one in made.due()] == [gone]


def test_items_are_asked_about_once_the_longest_waiting_first_and_old_ones_never() -> None:
    """An opinion that is on its way, or there, is enough."""
    made = ledger(asked_since_ms=NOW_MS + 2)
    for number in range(6):
        made.take_item(item(number))
    made.take_opinion(opinion(3), acted=False)
    busy = {item(4).decision.prediction_id}
    assert [one.event.id for one in made.to_ask(10, busy)] == ["e-2", "e-5"]
    assert [one.event.id for one in made.to_ask(1, ())] == ["e-2"]
    assert made.waiting == 3


@given(seed=st.integers(0, 2**32 - 1))
def test_the_order_of_the_records_makes_no_difference(seed: int) -> None:
    """Two processes that read the topics in another order settle the same."""
    order = random.Random(seed)  # noqa: S311 - no secret
    wrong = {number for number in range(ENOUGH) if order.random() < 0.1}
    facts = [
        fact
        for number in range(ENOUGH)
        for fact in (
            ("item", item(number)),
            ("opinion", opinion(number)),
            ("answer", answer(record_of(number), "other" if number in wrong else "mlops")),
        )
    ]
    found = []
    for _ in range(2):
        made = ledger()
        for kind, fact in facts:
            match kind:
                case "item":
                    made.take_item(fact)
                case "opinion":
                    made.take_opinion(fact, acted=False)
                case "answer":
                    made.take_answer(fact)
        made.take_item(item(ENOUGH))
        found.append((made.judged(opinion(ENOUGH)), made.warranty.status()))
        order.shuffle(facts)
    assert found[0] == found[1]


def endpoint(number: int, label: str = "mlops", generation: int = 0) -> SecondOpinion:
    """The answer of an endpoint."""
    assert OF_AN_ENDPOINT.endpoint is not None
    return opinion(number, label, of=replace(OF_AN_ENDPOINT, endpoint=replace(OF_AN_ENDPOINT.endpoint, generation=generation)))


def test_an_item_that_comes_again_is_asked_again_once() -> None:
    """Else a worker's redelivery would push out items that tell more."""
    made = proved(endpoint(0))
    for _ in range(GOLD):
        made.take_item(item(ENOUGH - 1))
    assert len({one.event.id for one in made.to_ask_again(TODAY_MS)}) == GOLD


@pytest.mark.parametrize("a_day", [30, 200])
def test_an_endpoint_that_changes_between_two_days_is_found(a_day: int) -> None:
    """It says the same name and answers its own new items alike; a process that begins anew knows the same."""
    made, again, changes_at = ledger(), ledger(), 5 * a_day // 2
    for number in range(4 * a_day):
        now_ms = NOW_MS + number * GOLD_MS // a_day
        label = "mlops" if number < changes_at else "other"

        def said(of: int, label: str = label, now_ms: int = now_ms) -> SecondOpinion:
            return made.judged(replace(endpoint(of, label), decided_at=timestamp(now_ms)))

        made.take_item(item(number))
        again.take_item(item(number))
        # The first round is at once.
        asked = [int(one.event.id.removeprefix("e-")) for one in made.to_ask_again(now_ms)]
        for of in [*asked, number]:
            opinion = said(of)
            for one in (made, again):
                one.take_opinion(opinion, acted=False)
        assert made.generation <= (number >= changes_at)
    assert (made.generation, again.generation) == (1, 1)


def test_an_item_that_was_not_answered_again_is_asked_about_on_the_next_day() -> None:
    """An endpoint that was down may come back as another one."""
    made = proved(endpoint(0))
    gold = made.to_ask_again(TODAY_MS)
    for one in gold:
        number = int(one.event.id.removeprefix("e-"))
        silent = replace(endpoint(number), label=None, reason="down", decided_at=timestamp(TODAY_MS))
        made.take_opinion(silent, acted=False)
    assert made.to_ask_again(TODAY_MS + GOLD_MS - 1) == []
    assert made.to_ask_again(TODAY_MS + GOLD_MS) == gold


def test_an_opinion_without_an_answer_is_of_no_second_model() -> None:
    """It takes no part of the risk, and what is certified stays in sight."""
    plain, failed = proved(OF_AN_ENDPOINT), ledger()
    silent = replace(opinion(0, of=OF_AN_ENDPOINT), label=None, reason="down", endpoint=endpoint(0, generation=7).endpoint)
    failed.take_opinion(silent, acted=False)
    for number in range(1, ENOUGH):
        failed.take_item(item(number))
        failed.take_opinion(opinion(number, of=OF_AN_ENDPOINT), acted=False)
        failed.take_answer(answer(record_of(number), "mlops"))
    plain.take_opinion(replace(silent, prediction_id=str(uuid.UUID(int=7))), acted=False)
    found = [one.warranty.status() for one in (plain, failed)]
    assert [[cell.needed for cell in one.cells] for one in found] == [[cell.needed for cell in found[0].cells]] * 2
    assert [sum(cell.certified for cell in one.cells) for one in found] == [1, 1]


def test_a_correction_counts_only_where_no_other_answer_is_known() -> None:
    """Its person has seen what the second model said."""
    made, alone = ledger(), ledger()
    for number in range(ENOUGH):
        corrected = replace(answer(record_of(number), "mlops"), asked_by="correction", version=2)
        for one in (made, alone):
            one.take_item(item(number))
            one.take_opinion(opinion(number), acted=False)
            one.take_answer(corrected)
        if number % 8 == 0:
            made.take_answer(answer(record_of(number), "other"))
    for one, settles in ((made, False), (alone, True)):
        one.take_item(item(ENOUGH))
        assert one.judged(opinion(ENOUGH)).settles is settles


def test_an_endpoint_that_answers_the_same_items_otherwise_begins_anew() -> None:
    """A few differences are its nature; more begin a generation of which nothing is proved. A process that begins anew finds the same."""
    made, again = proved(endpoint(0)), proved(endpoint(0))
    gold = made.to_ask_again(TODAY_MS)
    assert [one.event.id for one in gold] == [f"e-{number}" for number in range(GOLD)]
    assert made.to_ask_again(TODAY_MS + GOLD_MS - 1) == []
    numbers = [int(one.event.id.removeprefix("e-")) for one in gold]
    for place, number in enumerate(numbers):
        made.take_item(item(ENOUGH + place))
        assert made.judged(opinion(ENOUGH + place, of=endpoint(0), score=None)).settles is (place <= GOLD_MAY_DIFFER)
        for one in (made, again):
            one.take_opinion(endpoint(number, "other" if place <= GOLD_MAY_DIFFER else "mlops"), acted=False)
    assert (made.generation, again.generation) == (1, 1)
    told = made.judged(opinion(ENOUGH, of=endpoint(0)))
    assert told.endpoint is not None
    assert (told.endpoint.generation, told.settles) == (1, False)

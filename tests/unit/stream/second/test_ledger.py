"""What a second model's process knows: nothing is settled without a proof, and the order of the topics makes no difference."""

import random
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
    assert len({one.event.id for one in made.to_ask_again(NOW_MS)}) == GOLD


def test_an_endpoint_that_answers_the_same_items_otherwise_begins_anew() -> None:
    """A few differences are its nature; more begin a generation of which nothing is proved. A process that begins anew finds the same."""
    made, again = proved(endpoint(0)), proved(endpoint(0))
    gold = made.to_ask_again(NOW_MS)
    assert len(gold) == GOLD
    assert made.to_ask_again(NOW_MS + GOLD_MS - 1) == []
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

"""What a second model says in the store, on SQLite and on PostgreSQL: what it settles is not asked about, but by a draw, blind."""

from itertools import permutations

import pytest

from tagstream.stream.contract.outcome import timestamp
from tagstream.stream.contract.second_opinions import SecondOpinion
from tagstream.stream.review.store.records import AskedDecision, Door, Fact
from tagstream.stream.review.store.store import Store
from tests.opinions import OF_A_BUNDLE, OF_AN_ENDPOINT
from tests.replacing import replace
from tests.unit.stream.review.store.making import HOUR_MS, START_MS, answer_to, claimed, report, review, served


def opinion(asked: AskedDecision, *, settles: bool = True, audited: bool = False) -> SecondOpinion:
    """The second model says `mlops` of an item."""
    shown = asked.item
    made = {"event_id": shown.event.id, "prediction_id": shown.decision.prediction_id, "decided_at": timestamp(START_MS)}
    probability = 0.05 if settles else None
    return replace(OF_A_BUNDLE, **made, label="mlops", settles=settles, audit_probability=probability, audited=audited)


def test_what_it_settles_waits_for_nobody(store: Store) -> None:
    """An item without an opinion, and one with an opinion that settles nothing, wait as before."""
    one, two, three = review("settled"), review("judged"), review("open")
    store.writer.fill([one, two, three, opinion(one), opinion(two, settles=False)], {})
    assert sorted(served(store)) == ["judged", "open"]


def test_its_audit_is_blind_and_first_and_its_answer_is_that_of_an_item_of_review(store: Store) -> None:
    """The person sees neither opinion; on the topic the answer has the door of the item."""
    one, two = review("drawn"), review("doubtful")
    store.writer.fill([one, two, opinion(one, audited=True)], {})
    claim = claimed(store)
    assert (claim.item.event.id, claim.door, claim.door.blind, claim.asked_by) == ("drawn", Door.AUDIT, True, "review")


@pytest.mark.parametrize("order", list(permutations(range(3))))
def test_the_order_of_the_facts_makes_no_difference(store: Store, order: tuple[int, ...]) -> None:
    """The opinion may come before its item, the report before both: a reported item comes before a person again."""
    one = review("a")
    facts: list[Fact] = [one, opinion(one), report("a")]
    for place in order:
        store.writer.fill([facts[place]], {})
    assert [(claimed(store).item.event.id, claimed(store).door)] == [("a", Door.USER_REPORT)]


def test_an_opinion_settles_its_own_decision_alone(store: Store) -> None:
    """After a change of the model the event is decided anew, and waits for people anew."""
    one = review("a")
    later = review("a", prediction_id="6d1f4d0e-3b1a-5c7e-9f00-0123456789ab", tagged_ms=START_MS + 1)
    store.writer.fill([one, opinion(one), later], {})
    assert served(store) == ["a"]


def test_estimates_weigh_what_was_drawn_and_leave_out_what_was_not(store: Store) -> None:
    """A settled item with an audit stands for twenty, one without an audit for none; the others for themselves."""
    asked = [review(name) for name in ("drawn", "not drawn", "open")]
    store.writer.fill([*asked, opinion(asked[0], audited=True), opinion(asked[1])], {})
    sample = store.samples.drawn(START_MS - HOUR_MS, START_MS + HOUR_MS).sample
    assert sorted(zip(sample.inclusion.tolist(), sample.count.tolist(), strict=True)) == [(0.05, 1.0), (1.0, 1.0)]


def test_each_call_counts_and_an_item_that_cost_none_does_not(store: Store) -> None:
    """An endpoint may be asked several times; over the budget it is not asked; a bundle is asked once."""
    asked = [review(name) for name in ("retried", "over budget", "bundle")]
    retried, silent = (
        replace(opinion(one, settles=False), bundle=None, endpoint=OF_AN_ENDPOINT.endpoint, calls=calls)
        for one, calls in ((asked[0], 3), (asked[1], 0))
    )
    store.writer.fill([*asked, retried, replace(silent, label=None, reason="over_budget"), opinion(asked[2])], {})
    work = store.work.of(START_MS - HOUR_MS, START_MS + HOUR_MS)
    assert (sum(work.calls.values()), sum(work.settled.values())) == (4, 1)


def test_a_persons_answer_stands_whatever_comes_later(store: Store) -> None:
    """An opinion after the answer opens and closes nothing."""
    one = review("a")
    store.writer.fill([one], {})
    store.writer.fill([answer_to(claimed(store), START_MS + 1, tag="other")], {})
    before = store.queue.figures()
    store.writer.fill([opinion(one, audited=True)], {})
    assert (store.queue.figures().length, store.queue.figures().answered) == (before.length, before.answered) == (0, 1)


def test_the_label_is_there_for_the_page_after_an_answer(store: Store) -> None:
    """Whatever follows from the opinion; none if the second model gave none."""
    one, two = review("a"), review("b")
    store.writer.fill([one, opinion(one, settles=False)], {})
    assert store.queue.second_said(one.item.decision.prediction_id) == "mlops"
    assert store.queue.second_said(two.item.decision.prediction_id) is None

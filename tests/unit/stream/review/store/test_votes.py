"""The votes of viewers in the store: each viewer counts once, three denials lead the queue, and no vote is an answer."""

import random
from typing import Any

import pytest

from tagstream.monitoring.quality.feedback import ViewersAnswers
from tagstream.stream.contract.outcome import ModelRef, prediction_id
from tagstream.stream.contract.published import Ask
from tagstream.stream.review.store.records import CountedDecision, Door, Fact
from tagstream.stream.review.store.store import Store
from tests.replacing import replace
from tests.unit.stream.review.store.conftest import Open
from tests.unit.stream.review.store.making import MODEL, START_MS, answer, audit, item, report, review, vote

ASK = Ask(token="A" * 24)
OLD = ModelRef(name="tiny", version="0", digest="e" * 64)


def asked(event_id: str = "a", **given: Any) -> CountedDecision:
    """A record of `tagged` with a token."""
    return CountedDecision(item=item(event_id, door="tagged", **{"ask": ASK} | given))


def by_model(store: Store, since_ms: int, until_ms: int) -> dict[str, ViewersAnswers]:
    """What viewers said of each model; each has one origin here."""
    return {on.model: said for on, said in store.votes.of(since_ms, until_ms).items()}


def doors(store: Store) -> list[tuple[str, Door]]:
    """What a reviewer gets, one after the other."""
    found = []
    while (claim := store.queue.claim("ann")) is not None:
        found.append((claim.item.event.id, claim.door))
        store.queue.skip(claim.item.event.id, claim.token)
    return found


def test_three_viewers_who_say_wrong_bring_a_decision_to_the_head(store: Store) -> None:
    """Before audits, reports and doubts; two viewers, or one who says it thrice, bring nothing."""
    tagged = [asked(event_id) for event_id in ("three", "two", "one")]
    votes = (
        [vote(n, "three") for n in range(3)]
        + [vote(n, "two") for n in range(2)]
        + [vote(0, "one", START_MS + n) for n in range(5)]
    )
    store.writer.fill([*tagged, audit("drawn"), review("doubt"), review("told"), report("told"), *votes], {})
    assert [event_id for event_id, _, _ in store.writer.unmatched()] == ["three"]
    # The follower looks the decision up.
    store.writer.fill([asked_of_people(tagged[0])], {})
    assert store.writer.unmatched() == []
    assert doors(store) == [
        ("three", Door.USER_REPORT),
        ("drawn", Door.AUDIT),
        ("told", Door.USER_REPORT),
        ("doubt", Door.REVIEW),
    ]


def asked_of_people(counted: CountedDecision) -> Any:
    """The decision that was looked up on `tagged`."""
    from tagstream.stream.review.store.records import AskedDecision

    return AskedDecision(item=counted.item)


def test_the_reviewer_sees_what_the_viewers_said(store: Store) -> None:
    """The newest first, with the tags that they suggest; those who agree are not listed."""
    votes = [vote(n, at_ms=START_MS + n, suggested_tag=tag) for n, tag in enumerate(["other", None, "computer-vision"])]
    store.writer.fill([asked_of_people(asked()), *votes, vote(9, answer="yes")], {})
    claim = store.queue.claim("ann")
    assert claim is not None
    assert [(one.is_vote, one.suggested_tag) for one in claim.reports] == [
        (True, "computer-vision"),
        (True, None),
        (True, "other"),
    ]


def test_an_audit_that_viewers_deny_keeps_its_place_and_stays_blind(store: Store) -> None:
    """Otherwise the answered audits would not be the drawn ones."""
    votes = [vote(n, "late") for n in range(3)]
    store.writer.fill([audit("early"), audit("late", tagged_ms=START_MS + 1), *votes], {})
    assert doors(store) == [("early", Door.AUDIT), ("late", Door.AUDIT)]
    claim = store.queue.reopen("late", "bo")
    assert not hasattr(claim, "reports")


def test_votes_on_a_replaced_decision_lead_nowhere(store: Store) -> None:
    """Three viewers denied the decision of the model before; another one decides now."""
    before = prediction_id("a", OLD.identity)
    newer = asked(tagged_ms=START_MS + 1000)
    store.writer.fill([asked(prediction_id=before, model=OLD), newer, *(vote(n, of=before) for n in range(3))], {})
    assert store.writer.unmatched() == []
    store.writer.fill([asked_of_people(newer), *(vote(n) for n in range(2))], {})
    assert doors(store) == []


def test_a_persons_answer_ends_it_and_later_votes_change_nothing(store: Store) -> None:
    """The vote is about the model's decision, which a person has judged."""
    tagged = asked()
    denied = [vote(n) for n in range(3)]
    store.writer.fill(
        [asked_of_people(tagged), *denied, answer(of=tagged.item, at_ms=START_MS + 10, asked_by="user_report")], {}
    )
    store.writer.fill([vote(n, at_ms=START_MS + 20) for n in range(3, 9)], {})
    assert doors(store) == []
    store.writer.fill([report(at_ms=START_MS + 30)], {})
    assert doors(store) == [("a", Door.USER_REPORT)]


FACTS: list[Fact] = [
    asked(),
    asked(),
    asked("b"),
    asked("c"),
    asked("d", ask=None),
    vote(0, at_ms=START_MS + 1, answer="yes"),
    vote(0, at_ms=START_MS + 2),
    vote(0, at_ms=START_MS + 2),
    vote(1, answer="yes"),
    vote(0, "b", answer="yes"),
    vote(2, "b", at_ms=START_MS + 5),
    vote(2, "b", at_ms=START_MS + 5, answer="yes"),
    # Nobody was asked about these.
    vote(3, "d"),
    vote(4, "nowhere"),
]


@pytest.mark.parametrize("seed", range(4))
def test_each_viewer_counts_once_whatever_the_order_and_the_repetition(opened: Open, seed: int) -> None:
    """The newest vote of a viewer counts, and a vote on a decision without a token does not."""
    chance, store = random.Random(seed), opened()  # noqa: S311
    facts = [*FACTS, *chance.sample(FACTS, 6)]
    chance.shuffle(facts)
    for part in (facts[at : at + 3] for at in range(0, len(facts), 3)):
        store.writer.fill(part, {})
    expected = ViewersAnswers(asked=3, answered=2, votes=4, right=2)
    assert by_model(store, START_MS, START_MS + 1) == {"tiny 1": expected}
    assert by_model(store, START_MS + 1, START_MS + 2) == {}
    assert (expected.response, expected.said_right) == (2 / 3, 0.5)


def test_answers_are_told_by_model_the_newest_first(store: Store) -> None:
    """Each vote with the model that decided."""
    before = prediction_id("a", OLD.identity)
    store.writer.fill([asked(prediction_id=before, model=OLD), asked("b", tagged_ms=START_MS + 1), vote(0, of=before)], {})
    found = by_model(store, START_MS, START_MS + 10)
    answered = ViewersAnswers(asked=1, answered=1, votes=1, right=0)
    assert list(found.items()) == [("tiny 1", ViewersAnswers(asked=1)), ("tiny 0", answered)]
    assert found["tiny 1"].said_right is None


@pytest.mark.parametrize("turn", [1, -1])
def test_a_decision_that_came_in_two_epochs_is_of_the_later_one(store: Store, turn: int) -> None:
    """In either order of reading, and whatever the clocks of the two workers say."""
    early, late = (replace(MODEL, epoch=epoch, arm="champion") for epoch in ("1", "2"))
    facts = [asked(model=early, tagged_ms=START_MS + 9), asked(model=late)][::turn]
    store.writer.fill(facts[:1], {})
    store.writer.fill([*facts[1:], vote(0)], {})
    assert {(on.epoch, on.arm): said.asked for on, said in store.votes.of(0, START_MS + 10).items()} == {(2, "champion"): 1}


def test_old_votes_and_questions_are_deleted(store: Store, clock: Any) -> None:
    """As the decisions that they are about."""
    later = START_MS + 100_000
    clock.now_ms = later
    store.writer.fill([asked(), vote(0), asked("b", tagged_ms=later), vote(0, "b", at_ms=later)], {})
    store.writer.prune(50_000)
    assert [(one.asked, one.votes) for one in store.votes.of(0, later + 1).values()] == [(1, 1)]


def test_no_vote_enters_the_estimate(store: Store) -> None:
    """An answered item that viewers brought is in no sample: nobody drew it."""
    tagged = asked()
    said = answer(of=tagged.item, at_ms=START_MS + 10, asked_by="user_report", tag="other")
    before = store.samples.drawn(START_MS, START_MS + 1)
    store.writer.fill([asked_of_people(tagged), *(vote(n) for n in range(3)), said], {})
    found = store.samples.drawn(START_MS, START_MS + 1)
    assert (len(found.sample), found.left_out) == (len(before.sample), before.left_out) == (0, before.left_out)

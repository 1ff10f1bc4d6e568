"""The account of people's answers: given, on `reviewed`, on `tagged`."""

from dataclasses import replace

import pytest

from stream.contract.answers import Answer, AnsweredEvent, answer_id, read_answer, tagged_by_reviewer
from stream.contract.record import Record
from stream.demo.people.answers import Answers, Given
from tests.answering import NOW_MS, answer, decided, reviewed


def on_reviewed(given: Answer, *, at_ms: int = NOW_MS) -> Record:
    """The record that the console writes."""
    return replace(reviewed(decided(), given), timestamp_ms=at_ms)


def on_tagged(given: Answer, *, at_ms: int = NOW_MS + 30) -> Record:
    """The record that the worker writes."""
    found = read_answer(on_reviewed(given))
    assert isinstance(found, AnsweredEvent)
    key, value, headers = tagged_by_reviewer(found, at_ms)
    return Record(topic="tagged", key=key, value=value, headers=headers, timestamp_ms=at_ms)


SAID = answer(tag="mlops")
GIVEN = Given(event_id=SAID.event_id, tag=SAID.tag)


@pytest.mark.parametrize("tagged_first", [False, True])
def test_an_answer_that_is_in_tagged_is_reached_whatever_comes_first(tagged_first: bool) -> None:
    """The two topics are read side by side; the time runs from the one record to the other, and nothing is left to wait for."""
    account = Answers()
    account.given(GIVEN)
    assert account.waiting == 1
    steps = [lambda: account.reviewed(on_reviewed(SAID)), lambda: account.tagged(on_tagged(SAID))]
    first, second = [step() for step in (reversed(steps) if tagged_first else steps)]
    assert first is None
    assert second is not None
    assert (second.event_id, second.tag, second.model_tag, second.reviewer) == ("e-1", "mlops", SAID.model_tag, "ann")
    assert second.latency_ms == 30
    assert (account.waiting, account.problems()) == (0, [])
    totals = account.totals()
    assert (totals.given, totals.reached, totals.agreed, totals.p50_ms) == (1, 1, int(SAID.tag == SAID.model_tag), 30)


def test_a_correction_is_an_answer_of_its_own() -> None:
    """Both versions must reach `tagged`."""
    account = Answers()
    later = answer(tag="other", previous=SAID)
    for record in (on_reviewed(SAID), on_reviewed(later)):
        account.reviewed(record)
    account.tagged(on_tagged(SAID))
    assert account.waiting == 1
    assert account.problems() == ["1 answered and not in `tagged`: e-1"]
    account.tagged(on_tagged(later))
    assert (account.waiting, account.problems(), account.totals().reached) == (0, [], 2)


def test_a_repeated_record_changes_nothing() -> None:
    """At-least-once delivery may repeat either."""
    account = Answers()
    for _ in range(2):
        account.reviewed(on_reviewed(SAID))
        account.tagged(on_tagged(SAID))
    assert (account.problems(), account.totals().given, account.totals().reached) == ([], 1, 1)


def test_a_decision_of_the_model_is_no_answer() -> None:
    """Everything else on `tagged` is the other account's."""
    account = Answers()
    assert account.tagged(decided()) is None
    assert (account.problems(), account.totals().reached, account.totals().p50_ms) == ([], 0, None)


def test_every_way_not_to_balance_is_one_sentence() -> None:
    """A saved answer that is on no topic, one that is not in `tagged`, another tag there, a stranger, and bytes that are no answer."""
    lost, other, stranger = Answers(), Answers(), Answers()
    lost.given(GIVEN)
    assert lost.problems() == ["1 answered in the console and not in `reviewed`: e-1"]
    other.reviewed(on_reviewed(SAID))
    record = on_tagged(SAID)
    assert record.value is not None
    other.tagged(replace(record, value=record.value.replace(b'"tag":"mlops"', b'"tag":"other"')))
    assert other.problems() == ["1 in `tagged` with another tag than was answered: e-1"]
    stranger.tagged(record)
    assert stranger.problems() == ["1 in `tagged` by a reviewer and was never answered: e-1"]
    stranger.reviewed(Record(topic="reviewed", key=b"k", value=b"[]"))
    assert stranger.problems()[1].startswith("1 in `reviewed` and no answer: k (")
    assert answer_id(SAID) not in " ".join(stranger.problems())


def test_the_same_answer_given_twice_must_be_there_twice() -> None:
    """Two saved answers with one tag on one event, a correction back among them, are two records."""
    account = Answers()
    account.given(GIVEN)
    account.given(GIVEN)
    account.reviewed(on_reviewed(SAID))
    account.tagged(on_tagged(SAID))
    assert account.waiting == 1
    assert account.problems() == ["1 answered in the console and not in `reviewed`: e-1"]

"""The demo's account: every event at exactly one destination, every answer on `reviewed` and on `tagged`."""

import msgspec
import pytest

from tagstream.monitoring.vocabulary import Destination
from tagstream.stream.contract.answers import Answer, AnsweredEvent, answer_id, read_answer, tagged_by_reviewer
from tagstream.stream.contract.event import Record
from tagstream.stream.demo.account import Account, Reached, SavedAnswer, percentile
from tagstream.stream.demo.samples import SampleRecord
from tests.answering import NOW_MS, answer, reviewed
from tests.answering import decided as decision
from tests.replacing import replace
from tests.unit.stream.demo.demo_records import BALANCED, EVENT, LABELS, TOPICS, account, dead, decided


def test_an_account_balances_when_every_input_left_by_its_one_door() -> None:
    """A decided event and a malformed one among the dead letters are no problem."""
    made = account(*BALANCED)
    assert made.problems() == []
    assert made.waiting == 0


@pytest.mark.parametrize(
    ("records", "sentence"),
    [
        (BALANCED[1:], "1 without an outcome: sample-1"),
        ((*BALANCED, decided("sample-1", topic="review")), "1 with outcomes on two topics: sample-1"),
        (
            (dead("sample-1", EVENT.value, "wrong_type"), BALANCED[1]),
            "1 is an event and became a dead letter: sample-1 (wrong_type)",
        ),
        ((BALANCED[0], decided("malformed-1")), "1 is malformed and was decided: malformed-1"),
        (
            (BALANCED[0], dead("malformed-1", b"[ ]")),
            "1 is a dead letter with other bytes than were sent: malformed-1",
        ),
        ((BALANCED[0], dead("malformed-1", None)), "1 is a dead letter with other bytes than were sent: malformed-1"),
        (
            (BALANCED[0], dead("malformed-1", b"[]", "empty")),
            "1 is a dead letter under the wrong code: malformed-1 (empty, not not_an_object)",
        ),
        (
            (BALANCED[0], dead("malformed-1", b"[]", None)),
            "1 is a dead letter under the wrong code: malformed-1 (None, not not_an_object)",
        ),
        ((*BALANCED, decided("ghost")), "1 came out and was never sent: ghost"),
    ],
)
def test_an_account_that_does_not_balance_names_what_is_wrong(records: tuple[Record, ...], sentence: str) -> None:
    """Each way in which conservation can be broken is one sentence with the key in it, and no other sentence."""
    assert account(*records).problems() == [sentence]


def test_the_same_outcome_twice_is_a_duplicate_and_no_problem() -> None:
    """At-least-once delivery may repeat an outcome; it is counted, and changes neither figures nor verdict."""
    made = account(*BALANCED, BALANCED[0], BALANCED[1])
    assert made.problems() == []
    totals = made.totals()
    assert (totals.duplicates, totals.destinations[Destination.TAGGED], totals.destinations[Destination.DLQ]) == (2, 1, 1)


def test_a_reviewers_decision_is_no_second_outcome() -> None:
    """An event in review enters `tagged` when a person has decided; that is no second outcome."""
    made = account(decided("sample-1", topic="review"), BALANCED[1], decided("sample-1", decider="reviewer"))
    assert made.problems() == ["1 in `tagged` by a reviewer and was never answered: sample-1"]
    assert made.totals().duplicates == 0


def test_an_outcome_without_a_sample_is_a_problem() -> None:
    """No other producer uses the topics of a demo, so an outcome that was never sent is named, also an unreadable one."""
    stranger = Record(topic="tagged", key=b"stranger", value=b"not even JSON")
    assert account(*BALANCED, stranger).problems() == ["1 came out and was never sent: stranger"]


def test_an_outcome_that_breaks_the_contract_is_an_error() -> None:
    """A decision of ours that cannot be read is a bug of the worker, not a fact to count."""
    with pytest.raises(msgspec.DecodeError):
        account(Record(topic="tagged", key=b"sample-1", value=b'{"tag":"mlops"}'))


def test_a_key_is_sent_once() -> None:
    """Two inputs under one key could not be told apart."""
    with pytest.raises(ValueError, match="sample-1 was sent twice"):
        account(sent=(EVENT, EVENT))


def test_many_missing_events_are_named_in_part_and_counted_in_full() -> None:
    """The problem names the first five keys and the number of the rest."""
    lost = tuple(SampleRecord(key=f"s{number}", value=b"", title="") for number in range(12))
    assert account(sent=lost).problems() == ["12 without an outcome: s0, s1, s2, s3, s4 and 7 more"]


def test_figures_follow_from_timestamps() -> None:
    """Latency is from sending to the outcome's timestamp, the rate from the first sending to the last outcome."""
    sent = tuple(SampleRecord(key=f"s{number}", value=b"", title="") for number in range(100))
    made = account(*(decided(f"s{number}", at_ms=1_000 + 10 * (number + 1)) for number in range(100)), sent=sent)
    totals = made.totals()
    assert (totals.p50_ms, totals.p99_ms, totals.events_per_second) == (500, 990, 100.0)
    assert dict(totals.tags) == {"natural-language-processing": 0, "computer-vision": 0, "mlops": 100, "other": 0}
    assert list(totals.tags) == list(LABELS)


def test_there_are_no_figures_before_there_are_outcomes() -> None:
    """A figure that is not known yet is None, not 0."""
    totals = account().totals()
    assert (totals.p50_ms, totals.p99_ms, totals.events_per_second, totals.waiting) == (None, None, None, 2)
    assert percentile([], 0.5) is None


def on_reviewed(given: Answer, *, at_ms: int = NOW_MS) -> Record:
    """The record that the console writes."""
    return replace(reviewed(decision(), given), timestamp_ms=at_ms)


def on_tagged(given: Answer, *, at_ms: int = NOW_MS + 30) -> Record:
    """The record that the worker writes."""
    found = read_answer(on_reviewed(given))
    assert isinstance(found, AnsweredEvent)
    _, value, headers, _ = tagged_by_reviewer(found, at_ms)
    return Record(topic="tagged", key=b"e-1", value=value, headers=headers, timestamp_ms=at_ms)


def with_the_event() -> Account:
    """An account in which the event of the answers has been sent to a person."""
    return account(decided("e-1", topic="review"), sent=(SampleRecord(key="e-1", value=b"", title="A title"),))


SAID = answer(tag="mlops")
GIVEN = SavedAnswer(event_id=SAID.event_id, tag=SAID.tag)


@pytest.mark.parametrize("tagged_first", [False, True])
def test_an_answer_that_is_in_tagged_is_reached_whatever_comes_first(tagged_first: bool) -> None:
    """The two topics are read side by side; the time runs from the one record to the other, and nothing is left to wait for."""
    made = with_the_event()
    made.given(GIVEN)
    assert made.waiting == 1
    steps = [lambda: made.came(on_reviewed(SAID)), lambda: made.came(on_tagged(SAID))]
    first, second = [step() for step in (reversed(steps) if tagged_first else steps)]
    assert first is None
    assert isinstance(second, Reached)
    assert (second.event_id, second.tag, second.model_tag, second.reviewer) == ("e-1", "mlops", SAID.model_tag, "ann")
    assert second.latency_ms == 30
    assert (made.waiting, made.problems()) == (0, [])
    totals = made.totals()
    assert (totals.given, totals.reached, totals.agreed, totals.answer_p50_ms) == (1, 1, int(SAID.tag == SAID.model_tag), 30)


def test_a_correction_is_an_answer_of_its_own() -> None:
    """Both versions must reach `tagged`."""
    made = with_the_event()
    later = answer(tag="other", previous=SAID)
    for record in (on_reviewed(SAID), on_reviewed(later)):
        made.came(record)
    made.came(on_tagged(SAID))
    assert made.waiting == 1
    assert made.problems() == ["1 answered and not in `tagged`: e-1"]
    made.came(on_tagged(later))
    assert (made.waiting, made.problems(), made.totals().reached) == (0, [], 2)


def test_a_repeated_record_changes_nothing() -> None:
    """At-least-once delivery may repeat either."""
    made = with_the_event()
    for _ in range(2):
        made.came(on_reviewed(SAID))
        made.came(on_tagged(SAID))
    assert (made.problems(), made.totals().given, made.totals().reached) == ([], 1, 1)


def test_every_way_not_to_balance_is_one_sentence() -> None:
    """A saved answer that is on no topic, one that is not in `tagged`, another tag there, a stranger, and bytes that are no answer."""
    lost, other, stranger = with_the_event(), with_the_event(), with_the_event()
    lost.given(GIVEN)
    assert lost.problems() == ["1 answered in the console and not in `reviewed`: e-1"]
    other.came(on_reviewed(SAID))
    record = on_tagged(SAID)
    assert record.value is not None
    other.came(replace(record, value=record.value.replace(b'"tag":"mlops"', b'"tag":"other"')))
    assert other.problems() == ["1 in `tagged` with another tag than was answered: e-1"]
    stranger.came(record)
    assert stranger.problems() == ["1 in `tagged` by a reviewer and was never answered: e-1"]
    stranger.came(Record(topic=TOPICS.reviewed, key=b"k", value=b"[]"))
    assert stranger.problems()[1].startswith("1 in `reviewed` and no answer: k (")
    assert answer_id(SAID) not in " ".join(stranger.problems())


def test_the_same_answer_given_twice_must_be_there_twice() -> None:
    """Two saved answers with one tag on one event, a correction back among them, are two records."""
    made = with_the_event()
    made.given(GIVEN)
    made.given(GIVEN)
    made.came(on_reviewed(SAID))
    made.came(on_tagged(SAID))
    assert made.waiting == 1
    assert made.problems() == ["1 answered in the console and not in `reviewed`: e-1"]

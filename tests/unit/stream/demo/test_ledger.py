"""The demo's account: every event by exactly one door."""

import msgspec
import pytest

from monitoring.vocabulary import Destination
from stream.contract.record import Record
from stream.demo.ledger import percentile
from stream.demo.samples import Sample
from tests.unit.stream.demo.demo_records import BALANCED, EVENT, LABELS, account, dead, decided


def test_an_account_balances_when_every_input_left_by_its_one_door() -> None:
    """A decided event and a malformed one among the dead letters are no problem."""
    ledger = account(*BALANCED)
    assert ledger.problems() == []
    assert ledger.waiting == 0


@pytest.mark.parametrize(
    ("records", "sentence"),
    [
        (BALANCED[1:], "1 left by no door: sample-1"),
        ((*BALANCED, decided("sample-1", topic="review")), "1 left by two doors: sample-1"),
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
    ledger = account(*BALANCED, BALANCED[0], BALANCED[1])
    assert ledger.problems() == []
    totals = ledger.totals()
    assert (totals.duplicates, totals.doors[Destination.TAGGED], totals.doors[Destination.DLQ]) == (2, 1, 1)


def test_a_reviewers_decision_is_no_second_outcome() -> None:
    """An event in review enters `tagged` when a person has decided; that is not a second door."""
    ledger = account(decided("sample-1", topic="review"), BALANCED[1], decided("sample-1", decider="reviewer"))
    assert ledger.problems() == []
    assert ledger.totals().duplicates == 0


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
    lost = tuple(Sample(key=f"s{number}", value=b"", title="") for number in range(12))
    assert account(sent=lost).problems() == ["12 left by no door: s0, s1, s2, s3, s4 and 7 more"]


def test_figures_follow_from_timestamps() -> None:
    """Latency is from sending to the outcome's timestamp, the rate from the first sending to the last outcome."""
    sent = tuple(Sample(key=f"s{number}", value=b"", title="") for number in range(100))
    ledger = account(*(decided(f"s{number}", at_ms=1_000 + 10 * (number + 1)) for number in range(100)), sent=sent)
    totals = ledger.totals()
    assert (totals.p50_ms, totals.p99_ms, totals.events_per_second) == (500, 990, 100.0)
    assert dict(totals.tags) == {"natural-language-processing": 0, "computer-vision": 0, "mlops": 100, "other": 0}
    assert list(totals.tags) == list(LABELS)


def test_there_are_no_figures_before_there_are_outcomes() -> None:
    """A figure that is not known yet is None, not 0."""
    totals = account().totals()
    assert (totals.p50_ms, totals.p99_ms, totals.events_per_second, totals.waiting) == (None, None, None, 2)
    assert percentile([], 0.5) is None

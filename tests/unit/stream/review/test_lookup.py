"""What a lookup keeps of the records it reads, and which decision it says holds."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tagstream.monitoring.vocabulary import Reason, Stage
from tagstream.stream.contract import dead_letter
from tagstream.stream.contract.answers import Answer, AnsweredEvent, answer_id, read_answer, tagged_by_reviewer
from tagstream.stream.contract.event import DEFAULT_LIMITS, Record
from tagstream.stream.contract.refusal import Refusal
from tagstream.stream.review.lookup import Looked
from tests.answering import NOW_MS, UNSURE, answer, decided, reviewed, shown
from tests.replacing import replace

MODEL = decided(UNSURE)
FIRST = answer(MODEL, "other")
SECOND = answer(MODEL, "mlops", previous=FIRST)


def on_tagged(given_: Answer) -> Record:
    """The record of `tagged` that follows from an answer."""
    answered = read_answer(reviewed(MODEL, given_))
    assert isinstance(answered, AnsweredEvent)
    key, value, headers, _ = tagged_by_reviewer(answered, NOW_MS)
    return Record(topic="tagged", key=key, value=value, headers=headers)


RECORDS = [
    ("review", MODEL),
    ("reviewed", reviewed(MODEL, FIRST)),
    ("tagged", on_tagged(FIRST)),
    ("reviewed", reviewed(MODEL, SECOND)),
    ("tagged", on_tagged(SECOND)),
]


def dead(value: bytes | None, key: bytes | None, origin: str = "content") -> Record:
    """A dead letter."""
    refusal = Refusal(stage=Stage.DECODE, reason=Reason.INVALID_JSON, message="not JSON")
    made = dead_letter.write(Record(topic=origin, partition=0, offset=3, key=key, value=value), refusal, DEFAULT_LIMITS)
    return Record(topic="content.dlq", partition=0, offset=1, key=made[0], value=made[1], headers=made[2])


@given(st.permutations(RECORDS), st.lists(st.sampled_from(RECORDS)))
def test_the_same_decision_holds_in_every_order_of_reading(
    order: list[tuple[str, Record]], again: list[tuple[str, Record]]
) -> None:
    """A person's last version holds, each record counts once, and nothing is pending when all is on `tagged`."""
    looked = Looked(event_id="e-2")
    for role, record in [*order, *again]:
        looked.add(role, record)
    assert (len(looked.decisions), len(looked.answers)) == (3, 2)
    assert looked.holds is not None
    assert looked.holds.decision.prediction_id == answer_id(SECOND)
    assert looked.pending is None


@pytest.mark.parametrize(
    ("number", "tag", "pending"), [(1, "mlops", None), (2, "mlops", FIRST), (3, "other", None), (4, "other", SECOND)]
)
def test_an_answer_is_pending_until_it_is_on_tagged(number: int, tag: str, pending: Answer | None) -> None:
    """What holds is what consumers see; an answer that the worker has not taken yet is named beside it."""
    looked = Looked(event_id="e-2")
    for role, record in RECORDS[:number]:
        looked.add(role, record)
    assert looked.holds is not None
    assert looked.holds.decision.tag == tag
    assert (looked.pending and looked.pending.answer) == pending


def test_an_older_answer_is_not_pending() -> None:
    """An answer that is superseded already waits for nothing that matters."""
    looked = Looked(event_id="e-2")
    for role, record in (("reviewed", reviewed(MODEL, FIRST)), ("tagged", on_tagged(SECOND))):
        looked.add(role, record)
    assert looked.pending is None


@pytest.mark.parametrize(
    ("letter", "event_id"),
    [
        (dead(b'{"id":"e-2","title":1}', b"k"), "e-2"),
        (dead(b'{"id":"e-2","title":"t"}', None), "e-2"),
        (dead(b"not json", b"e-2"), "e-2"),
        (dead(b'{"id":2}', b"e-2"), "2"),
        (dead(b'{"title":"t"}', b"k"), decided(b'{"title":"t"}', key=b"k")),
        (dead(reviewed(MODEL, FIRST).value, None, "reviewed"), "e-2"),
    ],
    ids=["refused", "raised", "no json", "number", "no id", "answer"],
)
def test_a_dead_letter_is_known_by_the_id_of_its_event(letter: Record, event_id: str | Record) -> None:
    """By the id in its bytes, though they are no event, by the id that a worker would make, or by its key."""
    looked = Looked(event_id=event_id if isinstance(event_id, str) else shown(event_id).event.id)
    looked.add("dlq", letter)
    assert len(looked.letters) == 1


def test_records_of_others_are_dropped() -> None:
    """Another event, a record of another program and no bytes at all say nothing."""
    looked = Looked(event_id="e-9")
    for role, record in [*RECORDS, ("dlq", dead(b"{}", None)), ("dlq", Record(key=b"e-9", value=b"x"))]:
        looked.add(role, record)
        looked.add(role, replace(record, value=b"not json"))
        looked.add(role, replace(record, value=None))
    assert looked.is_empty
    assert looked.holds is None
    assert looked.pending is None

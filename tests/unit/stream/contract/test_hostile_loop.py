"""Hostile events can be answered: what a worker publishes of them is read back, and hostile bytes on the topics of the loop are refused."""

from collections import Counter

from tagstream.stream.contract.answers import AnsweredEvent, answer_id, read_answer, tagged_by_reviewer
from tagstream.stream.contract.distinct import Distinct
from tagstream.stream.contract.event import ContentEvent, Record, weight
from tagstream.stream.contract.outcome import ReviewerDecision, publish_all
from tagstream.stream.contract.published import PublishedDecision, read_decision
from tagstream.stream.contract.refusal import Refusal
from tagstream.stream.contract.reports import Report, read_report
from tagstream.stream.review.lookup import Looked
from tests.answering import NOW_MS, PIPELINE, answer, reviewed
from tests.hostile.corpus import corpus

SIZE = 1_500


def test_every_hostile_event_that_is_decided_can_be_answered() -> None:
    """Its fields come through decision, answer and the reviewer's decision byte for byte, and the three are told apart."""
    records = [record.raw(at) for at, (_, record) in enumerate(corpus(SIZE))]
    outcomes = PIPELINE.decide(records)
    answered_events = 0
    for outcome, made in zip(outcomes, publish_all(records, outcomes, NOW_MS), strict=True):
        decided = Record(topic="any", key=made.key, value=made.value, headers=made.headers)
        shown = read_decision(decided)
        # An event whose outcome is too large for its topic is a dead letter, too.
        if isinstance(outcome, Refusal) or isinstance(made.outcome, Refusal):
            assert isinstance(shown, Refusal)
            continue
        answered_events += 1
        assert isinstance(shown, PublishedDecision), shown
        written = reviewed(decided, answer(decided, "other", note="\N{SNOWMAN}"))
        found = read_answer(written)
        assert isinstance(found, AnsweredEvent), found
        key, value, headers, _ = tagged_by_reviewer(found, NOW_MS)
        again = Record(topic="any", key=key, value=value, headers=headers)
        back = read_decision(again)
        assert isinstance(back, PublishedDecision), back
        assert isinstance(back.decision, ReviewerDecision)
        assert back.decision.prediction_id == answer_id(found.answer)
        assert fields(outcome.event) == fields(shown.event) == fields(found.event) == fields(back.event)
        assert weight(key, value, headers) < weight(made.key, made.value, made.headers) + 1_000
        known = Distinct()
        assert [known.admit(one) for one in (decided, again, decided, again)] == [True, True, False, False]
    assert answered_events > SIZE / 5


def test_hostile_bytes_on_the_topics_of_the_loop_are_refused() -> None:
    """No record of the corpus is an answer, a decision or a report, none raises, and no message quotes its bytes."""
    said: Counter[str] = Counter()
    looked = Looked(event_id="nobody's")
    for at, (_, hostile) in enumerate(corpus(SIZE)):
        record = hostile.raw(at)
        for read in (read_answer, read_decision, read_report):
            found = read(record)
            assert isinstance(found, Refusal | Report), found
            if isinstance(found, Refusal):
                said[found.message] += 1
        for role in ("tagged", "review", "reviewed", "dlq"):
            looked.add(role, record)
    assert looked.is_empty
    assert max(map(len, said)) < 300
    assert len(said) < 200


def fields(event: ContentEvent) -> dict[str, bytes]:
    """The event's fields as bytes."""
    return {name: bytes(raw) for name, raw in event.fields.items()}

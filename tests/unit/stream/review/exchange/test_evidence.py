"""Evidence from answers: each event once, by its weight, and only events that were drawn."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest

from tagstream.stream.contract.answers import AnsweredEvent, read_answer
from tagstream.stream.contract.event import Record
from tagstream.stream.contract.published import PublishedDecision
from tagstream.stream.review.exchange.evidence import Gathered, gather
from tests.answering import MODEL, NOW_MS, answer, audited, decided, reviewed, shown
from tests.replacing import replace

DIGESTS = (MODEL.digest,)
MLOPS, OTHER = "mlops", "other"


def event(number: int, *, unsure: bool = False) -> Record:
    """The decision on an event: `mlops`, on `tagged`, or on `review` with `unsure`."""
    words = "maybe deployment" if unsure else "deployment of a model"
    return decided(b'{"id":"e-%d","title":"%b"}' % (number, words.encode()))


def answered(record: Record, tag: str = MLOPS, **how: Any) -> AnsweredEvent:
    """The answer on the decision in this record, read back."""
    found = read_answer(reviewed(record, answer(record, tag, **how)))
    assert isinstance(found, AnsweredEvent), found
    return found


def on_audits(numbers: Sequence[int], tag: str = MLOPS) -> list[AnsweredEvent]:
    """Answers on audit copies of events."""
    return [answered(audited(event(number)), tag, asked_by="audit", blind=True) for number in numbers]


def asked(*records: Record) -> list[PublishedDecision]:
    """The decisions in records."""
    return [shown(record) for record in records]


def test_an_audit_weighs_as_many_events_as_it_stands_for_and_a_review_one() -> None:
    """One over the inclusion probability, whatever the order of the records."""
    found = gather([*on_audits([1]), answered(event(2, unsure=True), OTHER)], digests=DIGESTS).evidence
    assert dict(zip(found.weight.tolist(), found.right.tolist(), strict=True)) == {50.0: True, 1.0: False}
    assert found.said.tolist() == [MLOPS, MLOPS]
    assert found.publishable.all()


def test_an_event_that_was_drawn_twice_weighs_by_the_greater_probability() -> None:
    """An audit that is a disagreement of two models has a second copy, and the answer may be on either."""
    value = audited(event(1)).value or b""
    other = replace(audited(event(1)), value=value.replace(b'"inclusion_probability":0.02', b'"inclusion_probability":0.5'))
    for answer_on in (audited(event(1)), other):
        found = gather(
            [answered(answer_on, asked_by="audit", blind=True)], digests=DIGESTS, asked=asked(audited(event(1)), other)
        )
        assert found.evidence.weight.tolist() == [2.0]


def test_the_newest_answer_on_an_event_decides_and_the_event_counts_once() -> None:
    """A second opinion that agrees with the model replaces a slip, though it arrives first or twice."""
    record = audited(event(1))
    first = answered(record, OTHER, asked_by="audit")
    second = answered(record, MLOPS, asked_by="correction", previous=first.answer, now_ms=NOW_MS + 90_000)
    for arrived in ([first, second], [second, first], [second, first, second]):
        found = gather(arrived, digests=DIGESTS).evidence
        assert (found.answers, found.right.tolist(), found.weight.tolist()) == (1, [True], [50.0])


def test_answers_that_nobody_drew_prove_nothing() -> None:
    """A report picks what looks wrong, so an answer by it would make the model look worse than it is."""
    record = event(1)
    found = gather([answered(record, OTHER, asked_by="user_report")], digests=DIGESTS)
    assert (found.evidence.answers, found.left_out) == (0, {"that were chosen by a person and not drawn": 1})


def test_an_import_counts_where_its_event_was_drawn() -> None:
    """An audit that was answered in another tool is as good as one that was answered here; a published event is not."""
    drawn = gather([answered(audited(event(1)), asked_by="import")], digests=DIGESTS)
    assert drawn.evidence.weight.tolist() == [50.0]
    picked = gather([answered(event(1), asked_by="import")], digests=DIGESTS)
    assert picked.left_out == {"without the probability with which they were asked about": 1}


def test_a_report_on_an_event_that_was_drawn_corrects_it() -> None:
    """The event was drawn for an audit; the answer that a later report brought about is the newest, and counts."""
    record = audited(event(1))
    first = answered(record, MLOPS, asked_by="audit")
    later = answered(record, OTHER, asked_by="user_report", previous=first.answer)
    found = gather([later, first], digests=DIGESTS).evidence
    assert (found.right.tolist(), found.weight.tolist()) == ([False], [50.0])


def test_answers_about_another_network_are_left_out() -> None:
    """Its confidences mean something else; the sentence says so."""
    found = gather(on_audits([1, 2]), digests=("e" * 64,))
    assert (found.evidence.answers, found.left_out) == (0, {"that another network decided": 2})


def test_an_event_that_goes_to_a_person_at_any_confidence_speaks_for_no_threshold() -> None:
    """Hidden characters are a reason of their own."""
    record = decided('{"id":"e-9","title":"deployment of a mo\u200bdel"}'.encode())
    found = gather([answered(record)], digests=DIGESTS).evidence
    assert found.publishable.tolist() == [False]


def test_what_is_not_answered_yet_is_spoken_for_by_its_kind() -> None:
    """Of forty audits thirty are answered: each answer stands for a third more."""
    records = [audited(event(number)) for number in range(40)]
    found = gather(on_audits(range(30)), digests=DIGESTS, asked=asked(*records, *records))
    assert found.evidence.weight == pytest.approx(np.full(30, 50 * 40 / 30))


def test_too_few_answers_of_a_kind_are_no_evidence_and_nothing_below_is() -> None:
    """Of forty audits ten are answered: neither these nor reviews of the label count, since the walk goes through them."""
    records = [audited(event(number)) for number in range(40)]
    reviews = [answered(event(number, unsure=True)) for number in range(50, 55)]
    found = gather([*on_audits(range(10)), *reviews], digests=DIGESTS, asked=asked(*records))
    assert found.evidence.answers == 0
    assert sum(found.left_out.values()) == 15


def test_unanswered_reviews_do_not_silence_the_audits() -> None:
    """The audits are surer than the reviews, so they still count."""
    waiting = [event(number, unsure=True) for number in range(100, 140)]
    found = gather([*on_audits(range(5)), answered(waiting[0])], digests=DIGESTS, asked=asked(*waiting))
    assert found.evidence.weight.tolist() == [50.0] * 5


def test_nothing_gives_nothing() -> None:
    """No answers are empty evidence and no error."""
    assert isinstance(found := gather([], digests=DIGESTS), Gathered)
    assert found.evidence.answers == 0

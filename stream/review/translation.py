"""From records of the topics to facts of the store, and from an item back to a record of `reviewed`. Pure."""

import msgspec

from monitoring.vocabulary import MAX_SOURCE_CHARACTERS
from stream.contract.answers import Answer, AnsweredEvent, AskedBy, Before, answer_id, before_of, write_answer
from stream.contract.decisions import ModelRef
from stream.contract.events import ContentEvent
from stream.contract.parsing.strict_json import Fields
from stream.contract.parsing.typed import milliseconds
from stream.contract.publication import timestamp
from stream.contract.published import PublishedDecision, ReviewerDecision
from stream.contract.record import Record
from stream.contract.reports import Report
from stream.review.store.changes import Answered, Decided, Published, Reported
from stream.review.store.facts import Claim, Complaint, Door, Given, Item, is_short

LINK_FIELDS = ("url", "link")
LINK_STARTS = ("https://", "http://")
ASKED_BY: dict[Door, AskedBy] = {
    Door.AUDIT: "audit",
    Door.USER_REPORT: "user_report",
    Door.REVIEW: "review",
    Door.CORRECTION: "correction",
}


def decided(found: PublishedDecision) -> Decided | None:
    """A decision that is asked about; None for a reviewer's."""
    decision = found.decision
    if isinstance(decision, ReviewerDecision):
        return None
    item = _item(found.event, decision.prediction_id, decision.tag, before_of(decision))
    return Decided(item=item, door=found.door)


def published(found: PublishedDecision) -> Published | None:
    """A decision for the totals; None for a reviewer's, and for an audit copy, which is in `tagged` too."""
    event, decision = found.event, found.decision
    if isinstance(decision, ReviewerDecision) or found.door == "audit":
        return None
    return Published(
        event_id=event.id,
        prediction_id=decision.prediction_id,
        destination=found.door,
        partition=event.record.partition,
        offset=event.record.offset,
        tagged_ms=milliseconds(decision.tagged_at),
        model=_name(decision.model),
        tag=decision.tag,
        confidence=decision.confidence,
        probabilities=decision.probabilities,
        source=(event.source or "")[:MAX_SOURCE_CHARACTERS],
        language=(_text(event.fields, "language") or "")[:MAX_SOURCE_CHARACTERS],
        short=is_short(event.title, event.description),
    )


def answered(found: AnsweredEvent) -> Answered:
    """An answer, with its item as it carries it."""
    answer = found.answer
    given = Given(
        answer_id=answer_id(answer),
        event_id=answer.event_id,
        prediction_id=answer.prediction_id,
        model_tag=answer.model_tag,
        tag=answer.tag,
        reviewer=answer.reviewer,
        decided_at=answer.decided_at,
        version=answer.version,
        note=answer.note,
        supersedes=answer.supersedes,
        asked_by=answer.asked_by,
        blind=answer.blind,
        title=found.event.title,
    )
    item = _item(found.event, answer.prediction_id, answer.model_tag, answer.before)
    return Answered(given=given, item=item, decided_ms=milliseconds(answer.decided_at))


def reported(report: Report, record: Record, now_ms: int) -> Reported:
    """A report, at the time that it says, or that of its record or now: one of a year to come would outlast every answer on its event."""
    complaint = Complaint(
        event_id=report.event_id,
        reporter=report.reporter,
        suggested_tag=report.suggested_tag,
        note=report.note,
        reported_at=report.reported_at,
    )
    said_ms = milliseconds(report.reported_at)
    return Reported(complaint=complaint, reported_ms=min(said_ms, record.timestamp_ms or said_ms, now_ms))


def answer_record(claim: Claim, tag: str, note: str | None, now_ms: int, topic: str) -> Record:
    """
    The record of `reviewed` for an answer of the reviewer who holds an item.

    Raises:
        UnwritableError: The answer would be refused by whoever reads it; the message says why.
    """
    item = claim.item
    answer = Answer(
        event_id=item.event_id,
        prediction_id=item.prediction_id,
        model_tag=item.model_tag,
        tag=tag,
        reviewer=claim.reviewer,
        decided_at=timestamp(now_ms),
        version=claim.version,
        note=note or None,
        supersedes=claim.supersedes,
        blind=claim.door.blind,
        asked_by=asked_by(claim),
        before=msgspec.json.decode(item.before, type=Before),
    )
    fields: Fields = msgspec.json.decode(item.fields, type=dict[str, msgspec.Raw])
    return Record(topic=topic, key=item.key, value=write_answer(fields, answer), headers=item.headers)


def asked_by(claim: Claim) -> AskedBy:
    """The door as the topic names it; a second opinion has that of the first."""
    found = ASKED_BY.get(claim.door)
    return found if found is not None else "review" if claim.item.reasons else "audit"


def _item(event: ContentEvent, prediction_id: str, model_tag: str, before: Before) -> Item:
    return Item(
        event_id=event.id,
        key=event.record.key,
        headers=event.record.headers,
        fields=msgspec.json.encode(event.fields),
        before=msgspec.json.encode(before),
        title=event.title,
        description=event.description,
        source=event.source,
        link=_link(event.fields),
        prediction_id=prediction_id,
        model_tag=model_tag,
        confidence=before.confidence,
        probabilities=before.probabilities,
        reasons=before.reasons,
        model=_name(before.model),
        tagged_ms=milliseconds(before.tagged_at),
        inclusion_probability=before.inclusion_probability,
        language=_text(event.fields, "language"),
    )


def _name(model: ModelRef) -> str:
    return f"{model.name} {model.version}"


def _link(fields: Fields) -> str | None:
    """A link that a page may show: no other scheme than http, which could run a script."""
    links = (_text(fields, name) for name in LINK_FIELDS)
    return next((link for link in links if link is not None and link.lower().startswith(LINK_STARTS)), None)


def _text(fields: Fields, name: str) -> str | None:
    found = msgspec.json.decode(fields[name]) if name in fields else None
    return found if isinstance(found, str) else None

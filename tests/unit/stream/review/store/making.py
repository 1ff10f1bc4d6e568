"""Changes for a store, as a follower would read them, and a clock that tests move."""

from typing import Any

import msgspec
from sqlalchemy import select

from tagstream.stream.contract.answers import AnsweredEvent, Said
from tagstream.stream.contract.answers import answer_to as to_answer
from tagstream.stream.contract.event import DEFAULT_LIMITS, Record, encoded, validated
from tagstream.stream.contract.outcome import ModelRef, prediction_id, timestamp
from tagstream.stream.contract.published import DecidedEvent, Door, ModelDecision
from tagstream.stream.contract.reports import Report
from tagstream.stream.review.store.records import AskedDecision, Claim, CountedDecision, TimedReport
from tagstream.stream.review.store.schema import items
from tagstream.stream.review.store.store import Store
from tests.replacing import replace

START_MS = 1_800_000_000_000
SECOND_MS, MINUTE_MS, HOUR_MS = 1000, 60_000, 3_600_000
DOUBT = {"mlops": 0.5, "other": 0.3, "computer-vision": 0.2}
NO_SECOND = 0.0
MODEL = ModelRef(name="tiny", version="1", digest="d" * 64)


class Clock:
    """Unix milliseconds that stand still until a test moves them."""

    def __init__(self) -> None:
        """Begin at `START_MS`."""
        self.now_ms = START_MS

    def __call__(self) -> int:
        """Read it."""
        return self.now_ms

    def pass_ms(self, milliseconds: int) -> None:
        """Move it."""
        self.now_ms += milliseconds


def item(event_id: str = "a", *, door: Door = "review", key: bytes | None = None, **given: Any) -> DecidedEvent:
    """
    An event with a decision of the door `review`, published at `START_MS`.

    Args:
        event_id: Of the event; its title is made of it.
        door: Of the decision.
        key: Of its record; else the event's id.
        given: `tagged_ms`, and fields of the event and of the decision that are others than usual.
    """
    own = {name: given.pop(name) for name in ("title", "description", "source", "language", "link", "body") if name in given}
    fields = {"id": event_id, "title": f"Title of {event_id}", **own}
    event = validated(
        Record(key=key or event_id.encode(), value=None),
        fields,
        {name: encoded(value) for name, value in fields.items() if value is not None},
        None,
        DEFAULT_LIMITS,
    )
    decision = {
        "tag": "mlops",
        "confidence": 0.5,
        "probabilities": DOUBT,
        "prediction_id": prediction_id(event_id, MODEL.identity),
        "decider": "model",
        "model": MODEL,
        "threshold": 0.9,
        "truncated": False,
        "reasons": ("low_confidence",) if door == "review" else (),
        "tagged_at": timestamp(given.pop("tagged_ms", START_MS)),
        **given,
    }
    return DecidedEvent(event=event, decision=ModelDecision(**decision), door=door)


def review(event_id: str = "a", **given: Any) -> AskedDecision:
    """A record of the topic `review`."""
    return AskedDecision(item=item(event_id, **given))


def audit(event_id: str = "a", **given: Any) -> AskedDecision:
    """A record of the topic `audit`."""
    return AskedDecision(item=item(event_id, door="audit", **given))


def report(event_id: str = "a", at_ms: int = START_MS, **given: Any) -> TimedReport:
    """A record of the topic `reports`."""
    values = {"reporter": "reader", "suggested_tag": "other", "reported_at": timestamp(at_ms), **given}
    return TimedReport(report=Report(event_id=event_id, **values), reported_ms=at_ms)


def vote(viewer: int, event_id: str = "a", at_ms: int = START_MS, **given: Any) -> TimedReport:
    """What a viewer says about the decision on an event: wrong, unless it is said otherwise."""
    of = given.pop("of", prediction_id(event_id, MODEL.identity))
    values = {"answer": "no", "reporter": None, "suggested_tag": None} | given
    return report(event_id, at_ms, prediction_id=of, viewer=f"{viewer:032x}", **values)


def answer(event_id: str = "a", at_ms: int = START_MS, *, of: DecidedEvent | None = None, **given: Any) -> AnsweredEvent:
    """A record of the topic `reviewed`."""
    of = of or item(event_id)
    values: dict[str, Any] = {"tag": "mlops", "reviewer": "ann", "asked_by": "review", "blind": False}
    later = {name: given.pop(name) for name in ("version", "supersedes") if name in given}
    first = to_answer(of, Said(**values | given), now_ms=at_ms)
    return AnsweredEvent(event=of.event, answer=msgspec.structs.replace(first, **later))


def answer_to(claim: Claim, at_ms: int, tag: str = "mlops") -> AnsweredEvent:
    """The answer of the reviewer who holds this."""
    asked_by = {"second_opinion": "audit"}.get(claim.door, str(claim.door))
    return answer(
        claim.item.event.id,
        at_ms,
        of=claim.item,
        tag=tag,
        reviewer=claim.reviewer,
        version=claim.version,
        supersedes=claim.supersedes,
        asked_by=asked_by,
        blind=claim.door.blind,
    )


def published(event_id: str = "a", offset: int = 0, **given: Any) -> CountedDecision:
    """A record of the topic `tagged`, as the totals see it."""
    made = item(event_id, **{"door": "tagged", **given})
    record = replace(made.event.record, partition=0, offset=offset)
    return CountedDecision(item=replace(made, event=replace(made.event, record=record)))


def decision_of(store: Store, event_id: str) -> str | None:
    """The id of the decision on an event; None where the store has no item of it."""
    with store.database.reading() as connection:
        return connection.execute(select(items.c.prediction_id).where(items.c.event_id == event_id)).scalar()


def claimed(store: Store, reviewer: str = "ann") -> Claim:
    """What the reviewer is given; there must be something."""
    found = store.queue.claim(reviewer)
    assert found is not None
    return found


def served(store: Store, reviewer: str = "ann") -> list[str]:
    """The ids of everything that a reviewer is given until there is no more, each skipped."""
    found = []
    while (claim := store.queue.claim(reviewer)) is not None:
        found.append(claim.item.event.id)
        store.queue.skip(claim.item.event.id, claim.token)
    return found

"""Figures over the store: the queue, a reviewer's pace, what was drawn for people, and the totals of what was published."""

import json
from collections.abc import Mapping
from dataclasses import dataclass

from sqlalchemy import Connection, and_, case, distinct, func, or_, select

from stream.review.store.database.tables import answers, items, reports, totals
from stream.review.store.facts import Door, Item, Pace, Queue
from stream.review.store.leasing import held
from stream.review.store.reading import ITEM_COLUMNS, item_of
from stream.review.store.standing import INDEPENDENT, Opinion

MINUTE_MS, HOUR_MS = 60_000, 3_600_000
_OPINION_COLUMNS = [answers.c[name] for name in Opinion.__dataclass_fields__]


@dataclass(frozen=True, slots=True, kw_only=True)
class Drawn:
    """
    A decision that was drawn for people, answered or not.

    Attributes:
        item: The event and its newest decision.
        published: It is an audit, so its event is in `tagged`; else it went to `review`.
        opinions: All answers on the event, in their order; they may be about an earlier decision.
    """

    item: Item
    published: bool
    opinions: tuple[Opinion, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Total:
    """
    The decisions of one hour and slice, each counted once.

    Attributes:
        hour_ms: When the hour began.
        destination: `tagged` or `review`.
        model: Name and version of the bundle.
        tag: The model's.
        source: The event's source; empty where it has none, `(others)` behind the first fifty.
        language: Likewise.
        short: The text has six words at most.
        decisions: How many.
        confidence_sum: The sum of their confidences.
        probability_sums: By label, the sums of their probabilities.
    """

    hour_ms: int
    destination: str
    model: str
    tag: str
    source: str
    language: str
    short: bool
    decisions: int
    confidence_sum: float
    probability_sums: Mapping[str, float]


def queue(connection: Connection, now_ms: int) -> Queue:
    """The queue's figures."""
    by_door = (
        select(items.c.door, func.count(), func.min(items.c.tagged_ms)).where(items.c.door.is_not(None)).group_by(items.c.door)
    )
    rows = connection.execute(by_door).tuples().all()
    # A second opinion may wait for ever where there is one reviewer: it is no backlog.
    waiting = [oldest for door, _, oldest in rows if door != Door.SECOND_OPINION]
    known = select(items.c.event_id).where(items.c.event_id == reports.c.event_id).exists()
    return Queue(
        open={Door(door): found for door, found, _ in rows if door is not None},
        held=sum(place is not None for place in connection.execute(select(items.c.place).where(held(now_ms))).scalars()),
        oldest_ms=min(waiting, default=None),
        answered=connection.execute(select(func.count(distinct(answers.c.event_id)))).scalar_one(),
        unmatched_reports=connection.execute(select(func.count(distinct(reports.c.event_id))).where(~known)).scalar_one(),
    )


def pace(connection: Connection, reviewer: str, now_ms: int) -> Pace:
    """One reviewer's figures."""
    own = answers.c.reviewer == reviewer

    def since(age_ms: int) -> int:
        counted = select(func.count()).select_from(answers).where(own, answers.c.decided_ms > now_ms - age_ms)
        return connection.execute(counted).scalar_one()

    other = answers.alias("other")
    pairs = (
        select(answers.c.event_id, func.max(case((answers.c.tag == other.c.tag, 1), else_=0)))
        .join(other, and_(other.c.event_id == answers.c.event_id, other.c.reviewer != reviewer))
        .where(own, answers.c.asked_by.in_(INDEPENDENT), other.c.asked_by.in_(INDEPENDENT))
        .group_by(answers.c.event_id)
    )
    compared = connection.execute(pairs).tuples().all()
    return Pace(
        last_minute=since(MINUTE_MS),
        last_hour=since(HOUR_MS),
        total=connection.execute(select(func.count()).select_from(answers).where(own)).scalar_one(),
        agrees=sum(same for _, same in compared),
        compared=len(compared),
    )


def drawn(connection: Connection, since_ms: int, until_ms: int) -> list[Drawn]:
    """Every decision of a span that people were to be asked about, in the order of publication."""
    asked = (items.c.tagged_ms >= since_ms, items.c.tagged_ms < until_ms, or_(items.c.in_audit, items.c.in_review))
    ids = select(items.c.event_id).where(*asked)
    opinions: dict[str, list[Opinion]] = {}
    for event_id, *rest in connection.execute(select(answers.c.event_id, *_OPINION_COLUMNS).where(answers.c.event_id.in_(ids))):
        opinions.setdefault(event_id, []).append(Opinion(**dict(zip(Opinion.__dataclass_fields__, rest, strict=True))))
    found = select(*ITEM_COLUMNS, items.c.in_audit).where(*asked).order_by(items.c.tagged_ms, items.c.event_id)
    return [
        Drawn(
            item=item_of(row),
            published=row.in_audit,
            opinions=tuple(sorted(opinions.get(row.event_id, ()), key=lambda opinion: opinion.order)),
        )
        for row in connection.execute(found)
    ]


def totals_between(connection: Connection, since_ms: int, until_ms: int) -> list[Total]:
    """The totals of the hours that begin in a span."""
    found = select(totals).where(totals.c.hour_ms >= since_ms, totals.c.hour_ms < until_ms)
    return [
        Total(**{**row, "probability_sums": json.loads(row["probability_sums"])})
        for row in connection.execute(found.order_by(*totals.primary_key)).mappings()
    ]

"""Figures over the store: the queue, a reviewer's pace, and the totals of what was published."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from sqlalchemy import Connection, and_, case, distinct, func, select

from stream.review.store.database.tables import answers, items, reports, totals
from stream.review.store.facts import Door, Pace, Queue
from stream.review.store.leasing import held
from stream.review.store.sampling import AT_ONCE
from stream.review.store.standing import INDEPENDENT

MINUTE_MS, HOUR_MS = 60_000, 3_600_000
# A reviewer's newest answers, which are compared with those of others.
COMPARED = 1000


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

    newest = select(answers.c.event_id, answers.c.tag, answers.c.asked_by).where(own)
    recent = newest.order_by(answers.c.decided_ms.desc()).limit(COMPARED).subquery()
    other = answers.alias("other")
    pairs = (
        select(recent.c.event_id, func.max(case((recent.c.tag == other.c.tag, 1), else_=0)))
        .join(other, and_(other.c.event_id == recent.c.event_id, other.c.reviewer != reviewer))
        .where(recent.c.asked_by.in_(INDEPENDENT), other.c.asked_by.in_(INDEPENDENT))
        .group_by(recent.c.event_id)
    )
    compared = connection.execute(pairs).tuples().all()
    return Pace(
        last_minute=since(MINUTE_MS),
        last_hour=since(HOUR_MS),
        total=connection.execute(select(func.count()).select_from(answers).where(own)).scalar_one(),
        agrees=sum(same for _, same in compared),
        compared=len(compared),
    )


def totals_between(connection: Connection, since_ms: int, until_ms: int) -> Iterator[Total]:
    """The totals of the hours that begin in a span."""
    found = select(totals).where(totals.c.hour_ms >= since_ms, totals.c.hour_ms < until_ms).order_by(*totals.primary_key)
    streamed = connection.execution_options(stream_results=True, yield_per=AT_ONCE)
    for row in streamed.execute(found).mappings():
        yield Total(**{**row, "probability_sums": json.loads(row["probability_sums"])})

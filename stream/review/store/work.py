"""
The work of people on the decisions of a span: the times of their answers; and the answers, open items and reported events by day and
origin of the decision.

The time of an answer is the time since the same person's answer before it: the console shows the next item at once. Everything follows
from the topic `reviewed`, so a store that is filled again has the same times.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from sqlalchemy import CTE, ColumnElement, Select, and_, case, func, not_, or_, select

from tagstream.monitoring.quality.feedback import ONE_ANSWER_MS, PAUSE_MS
from tagstream.monitoring.quality.sample import Ints
from tagstream.stream.database.database import Database
from tagstream.stream.review.store.sampling import day_of
from tagstream.stream.review.store.schema import answers, bundles, items, reports, samples

IMPORTED = "import"


class WorkOn(NamedTuple):
    """
    The decisions that people work on.

    Attributes:
        day_ms: The start of the decisions' day in UTC, Unix milliseconds.
        bundle: A digest of the bundle's digest.
        epoch: 0 before the first change of the stream's model.
        arm: Empty before the first change.
    """

    day_ms: int
    bundle: int
    epoch: int
    arm: str


@dataclass(frozen=True, slots=True, kw_only=True)
class PeoplesWork:
    """
    People's work.

    Attributes:
        times_ms: The times of the answers in the span that have a time, in milliseconds, [n].
        answers: The number of answers on decisions of the span. Near-duplicates that one answer settled count once.
        waiting: The number of open items with decisions of the span.
        reported: The number of decisions of the span whose event readers reported.
        confirmed: The number of these on which the answer that holds denies the tag that the person saw.
        digests: The digests of the bundles, by a digest of each.
    """

    times_ms: Ints
    answers: Mapping[WorkOn, int]
    waiting: Mapping[WorkOn, int]
    reported: Mapping[WorkOn, int]
    confirmed: Mapping[WorkOn, int]
    digests: Mapping[int, str]


class Work:
    """The sums of people's work. Its method raises `DatabaseUnavailableError` when the database does not answer in time."""

    def __init__(self, database: Database) -> None:
        """Use a database that has the tables of the store."""
        self._database = database

    def of(self, since_ms: int, until_ms: int) -> PeoplesWork:
        """Return the work on the decisions of a span, whose times are those of the answers of the span."""
        given = _given()
        # The answers of an import are those of another program: their times are not those of the console.
        here = given.c.asked_by != IMPORTED
        timed = and_(here, given.c.pause_ms >= ONE_ANSWER_MS, given.c.pause_ms <= PAUSE_MS)
        within = and_(given.c.decided_ms >= since_ms, given.c.decided_ms < until_ms)
        own = or_(not_(here), given.c.pause_ms.is_(None), given.c.pause_ms >= ONE_ANSWER_MS)
        counted = func.sum(case((own, 1), else_=0))
        decided = and_(samples.c.tagged_ms >= since_ms, samples.c.tagged_ms < until_ms, samples.c.seen)
        done = _by_decisions(counted).join(given, given.c.event_id == samples.c.event_id).where(decided)
        still = _by_decisions(func.count()).join(items, items.c.event_id == samples.c.event_id)
        events = select(reports.c.event_id).distinct().cte("reported")
        told = _by_decisions(func.count()).join(events, events.c.event_id == samples.c.event_id).where(decided)
        holds = told.join(items, items.c.event_id == samples.c.event_id).join(answers, answers.c.answer_id == items.c.answer_id)
        with self._database.reading() as connection:
            times = connection.execute(select(given.c.pause_ms).where(timed, within)).scalars().all()

            def by_decisions(found: Select[Any]) -> dict[WorkOn, int]:
                return {WorkOn(int(day), *whose): int(count) for day, *whose, count in connection.execute(found)}

            answered, waiting = by_decisions(done), by_decisions(still.where(decided, items.c.place.is_not(None)))
            reported, confirmed = by_decisions(told), by_decisions(holds.where(answers.c.tag != answers.c.model_tag))
            known = dict(connection.execute(select(bundles.c.bundle, bundles.c.digest)).tuples().all())
        return PeoplesWork(
            times_ms=np.array(times, dtype=np.int64),
            answers=answered,
            waiting=waiting,
            reported=reported,
            confirmed=confirmed,
            digests=known,
        )


def _given() -> CTE:
    """Return all answers, each with the time since the person's answer before it; NULL for the first one."""
    imported = answers.c.asked_by == IMPORTED
    order = (answers.c.decided_ms, answers.c.answer_id)
    before = func.lag(answers.c.decided_ms).over(partition_by=(answers.c.reviewer, imported), order_by=order)
    pause_ms = (answers.c.decided_ms - before).label("pause_ms")
    return select(answers.c.event_id, answers.c.decided_ms, answers.c.asked_by, pause_ms).cte("given")


def _by_decisions(figure: ColumnElement[Any]) -> Select[Any]:
    whose = day_of(samples.c.tagged_ms), samples.c.bundle, samples.c.epoch, samples.c.arm
    return select(*whose, figure).select_from(samples).group_by(*whose)

"""
The votes of viewers in the store: which decisions were asked about, what viewers said, and which decisions they deny.

A viewer has one vote on a decision, the newest one. Who answers is not drawn, so no vote enters an estimate of live quality.
"""

from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from typing import NamedTuple

from sqlalchemy import ColumnElement, Connection, Select, and_, case, func, not_, or_, select

from tagstream.model_export.data import duplicates
from tagstream.monitoring.quality.feedback import ViewersAnswers
from tagstream.stream.contract.published import DecidedEvent
from tagstream.stream.contract.reports import Report
from tagstream.stream.database.database import Columns, Database, Row, upsert
from tagstream.stream.review.store.records import DENIED_BY, TimedReport
from tagstream.stream.review.store.sampling import deciding
from tagstream.stream.review.store.schema import asked, places, votes

_KEY = ("prediction_id", "viewer")


class AskedOn(NamedTuple):
    """
    The decisions that viewers are asked about.

    Attributes:
        model: Name and version of the bundle.
        bundle: A digest of the bundle's digest.
        epoch: 0 before the first change of the stream's model.
        arm: Empty before the first change.
    """

    model: str
    bundle: int
    epoch: int
    arm: str


class Votes:
    """The sums of viewers' votes. Its method raises `DatabaseUnavailableError` when the database does not answer in time."""

    def __init__(self, database: Database) -> None:
        """Use a database that has the tables of the store."""
        self._database = database

    def of(self, since_ms: int, until_ms: int) -> dict[AskedOn, ViewersAnswers]:
        """Return the answers on the decisions of a span, the newest decisions first. A vote on a decision that was not read is left out."""
        heard = (
            select(votes.c.prediction, func.count().label("votes"), func.sum(case((votes.c.agrees, 1), else_=0)).label("right"))
            .group_by(votes.c.prediction)
            .subquery()
        )
        whose = [asked.c[name] for name in AskedOn._fields]
        found = (
            select(*whose, func.count(), func.count(heard.c.votes), func.sum(heard.c.votes), func.sum(heard.c.right))
            .select_from(asked.outerjoin(heard, heard.c.prediction == asked.c.prediction))
            .where(asked.c.tagged_ms >= since_ms, asked.c.tagged_ms < until_ms)
            .group_by(*whose)
            .order_by(func.max(asked.c.tagged_ms).desc(), *whose)
        )
        with self._database.reading() as connection:
            return {
                AskedOn(*on): ViewersAnswers(
                    asked=count, answered=answered, votes=int(votes_sum or 0), right=int(right_sum or 0)
                )
                for *on, count, answered, votes_sum, right_sum in connection.execute(found)
            }


def add_votes(connection: Connection, given: Sequence[TimedReport]) -> None:
    """Add votes in any order. Of one viewer on one decision the newest counts; of two of one moment, the denial."""
    newest: dict[tuple[str, str], Row] = {}
    for row in sorted(map(_vote_row, given), key=lambda row: (row["reported_ms"], not row["agrees"])):
        newest[row["prediction_id"], row["viewer"]] = row
    upsert(connection, votes, [newest[key] for key in sorted(newest)], only_if=_replaces)


def add_asked(connection: Connection, published: Sequence[DecidedEvent]) -> None:
    """Note the decisions whose records have a token. Of two records with one decision, that of the later epoch counts, then the newer one."""
    newest: dict[int, Row] = {}
    rows = [_asked_row(one) for one in published if one.decision.ask is not None]
    for row in sorted(rows, key=lambda row: (row["epoch"], row["tagged_ms"])):
        newest[row["prediction"]] = row
    upsert(connection, asked, [newest[key] for key in sorted(newest)], only_if=_is_newer)


def denials(connection: Connection, ids: Collection[str]) -> Mapping[tuple[str, str], list[int]]:
    """Return the times of the votes that call a decision wrong, by event and decision, the earliest first."""
    denied = select(votes.c.event_id, votes.c.prediction_id, votes.c.reported_ms).where(votes.c.event_id.in_(ids))
    found = defaultdict[tuple[str, str], list[int]](list)
    for event_id, prediction_id, at_ms in connection.execute(denied.where(_denies()).order_by(votes.c.reported_ms)):
        found[event_id, prediction_id].append(at_ms)
    return found


def denied_places() -> Select[tuple[str, int, int]]:
    """Return the query for the newest decisions on `tagged` that enough viewers deny: event id, partition and offset."""
    denied = (
        select(votes.c.event, votes.c.prediction)
        .where(_denies())
        .group_by(votes.c.event, votes.c.prediction)
        .having(func.count() >= DENIED_BY)
        .subquery()
    )
    placed = and_(places.c.event == denied.c.event, places.c.prediction == denied.c.prediction)
    named = votes.c.prediction == denied.c.prediction
    found = (
        select(votes.c.event_id, places.c.partition, places.c.at).select_from(denied).join(places, placed).join(votes, named)
    )
    return found.where(places.c.destination == "tagged")


def denying(connection: Connection, event_id: str, prediction_id: str, most: int) -> list[Report]:
    """Return the newest votes that call this decision wrong, the newest first."""
    names = ("event_id", "suggested_tag", "reported_at", *_KEY)
    own = (votes.c.event_id == event_id, votes.c.prediction_id == prediction_id, _denies())
    newest = select(*(votes.c[name] for name in names)).where(*own).order_by(votes.c.reported_ms.desc(), votes.c.viewer)
    return [Report(answer="no", **row) for row in connection.execute(newest.limit(most)).mappings()]


def _denies() -> ColumnElement[bool]:
    return not_(votes.c.agrees)


def _vote_row(timed: TimedReport) -> Row:
    report = timed.report
    return {
        "prediction_id": report.prediction_id,
        "viewer": report.viewer,
        "prediction": duplicates.digest(str(report.prediction_id)),
        "event_id": report.event_id,
        "event": duplicates.digest(report.event_id),
        "agrees": report.answer == "yes",
        "suggested_tag": report.suggested_tag,
        "reported_at": report.reported_at,
        "reported_ms": timed.reported_ms,
    }


def _asked_row(published: DecidedEvent) -> Row:
    decision = published.decision
    return {
        "prediction": duplicates.digest(decision.prediction_id),
        "model": decision.model_name,
        **deciding(decision.model),
        "tagged_ms": decision.tagged_ms,
    }


def _is_newer(new: Columns, old: Columns) -> ColumnElement[bool]:
    return or_(new.epoch > old.epoch, and_(new.epoch == old.epoch, new.tagged_ms > old.tagged_ms))


def _replaces(new: Columns, old: Columns) -> ColumnElement[bool]:
    later = new.reported_ms > old.reported_ms
    return or_(later, and_(new.reported_ms == old.reported_ms, not_(new.agrees)))

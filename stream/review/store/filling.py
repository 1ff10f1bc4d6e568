"""Adds facts to the store: decisions, answers and reports in any order, and what follows from them for each event."""

import hashlib
import json
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence

import msgspec
from sqlalchemy import Connection, bindparam, func, select, update

from monitoring.vocabulary import OFF_SUBJECT
from stream.database.inserting import Row, insert, insert_new, upsert
from stream.review.store import likeness
from stream.review.store.changes import Answered, Change, Decided, Published, Reported
from stream.review.store.counting import count
from stream.review.store.database.tables import answers, decisions, items, positions, prints, reports, samples, terms
from stream.review.store.facts import Item
from stream.review.store.reading import LISTED_CHARACTERS
from stream.review.store.sampling import SAMPLED, sample_row
from stream.review.store.standing import Asked, Opinion, settled, standing, words_of

Positions = Mapping[tuple[str, int], int]
_DECISION = (
    "key",
    "fields",
    "before",
    "words",
    "title",
    "description",
    "source",
    "link",
    "prediction_id",
    "model_tag",
    "confidence",
    "probabilities",
    "reasons",
    "model",
    "tagged_ms",
    "inclusion_probability",
    "language",
    "headers",
    "in_review",
    "in_audit",
    "seen",
)


def fill(connection: Connection, changes: Sequence[Change], reached: Positions, second_opinion_rate: float) -> None:
    """
    Add facts, and where their topics are read on.

    Args:
        connection: Of a transaction in which nobody else adds facts.
        changes: What was read.
        reached: The next offset by topic and partition; an earlier one than the store's changes nothing.
        second_opinion_rate: See `standing`.
    """
    answered = [change for change in changes if isinstance(change, Answered)]
    reported = [change for change in changes if isinstance(change, Reported)]
    insert_new(connection, answers, [_answer_row(change) for change in answered])
    insert_new(connection, reports, [_report_row(change) for change in reported])
    decided = [change for change in changes if isinstance(change, Decided)]
    candidates = [*map(_candidate, decided), *map(_carried, answered)]
    _keep_newest(connection, candidates)
    insert_new(connection, decisions, map(_decision_row, decided))
    insert_new(connection, terms, _term_rows(answered))
    touched = {row["event_id"] for row in candidates} | {change.complaint.event_id for change in reported}
    _settle(connection, sorted(touched), second_opinion_rate)
    count(connection, [change for change in changes if isinstance(change, Published)])
    _advance(connection, reached)


def _answer_row(change: Answered) -> Row:
    given = change.given
    row: Row = {name: getattr(given, name) for name in given.__slots__}
    return row | {"title": given.title[:LISTED_CHARACTERS], "decided_ms": change.decided_ms}


def _report_row(change: Reported) -> Row:
    complaint = change.complaint
    row: Row = {name: getattr(complaint, name) for name in complaint.__slots__}
    identity = json.dumps(list(row.values())).encode()
    return row | {
        "report_id": hashlib.blake2b(identity, digest_size=16).hexdigest(),
        "event": likeness.digest(complaint.event_id),
        "reported_ms": change.reported_ms,
    }


def _candidate(change: Decided) -> Row:
    return item_row(change.item) | {"in_review": change.door == "review", "in_audit": change.door == "audit", "seen": True}


def _decision_row(change: Decided) -> Row:
    return {"prediction": likeness.digest(change.item.prediction_id), "tagged_ms": change.item.tagged_ms}


def _carried(change: Answered) -> Row:
    """The decision that an answer carries: its own record may have gone from its topic."""
    doors = {"in_review": bool(change.item.reasons), "in_audit": change.given.asked_by == "audit"}
    return item_row(change.item) | doors | {"seen": False}


def item_row(item: Item) -> Row:
    """An item's own columns."""
    row: Row = {name: getattr(item, name) for name in item.__slots__}
    return row | {
        "probabilities": json.dumps(dict(item.probabilities)),
        "reasons": json.dumps(list(item.reasons)),
        "headers": msgspec.msgpack.encode(item.headers),
        "words": likeness.packed(likeness.words(item.title, item.description)),
    }


def _keep_newest(connection: Connection, candidates: Sequence[Row]) -> None:
    """
    Of the decisions on one event keep the newest; two records of the same decision tell of both its topics.

    A decision that an answer carries is kept only until one is read from its own topic: anyone may have written the answer.
    """
    ids = sorted({row["event_id"] for row in candidates})
    kept: dict[str, Row] = {
        row.event_id: dict(row._mapping)  # noqa: SLF001 - SQLAlchemy's public name
        for row in connection.execute(
            select(items.c.event_id, *(items.c[name] for name in _DECISION)).where(items.c.event_id.in_(ids))
        )
    }
    changed: dict[str, Row] = {}
    for row in candidates:
        event_id = row["event_id"]
        before = kept.get(event_id)
        newest = row if before is None else _newer(before, row)
        if newest is not before:
            kept[event_id] = changed[event_id] = newest
    rows = [changed[event_id] | {"urgency": 0.0, "version": 0} for event_id in sorted(changed)]
    upsert(connection, items, rows, _DECISION)
    upsert(connection, samples, [sample_row(row) for row in rows], SAMPLED)
    insert_new(connection, prints, _print_rows(rows))


def _newer(before: Row, row: Row) -> Row:
    if row["seen"] != before["seen"]:
        return row if row["seen"] else before
    if row["prediction_id"] == before["prediction_id"]:
        doors = {name: before[name] or row[name] for name in ("in_review", "in_audit")}
        if row["tagged_ms"] > before["tagged_ms"]:
            return row | doors
        return before if all(before[name] == held for name, held in doors.items()) else before | doors
    return max(before, row, key=lambda one: (one["tagged_ms"], one["prediction_id"]))


def _print_rows(rows: Iterable[Row]) -> Iterable[Row]:
    for row in rows:
        for found in likeness.prints(likeness.unpacked(row["words"])):
            yield {"print": found, "event_id": row["event_id"]}


def _term_rows(answered: Iterable[Answered]) -> Iterable[Row]:
    for change in answered:
        for word in likeness.words(change.item.title, change.item.description):
            yield {"term": word, "event_id": change.item.event_id}


def _settle(connection: Connection, ids: Sequence[str], second_opinion_rate: float) -> None:
    """Write where these events stand, and what people say of them; an event without an item is waited for."""
    names = ("event_id", "model_tag", "in_audit", "in_review", "probabilities", "tagged_ms")
    found = connection.execute(select(*(items.c[name] for name in names)).where(items.c.event_id.in_(ids))).all()
    opinions, reported = _opinions(connection, ids), _reported(connection, ids)
    follow = _known(connection, opinions)
    rows, answered = [], []
    for event_id, model_tag, in_audit, in_review, probabilities, tagged_ms in found:
        decision = Asked(in_audit=in_audit, in_review=in_review, probabilities=json.loads(probabilities), tagged_ms=tagged_ms)
        now = standing(event_id, decision, opinions[event_id], reported[event_id], second_opinion_rate)
        counted = [one for one in opinions[event_id] if likeness.digest(one.prediction_id) in follow]
        said = words_of(counted, {*decision.probabilities, OFF_SUBJECT})
        answered.append(
            {
                "of": event_id,
                "to_first": said[0] if said else None,
                # A decision that was sent to people is theirs: the first answer counts.
                "to_truth": None if not said else settled(model_tag, said) if in_audit else said[0],
                "to_strays": len(opinions[event_id]) - len(counted),
            }
        )
        rows.append(
            {
                "of": event_id,
                "to_door": now.door,
                "to_place": now.place,
                "to_urgency": now.urgency,
                "to_version": now.version,
                "to_answer": now.answer_id,
                "to_tag": now.tag,
            }
        )
    if rows:
        connection.execute(
            update(items)
            .where(items.c.event_id == bindparam("of"))
            .values(
                door=bindparam("to_door"),
                place=bindparam("to_place"),
                urgency=bindparam("to_urgency"),
                version=bindparam("to_version"),
                answer_id=bindparam("to_answer"),
                tag=bindparam("to_tag"),
            ),
            sorted(rows, key=lambda row: row["of"]),
        )
        connection.execute(
            update(samples)
            .where(samples.c.event_id == bindparam("of"))
            .values(first=bindparam("to_first"), truth=bindparam("to_truth"), strays=bindparam("to_strays")),
            sorted(answered, key=lambda row: row["of"]),
        )


def _known(connection: Connection, opinions: Mapping[str, Sequence[Opinion]]) -> set[int]:
    """Of the decisions that people looked at, those that were read from their own topics."""
    looked_at = {likeness.digest(one.prediction_id) for given in opinions.values() for one in given}
    found = select(decisions.c.prediction).where(decisions.c.prediction.in_(sorted(looked_at)))
    return set(connection.execute(found).scalars())


def _opinions(connection: Connection, ids: Sequence[str]) -> Mapping[str, list[Opinion]]:
    names = tuple(Opinion.__dataclass_fields__)
    columns = [answers.c[name] for name in names]
    found: dict[str, list[Opinion]] = defaultdict(list)
    for event_id, *rest in connection.execute(select(answers.c.event_id, *columns).where(answers.c.event_id.in_(ids))):
        found[event_id].append(Opinion(**dict(zip(names, rest, strict=True))))
    return found


def _reported(connection: Connection, ids: Sequence[str]) -> Mapping[str, list[int]]:
    found: dict[str, list[int]] = defaultdict(list)
    for event_id, at in connection.execute(
        select(reports.c.event_id, reports.c.reported_ms).where(reports.c.event_id.in_(ids))
    ):
        found[event_id].append(at)
    return found


def _advance(connection: Connection, reached: Positions) -> None:
    rows = [
        {"topic": topic, "partition": partition, "next_offset": offset}
        for (topic, partition), offset in sorted(reached.items())
    ]
    if not rows:
        return
    statement = insert(connection, positions)
    greatest = func.greatest if connection.dialect.name == "postgresql" else func.max
    further = greatest(positions.c.next_offset, statement.excluded.next_offset)
    connection.execute(
        statement.on_conflict_do_update(index_elements=["topic", "partition"], set_={"next_offset": further}), rows
    )

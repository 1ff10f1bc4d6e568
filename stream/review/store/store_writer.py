"""Adds facts (decisions, answers and reports) to the store in any order, updates the state of their events, and deletes old rows."""

import hashlib
import json
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import msgspec
from sqlalchemy import Connection, bindparam, delete, func, select, tuple_, union, update

from tagstream.model_export.data import duplicates
from tagstream.monitoring.vocabulary import OFF_SUBJECT
from tagstream.stream.contract.answers import Answer, AnsweredEvent, answer_id, before_of
from tagstream.stream.contract.field_types import MAX_SOURCE_CHARACTERS
from tagstream.stream.contract.published import DecidedEvent, milliseconds
from tagstream.stream.database.database import Database, Row, insert_new, upsert
from tagstream.stream.review.store.records import (
    AskedDecision,
    CountedDecision,
    Fact,
    Given,
    KeptBefore,
    Known,
    TimedReport,
    is_short,
    settled,
    standing,
    text_of,
    words_of,
)
from tagstream.stream.review.store.sampling import SAMPLED, bundle_rows, deciding, sample_row
from tagstream.stream.review.store.schema import (
    LISTED_CHARACTERS,
    METADATA,
    answers,
    asked,
    bundles,
    decisions,
    items,
    places,
    positions,
    prints,
    reports,
    samples,
    slices,
    terms,
    totals,
    votes,
)
from tagstream.stream.review.store.votes import add_asked, add_votes, denials, denied_places

Positions = Mapping[tuple[str, int], int]
HOUR_MS = 3_600_000
# The most sources, and the most languages, with totals of their own. All others are counted as one.
MOST_NAMES = 50
OTHERS = "(others)"
# Tables whose rows are deleted with their item. Samples, answers, reports and votes have rules of their own.
_OF_ITEMS = [
    table
    for table in METADATA.sorted_tables
    if "event_id" in table.c and table not in {items, samples, answers, reports, votes}
]
_TOTAL = [column.name for column in totals.primary_key]
# The columns of `items` from which an item is read.
ITEM = (
    "event_id",
    "key",
    "headers",
    "fields",
    "title",
    "description",
    "source",
    "before",
    "prediction_id",
    "model_tag",
    "in_review",
    "in_audit",
)
# The columns that come from a decision, without the key. The other columns are the lease and the state from answers and reports.
_DECISION = (
    *(name for name in ITEM if name != "event_id"),
    "language",
    "words",
    "confidence",
    "probabilities",
    "reasons",
    "model",
    "tagged_ms",
    "inclusion_probability",
    "seen",
)
GIVEN_COLUMNS = [answers.c[name] for name in Given.__dataclass_fields__]
# The fields of an answer that are columns of `answers`.
_ANSWER = tuple(name for name in Answer.__struct_fields__ if name in answers.c)
_STANDING = ("door", "place", "urgency", "version", "answer_id", "tag")
# The columns of `reports` that make a report one report.
REPORT_FIELDS = ("event_id", "reporter", "suggested_tag", "note", "reported_at")


class StoreWriter:
    """
    Adds facts to the store, for `StoreFollower` and for `AnswerSaver`.

    Several threads and several processes may call all methods. Only one at a time adds facts, because an event's state is computed from
    all of its answers and reports. Each method raises `DatabaseUnavailableError` when the database does not answer in time.
    """

    def __init__(self, database: Database, clock: Callable[[], int], second_opinion_rate: float) -> None:
        """
        Fill a database.

        Args:
            database: A database that has the tables of the store.
            clock: Returns Unix milliseconds.
            second_opinion_rate: The share of the answers on which a second person is asked, 0 to 1.
        """
        self._database = database
        self._clock = clock
        self._second_opinion_rate = second_opinion_rate

    def fill(self, facts: Sequence[Fact], reached: Positions) -> None:
        """
        Add facts from the topics and the next offsets, in one transaction.

        Args:
            facts: In any order, but `CountedDecision` facts in the order of their topics. A fact that is known already changes nothing.
            reached: The next offset by topic and partition. An offset below the store's offset changes nothing.
        """
        with self._database.alone() as connection:
            self.add(connection, facts)
            _advance(connection, reached)

    def add(self, connection: Connection, facts: Sequence[Fact]) -> None:
        """Add facts in the caller's transaction. No other transaction may add facts at the same time (`Database.alone`)."""
        answered = [fact for fact in facts if isinstance(fact, AnsweredEvent)]
        sent = [fact for fact in facts if isinstance(fact, TimedReport)]
        reported = [fact for fact in sent if not fact.report.is_vote]
        of_people = [_candidate(fact.item) for fact in facts if isinstance(fact, AskedDecision)]
        candidates = [*of_people, *map(_carried, answered)]
        touched = {row["event_id"] for row in candidates} | {fact.report.event_id for fact in sent}
        insert_new(connection, answers, map(_answer_row, answered))
        insert_new(connection, reports, map(_report_row, reported))
        add_votes(connection, [fact for fact in sent if fact.report.is_vote])
        _keep_newest(connection, candidates)
        insert_new(connection, decisions, map(_decision_row, of_people))
        insert_new(connection, terms, _term_rows(answered))
        read = [fact.item.decision.model for fact in facts if isinstance(fact, AskedDecision | CountedDecision)]
        insert_new(connection, bundles, bundle_rows(read))
        _settle(connection, sorted(touched), self._second_opinion_rate)
        if counted := [fact.item for fact in facts if isinstance(fact, CountedDecision)]:
            _count(connection, counted)
            add_asked(connection, counted)

    def positions(self) -> dict[tuple[str, int], int]:
        """Return the next offset by topic and partition. A partition that was never read is not in the result."""
        with self._database.reading() as connection:
            rows = connection.execute(select(positions.c.topic, positions.c.partition, positions.c.next_offset))
            return {(topic, partition): offset for topic, partition, offset in rows}

    def unmatched(self, limit: int = 100) -> list[tuple[str, int, int]]:
        """
        Return the events on the topic `tagged` that have no item and that a reader reported, or enough viewers deny.

        Returns:
            Event id, and partition and offset of the decision.
        """
        reported = (
            select(reports.c.event_id, places.c.partition, places.c.at)
            .join(places, places.c.event == reports.c.event)
            .where(places.c.destination == "tagged")
        )
        wanted = union(reported, denied_places()).subquery()
        known = select(items.c.event_id).where(items.c.event_id == wanted.c.event_id).exists()
        found = select(wanted.c.event_id, wanted.c.partition, wanted.c.at).where(~known)
        with self._database.reading() as connection:
            rows = connection.execute(found.order_by(wanted.c.event_id).limit(limit))
            return [(event_id, partition, at) for event_id, partition, at in rows]

    def forget_place(self, event_id: str) -> None:
        """Delete the place of an event from `unmatched`, because its decision is not at that place (any more)."""
        with self._database.alone() as connection:
            connection.execute(places.delete().where(places.c.event == duplicates.digest(event_id)))

    def prune(self, keep_ms: int) -> int:
        """
        Delete decisions that are older than `keep_ms`, answered or not, and old reports of unknown events.

        Answers stay, because people made them. Age is measured from the newest decision if the clock is ahead of it: a clock that is set
        wrong would otherwise empty the queue, and deleted decisions are not read again.

        Returns:
            The number of deleted items.
        """
        with self._database.alone() as connection:
            newest = [connection.execute(select(func.max(table.c.tagged_ms))).scalar() or 0 for table in (items, places)]
            before_ms = min(self._clock(), max(newest)) - keep_ms
            old = select(items.c.event_id).where(items.c.tagged_ms < before_ms)
            for table in _OF_ITEMS:
                connection.execute(delete(table).where(table.c.event_id.in_(old)))
            gone = connection.execute(delete(items).where(items.c.tagged_ms < before_ms)).rowcount
            unknown = ~select(items.c.event_id).where(items.c.event_id == reports.c.event_id).exists()
            connection.execute(delete(reports).where(reports.c.reported_ms < before_ms, unknown))
            connection.execute(delete(votes).where(votes.c.reported_ms < before_ms))
            for table in (samples, decisions, places, asked):
                connection.execute(delete(table).where(table.c.tagged_ms < before_ms))
            connection.execute(delete(totals).where(totals.c.hour_ms < before_ms))
            known = select(samples.c.bundle).union(select(totals.c.bundle))
            connection.execute(delete(bundles).where(bundles.c.bundle.not_in(known)))
            return gone


def _answer_row(answered: AnsweredEvent) -> Row:
    answer = answered.answer
    row: Row = {name: getattr(answer, name) for name in _ANSWER}
    return row | {
        "answer_id": answer_id(answer),
        "title": answered.event.title[:LISTED_CHARACTERS],
        "decided_ms": milliseconds(answer.decided_at),
    }


def _report_row(timed: TimedReport) -> Row:
    row: Row = {name: getattr(timed.report, name) for name in REPORT_FIELDS}
    identity = json.dumps(list(row.values())).encode()
    return row | {
        "report_id": hashlib.blake2b(identity, digest_size=16).hexdigest(),
        "event": duplicates.digest(timed.report.event_id),
        "reported_ms": timed.reported_ms,
    }


def _candidate(item: DecidedEvent) -> Row:
    return _item_row(item) | {"in_review": item.door == "review", "in_audit": item.door == "audit", "seen": True}


def _decision_row(row: Row) -> Row:
    return {"prediction": duplicates.digest(row["prediction_id"]), "tagged_ms": row["tagged_ms"]}


def _carried(answered: AnsweredEvent) -> Row:
    """Return the row of the decision that an answer carries. The decision's own record may have been deleted from its topic."""
    item = answered.shown
    doors = {"in_review": bool(item.decision.reasons), "in_audit": answered.answer.asked_by == "audit"}
    return _item_row(item) | doors | {"seen": False}


def _item_row(item: DecidedEvent) -> Row:
    """Return the columns of an item, without its doors."""
    event, decision = item.event, item.decision
    return {
        "event_id": event.id,
        "key": event.record.key,
        "headers": msgspec.msgpack.encode(event.record.headers),
        "fields": msgspec.json.encode(event.fields),
        "title": event.title,
        "description": event.description,
        "source": event.source,
        "language": text_of(event.fields, "language"),
        "words": duplicates.packed(duplicates.word_digests(event.title, event.description)),
        "before": msgspec.json.encode(before_of(decision)),
        "prediction_id": decision.prediction_id,
        "model_tag": decision.tag,
        "confidence": decision.confidence,
        "probabilities": json.dumps(decision.probabilities),
        "reasons": json.dumps(decision.reasons),
        "model": decision.model_name,
        "tagged_ms": decision.tagged_ms,
        "inclusion_probability": decision.inclusion_probability,
    }


def _keep_newest(connection: Connection, candidates: Sequence[Row]) -> None:
    """
    Keep the newest decision on each event. Two records of the same decision are merged, so that both of its topics are known.

    A decision that an answer carries is kept only until a decision is read from its own topic, because anyone may have written the answer.
    """
    ids = sorted({row["event_id"] for row in candidates})
    known = select(items.c.event_id, *(items.c[name] for name in _DECISION)).where(items.c.event_id.in_(ids))
    kept: dict[str, Row] = {row["event_id"]: dict(row) for row in connection.execute(known).mappings()}
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
        # One hash draws all copies of an event, so the greater probability is the probability that any copy was drawn. A record of
        # `tagged` has no probability.
        kept = max(before, row, key=lambda one: (one["inclusion_probability"] or 0.0, one["tagged_ms"]))
        doors = {name: before[name] or row[name] for name in ("in_review", "in_audit")}
        return kept if all(kept[name] == held for name, held in doors.items()) else kept | doors
    return max(before, row, key=lambda one: (_epoch(one), one["tagged_ms"], one["prediction_id"]))


def _epoch(row: Row) -> int:
    """Return the epoch of the row's decision. A later epoch wins, so that a late decision of a replaced model undoes nothing."""
    return msgspec.json.decode(row["before"], type=KeptBefore).model.epoch_number


def _print_rows(rows: Iterable[Row]) -> Iterable[Row]:
    for row in rows:
        for found in duplicates.prints(duplicates.unpacked(row["words"])):
            yield {"print": found, "event_id": row["event_id"]}


def _term_rows(answered: Iterable[AnsweredEvent]) -> Iterable[Row]:
    for one in answered:
        for word in duplicates.word_digests(one.event.title, one.event.description):
            yield {"term": word, "event_id": one.event.id}


def _settle(connection: Connection, ids: Sequence[str], second_opinion_rate: float) -> None:
    """Write the state of these events and how people answered them. An event without an item is skipped until its item comes."""
    names = ("event_id", "prediction_id", "model_tag", "in_audit", "in_review", "probabilities", "tagged_ms", "before")
    known = select(*(items.c[name] for name in names)).where(items.c.event_id.in_(ids)).order_by(items.c.event_id)
    opinions, reported, denied = _opinions(connection, ids), _reported(connection, ids), denials(connection, ids)
    read = _read_decisions(connection, opinions)
    stands, answered = [], []
    for event_id, prediction_id, model_tag, in_audit, in_review, probabilities, tagged_ms, before in connection.execute(known):
        decision = Known(
            in_audit=in_audit,
            in_review=in_review,
            probabilities=json.loads(probabilities),
            threshold=msgspec.json.decode(before, type=KeptBefore).threshold,
            tagged_ms=tagged_ms,
        )
        denied_ms = denied.get((event_id, prediction_id), ())
        now = standing(event_id, decision, opinions[event_id], reported[event_id], second_opinion_rate, denied_ms)
        stands.append({name: getattr(now, name) for name in _STANDING} | {"of": event_id})
        counted = [one for one in opinions[event_id] if duplicates.digest(one.prediction_id) in read]
        said = words_of(counted, {*decision.probabilities, OFF_SUBJECT})
        first = said[0] if said else None
        # A decision on `review` is decided by people: the first answer counts.
        truth = settled(model_tag, said) if said and in_audit else first
        answered.append({"of": event_id, "first": first, "truth": truth, "strays": len(opinions[event_id]) - len(counted)})
    if stands:
        connection.execute(update(items).where(items.c.event_id == bindparam("of")), stands)
        connection.execute(update(samples).where(samples.c.event_id == bindparam("of")), answered)


def _read_decisions(connection: Connection, opinions: Mapping[str, Sequence[Given]]) -> set[int]:
    """Return the decisions that people looked at and that were read from their own topics, as digests of their ids."""
    looked_at = {duplicates.digest(one.prediction_id) for given in opinions.values() for one in given}
    found = select(decisions.c.prediction).where(decisions.c.prediction.in_(sorted(looked_at)))
    return set(connection.execute(found).scalars())


def _opinions(connection: Connection, ids: Sequence[str]) -> Mapping[str, list[Given]]:
    found: dict[str, list[Given]] = defaultdict(list)
    for row in connection.execute(select(*GIVEN_COLUMNS).where(answers.c.event_id.in_(ids))).mappings():
        found[row["event_id"]].append(Given(**row))
    return found


def _reported(connection: Connection, ids: Sequence[str]) -> Mapping[str, list[int]]:
    moments = select(reports.c.event_id, reports.c.reported_ms).where(reports.c.event_id.in_(ids))
    found: dict[str, list[int]] = defaultdict(list)
    for event_id, at_ms in connection.execute(moments):
        found[event_id].append(at_ms)
    return found


def _count(connection: Connection, published: Sequence[DecidedEvent]) -> None:
    """Add decisions to the totals. A redelivered decision is found in `places` and not counted again."""
    events = {duplicates.digest(one.event.id) for one in published}
    kept = connection.execute(select(places.c.event, places.c.prediction).where(places.c.event.in_(events)))
    known = {row.event: row.prediction for row in kept}
    at: dict[int, Row] = {}
    new = []
    for one in published:
        event, prediction = duplicates.digest(one.event.id), duplicates.digest(one.decision.prediction_id)
        if known.get(event) == prediction:
            continue
        known[event] = prediction
        new.append(one)
        at[event] = {
            "event": event,
            "prediction": prediction,
            "destination": one.door,
            "partition": one.event.record.partition,
            "at": one.event.record.offset,
            "tagged_ms": one.decision.tagged_ms,
        }
    if new:
        names = _Names(connection)
        upsert(connection, places, [at[event] for event in sorted(at)])
        _add(connection, new, names)


def _add(connection: Connection, new: Sequence[DecidedEvent], names: "_Names") -> None:
    sums: dict[tuple[Any, ...], Row] = {}
    for one in new:
        event, decision = one.event, one.decision
        key = (
            decision.tagged_ms // HOUR_MS * HOUR_MS,
            one.door,
            decision.model_name,
            *deciding(decision.model).values(),
            decision.tag,
            names.known("source", (event.source or "")[:MAX_SOURCE_CHARACTERS]),
            names.known("language", (text_of(event.fields, "language") or "")[:MAX_SOURCE_CHARACTERS]),
            is_short(event.title, event.description),
        )
        into = sums.setdefault(key, {"decisions": 0, "confidence_sum": 0.0, "probability_sums": {}})
        into["decisions"] += 1
        into["confidence_sum"] += decision.confidence
        for label, share in decision.probabilities.items():
            into["probability_sums"][label] = into["probability_sums"].get(label, 0.0) + share
    for row in connection.execute(select(totals).where(tuple_(*(totals.c[name] for name in _TOTAL)).in_(sums))):
        into = sums[tuple(getattr(row, name) for name in _TOTAL)]
        into["decisions"] += row.decisions
        into["confidence_sum"] += row.confidence_sum
        for label, share in json.loads(row.probability_sums).items():
            into["probability_sums"][label] = into["probability_sums"].get(label, 0.0) + share
    rows = [
        dict(zip(_TOTAL, key, strict=True)) | into | {"probability_sums": json.dumps(into["probability_sums"])}
        for key, into in sorted(sums.items())
    ]
    upsert(connection, totals, rows)


class _Names:
    """The sources and languages that have totals of their own: the first ones that were seen."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._known: dict[str, set[str]] = {"source": set(), "language": set()}
        for kind, name in connection.execute(select(slices.c.kind, slices.c.name)):
            self._known[kind].add(name)

    def known(self, kind: str, name: str) -> str:
        """Return the name under which a source or language is counted."""
        known = self._known[kind]
        if name in known:
            return name
        if len(known) >= MOST_NAMES:
            return OTHERS
        known.add(name)
        self._connection.execute(slices.insert().values(kind=kind, name=name))
        return name


def _advance(connection: Connection, reached: Positions) -> None:
    rows = [
        {"topic": topic, "partition": partition, "next_offset": offset}
        for (topic, partition), offset in sorted(reached.items())
    ]
    upsert(connection, positions, rows, only_if=lambda new, old: new.next_offset > old.next_offset)

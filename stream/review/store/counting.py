"""Counts published decisions by hour and slice, each once, and remembers where each lies."""

import json
from collections.abc import Sequence
from typing import Any

from sqlalchemy import Connection, select, tuple_

from stream.database.inserting import upsert
from stream.review.store.changes import Published
from stream.review.store.database.tables import items, places, reports, slices, totals
from stream.review.store.likeness import digest

HOUR_MS = 3_600_000
# More sources or languages than these are counted as one.
MOST_NAMES = 50
OTHERS = "(others)"
_KEY = [column.name for column in totals.primary_key]


def count(connection: Connection, published: Sequence[Published]) -> None:
    """
    Add decisions to the totals. A redelivered decision is known by its place and not counted again.

    Args:
        connection: Of a transaction in which nobody else adds facts.
        published: Decisions in the order of their topics.
    """
    if not published:
        return
    events = {digest(one.event_id) for one in published}
    known = dict(
        connection.execute(select(places.c.event, places.c.prediction).where(places.c.event.in_(events))).tuples().all()
    )
    at: dict[int, dict[str, Any]] = {}
    new = []
    for one in published:
        event, prediction = digest(one.event_id), digest(one.prediction_id)
        if known.get(event) == prediction:
            continue
        known[event] = prediction
        new.append(one)
        at[event] = {
            "event": event,
            "prediction": prediction,
            "destination": one.destination,
            "partition": one.partition,
            "at": one.offset,
            "tagged_ms": one.tagged_ms,
        }
    if new:
        names = _Names(connection)
        upsert(connection, places, [at[event] for event in sorted(at)])
        _add(connection, new, names)


def _add(connection: Connection, new: Sequence[Published], names: "_Names") -> None:
    sums: dict[tuple[Any, ...], dict[str, Any]] = {}
    for one in new:
        key = (
            one.tagged_ms // HOUR_MS * HOUR_MS,
            one.destination,
            one.model,
            one.tag,
            names.known("source", one.source),
            names.known("language", one.language),
            one.short,
        )
        into = sums.setdefault(key, {"decisions": 0, "confidence_sum": 0.0, "probability_sums": {}})
        into["decisions"] += 1
        into["confidence_sum"] += one.confidence
        for label, share in one.probabilities.items():
            into["probability_sums"][label] = into["probability_sums"].get(label, 0.0) + share
    for row in connection.execute(select(totals).where(tuple_(*(totals.c[name] for name in _KEY)).in_(sums))):
        into = sums[tuple(getattr(row, name) for name in _KEY)]
        into["decisions"] += row.decisions
        into["confidence_sum"] += row.confidence_sum
        for label, share in json.loads(row.probability_sums).items():
            into["probability_sums"][label] = into["probability_sums"].get(label, 0.0) + share
    rows = [
        dict(zip(_KEY, key, strict=True)) | into | {"probability_sums": json.dumps(into["probability_sums"])}
        for key, into in sorted(sums.items())
    ]
    upsert(connection, totals, rows)


class _Names:
    """The sources and languages that have totals of their own: the first that were seen."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._known: dict[str, set[str]] = {"source": set(), "language": set()}
        for kind, name in connection.execute(select(slices.c.kind, slices.c.name)):
            self._known[kind].add(name)

    def known(self, kind: str, name: str) -> str:
        """The name under which it is counted."""
        known = self._known[kind]
        if name in known:
            return name
        if len(known) >= MOST_NAMES:
            return OTHERS
        known.add(name)
        self._connection.execute(slices.insert().values(kind=kind, name=name))
        return name


def unmatched(connection: Connection, limit: int) -> list[tuple[str, int, int]]:
    """Reported events without an item whose decision lies on `tagged`: id, partition and offset."""
    known = select(items.c.event_id).where(items.c.event_id == reports.c.event_id).exists()
    found = (
        select(reports.c.event_id, places.c.partition, places.c.at)
        .join(places, places.c.event == reports.c.event)
        .where(places.c.destination == "tagged", ~known)
        .distinct()
        .order_by(reports.c.event_id)
        .limit(limit)
    )
    return [(event_id, partition, at) for event_id, partition, at in connection.execute(found).tuples()]


def forget_place(connection: Connection, event_id: str) -> None:
    """The decision has gone from its topic, or its place was another event's."""
    connection.execute(places.delete().where(places.c.event == digest(event_id)))

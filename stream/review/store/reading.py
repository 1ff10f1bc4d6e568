"""Reads items, answers and reports, and looks for texts that are alike."""

from typing import Any

import msgspec
from sqlalchemy import ColumnElement, Connection, Select, func, select

from stream.contract.record import Headers
from stream.review.store import likeness
from stream.review.store.database.tables import answers, items, prints, reports, terms
from stream.review.store.facts import Complaint, Door, Given, Item, Neighbour, Twin

# Words in more than this part of the decided texts say nothing of what a text is about.
COMMON = 0.2
# So many decided texts are counted, and so many of them with a word: a store with more is as good as this one.
MOST_TEXTS, MOST_COUNTED = 10_000, 2001
# Candidates are found by this many of the rarest words, and so many of them are compared.
RAREST_WORDS, MOST_CANDIDATES = 12, 60
# Events that share a print with an item are compared with it up to this number: a feed may repeat one text for ever.
MOST_ALIKE = 1000
# One answer settles so many of them, and events of so many bytes together: all of them are written, and read back, at once.
MOST_TWINS, MOST_TWIN_BYTES = 20, 4 * 1024 * 1024
# A list shows so much of a title.
LISTED_CHARACTERS = 300
# A claim has so many reports of readers, the newest.
MOST_REPORTS = 20
ITEM_COLUMNS = [items.c[name] for name in Item.__dataclass_fields__]
_GIVEN_COLUMNS = [answers.c[name] for name in Given.__dataclass_fields__]
_LISTED_TITLE = func.substr(items.c.title, 1, LISTED_CHARACTERS).label("title")
_COMPLAINT_COLUMNS = [reports.c[name] for name in Complaint.__dataclass_fields__]


def item_of(row: Any) -> Item:
    """An item from a row that begins with `ITEM_COLUMNS`."""
    values = dict(zip(Item.__dataclass_fields__, row, strict=False))
    parsed = {
        "probabilities": msgspec.json.decode(values["probabilities"]),
        "reasons": tuple(msgspec.json.decode(values["reasons"])),
        "headers": msgspec.msgpack.decode(values["headers"], type=Headers),
    }
    return Item(**values | parsed)


def item(connection: Connection, event_id: str) -> Item | None:
    """The item of an event."""
    row = connection.execute(select(*ITEM_COLUMNS).where(items.c.event_id == event_id)).one_or_none()
    return None if row is None else item_of(row)


def answers_on(connection: Connection, event_id: str) -> list[Given]:
    """All answers on an event in their order."""
    order = (answers.c.version, answers.c.decided_at, answers.c.answer_id)
    return _given(connection, select(*_GIVEN_COLUMNS).where(answers.c.event_id == event_id).order_by(*order))


def answer(connection: Connection, answer_id: str) -> Given | None:
    """The answer of this id."""
    found = _given(connection, select(*_GIVEN_COLUMNS).where(answers.c.answer_id == answer_id))
    return found[0] if found else None


def own_answers(connection: Connection, reviewer: str, limit: int) -> list[Given]:
    """The newest answers of a reviewer that hold, the newest first."""
    holds = (
        select(items.c.event_id)
        .where(items.c.event_id == answers.c.event_id, items.c.answer_id == answers.c.answer_id)
        .exists()
    )
    found = select(*_GIVEN_COLUMNS).where(answers.c.reviewer == reviewer, holds)
    return _given(connection, found.order_by(answers.c.decided_ms.desc(), answers.c.answer_id).limit(limit))


def answers_since(connection: Connection, since_ms: int) -> list[Given]:
    """Every answer of a moment or later, in the order of time."""
    found = select(*_GIVEN_COLUMNS).where(answers.c.decided_ms >= since_ms)
    return _given(connection, found.order_by(answers.c.decided_ms, answers.c.answer_id))


def reports_on(connection: Connection, event_id: str) -> list[Complaint]:
    """The newest reports on an event, the newest first."""
    found = select(*_COMPLAINT_COLUMNS).where(reports.c.event_id == event_id)
    newest = found.order_by(reports.c.reported_ms.desc(), reports.c.report_id).limit(MOST_REPORTS)
    return [Complaint(**row) for row in connection.execute(newest).mappings()]


def duplicates(connection: Connection, event_id: str, free: ColumnElement[bool]) -> list[Twin]:
    """Open items of the door `review` that are `free` and have nearly the words of this one, within the bounds above."""
    one = connection.execute(select(items.c.words, items.c.probabilities).where(items.c.event_id == event_id)).one_or_none()
    if one is None:
        return []
    own, labels = likeness.unpacked(one.words), _labels(one.probabilities)
    # Two statements: in one, a database without statistics may look at every open item.
    alike = select(prints.c.event_id).where(prints.c.print.in_(likeness.prints(own)), prints.c.event_id != event_id)
    ids = connection.execute(alike.distinct().limit(MOST_ALIKE)).scalars().all()
    candidates = (
        select(items.c.event_id, items.c.probabilities, items.c.words, _LISTED_TITLE, func.length(items.c.fields).label("size"))
        .where(items.c.event_id.in_(ids), items.c.door == Door.REVIEW, free, items.c.version == 0)
        .order_by(items.c.urgency, items.c.event_id)
        .limit(MOST_CANDIDATES)
    )
    found, left = [], MOST_TWIN_BYTES
    for other in connection.execute(candidates):
        if other.size > left or likeness.shared(own, likeness.unpacked(other.words)) < likeness.NEARLY_EQUAL:
            continue
        if _labels(other.probabilities) == labels:
            found.append(Twin(event_id=other.event_id, title=other.title))
            left -= other.size
    return found[:MOST_TWINS]


def _labels(probabilities: str) -> set[str]:
    return set(msgspec.json.decode(probabilities, type=dict[str, float]))


def nearly_equal(one: Item, other: Item) -> bool:
    """Whether one answer can settle both, and the labels to choose from are the same."""
    same = likeness.shared(likeness.words(one.title, one.description), likeness.words(other.title, other.description))
    return same >= likeness.NEARLY_EQUAL and one.probabilities.keys() == other.probabilities.keys()


def neighbours(connection: Connection, event_id: str, limit: int) -> list[Neighbour]:
    """Decided events with the rarest words of this item, the most alike first."""
    kept = connection.execute(select(items.c.words).where(items.c.event_id == event_id)).scalar_one_or_none()
    if kept is None:
        return []
    own = likeness.unpacked(kept)
    known = {}
    for term in own:
        found_in = select(terms.c.event_id).where(terms.c.term == term).limit(MOST_COUNTED).subquery()
        if count := connection.execute(select(func.count()).select_from(found_in)).scalar_one():
            known[term] = count
    decided_texts = select(answers.c.event_id).distinct().limit(MOST_TEXTS).subquery()
    texts = connection.execute(select(func.count()).select_from(decided_texts)).scalar_one()
    rare = sorted((found, word) for word, found in known.items() if found <= max(2, COMMON * texts))[:RAREST_WORDS]
    if not rare:
        return []
    hits = func.count().label("hits")
    candidates = (
        select(terms.c.event_id, hits)
        .where(terms.c.term.in_([word for _, word in rare]), terms.c.event_id != event_id)
        .group_by(terms.c.event_id)
        .order_by(hits.desc(), terms.c.event_id)
        .limit(MOST_CANDIDATES)
        .subquery()
    )
    decided = select(items.c.event_id, _LISTED_TITLE, items.c.words, items.c.tag).join(
        candidates, candidates.c.event_id == items.c.event_id
    )
    found = [
        Neighbour(event_id=other, title=title, tag=tag, likeness=likeness.weighed(own, likeness.unpacked(kept), known, texts))
        for other, title, kept, tag in connection.execute(decided.where(items.c.tag.is_not(None)))
    ]
    found.sort(key=lambda neighbour: (-neighbour.likeness, neighbour.event_id))
    return [neighbour for neighbour in found if neighbour.likeness >= likeness.LEAST_ALIKE][:limit]


def _given(connection: Connection, statement: Select[Any]) -> list[Given]:
    return [Given(**row) for row in connection.execute(statement).mappings()]

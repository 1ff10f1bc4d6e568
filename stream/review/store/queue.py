"""The review queue: the leases on items, what a reviewer sees with an item, and the queue's figures.

Each change of a lease is one compare-and-set in a transaction, so that two reviewers never hold the same item. A lease ends when another
reviewer takes the item after `until_ms`, when the event gets an answer, or when the item is given back. No background job ends leases:
each statement checks whether a lease has lapsed.
"""

import hashlib
import secrets
import threading
import time
from collections.abc import Callable, Collection, Sequence
from typing import Any

import msgspec
from sqlalchemy import ColumnElement, Connection, Select, and_, case, distinct, exists, func, or_, select, update

from tagstream.model_export.data import duplicates
from tagstream.stream.contract.answers import next_version
from tagstream.stream.contract.event import ContentEvent, Fields, Headers, Record
from tagstream.stream.contract.published import DecidedEvent
from tagstream.stream.contract.reports import Report
from tagstream.stream.database.database import Database, lock, upsert
from tagstream.stream.review.store.records import (
    INDEPENDENT,
    Claim,
    Door,
    Given,
    KeptBefore,
    Lapsed,
    Neighbour,
    QueueFigures,
    ReviewerFigures,
    TooMany,
    Twin,
)
from tagstream.stream.review.store.schema import LISTED_CHARACTERS, allowances, answers, items, prints, reports, skips, terms
from tagstream.stream.review.store.store_writer import GIVEN_COLUMNS, ITEM, REPORT_FIELDS
from tagstream.stream.review.store.votes import denying

# How long a reviewer holds an item without a request, while reading a long text or during a call. Every request renews the lease.
LEASE_MS = 10 * 60 * 1000
# How long an item is withheld from all reviewers while its answer is being saved: longer than the producer may take.
SAVING_MS = 60 * 1000
SKIP_MS = 60 * 60 * 1000
# A lease or skip that ends later than a new one was given before the clock was set back, and counts as over. The clocks of two consoles
# may differ by this much.
SKEW_MS = LEASE_MS

TAKEN = "Another reviewer took this item after {minutes} minutes of silence. Next: copy what you typed, if you need it, and take the next item."
ANSWERED = "This event was answered meanwhile. Next: take the next item; your own answers can be corrected from their list."
GIVEN_BACK = "This item was given back to the queue, perhaps in another window. Next: copy what you typed, if you need it, and take the next item."
UNKNOWN = (
    "The store does not know this item. Next: take the next item; a store that was made anew knows it when its topic is read."
)
SAVING = (
    "An answer to this item is under way and not confirmed yet. Next: wait a minute; if it did not arrive, the item comes back."
)
NEVER = "This event was never answered, so there is nothing to correct. Next: take the next item."

# A word in more than this share of the decided texts does not tell what a text is about.
COMMON = 0.2
# The most decided texts that are counted, and the most texts with one word. A larger count would not give better neighbours.
MOST_TEXTS, MOST_COUNTED = 10_000, 2001
# The number of rarest words by which candidates are found, and the most candidates that are compared.
RAREST_WORDS, MOST_CANDIDATES = 12, 60
# The least likeness of a neighbour that is shown.
LEAST_ALIKE = 0.1
# The most events that are compared because they share a print with the item: a feed may repeat one text for ever.
MOST_ALIKE = 1000
# The most near-duplicates that one answer settles, and the most bytes of their events together: all of them are written at once.
MOST_TWINS, MOST_TWIN_BYTES = 20, 4 * 1024 * 1024
# The most reports of readers and viewers in a claim: the newest ones.
MOST_REPORTS = 20

MINUTE_MS, HOUR_MS = 60_000, 3_600_000
# The number of a reviewer's newest answers that are compared with the answers of other reviewers.
COMPARED = 1000
# Figures that took longer than `LONG_SECONDS` to count are reused for `REST` times as long.
LONG_SECONDS, REST = 0.1, 20
# The most reports in an hour of the clock: of one caller, about one event, and in total.
OF_A_CALLER, ABOUT_AN_EVENT, OF_ALL = 30, 5, 3000
TOO_MANY = {
    "caller": "You have sent {most} reports within this hour, which is the most that is taken. Next: send more in {minutes} minutes.",
    "event": "This event was reported {most} times within this hour, and a reviewer will look at it. Next: there is nothing more to do.",
    "all": "More reports came within this hour than reviewers can look at. Next: send yours again in {minutes} minutes.",
}

_LISTED_TITLE = func.substr(items.c.title, 1, LISTED_CHARACTERS).label("title")
_REPORT_COLUMNS = [reports.c[name] for name in REPORT_FIELDS]
LEASE = ("holder", "token", "held_for", "held_version", "claimed_ms", "until_ms", "saving_until_ms")
_ROW = select(*(items.c[name] for name in (*ITEM, "door", "version", "answer_id", *LEASE)))


class Queue:
    """
    The items that wait for an answer, for reviewers and for `AnswerSaver`.

    Several threads and several processes may call all methods. Each method raises `DatabaseUnavailableError` when the database does not
    answer in time.
    """

    def __init__(self, database: Database, clock: Callable[[], int]) -> None:
        """Use a database that has the tables of the store. `clock` returns Unix milliseconds."""
        self._database = database
        self._clock = clock
        self._counting = threading.Lock()
        self._figures: QueueFigures | None = None
        self._figures_until = 0.0

    # Leases.

    def claim(self, reviewer: str) -> Claim | None:
        """
        Return the item that this reviewer already holds, else the first free item that this reviewer did not skip.

        If the queue has items by lot and items by doubt, each kind gets half of the turns. None when there is nothing to do.
        """
        with self._database.writing() as connection:
            claim = self._claimed(connection, reviewer)
            if claim is not None or connection.execute(_waiting(reviewer, self._clock())).first() is None:
                return claim
        # Another transaction holds the free items: a second reviewer takes the last one, or another console writes decisions that it read
        # again. Only one transaction is `alone`, so no console writes now.
        with self._database.alone() as connection:
            return self._claimed(connection, reviewer)

    def _claimed(self, connection: Connection, reviewer: str) -> Claim | None:
        # Two windows of one reviewer must not get two items.
        lock(connection, duplicates.digest(reviewer))
        now_ms = self._clock()
        row = connection.execute(
            _ROW.where(_held_by(reviewer, now_ms)).order_by(items.c.claimed_ms.desc()).limit(1).with_for_update()
        ).first()
        if row is not None:
            return _renewed(connection, row, now_ms)
        first = _waiting(reviewer, now_ms)
        # The order puts items by lot before items by doubt, so half of the turns begin with the items by doubt.
        turns = [first.where(items.c.urgency >= 0), first] if secrets.randbelow(2) else [first]
        found = (connection.execute(turn.with_for_update(skip_locked=True)).first() for turn in turns)
        row = next((one for one in found if one is not None), None)
        return None if row is None else _take(connection, row, reviewer, Door(row.door), now_ms)

    def renew(self, event_id: str, token: str) -> Claim | Lapsed:
        """Renew the claim of this token with a new `until_ms`. A lapsed claim is renewed too, unless another reviewer took the item."""
        with self._database.writing() as connection:
            now_ms = self._clock()
            row = _locked(connection, event_id)
            lapsed = _lapsed(row, token, now_ms)
            return lapsed if lapsed is not None else _renewed(connection, row, now_ms)

    def skip(self, event_id: str, token: str) -> None:
        """Give the item back to the queue, and withhold it from this reviewer for an hour. A lapsed token changes nothing."""
        with self._database.writing() as connection:
            now_ms = self._clock()
            holder = _give_back(connection, event_id, token)
            if holder is not None:
                own = (skips.c.event_id == event_id, skips.c.reviewer == holder)
                connection.execute(skips.delete().where(or_(and_(*own), skips.c.until_ms <= now_ms)))
                connection.execute(skips.insert().values(event_id=event_id, reviewer=holder, until_ms=now_ms + SKIP_MS))

    def release(self, event_id: str, token: str) -> None:
        """Give the item back to the queue. A lapsed token changes nothing."""
        with self._database.writing() as connection:
            _give_back(connection, event_id, token)

    def reopen(self, event_id: str, reviewer: str) -> Claim | Lapsed:
        """Hold an item for a correction ("undo, then answer anew"). The current answer holds until the new answer is saved."""
        with self._database.writing() as connection:
            now_ms = self._clock()
            row = _locked(connection, event_id)
            if row is None:
                return Lapsed(reason="unknown", message=UNKNOWN)
            if row.version == 0:
                return Lapsed(reason="unknown", message=NEVER)
            if _is_current(row) and row.holder is not None:
                if _runs(row.saving_until_ms, SAVING_MS, now_ms):
                    return Lapsed(reason="saving", message=SAVING)
                if row.holder != reviewer and _runs(row.until_ms, LEASE_MS, now_ms):
                    return Lapsed(reason="taken", message=_taken())
            return _take(connection, row, reviewer, Door.CORRECTION, now_ms)

    # Leases while an answer is being saved. They end when `StoreWriter.fill` marks the answer, by `not_saved` or `release`, or in a minute.

    def hold_for_saving(self, event_id: str, token: str) -> Claim | Lapsed:
        """Withhold the item from all reviewers, its holder included, while its answer is being saved."""
        with self._database.writing() as connection:
            now_ms = self._clock()
            row = _locked(connection, event_id)
            lapsed = _lapsed(row, token, now_ms)
            if lapsed is not None:
                return lapsed
            until = max(row.until_ms, now_ms + SAVING_MS)
            _set(connection, event_id, {"saving_until_ms": now_ms + SAVING_MS, "until_ms": until})
            return _claim(connection, row, until)

    def take_for_saving(self, event_id: str, reviewer: str) -> Claim | None:
        """Take a free near-duplicate and withhold it while its answer is being saved. None if it was taken or answered meanwhile."""
        with self._database.writing() as connection:
            now_ms = self._clock()
            row = _locked(connection, event_id)
            if (
                row is None
                or row.door != Door.REVIEW
                or row.version
                or (row.holder is not None and _runs(row.until_ms, LEASE_MS, now_ms))
            ):
                return None
            taken = _take(connection, row, reviewer, Door.REVIEW, now_ms)
            _set(connection, event_id, {"saving_until_ms": now_ms + SAVING_MS})
            return taken

    def not_saved(self, claim: Claim) -> None:
        """Note that the answer was not written, so that the claim's holder may answer again at once."""
        held = (items.c.event_id == claim.item.event.id, items.c.token == claim.token)
        with self._database.writing() as connection:
            connection.execute(update(items).where(*held).values(saving_until_ms=0))

    def admit_report(self, caller: str, event_id: str) -> TooMany | None:
        """
        Count a report of this caller (an address or a name) on this event. Return a refusal if there were too many within the hour.

        The limits keep a script from filling the queue, and from pushing one event to the front again and again. A refused report does
        not count.
        """
        with self._database.alone() as connection:
            now_ms = self._clock()
            hour = now_ms // HOUR_MS
            connection.execute(allowances.delete().where(allowances.c.hour < hour))
            # Only digests are kept, so that no reader's address is stored.
            bounds = {
                "caller": (_digest("caller", caller), OF_A_CALLER),
                "event": (_digest("event", event_id), ABOUT_AN_EVENT),
                "all": ("all", OF_ALL),
            }
            counted = (allowances.c.hour == hour, allowances.c.whose.in_([whose for whose, _ in bounds.values()]))
            found = connection.execute(select(allowances.c.whose, allowances.c.taken).where(*counted))
            taken = {row.whose: row.taken for row in found}
            seconds = int((hour + 1) * HOUR_MS - now_ms + 999) // 1000
            for kind, (whose, most) in bounds.items():
                if taken.get(whose, 0) >= most:
                    message = TOO_MANY[kind].format(most=most, minutes=-(-seconds // 60))
                    return TooMany(retry_after_seconds=seconds, message=message)
            rows = [{"whose": whose, "hour": hour, "taken": taken.get(whose, 0) + 1} for whose, _ in bounds.values()]
            upsert(connection, allowances, rows)
            return None

    # For the pages.

    def own(self, reviewer: str, limit: int = 20) -> Sequence[Given]:
        """Return the newest answers of a reviewer that still hold, the newest first. These answers can be undone."""
        holds = (
            select(items.c.event_id)
            .where(items.c.event_id == answers.c.event_id, items.c.answer_id == answers.c.answer_id)
            .exists()
        )
        found = select(*GIVEN_COLUMNS).where(answers.c.reviewer == reviewer, holds)
        with self._database.reading() as connection:
            return _given(connection, found.order_by(answers.c.decided_ms.desc(), answers.c.answer_id).limit(limit))

    def neighbours(self, event_id: str, limit: int = 3) -> Sequence[Neighbour]:
        """Return decided events that share rare words with this item, the most alike first. Their models have the item's labels."""
        with self._database.reading() as connection:
            asked = select(items.c.words, items.c.probabilities).where(items.c.event_id == event_id)
            one = connection.execute(asked).one_or_none()
            if one is None:
                return []
            return _neighbours(connection, event_id, duplicates.unpacked(one.words), _labels(one.probabilities), limit)

    def duplicates(self, event_id: str) -> Sequence[Twin]:
        """Return free open items of the door `review` with nearly the same text. The item's answer can settle these items too."""
        with self._database.reading() as connection:
            asked = select(items.c.words, items.c.probabilities).where(items.c.event_id == event_id)
            one = connection.execute(asked).one_or_none()
            if one is None:
                return []
            own, labels = duplicates.unpacked(one.words), _labels(one.probabilities)
            # Two statements: with a single statement, a database without statistics may look at every open item.
            alike = select(prints.c.event_id).where(prints.c.print.in_(duplicates.prints(own)), prints.c.event_id != event_id)
            ids = connection.execute(alike.distinct().limit(MOST_ALIKE)).scalars().all()
            size = func.length(items.c.fields).label("size")
            candidates = (
                select(items.c.event_id, items.c.probabilities, items.c.words, _LISTED_TITLE, size)
                .where(items.c.event_id.in_(ids), items.c.door == Door.REVIEW, _free(self._clock()), items.c.version == 0)
                .order_by(items.c.urgency, items.c.event_id)
                .limit(MOST_CANDIDATES)
            )
            found, left = [], MOST_TWIN_BYTES
            for other in connection.execute(candidates):
                if other.size > left or duplicates.shared(own, duplicates.unpacked(other.words)) < duplicates.SIMILARITY_LIMIT:
                    continue
                if _labels(other.probabilities) == labels:
                    found.append(Twin(event_id=other.event_id, title=other.title))
                    left -= other.size
            return found[:MOST_TWINS]

    def figures(self) -> QueueFigures:
        """Return the figures of the whole queue. In a large store, where counting takes long, figures are reused for a few seconds."""
        with self._counting:
            began = time.monotonic()
            if self._figures is not None and began < self._figures_until:
                return self._figures
            with self._database.reading() as connection:
                self._figures = _figures(connection, self._clock())
            took = time.monotonic() - began
            self._figures_until = time.monotonic() + took * REST if took > LONG_SECONDS else 0.0
            return self._figures

    def pace(self, reviewer: str) -> ReviewerFigures:
        """Return the figures of one reviewer."""
        with self._database.reading() as connection:
            now_ms = self._clock()
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
            compared = connection.execute(pairs).all()
            return ReviewerFigures(
                last_minute=since(MINUTE_MS),
                last_hour=since(HOUR_MS),
                total=connection.execute(select(func.count()).select_from(answers).where(own)).scalar_one(),
                agrees=sum(same for _, same in compared),
                compared=len(compared),
            )


def _waiting(reviewer: str, now_ms: int) -> Select[Any]:
    """Return the query for the first free item that this reviewer did not skip."""
    waiting = _ROW.where(items.c.place.is_not(None), _free(now_ms), _for(reviewer, now_ms))
    return waiting.order_by(items.c.place, items.c.urgency, items.c.event_id).limit(1)


def _locked(connection: Connection, event_id: str) -> Any:
    return connection.execute(_ROW.where(items.c.event_id == event_id).with_for_update()).one_or_none()


def _is_current(row: Any) -> bool:
    return bool(row.held_version == row.version)


def _lapsed(row: Any, token: str, now_ms: int) -> Lapsed | None:
    if row is None:
        return Lapsed(reason="unknown", message=UNKNOWN)
    if row.token != token:
        if row.door is None:
            return Lapsed(reason="answered", message=ANSWERED)
        return Lapsed(reason="taken", message=GIVEN_BACK if row.holder is None else _taken())
    if not _is_current(row) or (row.door is None and row.held_for != Door.CORRECTION):
        return Lapsed(reason="answered", message=ANSWERED)
    return Lapsed(reason="saving", message=SAVING) if _runs(row.saving_until_ms, SAVING_MS, now_ms) else None


def _taken() -> str:
    return TAKEN.format(minutes=LEASE_MS // 60_000)


def _take(connection: Connection, row: Any, reviewer: str, door: Door, now_ms: int) -> Claim:
    lease = {
        "holder": reviewer,
        "token": secrets.token_urlsafe(16),
        "held_for": door,
        "held_version": row.version,
        "claimed_ms": now_ms,
        "until_ms": now_ms + LEASE_MS,
        "saving_until_ms": 0,
    }
    _set(connection, row.event_id, lease)
    return _claim(connection, _locked(connection, row.event_id), now_ms + LEASE_MS)


def _renewed(connection: Connection, row: Any, now_ms: int) -> Claim:
    _set(connection, row.event_id, {"until_ms": now_ms + LEASE_MS})
    return _claim(connection, row, now_ms + LEASE_MS)


def _give_back(connection: Connection, event_id: str, token: str) -> str | None:
    """End the lease of this token. Return the item's holder; None if the token does not hold the item."""
    row = _locked(connection, event_id)
    if row is None or row.token != token:
        return None
    _set(connection, event_id, dict.fromkeys(LEASE))
    return str(row.holder)


def _set(connection: Connection, event_id: str, values: dict[str, Any]) -> None:
    connection.execute(update(items).where(items.c.event_id == event_id).values(**values))


def _claim(connection: Connection, row: Any, until_ms: int) -> Claim:
    door = Door(row.held_for)
    seen = None if door.blind or row.answer_id is None else _answer(connection, row.answer_id)
    return Claim(
        item=_item_of(row),
        door=door,
        reviewer=row.holder,
        token=row.token,
        until_ms=until_ms,
        version=next_version(row.version),
        supersedes=row.answer_id,
        reports=() if door.blind else tuple(_reports(connection, row)),
        before=seen,
    )


def _item_of(row: Any) -> DecidedEvent:
    """Return the event and the decision in a row that has the columns of `ITEM`."""
    record = Record(key=row.key, value=None, headers=msgspec.msgpack.decode(row.headers, type=Headers))
    event = ContentEvent(
        record=record,
        id=row.event_id,
        title=row.title,
        description=row.description,
        source=row.source,
        fields=msgspec.json.decode(row.fields, type=Fields),
    )
    decision = msgspec.json.decode(row.before, type=KeptBefore).decision(row.model_tag, row.prediction_id)
    return DecidedEvent(
        event=event, decision=decision, door="review" if row.in_review else "audit" if row.in_audit else "tagged"
    )


def _reports(connection: Connection, row: Any) -> list[Report]:
    """Return the newest reports on an event, the newest first, and behind them the newest votes against its decision."""
    found = select(*_REPORT_COLUMNS).where(reports.c.event_id == row.event_id)
    newest = found.order_by(reports.c.reported_ms.desc(), reports.c.report_id).limit(MOST_REPORTS)
    by_readers = [Report(**one) for one in connection.execute(newest).mappings()]
    return [*by_readers, *denying(connection, row.event_id, row.prediction_id, MOST_REPORTS - len(by_readers))]


def _answer(connection: Connection, answer_id: str) -> Given | None:
    """Return the answer with this id; None if it is not in the store."""
    found = _given(connection, select(*GIVEN_COLUMNS).where(answers.c.answer_id == answer_id))
    return found[0] if found else None


def _given(connection: Connection, statement: Select[Any]) -> list[Given]:
    return [Given(**row) for row in connection.execute(statement).mappings()]


def _held(now_ms: int) -> ColumnElement[bool]:
    """Return the condition that a reviewer holds the item now."""
    return and_(_running(items.c.until_ms, LEASE_MS, now_ms), items.c.held_version == items.c.version)


def _free(now_ms: int) -> ColumnElement[bool]:
    """Return the condition that the item is free now."""
    return or_(items.c.holder.is_(None), ~_running(items.c.until_ms, LEASE_MS, now_ms), items.c.held_version != items.c.version)


def _held_by(reviewer: str, now_ms: int) -> ColumnElement[bool]:
    """Return the condition that this reviewer holds the item. A lapsed lease counts too, because no other reviewer has taken the item."""
    return and_(
        items.c.holder == reviewer,
        items.c.held_version == items.c.version,
        or_(items.c.place.is_not(None), items.c.held_for == Door.CORRECTION),
        ~_running(items.c.saving_until_ms, SAVING_MS, now_ms),
    )


def _for(reviewer: str, now_ms: int) -> ColumnElement[bool]:
    still = _running(skips.c.until_ms, SKIP_MS, now_ms)
    skipped = exists().where(skips.c.event_id == items.c.event_id, skips.c.reviewer == reviewer, still)
    answered = exists().where(answers.c.event_id == items.c.event_id, answers.c.reviewer == reviewer)
    return and_(~skipped, or_(items.c.door != Door.SECOND_OPINION, ~answered))


def _running(end_ms: ColumnElement[Any], most_ms: int, now_ms: int) -> ColumnElement[bool]:
    """Return the condition that a span with this end is not over. An end is set at most `most_ms` ahead; a NULL end is not running."""
    return end_ms.between(now_ms + 1, now_ms + most_ms + SKEW_MS)


def _runs(end_ms: int, most_ms: int, now_ms: int) -> bool:
    return now_ms < end_ms <= now_ms + most_ms + SKEW_MS


def nearly_equal(one: DecidedEvent, other: DecidedEvent) -> bool:
    """True if one answer can settle both events: their texts are nearly the same, and their labels are the same."""
    left, right = (duplicates.word_digests(of.event.title, of.event.description) for of in (one, other))
    same_labels = one.decision.probabilities.keys() == other.decision.probabilities.keys()
    return duplicates.shared(left, right) >= duplicates.SIMILARITY_LIMIT and same_labels


def _labels(probabilities: str) -> set[str]:
    return set(msgspec.json.decode(probabilities, type=dict[str, float]))


def _neighbours(
    connection: Connection, event_id: str, own: frozenset[int], labels: Collection[str], limit: int
) -> list[Neighbour]:
    """
    See `Queue.neighbours`.

    Args:
        connection: A connection to the store.
        event_id: The item's event id.
        own: Digests of the item's words.
        labels: The labels of the item's decision. A tag from another set of labels, `off_subject` too, tells nothing about the item.
        limit: The most neighbours.
    """
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
    decided = select(items.c.event_id, _LISTED_TITLE, items.c.words, items.c.tag, items.c.probabilities).join(
        candidates, candidates.c.event_id == items.c.event_id
    )
    found = [
        Neighbour(
            event_id=other, title=title, tag=tag, likeness=duplicates.weighed(own, duplicates.unpacked(kept), known, texts)
        )
        for other, title, kept, tag, probabilities in connection.execute(decided.where(items.c.tag.is_not(None)))
        if _labels(probabilities) == labels
    ]
    found.sort(key=lambda neighbour: (-neighbour.likeness, neighbour.event_id))
    return [neighbour for neighbour in found if neighbour.likeness >= LEAST_ALIKE][:limit]


def _figures(connection: Connection, now_ms: int) -> QueueFigures:
    by_door = (
        select(items.c.door, func.count(), func.min(items.c.tagged_ms)).where(items.c.door.is_not(None)).group_by(items.c.door)
    )
    rows = connection.execute(by_door).all()
    # With one reviewer a second opinion may wait for ever, so it does not count as backlog.
    waiting = [oldest for door, _, oldest in rows if door != Door.SECOND_OPINION]
    known = select(items.c.event_id).where(items.c.event_id == reports.c.event_id).exists()
    return QueueFigures(
        open={Door(door): found for door, found, _ in rows if door is not None},
        held=sum(place is not None for place in connection.execute(select(items.c.place).where(_held(now_ms))).scalars()),
        oldest_ms=min(waiting, default=None),
        answered=connection.execute(select(func.count(distinct(answers.c.event_id)))).scalar_one(),
        unmatched_reports=connection.execute(select(func.count(distinct(reports.c.event_id))).where(~known)).scalar_one(),
    )


def _digest(kind: str, name: str) -> str:
    return hashlib.blake2b(name.encode(), digest_size=16, person=kind.encode()).hexdigest()

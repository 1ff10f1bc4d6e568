"""Who holds which item. Each change is one compare-and-set in a transaction, so that two reviewers never hold the same item.

A lease ends when another reviewer takes the item after `until_ms`, when the event gets an answer, or when it is given back. No job
ends leases: whether one has lapsed is a condition of each statement.
"""

import secrets
from typing import Any

from sqlalchemy import ColumnElement, Connection, and_, exists, or_, select, update

from stream.contract.answers import next_version
from stream.review.store import reading
from stream.review.store.database.tables import answers, items, skips
from stream.review.store.facts import Claim, Door, Lapsed

# How long an item stays with a reviewer who is silent: reading a long text, a call. Every request of the page begins it anew.
LEASE_MS = 10 * 60 * 1000
# How long an item that is being saved is given to nobody: longer than the producer may take.
SAVING_MS = 60 * 1000
SKIP_MS = 60 * 60 * 1000
# What ends later than anything that is given now was given before the clock was set back, and is over. The clocks of two consoles may
# differ by so much.
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

_LEASE = ("holder", "token", "held_for", "held_version", "claimed_ms", "until_ms", "saving_until_ms")
_ROW = select(*reading.ITEM_COLUMNS, items.c.door, items.c.version, items.c.answer_id, *(items.c[name] for name in _LEASE))


def claim(connection: Connection, reviewer: str, now_ms: int) -> Claim | None:
    """The item that the reviewer holds, else the first that nobody holds; None if there is none."""
    row = connection.execute(
        _ROW.where(_held_by(reviewer, now_ms)).order_by(items.c.claimed_ms.desc()).limit(1).with_for_update()
    ).first()
    if row is not None:
        return _renewed(connection, row, now_ms)
    waiting = _ROW.where(items.c.place.is_not(None), free(now_ms), _for(reviewer, now_ms))
    row = connection.execute(
        waiting.order_by(items.c.place, items.c.urgency, items.c.event_id).limit(1).with_for_update(skip_locked=True)
    ).first()
    return None if row is None else _take(connection, row, reviewer, Door(row.door), now_ms)


def renew(connection: Connection, event_id: str, token: str, now_ms: int) -> Claim | Lapsed:
    """The claim of this token, for another `LEASE_MS`."""
    row = _locked(connection, event_id)
    lapsed = _lapsed(row, token, now_ms)
    return lapsed if lapsed is not None else _renewed(connection, row, now_ms)


def reopen(connection: Connection, event_id: str, reviewer: str, now_ms: int) -> Claim | Lapsed:
    """Hold an answered item for a correction."""
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


def give_back(connection: Connection, event_id: str, token: str, now_ms: int, *, skipped: bool) -> None:
    """End a lease; with `skipped` the reviewer is not given the item again for `SKIP_MS`."""
    row = _locked(connection, event_id)
    if row is None or row.token != token:
        return
    _set(connection, event_id, dict.fromkeys(_LEASE))
    if skipped:
        own = (skips.c.event_id == event_id, skips.c.reviewer == row.holder)
        connection.execute(skips.delete().where(or_(and_(*own), skips.c.until_ms <= now_ms)))
        connection.execute(skips.insert().values(event_id=event_id, reviewer=row.holder, until_ms=now_ms + SKIP_MS))


def hold_for_saving(connection: Connection, event_id: str, token: str, now_ms: int) -> Claim | Lapsed:
    """Keep the item from everybody, its holder too, while its answer is under way."""
    row = _locked(connection, event_id)
    lapsed = _lapsed(row, token, now_ms)
    if lapsed is not None:
        return lapsed
    until = max(row.until_ms, now_ms + SAVING_MS)
    _set(connection, event_id, {"saving_until_ms": now_ms + SAVING_MS, "until_ms": until})
    return _claim(connection, row, until)


def take_for_saving(connection: Connection, event_id: str, reviewer: str, now_ms: int) -> Claim | None:
    """Keep an item that nobody holds while the answer to its near-duplicate is under way; None if it was taken or answered."""
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


def not_saved(connection: Connection, event_id: str, token: str) -> None:
    """Nothing was written: the holder may answer again at once."""
    connection.execute(update(items).where(items.c.event_id == event_id, items.c.token == token).values(saving_until_ms=0))


def held(now_ms: int) -> ColumnElement[bool]:
    """Whether someone holds an item now."""
    return and_(_running(items.c.until_ms, LEASE_MS, now_ms), items.c.held_version == items.c.version)


def _running(end_ms: ColumnElement[Any], most_ms: int, now_ms: int) -> ColumnElement[bool]:
    """Whether a span is not over that was given with an end, at most `most_ms` ahead; none is where it has no end."""
    return end_ms.between(now_ms + 1, now_ms + most_ms + SKEW_MS)


def _runs(end_ms: int, most_ms: int, now_ms: int) -> bool:
    return now_ms < end_ms <= now_ms + most_ms + SKEW_MS


def _held_by(reviewer: str, now_ms: int) -> ColumnElement[bool]:
    """A lease that lapsed counts too, since nobody has taken the item."""
    return and_(
        items.c.holder == reviewer,
        items.c.held_version == items.c.version,
        or_(items.c.place.is_not(None), items.c.held_for == Door.CORRECTION),
        ~_running(items.c.saving_until_ms, SAVING_MS, now_ms),
    )


def free(now_ms: int) -> ColumnElement[bool]:
    """Whether nobody holds an item now."""
    return or_(items.c.holder.is_(None), ~_running(items.c.until_ms, LEASE_MS, now_ms), items.c.held_version != items.c.version)


def _for(reviewer: str, now_ms: int) -> ColumnElement[bool]:
    still = _running(skips.c.until_ms, SKIP_MS, now_ms)
    skipped = exists().where(skips.c.event_id == items.c.event_id, skips.c.reviewer == reviewer, still)
    answered = exists().where(answers.c.event_id == items.c.event_id, answers.c.reviewer == reviewer)
    return and_(~skipped, or_(items.c.door != Door.SECOND_OPINION, ~answered))


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


def _set(connection: Connection, event_id: str, values: dict[str, Any]) -> None:
    connection.execute(update(items).where(items.c.event_id == event_id).values(**values))


def _claim(connection: Connection, row: Any, until_ms: int) -> Claim:
    door = Door(row.held_for)
    seen = None if door.blind or row.answer_id is None else reading.answer(connection, row.answer_id)
    return Claim(
        item=reading.item_of(row),
        door=door,
        reviewer=row.holder,
        token=row.token,
        until_ms=until_ms,
        version=next_version(row.version),
        supersedes=row.answer_id,
        reports=() if door.blind else tuple(reading.reports_on(connection, row.event_id)),
        before=seen,
    )

"""How many reports are taken within an hour, so that a script can neither fill the queue nor push one event to its front again and again."""

import hashlib

from sqlalchemy import Connection, select

from stream.review.store.database.tables import allowances
from stream.review.store.facts import TooMany

HOUR_MS = 3_600_000
# Of one caller, about one event, and of all together, within an hour of the clock.
OF_A_CALLER, ABOUT_AN_EVENT, OF_ALL = 30, 5, 3000
MESSAGES = {
    "caller": "You have sent {most} reports within this hour, which is the most that is taken. Next: send more in {minutes} minutes.",
    "event": "This event was reported {most} times within this hour, and a reviewer will look at it. Next: there is nothing more to do.",
    "all": "More reports came within this hour than reviewers can look at. Next: send yours again in {minutes} minutes.",
}


def admit_report(connection: Connection, caller: str, event_id: str, now_ms: int) -> TooMany | None:
    """Count a report, or say why it is not taken. One that is not taken is counted nowhere."""
    hour = now_ms // HOUR_MS
    connection.execute(allowances.delete().where(allowances.c.hour < hour))
    # Digests: an address of a reader is kept nowhere.
    bounds = {
        "caller": (_digest("caller", caller), OF_A_CALLER),
        "event": (_digest("event", event_id), ABOUT_AN_EVENT),
        "all": ("all", OF_ALL),
    }
    mine = (allowances.c.hour == hour, allowances.c.whose.in_([whose for whose, _ in bounds.values()]))
    taken = dict(connection.execute(select(allowances.c.whose, allowances.c.taken).where(*mine)).tuples().all())
    seconds = int((hour + 1) * HOUR_MS - now_ms + 999) // 1000
    for kind, (whose, most) in bounds.items():
        if taken.get(whose, 0) >= most:
            message = MESSAGES[kind].format(most=most, minutes=-(-seconds // 60))
            return TooMany(retry_after_seconds=seconds, message=message)
    for whose, _ in bounds.values():
        if whose in taken:
            row = (allowances.c.whose == whose, allowances.c.hour == hour)
            connection.execute(allowances.update().where(*row).values(taken=taken[whose] + 1))
        else:
            connection.execute(allowances.insert().values(whose=whose, hour=hour, taken=1))
    return None


def _digest(kind: str, name: str) -> str:
    return hashlib.blake2b(name.encode(), digest_size=16, person=kind.encode()).hexdigest()

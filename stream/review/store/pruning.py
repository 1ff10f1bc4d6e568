"""Forgets what is older than people will look at, so that the store does not grow for ever."""

from sqlalchemy import Connection, delete, func, select

from stream.review.store.database.tables import decisions, items, places, prints, reports, samples, skips, terms, totals


def prune(connection: Connection, keep_ms: int, now_ms: int) -> int:
    """
    Forget decisions that are older than `keep_ms`, answered or not, and reports of events that nobody knows.

    Answers stay: they are the only thing here that people made. No clock is ahead of the newest decision: one that was set wrong
    would empty the queue, and what is deleted here is not read again.

    Returns:
        How many items went.
    """
    newest = [connection.execute(select(func.max(table.c.tagged_ms))).scalar() or 0 for table in (items, places)]
    before_ms = min(now_ms, max(newest)) - keep_ms
    old = select(items.c.event_id).where(items.c.tagged_ms < before_ms)
    for table in (prints, terms, skips):
        connection.execute(delete(table).where(table.c.event_id.in_(old)))
    gone = connection.execute(delete(items).where(items.c.tagged_ms < before_ms)).rowcount
    unknown = ~select(items.c.event_id).where(items.c.event_id == reports.c.event_id).exists()
    connection.execute(delete(reports).where(reports.c.reported_ms < before_ms, unknown))
    for table in (samples, decisions, places):
        connection.execute(delete(table).where(table.c.tagged_ms < before_ms))
    connection.execute(delete(totals).where(totals.c.hour_ms < before_ms))
    return gone

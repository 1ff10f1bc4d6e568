"""`tagstream lookup`: shows the decisions on one event, their authors, and which decision holds."""

from typing import Annotated

import typer

from tagstream.stream.cli.exits import EXIT_FAILED, EXIT_USAGE, fail, needing, note
from tagstream.stream.cli.options import Brokers, Json, finite, not_empty, settings


def lookup(
    event_id: Annotated[str, typer.Argument(help="Id of the event.", metavar="EVENT_ID", callback=not_empty)],
    brokers: Brokers = None,
    key: Annotated[
        str | None,
        typer.Option(
            help="Record key that the producer gave the event; if it gave one and --key is missing, all partitions are read."
        ),
    ] = None,
    seconds: Annotated[
        float, typer.Option(help="Most seconds to read, the newest records first.", min=1, callback=finite)
    ] = 60.0,
    table: Annotated[
        str | None,
        typer.Option(
            help="Ask this table of `tagstream tags` or `batch` instead of the topics: sqlite:///FILE or postgresql://..., and #NAME.",
            metavar="URL",
            callback=not_empty,
        ),
    ] = None,
    json: Json = False,
) -> None:
    """
    Show the decisions, answers and dead letters of one event, and which decision holds.

    It reads tagged, review, the dead letters and reviewed. With --table it reads a table instead, which is faster and has only decisions.
    """
    if table is not None:
        if key is not None or brokers is not None:
            fail("--table asks no brokers. Next: leave out --key and --brokers, or --table.", EXIT_USAGE)
        _in_table(table, event_id, as_json=json)
        return
    chosen = settings(brokers=brokers)
    from tagstream.stream.cli.show.lookup import print_looked
    from tagstream.stream.review.lookup import look_up

    found = look_up(chosen, event_id, key=None if key is None else key.encode(), seconds=seconds, say=note)
    print_looked(found, as_json=json)
    if found.unread:
        note(
            f"{seconds:g} s were over before {', '.join(found.unread)} had been read to the beginning; older records may say more. "
            f"Next: give more --seconds, or the producer's --key."
        )
    if found.is_empty:
        fail(
            f"no record of the event {event_id!r} was found. Next: check the id, that the event was sent, and that retention "
            "has not deleted its records.",
            EXIT_FAILED,
        )


def _in_table(table: str, event_id: str, *, as_json: bool) -> None:
    from tagstream.stream.cli.show.lookup import print_kept

    with needing("a table", "batch"):
        from tagstream.stream.tables.predictions import open_predictions
    with open_predictions(table, read_only=True) as predictions:
        rows, epochs, name = predictions.of_event(event_id), predictions.epochs(), predictions.name
    print_kept(event_id, rows, epochs, as_json=as_json)
    if not rows:
        fail(
            f"{name} has no decision on the event {event_id!r}. Next: check the id, and that the table is as new as the topics. "
            f"`tagstream lookup` without --table reads the topics.",
            EXIT_FAILED,
        )

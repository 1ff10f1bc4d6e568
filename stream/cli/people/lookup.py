"""`tagstream lookup`: what was decided about one event, by whom, and which decision holds."""

from typing import Annotated

import typer

from stream.cli.exits import EXIT_FAILED, fail, note
from stream.cli.options import Brokers, Json, finite, not_empty, settings


def lookup(
    event_id: Annotated[str, typer.Argument(help="Id of the event.", metavar="EVENT_ID", callback=not_empty)],
    brokers: Brokers = None,
    key: Annotated[
        str | None,
        typer.Option(
            help="The record key that its producer gave; all partitions are read if it had one and this is not given."
        ),
    ] = None,
    seconds: Annotated[
        float, typer.Option(help="Read for so many seconds at most, the newest records first.", min=1, callback=finite)
    ] = 60.0,
    json: Json = False,
) -> None:
    """
    Show the decisions, answers and dead letters of one event, and which decision holds.

    It reads tagged, review, the dead letters and reviewed.
    """
    chosen = settings(brokers=brokers)
    from stream.cli.show import looked
    from stream.review.lookup import look_up

    found = look_up(chosen, event_id, key=None if key is None else key.encode(), seconds=seconds, say=note)
    looked.print_looked(found, as_json=json)
    if found.unread:
        note(
            f"{seconds:g} s were over before {', '.join(found.unread)} had been read to the beginning; older records may say more. "
            f"Next: give more --seconds, or the producer's --key."
        )
    if found.is_empty:
        fail(
            f"no record of the event {event_id!r} was found. Next: is the id right, has the event been sent, and has retention left it?",
            EXIT_FAILED,
        )

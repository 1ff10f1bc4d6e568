"""`tagstream tail`: the records of a topic as they come."""

from typing import Annotated

import typer

from stream.cli.exits import EXIT_FAILED, fail
from stream.cli.options import Brokers, Idle, Json, settings


def tail(
    topic: Annotated[str, typer.Argument(help="content, tagged, review, dlq, ... or any topic's name.")],
    brokers: Brokers = None,
    json: Json = False,
    from_beginning: Annotated[bool, typer.Option("--from-beginning", help="Start at the oldest record.")] = False,
    max_records: Annotated[int | None, typer.Option("--max", help="Stop after so many records.", min=1)] = None,
    idle: Idle = None,
    at_least: Annotated[int, typer.Option(help="Fail when fewer records came.", min=0)] = 0,
    distinct: Annotated[
        bool, typer.Option("--distinct", help="Show each outcome once; say how many duplicates came; exit 4 on a conflict.")
    ] = False,
) -> None:
    """Show the records of a topic as they come."""
    chosen = settings(brokers=brokers)
    from stream.cli.show import records

    shown = records.tail(
        chosen,
        topic,
        as_json=json,
        from_beginning=from_beginning,
        max_records=max_records,
        idle_seconds=idle,
        distinct=distinct,
    )
    if shown < at_least:
        fail(f"{shown} records of {topic} came, {at_least} were to come. Next: does anything send to it?", EXIT_FAILED)

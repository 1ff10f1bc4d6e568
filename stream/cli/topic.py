"""`tagstream send` and `tail`: send events to a topic, and show the records of a topic as they come."""

from typing import Annotated, Literal

import typer

from tagstream.stream.cli.exits import EXIT_FAILED, EXIT_USAGE, fail, note
from tagstream.stream.cli.options import (
    Brokers,
    DescriptionColumn,
    DriftAfter,
    DriftKind,
    IdColumn,
    Idle,
    Json,
    TitleColumn,
    finite,
    not_empty,
    settings,
)
from tagstream.stream.terminal.text import counted


def send(
    what: Annotated[
        str | None,
        typer.Argument(help="A CSV or JSON Lines file, or - for standard input.", metavar="FILE|-", callback=not_empty),
    ] = None,
    brokers: Brokers = None,
    topic: Annotated[
        str | None, typer.Option(help="Topic; topics.content of the settings unless given.", callback=not_empty)
    ] = None,
    rate: Annotated[
        float | None,
        typer.Option(help="Events a second; as fast as the broker confirms unless given.", min=0.001, callback=finite),
    ] = None,
    title: TitleColumn = None,
    description: DescriptionColumn = None,
    event_id: IdColumn = None,
    key_field: Annotated[
        str | None,
        typer.Option(help="Field whose text or number is the record's key; no key unless given.", callback=not_empty),
    ] = None,
    as_is: Annotated[bool, typer.Option("--as-is", help="Also send rows that will become dead letters.")] = False,
    samples: Annotated[
        bool,
        typer.Option(
            "--samples", help="Send sample events instead of a file, until stopped; 20 a second unless --rate is given."
        ),
    ] = False,
    drift: DriftKind = "none",
    drift_after: DriftAfter = 0.0,
) -> None:
    """
    Send the rows of a file as events. The command ends when the broker has confirmed all events.

    A file is checked first: if a row would become a dead letter, nothing is sent (exit code 4). Standard input is checked row by row, and
    the first row that would become a dead letter ends the command.
    """
    chosen = settings(brokers=brokers)
    from tagstream.stream.terminal import console

    of_file = (title, description, event_id, key_field, as_is or None)
    if (
        (what is None) != samples
        or (drift != "none" and not samples)
        or (samples and any(given is not None for given in of_file))
    ):
        fail(
            "`send` takes a file and options for it, or --samples, perhaps with --drift. Next: give one of the two.", EXIT_USAGE
        )
    name = topic or chosen.topics.content
    if what is None:
        from tagstream.stream.demo.producer import produce
        from tagstream.stream.demo.shifts import Drift, Shift
        from tagstream.stream.kafka.admin import require
        from tagstream.stream.kafka.rights import Operation

        require(chosen, {"content": name}, operations={"content": Operation.WRITE})
        moves = Drift(shift=Shift(drift), after_seconds=drift_after)
        sent = produce(chosen, topic=name, rate=rate or 20.0, drift=moves, say=console.talk)
    else:
        from tagstream.model_export.data.reader import Columns
        from tagstream.stream.batch import sending

        columns = Columns(title=title, description=description, id=event_id)
        plan = sending.SendPlan(topic=name, columns=columns, rate=rate, key_field=key_field, as_is=as_is)
        sent = sending.send(chosen, what, plan, say=note)
    console.talk(f"{counted(sent, 'event')} in {name}, confirmed by the broker")


def tail(
    topic: Annotated[
        str, typer.Argument(help="content, tagged, review, dlq, drift, ... or any topic's name.", callback=not_empty)
    ],
    brokers: Brokers = None,
    json: Json = False,
    from_beginning: Annotated[bool, typer.Option("--from-beginning", help="Start at the oldest record.")] = False,
    max_records: Annotated[int | None, typer.Option("--max", help="Stop after this number of records.", min=1)] = None,
    idle: Idle = None,
    at_least: Annotated[int, typer.Option(help="Exit with 1 if fewer records came.", min=0)] = 0,
    distinct: Annotated[
        bool,
        typer.Option(
            "--distinct", help="Show each outcome once; count duplicates and conflicts; exit 4 if there is a conflict."
        ),
    ] = False,
    tag: Annotated[str | None, typer.Option(help="Only decisions with this tag.", callback=not_empty)] = None,
    decider: Annotated[
        Literal["model", "reviewer", "rules"] | None, typer.Option(help="Only decisions of this decider.")
    ] = None,
    event_id: Annotated[
        str | None,
        typer.Option("--id", help="Only records of the event with this id (or, without one, this key).", metavar="ID"),
    ] = None,
) -> None:
    """Show the records of a topic as they come."""
    chosen = settings(brokers=brokers)
    from tagstream.stream.cli.show import records
    from tagstream.stream.cli.show.record_filter import RecordFilter, unknown_tag

    warning = None if tag is None else unknown_tag(chosen, tag)
    if warning is not None:
        note(warning)
    shown = records.tail(
        chosen,
        topic,
        as_json=json,
        from_beginning=from_beginning,
        max_records=max_records,
        idle_seconds=idle,
        distinct=distinct,
        keep=RecordFilter(tag=tag, decider=decider, id=event_id),
    )
    if shown < at_least:
        fail(
            f"{counted(shown, 'record')} of {topic} came, {at_least} were to come. Next: check that a program sends to it.",
            EXIT_FAILED,
        )

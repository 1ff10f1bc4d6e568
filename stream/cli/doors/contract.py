"""`tagstream contract`: the contract of the topics for programs, and a producer's records judged by it."""

import sys
from typing import Annotated, Literal

import typer

from stream.cli.exits import EXIT_CONTRACT, EXIT_USAGE, fail, note
from stream.cli.options import DescriptionColumn, IdColumn, Json, TitleColumn, not_empty, settings
from stream.terminal.text import counted

app = typer.Typer(help="The contract of the topics.", no_args_is_help=True, rich_markup_mode=None)


@app.command("show")
def show(
    topic: Annotated[
        str | None,
        typer.Argument(help="One topic, or one schema such as content.read; all unless given.", callback=not_empty),
    ] = None,
    form: Annotated[
        Literal["asyncapi", "jsonschema"] | None,
        typer.Option("--format", help="asyncapi, or jsonschema; jsonschema if a topic is given."),
    ] = None,
) -> None:
    """Print the contract as AsyncAPI 3 or JSON Schema. Topics have the names of the settings."""
    topics = settings().topics.model_dump()
    from stream.contract.schema.asyncapi import TOPICS, document
    from stream.contract.schema.pages import rendered
    from stream.contract.schema.topics import schemas

    known = schemas()
    roles = {name: found for found in TOPICS for name in (found.role, found.address, topics[found.role])}
    role = None if topic is None else roles.get(topic)
    if topic is not None and role is None and (topic not in known or form == "asyncapi"):
        names = ", ".join(dict.fromkeys([*(found.role for found in TOPICS), *(known if form != "asyncapi" else ())]))
        fail(f"the contract has no topic {topic!r}. Next: give one of {names}.", EXIT_USAGE)
    if form == "asyncapi" or (form is None and topic is None):
        sys.stdout.write(rendered(document(topics, only=None if role is None else role.role)))
    elif topic is None:
        sys.stdout.write(rendered(known))
    else:
        sys.stdout.write(rendered(known[topic if role is None else role.to_write]))


@app.command("check")
def check(
    what: Annotated[
        str,
        typer.Argument(help="A CSV or JSON Lines file, or - for standard input.", metavar="FILE|-", callback=not_empty),
    ],
    json: Json = False,
    title: TitleColumn = None,
    description: DescriptionColumn = None,
    event_id: IdColumn = None,
) -> None:
    """
    Say for each record what a worker would make of it, and why. No broker and no model are needed.

    Exit code 4: at least one would become a dead letter.
    """
    limits = settings().limits
    from stream.batch.check import check as checked_rows
    from stream.batch.look import Look
    from stream.batch.rows.columns import Columns
    from stream.batch.rows.files import rows_of
    from stream.batch.rows.row import name_of
    from stream.terminal import console

    look = Look(limits)
    rows = rows_of(what, Columns(title=title, description=description, id=event_id))
    with console.progress(f"checking {what}", shown=not sys.stdout.isatty()) as advance:
        for checked in checked_rows(rows, look):
            if json:
                console.show_json_line(checked.line)
            else:
                console.out.print(checked.shown)
            advance()
    sys.stdout.flush()
    if not look.rows:
        note(f"{name_of(what)} has no row: nothing is checked")
    if look.repetition is not None:
        note(look.repetition)
    dead = look.codes.total()
    if dead:
        codes = ", ".join(f"{count} {code}" for code, count in look.codes.most_common())
        fail(
            f"{dead} of {counted(look.rows, 'row')} would become {'a dead letter' if dead == 1 else 'dead letters'} ({codes}). "
            f"Next: correct them; docs/producers.md has an example of each code. {look.form}".rstrip(),
            EXIT_CONTRACT,
        )
    if look.rows:
        note(f"{counted(look.rows, 'row')}: {'each' if look.rows > 1 else 'it'} gets a decision, on tagged or review")

"""`tagstream contract`: prints the contract of the topics, and checks a producer's records against the contract."""

import sys
from typing import Annotated, Literal

import typer

from tagstream.stream.cli.exits import EXIT_CONTRACT, EXIT_USAGE, fail, note
from tagstream.stream.cli.options import (
    ContentTopic,
    DescriptionColumn,
    IdColumn,
    Json,
    TitleColumn,
    not_empty,
    of_content,
    settings,
)
from tagstream.stream.terminal.text import counted

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
    """
    Print the contract as AsyncAPI 3 or JSON Schema.

    Topics have the names that the settings give them. To print a further topic of events, give its name.
    """
    chosen = settings()
    if topic in chosen.contents:
        chosen = chosen.of_content(topic)
    topics, shape = chosen.topics.model_dump(), chosen.fields.shape
    from tagstream.stream.contract.schema.asyncapi import TOPICS, document
    from tagstream.stream.contract.schema.pages import rendered
    from tagstream.stream.contract.schema.topics import schemas

    known = schemas(shape)
    roles = {name: found for found in TOPICS for name in (found.role, found.address, topics[found.role])}
    role = None if topic is None else roles.get(topic)
    if topic is not None and role is None and (topic not in known or form == "asyncapi"):
        names = ", ".join(dict.fromkeys([*(found.role for found in TOPICS), *(known if form != "asyncapi" else ())]))
        fail(f"the contract has no topic {topic!r}. Next: give one of {names}.", EXIT_USAGE)
    if form == "asyncapi" or (form is None and topic is None):
        sys.stdout.write(rendered(document(topics, only=None if role is None else role.role, shape=shape)))
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
    topic: ContentTopic = None,
) -> None:
    """
    Say for each record whether a worker would decide it or make it a dead letter, and why. No broker and no model are needed.

    Exit code 4: at least one record would become a dead letter.
    """
    limits = of_content(settings(), topic).limits
    from tagstream.model_export.data.reader import Columns, name_of, rows_of
    from tagstream.stream.batch.row_survey import RowSurvey
    from tagstream.stream.batch.row_survey import check as checked_rows
    from tagstream.stream.terminal import console

    look = RowSurvey(limits)
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

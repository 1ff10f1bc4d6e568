"""`tagstream batch`: tags all rows of files or of a table, and writes files or a table."""

from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Literal

import typer

from tagstream.stream.cli.exits import EXIT_FAILED, fail, note
from tagstream.stream.cli.options import (
    AsOf,
    BundleFolder,
    Decider,
    DescriptionColumn,
    IdColumn,
    Json,
    Threshold,
    TitleColumn,
    path,
    settings,
)


def batch(
    source: Annotated[
        str, typer.Argument(help="CSV, JSON Lines or Parquet: a file, a folder, a quoted glob; or URL#TABLE.", metavar="IN")
    ],
    out: Annotated[
        str, typer.Argument(help="A .csv, .jsonl or .parquet file; a folder (with a /); or URL#TABLE.", metavar="OUT")
    ],
    form: Annotated[
        Literal["csv", "jsonl", "parquet"] | None,
        typer.Option("--format", help="Format of the files in a folder; parquet unless given."),
    ] = None,
    fresh: Annotated[
        bool, typer.Option("--fresh", help="Begin again: discard the state of an earlier run, and replace OUT.")
    ] = False,
    rejected: Annotated[
        Path | None,
        typer.Option(
            help="File for the rows that are not events; OUT.rejected.jsonl unless given.", metavar="FILE", parser=path
        ),
    ] = None,
    escape_formulas: Annotated[
        bool,
        typer.Option("--escape-formulas", help="In CSV, put an apostrophe before each cell that a spreadsheet would compute."),
    ] = False,
    json: Json = False,
    bundle: BundleFolder = None,
    as_of: AsOf = None,
    threshold: Threshold = None,
    decider: Decider = None,
    title: TitleColumn = None,
    description: DescriptionColumn = None,
    event_id: IdColumn = None,
) -> None:
    """Tag all rows of files or of a table, without Kafka. After a stop, the same command goes on where it stopped."""
    chosen = settings(bundle=bundle, confidence_threshold=threshold, decider=decider)
    from tagstream.model_export.data.reader import Columns
    from tagstream.stream.batch.order import Order, run_order, shown
    from tagstream.stream.cli.as_of import decider_of_stream
    from tagstream.stream.terminal import console
    from tagstream.stream.terminal.text import counted

    columns = Columns(title=title, description=description, id=event_id)
    order = Order(
        source=source, out=out, columns=columns, form=form, fresh=fresh, rejected=rejected, escape_formulas=escape_formulas
    )
    in_force = None if as_of is None else decider_of_stream(chosen, as_of, bundle=bundle, threshold=threshold)
    found = run_order(chosen, order, decider=in_force)
    if json:
        console.show_json(asdict(found))
    kept = f", {found.kept} that the table needs no decision for" if found.kept else ""
    note(f"{console.visible(shown(out))}: {counted(found.rows, 'row')}: {found.tagged} tagged, {found.review} for review{kept}")
    if found.rejected:
        note(f"{counted(found.rejected, 'row')} rejected: {order.side_file} has line, reason and bytes of each")
    if found.rejected and found.rejected == found.rows:
        fail(
            "no row is an event. Next: name the columns by --title, --description and --id, or look at the reasons.",
            EXIT_FAILED,
        )

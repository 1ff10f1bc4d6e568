"""Options of the verbs that take labelled rows of the user's own: its columns, and what is refused."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from stream.cli.options import not_empty, path

if TYPE_CHECKING:
    from model_export.data.own.columns import OwnColumns

TagColumn = Annotated[
    str | None, typer.Option("--tag", help="Column of the label; `label` is found too.", metavar="NAME", parser=not_empty)
]
SplitColumn = Annotated[
    str | None,
    typer.Option("--split", help="Column of the part: train, calibration or test.", metavar="NAME", parser=not_empty),
]
GroupColumn = Annotated[
    str | None,
    typer.Option("--group", help="Column of the group, whose rows stay in one part.", metavar="NAME", parser=not_empty),
]
SourceColumn = Annotated[
    str | None, typer.Option("--source", help="Column of the kind of text.", metavar="NAME", parser=not_empty)
]
Gold = Annotated[Path | None, typer.Option(help="Rows that will only be measured on.", metavar="FILE", parser=path)]
Quick = Annotated[
    bool, typer.Option("--quick", help="Fit a head to the base encoder, in minutes, instead of tuning the whole network.")
]
BaseCorpus = Annotated[
    bool, typer.Option("--base-corpus", help="Learn from tagstream's own rows too, of those labels that are its own.")
]
WorkFolder = Annotated[
    Path | None,
    typer.Option(
        "--work", help="Folder that keeps a stopped training; FOLDER.work unless given.", metavar="FOLDER", parser=path
    ),
]
Strict = Annotated[bool, typer.Option("--strict", help="Refuse rows with warnings too, and write nothing.")]
Allow = Annotated[
    list[str] | None,
    typer.Option(help="A kind of warning that --strict lets pass; can be repeated.", metavar="KIND", parser=not_empty),
]


def columns(**names: Any) -> "OwnColumns":
    """The file's names for the fields, as options gave them; None is the field's own name."""
    from model_export.data.own.columns import OwnColumns

    return OwnColumns(**names)

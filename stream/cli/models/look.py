"""`tagstream model look`: what is wrong with labelled rows, before a model is made of them."""

import importlib.util
from pathlib import Path
from typing import Annotated

import typer

from stream.cli.exits import EXIT_USAGE, fail
from stream.cli.models.own import Allow, Gold, GroupColumn, SourceColumn, SplitColumn, Strict, TagColumn, columns
from stream.cli.options import DescriptionColumn, IdColumn, Json, TitleColumn, path
from stream.terminal import console


def look(
    file: Annotated[Path, typer.Argument(help="Labelled rows: CSV, JSON Lines or Parquet.", metavar="FILE", parser=path)],
    gold: Gold = None,
    title: TitleColumn = None,
    description: DescriptionColumn = None,
    tag: TagColumn = None,
    split: SplitColumn = None,
    group: GroupColumn = None,
    source: SourceColumn = None,
    id: IdColumn = None,  # noqa: A002 - the option's name
    strict: Strict = False,
    allow: Allow = None,
    json: Json = False,
) -> None:
    """
    Look at labelled rows before a model is trained on them. Needs the extra `export`.

    Reports empty, repeated and contradictory rows, rows of the gold set, small labels, other languages and probable label
    errors, each with its lines. Ends with 2 where no model can be made of the rows, and with --strict 1 for warnings.
    """
    if importlib.util.find_spec("sklearn") is None:
        from model_export import extras

        fail(f"this command needs scikit-learn, which a worker does not. Next: {extras.install('export')}.", EXIT_USAGE)
    from model_export.data.own.read import read_own
    from model_export.measure.own import look_at

    named = columns(title=title, description=description, tag=tag, split=split, group=group, source=source, id=id)
    rows = read_own(file, named)
    found = look_at(rows, None if gold is None else read_own(gold, named.of_gold()))
    if json:
        for record in found.records():
            console.show_json(record)
    else:
        console.show(found.as_text())
    found.refuse(strict=strict, allowed=allow or ())

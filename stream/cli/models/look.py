"""`tagstream model look`: what is wrong with labelled rows, before a model is made of them."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

import typer

from tagstream.stream.cli.models.options import MULTILINGUAL, Allow, Base, ColumnOptions, Gold, Strict
from tagstream.stream.cli.options import IdColumn, Json, path, verb
from tagstream.stream.terminal import console


@dataclass(frozen=True, slots=True, kw_only=True)
class LookOptions:
    """The options of `tagstream model look`."""

    file: Annotated[Path, typer.Argument(help="Labelled rows: CSV, JSON Lines or Parquet.", metavar="FILE", parser=path)]
    gold: Gold = None
    base: Base = None
    columns: ColumnOptions = field(default_factory=ColumnOptions)
    id: IdColumn = None
    strict: Strict = False
    allow: Allow = None
    json: Json = False


@verb(LookOptions)
def look(options: LookOptions) -> None:
    """
    Look at labelled rows before a model is trained on them. Needs scikit-learn.

    Reports empty, repeated and contradictory rows, rows of the gold set, small labels, other languages and probable label
    errors, each with its lines. Ends with 2 where no model can be made of the rows, and with --strict 1 for warnings.
    """
    from tagstream.stream.cli.models.needs import require_multilingual, require_scikit_learn

    require_scikit_learn()
    if options.base == MULTILINGUAL:
        require_multilingual()
    from tagstream.model_export.data.own.read import read_own
    from tagstream.model_export.data.own.texts import multilingual_encoder
    from tagstream.model_export.measure.own import look_at

    columns = options.columns.of_file(options.id)
    rows = read_own(options.file, columns)
    found = look_at(
        rows,
        None if options.gold is None else read_own(options.gold, columns.of_gold()),
        encoder=multilingual_encoder() if options.base == MULTILINGUAL else None,
    )
    if options.json:
        for record in found.records():
            console.show_json(record)
    else:
        console.show(found.as_text())
    found.refuse(strict=options.strict, allowed=options.allow or ())

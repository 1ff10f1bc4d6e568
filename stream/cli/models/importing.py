"""`tagstream model import`: makes a bundle of a classifier that was trained elsewhere."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from tagstream.model_export.bundle.limits import MOST_WINDOWS
from tagstream.monitoring.vocabulary import few
from tagstream.stream.cli.exits import EXIT_USAGE, fail
from tagstream.stream.cli.models.options import ColumnOptions, NamesOptions, PromiseOptions
from tagstream.stream.cli.options import not_empty, path, verb
from tagstream.stream.terminal import console

if TYPE_CHECKING:
    from tagstream.model_export.data.own.rows import OwnRow, OwnRows
    from tagstream.model_export.data.splits import Splits
    from tagstream.model_export.make.imported_classifier import Imported, Original
    from tagstream.model_export.make.steps import Made


@dataclass(frozen=True, slots=True, kw_only=True)
class ImportOptions:
    """The options of `tagstream model import`."""

    place: Annotated[
        str,
        typer.Argument(
            help="Folder of a classifier of transformers, an ONNX file, or hf://NAME@REVISION.",
            metavar="MODEL",
            parser=not_empty,
        ),
    ]
    out: Annotated[Path, typer.Argument(help="Folder to write the bundle to.", metavar="OUT", parser=path)]
    calibrate: Annotated[
        Path,
        typer.Option(
            help="Labelled rows that the model has not learned from: thresholds and drift reference come from them.",
            metavar="FILE",
            parser=path,
        ),
    ]
    gold: Annotated[Path | None, typer.Option(help="Rows that are used only to measure.", metavar="FILE", parser=path)] = None
    trained_on: Annotated[
        Path | None,
        typer.Option(
            help="The rows that the model was trained on: their repeats are left out of the other files, and their words are familiar.",
            metavar="FILE",
            parser=path,
        ),
    ] = None
    labels: Annotated[
        str | None,
        typer.Option(
            help="The labels in the order of the model's scores; the labels in its config.json unless given.",
            metavar="A,B,...",
            parser=not_empty,
        ),
    ] = None
    tokenizer: Annotated[
        Path | None,
        typer.Option(
            help="The tokenizer.json of an ONNX file; the file beside the model unless given.", metavar="FILE", parser=path
        ),
    ] = None
    max_length: Annotated[
        int | None,
        typer.Option(help="Most tokens of a text that are read; the model's own limit unless given.", min=8, max=512),
    ] = None
    full_precision: Annotated[
        bool, typer.Option("--full-precision", help="Keep the network in full precision, and do not try eight bits.")
    ] = False
    columns: ColumnOptions = field(default_factory=ColumnOptions)
    promise: PromiseOptions = field(default_factory=PromiseOptions)
    windows: Annotated[
        int,
        typer.Option(
            help="Most windows of --max-length in which a long text is read; the mean of their scores counts.",
            min=1,
            max=MOST_WINDOWS,
        ),
    ] = 1
    named: NamesOptions = field(default_factory=NamesOptions)


@verb(ImportOptions)
def import_model(options: ImportOptions) -> None:
    """
    Make a bundle of a classifier that was trained elsewhere. Needs the extra `export`.

    The classifier is a folder of transformers (BERT, DistilBERT, RoBERTa, DeBERTa, ...) or an ONNX file. Its network is kept. Its
    thresholds are certified on rows that it was not trained on, and its predictions are compared with its own runtime's.
    """
    from tagstream.stream.cli.models.needs import note_replaced, require_export

    _refuse_itself(options)
    note_replaced(options.out)
    given = _read(options)
    require_export(level="warning")
    from tagstream.model_export.make.imported_classifier import Imported
    from tagstream.model_export.onnx.parity import FlipsError

    source = Imported(
        place=options.place,
        tokenizer=options.tokenizer,
        labels=None if options.labels is None else _names(options.labels),
        max_length=options.max_length,
        against_eight_bits="full precision was asked for" if options.full_precision else None,
    )
    original = source.original()
    rows = _rows(given, original)
    try:
        made = _make(options, source, rows, original.labels)
    except FlipsError as error:
        why = f"it sends {error.share:.1%} of the rows to another topic than full precision does, more than {error.most:.0%}"
        console.talk(f"in eight bits {why}: the network is kept in full precision")
        made = _make(options, replace(source, against_eight_bits=why), rows, original.labels)
    from tagstream.stream.cli.show.bundle import imported, published

    manifest = made.bundle.manifest
    after = f"next: tagstream worker --bundle {options.out}, or for a running stream tagstream rollout shadow {options.out}"
    console.show("\n".join([*imported(manifest.training), made.as_text(), published(manifest), after]))


def _refuse_itself(options: ImportOptions) -> None:
    """Refuse to write the bundle into the model's folder. Some files of both have the same names, so the bundle would replace them."""
    model = Path(options.place)
    if model.exists() and options.out.resolve() in {model.resolve(), model.resolve().parent}:
        fail(f"{options.out} holds the model itself. Next: name another folder to write the bundle to.", EXIT_USAGE)


def _names(said: str) -> tuple[str, ...]:
    found = tuple(name.strip() for name in said.split(","))
    if not all(found):
        fail("--labels has an empty name. Next: give the names in the order of the model's scores, A,B,...", EXIT_USAGE)
    return found


def _make(options: ImportOptions, source: "Imported", rows: "Splits", labels: tuple[str, ...]) -> "Made":
    from tagstream.model_export.make import recipe, steps
    from tagstream.model_export.train.work import Work
    from tagstream.stream.terminal import progress

    # The bundle has its folder's name, so the path is resolved: `.` has no name.
    name = options.out.resolve().name
    of = recipe.imported(source, rows, options.promise.asked(), labels=labels, name=name, windows=options.windows)
    with progress.stages() as tell:
        return steps.make(options.out, options.named.on(of), Work(None, tell))


@dataclass(frozen=True, slots=True, kw_only=True)
class _Given:
    """The rows of each file as read, before unusable rows are refused and repeats are left out."""

    rows: "OwnRows"
    gold: "OwnRows | None"
    learned: "OwnRows | None"


def _read(options: ImportOptions) -> _Given:
    from tagstream.model_export.data.own.read import read_own

    columns = options.columns.of_file()
    return _Given(
        rows=read_own(options.calibrate, columns),
        gold=None if options.gold is None else read_own(options.gold, columns.of_gold()),
        learned=None if options.trained_on is None else read_own(options.trained_on, columns.of_gold()),
    )


def _rows(given: _Given, original: "Original") -> "Splits":
    """
    Return the rows to calibrate on and to measure on, without the rows that the model is known to have learned from.

    Raises:
        RowsError: A row cannot be used, or no row is left to calibrate on.
    """
    from tagstream.model_export.data.own.rows import refuse_unusable
    from tagstream.model_export.data.own.split import Why, divide, unlearned
    from tagstream.model_export.data.reader import RowsError
    from tagstream.model_export.make.recipe import unseen

    rows, gold = given.rows, given.gold
    for each in (rows, gold) if gold is not None else (rows,):
        refuse_unusable(each, original.labels, original.name)
    if given.learned is not None:
        rows, repeated = unlearned(rows, given.learned)
        _say(given.rows, repeated, f"{Why.LEARNED}, so not calibrated on")
        if gold is not None:
            gold, repeated = unlearned(gold, given.learned)
            _say(gold, repeated, f"{Why.LEARNED}, so not measured on")
    division = divide(rows, gold)
    for why, left_out in division.left_out.items():
        _say(rows, left_out, f"{why}, so not calibrated on")
    splits = replace(unseen(division.splits), unlabelled=())
    if not splits.calibration:
        msg = f"no row of {rows.name} is left to calibrate on. Next: give labelled rows that the model has not learned from and that are not in the gold set."
        raise RowsError(msg)
    if gold is not None and not gold.rows:
        console.talk(f"no row of {gold.name} is left to measure on")
    lacking = [label for label in original.labels if label not in {row.tag for row in splits.calibration}]
    if lacking:
        console.talk(f"no row to calibrate on has the label {few(lacking)}: whether the model finds it is not tested")
    if given.learned is None:
        console.talk("whether the model has learned from these rows is not known: --trained-on FILE finds it out")
        return splits
    # The prefix keeps a training file apart from a calibration file of the same name.
    sums = {f"trained-on/{name}": found for name, found in given.learned.digests.items()}
    return replace(splits, train=tuple(own.row for own in given.learned.rows), digests=splits.digests | sums)


def _say(rows: "OwnRows", some: "Sequence[OwnRow]", why: str) -> None:
    if some:
        console.talk(f"{rows.at(some)}: {why}.")

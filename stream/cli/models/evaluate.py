"""`tagstream model evaluate`: measures a bundle on rows that it was not trained on."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from tagstream.model_export.compare import requirements
from tagstream.stream.cli.exits import EXIT_FAILED, EXIT_USAGE, fail
from tagstream.stream.cli.models.options import BundleArgument, SourceColumn, TagColumn
from tagstream.stream.cli.options import (
    DescriptionColumn,
    IdColumn,
    Json,
    TitleColumn,
    given_of,
    not_empty,
    path,
    settings,
    verb,
)
from tagstream.stream.terminal import console

if TYPE_CHECKING:
    from tagstream.model_export.compare.evaluation import Named
    from tagstream.model_export.compare.evaluation_record import Measured
    from tagstream.stream.settings.settings import Settings

# Marks of options that apply only to a file of rows, and of options that apply only to the shipped rows.
OF_FILE, OF_SHIPPED = "a file", "the shipped rows"


class OtherLabelsError(Exception):
    """The bundle and the shipped rows have different labels: the message names both sets of labels and the next step."""

    exit_code = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class EvaluateOptions:
    """The options of `tagstream model evaluate`."""

    folder: BundleArgument = None
    data: Annotated[
        Path | None,
        typer.Option(
            help="Labelled rows of your own, CSV, JSON Lines or Parquet; or the folder with dataset.csv and holdout.csv.",
            metavar="FILE|FOLDER",
            parser=path,
        ),
    ] = None
    baselines: Annotated[
        bool,
        typer.Option("--baselines", help="Train and measure simpler models too: keyword rules, TF-IDF, a frozen encoder."),
        OF_SHIPPED,
    ] = False
    against: Annotated[
        list[str] | None,
        typer.Option(help="Measure this bundle on the same rows; can be repeated.", metavar="[NAME=]FOLDER", parser=not_empty),
    ] = None
    at_least: Annotated[
        list[str] | None,
        typer.Option(
            help=f"End with exit code 1 if this figure of the bundle is lower; can be repeated. The figures: {requirements.names()}.",
            metavar="FIGURE=NUMBER",
            parser=not_empty,
        ),
    ] = None
    not_worse_than: Annotated[
        list[str] | None,
        typer.Option(
            help="Measure this bundle too, and end with exit code 1 if FOLDER is worse by more than chance; can be repeated.",
            metavar="[NAME=]FOLDER",
            parser=not_empty,
        ),
    ] = None
    checkpoint: Annotated[
        list[str] | None,
        typer.Option(
            help="Measure this network, which `train --checkpoint` kept, on the same rows; can be repeated.",
            metavar="[NAME=]FILE",
            parser=not_empty,
        ),
        OF_SHIPPED,
    ] = None
    suite: Annotated[
        Path | None,
        typer.Option(
            help="Behaviour cases of your own, JSON Lines, in place of the suites of tagstream.", metavar="FILE", parser=path
        ),
    ] = None
    report: Annotated[
        Path | None, typer.Option(help="Folder to write a report to, in Markdown and HTML.", metavar="FOLDER", parser=path)
    ] = None
    slice: Annotated[
        list[str] | None,
        typer.Option(help="A column of the file to slice the figures by; can be repeated.", metavar="NAME", parser=not_empty),
        OF_FILE,
    ] = None
    title: Annotated[TitleColumn, OF_FILE] = None
    description: Annotated[DescriptionColumn, OF_FILE] = None
    tag: Annotated[TagColumn, OF_FILE] = None
    source: Annotated[SourceColumn, OF_FILE] = None
    id: Annotated[IdColumn, OF_FILE] = None
    json: Json = False


@verb(EvaluateOptions)
def evaluate(options: EvaluateOptions) -> None:
    """
    Measure a bundle on rows that it was not trained on. Needs the extra `export`.

    With a file of your own rows, options name its columns, and figures are sliced by source and by --slice.
    With --at-least or --not-worse-than, the exit code is 1 if the bundle misses a requirement.
    """
    from tagstream.stream.cli.models import needs

    of_own = options.data is not None and not options.data.is_dir()
    chosen = settings(data=None if of_own else options.data, bundle=options.folder)
    bars = options.not_worse_than or []
    asked = [requirements.parse(given, beside=bool(bars)) for given in options.at_least or ()]
    needs.refuse_no_bundles([chosen.bundle, *(path_and_name(other)[0] for other in (*bars, *(options.against or ())))])
    if of_own and given_of(options, OF_SHIPPED):
        fail(
            "--baselines and --checkpoint need rows to learn from or to calibrate on, and --data names a file of gold rows. Next: "
            "leave them out, or compare with another bundle: --against FOLDER.",
            EXIT_USAGE,
        )
    if not of_own:
        if given_of(options, OF_FILE):
            fail("the options of columns are about a file of rows. Next: give --data FILE, or leave them out.", EXIT_USAGE)
        refuse_other_labels(chosen.bundle)
    needs.require_export()
    if options.report is not None:
        needs.require_plots()
    measured = _on_own(options, chosen, options.data) if of_own and options.data is not None else _on_shipped(options, chosen)
    judged = requirements.judge(measured, asked, bars=len(bars)) if asked or bars else None
    _show(options, measured, judged)
    if judged is not None and judged.missed:
        fail(judged.refusal(), EXIT_FAILED)


def _show(options: EvaluateOptions, measured: "Measured", judged: requirements.Judged | None) -> None:
    """Print the figures and the verdict on each requirement, and write the report if the options ask for one."""
    if options.json:
        for record in (*measured.records(), *(judged.records() if judged else ())):
            console.show_json(record)
    else:
        from tagstream.model_export.report.terminal import as_text

        console.show(as_text(measured))
        if judged is not None:
            console.show(judged.as_text())
    if options.report is not None:
        from tagstream.model_export.report.report import write

        for file in write(measured, options.report, judged):
            console.talk(f"wrote {file}")


def refuse_other_labels(folder: Path) -> None:
    """
    Refuse a bundle with other labels than the shipped rows, before the rows are downloaded.

    Raises:
        OtherLabelsError: The bundle has other labels.
    """
    from tagstream.model_export.bundle import bundle
    from tagstream.model_export.data import madewithml
    from tagstream.monitoring.vocabulary import few

    labels = bundle.read(folder).manifest.labels
    if set(labels) != set(madewithml.LABELS):
        msg = (
            f"{folder} has the labels {few(labels)}, and without --data FILE it would be measured on Made With ML's rows, which have "
            f"{few(madewithml.LABELS)}. Next: give labelled rows of its own labels, --data FILE."
        )
        raise OtherLabelsError(msg)


def path_and_name(given: str) -> tuple[Path, str | None]:
    """
    Parse `NAME=PATH` or a path alone. An existing path is taken whole, even if it contains an equals sign.

    >>> path_and_name("teacher fp32=models/teacher.safetensors")[1]
    'teacher fp32'
    >>> path_and_name("models/teacher.safetensors")[1] is None
    True
    """
    name, equals, named = given.partition("=")
    if not equals or not name or Path(given).exists():
        return Path(given), None
    return Path(named), name


def _named(*given: list[str] | None) -> "list[Named]":
    from tagstream.model_export.compare.evaluation import Named

    return [Named(path=where, name=name) for each in given for where, name in map(path_and_name, each or ())]


def _on_own(options: EvaluateOptions, chosen: "Settings", file: Path) -> "Measured":
    from tagstream.model_export.compare.evaluation import evaluate_own
    from tagstream.model_export.data.own.read import OwnColumns, read_own

    columns = OwnColumns(
        title=options.title,
        description=options.description,
        tag=options.tag,
        source=options.source,
        id=options.id,
        slices=tuple(options.slice or ()),
    )
    rows = read_own(file, columns)
    return evaluate_own(
        chosen.bundle, rows, against=_named(options.not_worse_than, options.against), suite=options.suite, say=console.talk
    )


def _on_shipped(options: EvaluateOptions, chosen: "Settings") -> "Measured":
    from tagstream.model_export.compare import evaluation
    from tagstream.model_export.data.splits import Folders
    from tagstream.stream.cli.models import needs

    return evaluation.evaluate(
        chosen.bundle,
        folders=Folders(data=needs.data_folder(chosen), real=chosen.real),
        baselines=options.baselines,
        against=_named(options.not_worse_than, options.against),
        checkpoints=_named(options.checkpoint),
        suite=options.suite,
        say=console.talk,
    )

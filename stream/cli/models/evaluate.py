"""`tagstream model evaluate`: a bundle on rows that it has not learned from."""

from pathlib import Path
from typing import Annotated

import typer

from stream.cli.exits import EXIT_USAGE, fail
from stream.cli.models.folders import BundleArgument, refuse_no_bundles
from stream.cli.models.own import SourceColumn, TagColumn, columns
from stream.cli.options import DescriptionColumn, IdColumn, Json, TitleColumn, not_empty, path, settings

Data = Annotated[
    Path | None,
    typer.Option(
        help="Labelled rows of your own, CSV, JSON Lines or Parquet; or the folder with dataset.csv and holdout.csv.",
        metavar="FILE|FOLDER",
        parser=path,
    ),
]
Against = Annotated[
    list[str] | None,
    typer.Option(help="Measure this bundle on the same rows; can be repeated.", metavar="[NAME=]FOLDER", parser=not_empty),
]
Rivals = Annotated[
    list[str] | None,
    typer.Option(
        "--checkpoint",
        help="Measure this network, which `train --checkpoint` kept, on the same rows; can be repeated.",
        metavar="[NAME=]FILE",
        parser=not_empty,
    ),
]
Suite = Annotated[
    Path | None,
    typer.Option(
        help="Behaviour cases of your own, JSON Lines, in place of the suites of tagstream.", metavar="FILE", parser=path
    ),
]
Report = Annotated[
    Path | None, typer.Option(help="Write a report there, in Markdown and in HTML.", metavar="FOLDER", parser=path)
]
SliceColumn = Annotated[
    list[str] | None,
    typer.Option(
        "--slice", help="A column of the file to slice the figures by; can be repeated.", metavar="NAME", parser=not_empty
    ),
]


def evaluate(
    folder: BundleArgument = None,
    data: Data = None,
    baselines: Annotated[
        bool, typer.Option("--baselines", help="Train and measure simpler models too: keyword rules, TF-IDF, a frozen encoder.")
    ] = False,
    against: Against = None,
    checkpoint: Rivals = None,
    suite: Suite = None,
    report: Report = None,
    slice_by: SliceColumn = None,
    title: TitleColumn = None,
    description: DescriptionColumn = None,
    tag: TagColumn = None,
    source: SourceColumn = None,
    id: IdColumn = None,  # noqa: A002 - the option's name
    json: Json = False,
) -> None:
    """
    Measure a bundle on rows that it was not trained on. Needs the extra `export`.

    With a file of your own rows the columns are named by options, and figures are sliced by source and by --slice.
    """
    from stream.cli import making

    names = {"title": title, "description": description, "tag": tag, "source": source, "id": id}
    of_own = data is not None and not data.is_dir()
    chosen = settings(data=None if of_own else data, bundle=folder)
    refuse_no_bundles([chosen.bundle, *(making.named(other).path for other in against or ())])
    if data is not None and of_own:
        if baselines or checkpoint:
            fail(
                "--baselines and --checkpoint need rows to learn from or to calibrate on, and --data names a file of gold rows. Next: "
                "leave them out, or compare with another bundle: --against FOLDER.",
                EXIT_USAGE,
            )
        making.evaluate_own(
            chosen,
            data=data,
            columns=columns(slices=tuple(slice_by or ()), **names),
            against=against or (),
            suite=suite,
            report=report,
            as_json=json,
        )
        return
    if slice_by or any(names.values()):
        fail("the options of columns are about a file of rows. Next: give --data FILE, or leave them out.", EXIT_USAGE)
    making.evaluate(
        chosen,
        baselines=baselines,
        against=against or (),
        checkpoints=checkpoint or (),
        suite=suite,
        report=report,
        as_json=json,
    )

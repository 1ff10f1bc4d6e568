"""`tagstream model`: make, measure and inspect bundles."""

from pathlib import Path
from typing import Annotated

import typer

from stream.cli.exits import EXIT_USAGE, fail
from stream.cli.models.adapt import adapt
from stream.cli.models.evaluate import evaluate
from stream.cli.models.folders import BundleArgument, refuse_no_bundles
from stream.cli.models.look import look
from stream.cli.models.options import Answers, MultilabelOption, Precision, note_replaced
from stream.cli.models.promise import Budget, Floor, PromiseOption, promise_of
from stream.cli.models.rules import rules
from stream.cli.models.train import train
from stream.cli.options import Brokers, BundleFolder, Json, not_empty, path, settings

app = typer.Typer(help="Make and inspect model bundles.", no_args_is_help=True, rich_markup_mode=None)

DataFolder = Annotated[
    Path | None, typer.Option(help="Folder with dataset.csv and holdout.csv.", metavar="FOLDER", parser=path)
]
OutFolder = Annotated[Path, typer.Argument(help="Folder to write the bundle to.", metavar="FOLDER", parser=path)]


app.command("train")(train)


@app.command("export")
def export(
    checkpoint: Annotated[Path, typer.Argument(help="Network that `train --checkpoint` kept.", metavar="FILE", parser=path)],
    folder: OutFolder,
    data: DataFolder = None,
    precision: Precision = 0.95,
    promise: PromiseOption = "overall",
    floor: Floor = 0.9,
    review_budget: Budget = None,
) -> None:
    """Make a bundle of a trained network. Needs the extra `export`."""
    from stream.cli import making

    note_replaced(folder)
    making.export(
        settings(data=data), checkpoint=checkpoint, folder=folder, promise=promise_of(promise, precision, floor, review_budget)
    )


@app.command("refit")
def refit(
    folder: OutFolder,
    data: DataFolder = None,
    bundle: BundleFolder = None,
    precision: Precision = 0.95,
    promise: PromiseOption = "overall",
    floor: Floor = 0.9,
    review_budget: Budget = None,
    multilabel: MultilabelOption = False,
    keep_head: Annotated[bool, typer.Option("--keep-head", help="Keep the head too, and fit only the n-grams.")] = False,
    answers: Answers = None,
) -> None:
    """
    Make a bundle with the encoder of another one and a new head. Needs the extra `export`.

    Head and n-grams are fitted to the labelled rows of today.
    """
    from stream.cli import making

    chosen = settings(data=data, bundle=bundle)
    refuse_no_bundles([chosen.bundle])
    note_replaced(folder)
    making.refit(
        chosen,
        folder=folder,
        promise=promise_of(promise, precision, floor, review_budget),
        multilabel=multilabel,
        keep_head=keep_head,
        answers=answers,
    )


@app.command("calibrate")
def calibrate(
    out: Annotated[Path, typer.Option(help="Folder to write the new bundle to.", metavar="FOLDER", parser=path)],
    folder: BundleArgument = None,
    data: DataFolder = None,
    precision: Precision = 0.95,
    promise: PromiseOption = "overall",
    floor: Floor = 0.9,
    review_budget: Budget = None,
    reviewed: Annotated[
        str | None,
        typer.Option(
            help="Earn the thresholds from people's answers: a file of `tagstream review export`, or `topic`.",
            metavar="FILE|topic",
            parser=not_empty,
        ),
    ] = None,
    brokers: Brokers = None,
    version: Annotated[
        str | None,
        typer.Option(help="Version of the new bundle; the old one's with -calibrated unless given.", parser=not_empty),
    ] = None,
    json: Json = False,
) -> None:
    """
    Make a bundle with the network of another one and new thresholds. Needs the extra `export`.

    The temperature, the drift reference and the metrics are computed again too. With --reviewed the thresholds come from
    people's answers, and the temperature and the reference stay.
    """
    from stream.cli import making

    chosen = settings(data=data, bundle=folder, brokers=brokers)
    refuse_no_bundles([chosen.bundle])
    note_replaced(out)
    if reviewed is not None:
        from stream.cli.people import earning

        earning.calibrate(chosen, reviewed=reviewed, folder=out, precision=precision, as_json=json)
        return
    if json:
        fail("--json shows what answers have earned. Next: give --reviewed, or leave --json out.", EXIT_USAGE)
    making.calibrate(chosen, folder=out, promise=promise_of(promise, precision, floor, review_budget), version=version)


app.command("look")(look)
app.command("rules")(rules)
app.command("adapt")(adapt)
app.command("evaluate")(evaluate)


@app.command("verify")
def verify(folder: BundleArgument = None, json: Json = False) -> None:
    """Check a bundle: its files, its known predictions, and that no prediction depends on its batch."""
    from stream.cli import making

    making.verify(settings(bundle=folder), as_json=json)


@app.command("inspect")
def inspect(
    folder: BundleArgument = None,
    events_a_day: Annotated[int, typer.Option(help="Count the reviews of a stream of so many events.", min=1)] = 10_000,
    json: Json = False,
) -> None:
    """Show a bundle: labels, training data, thresholds, limits and their price; with --json the whole manifest."""
    from stream.cli import making

    making.inspect(settings(bundle=folder), as_json=json, events_a_day=events_a_day)

"""`tagstream model`: make, measure and inspect bundles."""

from pathlib import Path
from typing import Annotated

import typer

from stream.cli.exits import EXIT_USAGE, fail, note
from stream.cli.models.adapt import adapt
from stream.cli.models.evaluate import evaluate
from stream.cli.models.folders import BundleArgument, refuse_no_bundles
from stream.cli.models.look import look
from stream.cli.models.promise import Budget, Floor, PromiseOption, promise_of
from stream.cli.models.rules import rules
from stream.cli.options import Brokers, BundleFolder, Json, finite, not_empty, path, settings

app = typer.Typer(help="Make and inspect model bundles.", no_args_is_help=True, rich_markup_mode=None)

DataFolder = Annotated[
    Path | None, typer.Option(help="Folder with dataset.csv and holdout.csv.", metavar="FOLDER", parser=path)
]
TrainFolder = Annotated[
    Path,
    typer.Argument(
        help="Folder to write the bundle to; with --all, to write bundle, networks and report to.",
        metavar="FOLDER",
        parser=path,
    ),
]
OutFolder = Annotated[Path, typer.Argument(help="Folder to write the bundle to.", metavar="FOLDER", parser=path)]
Checkpoint = Annotated[Path | None, typer.Option(help="Keep the trained network in this file.", metavar="FILE", parser=path)]
MultilabelOption = Annotated[
    bool, typer.Option("--multilabel", help="Add a second head, which gives every label that a text is about (`tags`).")
]
Answers = Annotated[
    Path | None,
    typer.Option(
        help="Learn from people's answers too: a file of `tagstream review export --form rows`.", metavar="FILE", parser=path
    ),
]
Precision = Annotated[
    float, typer.Option(help="Share of published decisions that must be right.", min=0.5, max=1.0, callback=finite)
]


@app.command("train")
def train(
    folder: TrainFolder = Path("trained"),
    everything: Annotated[
        bool,
        typer.Option("--all", help="Keep the teacher and the student, train simpler models too, and report on all of them."),
    ] = False,
    data: DataFolder = None,
    checkpoint: Checkpoint = None,
    precision: Precision = 0.95,
    promise: PromiseOption = "overall",
    floor: Floor = 0.9,
    review_budget: Budget = None,
    corpus_only: Annotated[bool, typer.Option("--corpus-only", help="Train on the authored corpus alone.")] = False,
    multilabel: MultilabelOption = False,
    seed: Annotated[int | None, typer.Option(help="Random seed; the shipped bundle's unless given.", min=0)] = None,
    answers: Answers = None,
) -> None:
    """Train a model, check it, and write its bundle. Needs the extra `export`."""
    from stream.cli import making

    _note_replaced(folder / "bundle" if everything else folder)
    making.train(
        settings(data=data),
        folder=folder,
        everything=everything,
        checkpoint=checkpoint,
        promise=promise_of(promise, precision, floor, review_budget),
        corpus_only=corpus_only,
        multilabel=multilabel,
        seed=seed,
        answers=answers,
    )


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

    _note_replaced(folder)
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
    _note_replaced(folder)
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
    _note_replaced(out)
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


def _note_replaced(folder: Path) -> None:
    """Name the bundle that will be replaced before the minutes of work begin, so that the user can stop."""
    from model_export.bundle import bundle
    from model_export.bundle.manifest import MANIFEST

    if not (folder / MANIFEST).exists():
        return
    try:
        there = bundle.read(folder)
        what = f"the bundle {there.manifest.name} {there.manifest.version}, digest {there.digest[:12]}"
    except bundle.BundleError:
        what = "a bundle that does not verify"
    note(f"{folder} holds {what}: it is replaced when the new one is done; Ctrl-C until then keeps it")

"""`tagstream model`: make, measure and inspect bundles."""

from collections.abc import Iterable
from pathlib import Path
from typing import Annotated

import typer

from stream.cli.exits import note
from stream.cli.options import BundleFolder, Json, finite, settings

app = typer.Typer(help="Make and inspect model bundles.", no_args_is_help=True, rich_markup_mode=None)

DataFolder = Annotated[Path | None, typer.Option(help="Folder with dataset.csv and holdout.csv.", metavar="FOLDER")]
TrainFolder = Annotated[
    Path,
    typer.Argument(
        help="Folder to write the bundle to; with --all, to write bundle, networks and report to.", metavar="FOLDER"
    ),
]
OutFolder = Annotated[Path, typer.Argument(help="Folder to write the bundle to.", metavar="FOLDER")]
BundleArgument = Annotated[
    Path | None, typer.Argument(help="Folder of the bundle; the settings' unless given.", metavar="FOLDER")
]
Checkpoint = Annotated[Path | None, typer.Option(help="Keep the trained network in this file.", metavar="FILE")]
Against = Annotated[list[str] | None, typer.Option(help="Another bundle on the same rows.", metavar="[NAME=]FOLDER")]
Rivals = Annotated[
    list[str] | None,
    typer.Option("--checkpoint", help="A network that `train --checkpoint` kept, on the same rows.", metavar="[NAME=]FILE"),
]
Report = Annotated[Path | None, typer.Option(help="Write a Markdown and an HTML report here.", metavar="FOLDER")]
MultilabelOption = Annotated[
    bool, typer.Option("--multilabel", help="Add a second head, which finds the further subjects of a text (`tags`).")
]
Precision = Annotated[
    float, typer.Option(help="Share right that the thresholds must reach.", min=0.5, max=1.0, callback=finite)
]


@app.command("train")
def train(
    folder: TrainFolder = Path("trained"),
    everything: Annotated[
        bool, typer.Option("--all", help="Keep teacher and student, train the simpler rivals, and report on all of them.")
    ] = False,
    data: DataFolder = None,
    checkpoint: Checkpoint = None,
    precision: Precision = 0.95,
    corpus_only: Annotated[bool, typer.Option("--corpus-only", help="Train on the authored corpus alone.")] = False,
    multilabel: MultilabelOption = False,
    seed: Annotated[int | None, typer.Option(help="Random seed; that of the shipped bundle unless given.", min=0)] = None,
) -> None:
    """Train a model, prove it, and write its bundle (needs the extra `export`)."""
    from stream.cli import making

    _note_replaced(folder / "bundle" if everything else folder)
    making.train(
        settings(data=data),
        folder=folder,
        everything=everything,
        checkpoint=checkpoint,
        precision=precision,
        corpus_only=corpus_only,
        multilabel=multilabel,
        seed=seed,
    )


@app.command("export")
def export(
    checkpoint: Annotated[Path, typer.Argument(help="A network that `train --checkpoint` kept.", metavar="FILE")],
    folder: OutFolder,
    data: DataFolder = None,
    precision: Precision = 0.95,
) -> None:
    """Make a bundle of a trained network (needs the extra `export`)."""
    from stream.cli import making

    _note_replaced(folder)
    making.export(settings(data=data), checkpoint=checkpoint, folder=folder, precision=precision)


@app.command("refit")
def refit(
    folder: OutFolder,
    data: DataFolder = None,
    bundle: BundleFolder = None,
    precision: Precision = 0.95,
    multilabel: MultilabelOption = False,
    keep_head: Annotated[
        bool, typer.Option("--keep-head", help="Keep the head too: learn the n-grams beside it alone.")
    ] = False,
) -> None:
    """Keep a bundle's encoder; fit its head and n-grams anew to the labels of today (needs the extra `export`)."""
    from stream.cli import making

    chosen = settings(data=data, bundle=bundle)
    _refuse_no_bundles([chosen.bundle])
    _note_replaced(folder)
    making.refit(chosen, folder=folder, precision=precision, multilabel=multilabel, keep_head=keep_head)


@app.command("calibrate")
def calibrate(
    out: Annotated[Path, typer.Option(help="Folder to write the new bundle to.", metavar="FOLDER")],
    folder: BundleArgument = None,
    data: DataFolder = None,
    precision: Precision = 0.95,
) -> None:
    """Keep a bundle's network; redo temperature, thresholds, reference and metrics (needs the extra `export`)."""
    from stream.cli import making

    chosen = settings(data=data, bundle=folder)
    _refuse_no_bundles([chosen.bundle])
    _note_replaced(out)
    making.calibrate(chosen, folder=out, precision=precision)


@app.command("evaluate")
def evaluate(
    folder: BundleArgument = None,
    data: DataFolder = None,
    baselines: Annotated[bool, typer.Option("--baselines", help="Train and measure the simpler rivals too.")] = False,
    against: Against = None,
    checkpoint: Rivals = None,
    report: Report = None,
    json: Json = False,
) -> None:
    """Measure a bundle and its rivals on rows that it never saw (needs the extra `export`)."""
    from stream.cli import making

    chosen = settings(data=data, bundle=folder)
    _refuse_no_bundles([chosen.bundle, *(making.named(other).path for other in against or ())])
    making.evaluate(
        chosen,
        baselines=baselines,
        against=against or (),
        checkpoints=checkpoint or (),
        report=report,
        as_json=json,
    )


@app.command("verify")
def verify(folder: BundleArgument = None, json: Json = False) -> None:
    """Check every byte of a bundle, its golden texts, and that no prediction depends on its batch."""
    from stream.cli import making

    making.verify(settings(bundle=folder), as_json=json)


@app.command("inspect")
def inspect(folder: BundleArgument = None, json: Json = False) -> None:
    """Show a bundle: labels, thresholds, training data; with --json the whole manifest."""
    from stream.cli import making

    making.inspect(settings(bundle=folder), as_json=json)


def _refuse_no_bundles(folders: Iterable[Path]) -> None:
    """Refuse a mistyped folder at once, before data is downloaded."""
    from model_export import commands

    for folder in folders:
        commands.inspect(folder)


def _note_replaced(folder: Path) -> None:
    """Say which bundle will be replaced, before the minutes of work: there is still time to stop."""
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

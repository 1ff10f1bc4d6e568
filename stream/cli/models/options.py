"""Options of the verbs that make a bundle."""

from pathlib import Path
from typing import Annotated

import typer

from stream.cli.exits import EXIT_USAGE, fail, note
from stream.cli.options import finite, path

TrainFolder = Annotated[
    Path,
    typer.Argument(
        help="Folder to write the bundle to; with --all, to write bundle, networks and report to.",
        metavar="FOLDER",
        parser=path,
    ),
]
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


def note_replaced(folder: Path) -> None:
    """Before the minutes of work, refuse what is no folder, and name the bundle that will be replaced: the user can stop."""
    from model_export.bundle import bundle
    from model_export.bundle.manifest import MANIFEST

    exists = next(each for each in (folder, *folder.absolute().parents) if each.exists())
    if not exists.is_dir():
        fail(f"{exists} is no folder, so that no bundle can be written to {folder}. Next: name another folder.", EXIT_USAGE)
    if not (folder / MANIFEST).exists():
        return
    try:
        there = bundle.read(folder)
        what = f"the bundle {there.manifest.name} {there.manifest.version}, digest {there.digest[:12]}"
    except bundle.BundleError:
        what = "a bundle that does not verify"
    note(f"{folder} holds {what}: it is replaced when the new one is done; Ctrl-C until then keeps it")

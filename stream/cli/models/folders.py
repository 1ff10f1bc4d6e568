"""The folder of a bundle as an argument, and its refusal before any work."""

from collections.abc import Iterable
from pathlib import Path
from typing import Annotated

import typer

from stream.cli.options import path

BundleArgument = Annotated[
    Path | None,
    typer.Argument(help="Folder of the bundle; that of the settings unless given.", metavar="FOLDER", parser=path),
]


def refuse_no_bundles(folders: Iterable[Path]) -> None:
    """Refuse a mistyped folder at once, before data is downloaded."""
    from model_export import commands

    for folder in folders:
        commands.inspect(folder)

"""Options that several verbs share, each declared once, and the settings that they change."""

import math
import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

if TYPE_CHECKING:
    from stream.settings.loading import Loaded
    from stream.settings.settings import Settings


def finite(given: float | None) -> float | None:
    """
    Refuse `nan` and `inf`: `min` and `max` of an option let `nan` through, and waiting for `inf` seconds never ends.

    Raises:
        BadParameter: The number is not finite.
    """
    if given is not None and not math.isfinite(given):
        msg = f"{given} is no finite number. Next: give one, or leave the option out."
        raise typer.BadParameter(msg)
    return given


def not_empty(given: str | None) -> str | None:
    """
    Refuse an empty name, as an unset variable of a shell gives it: `--group "$GROUP"`, `model inspect "$BUNDLE"`.

    Raises:
        BadParameter: The name is empty.
    """
    if given == "":
        msg = "it is empty. Next: give a name, or leave it out."
        raise typer.BadParameter(msg)
    return given


def path(given: str) -> Path:
    """
    The path that an option or argument names. An empty name would be the working directory.

    Raises:
        BadParameter: The name is empty.
    """
    return Path(not_empty(given) or given)


Json = Annotated[bool, typer.Option("--json", help="Print JSON, one object a line.")]
Brokers = Annotated[str | None, typer.Option(help="Kafka brokers, host:port, comma-separated.", metavar="HOST:PORT")]
BundleFolder = Annotated[Path | None, typer.Option(help="Folder of the model bundle.", metavar="FOLDER", parser=path)]
Decider = Annotated[
    Literal["model", "rules"] | None,
    typer.Option(help="model, or rules: keywords guess the tag, and every event goes to review."),
]
Threshold = Annotated[
    float | None,
    typer.Option(help="Confidence below which a person is asked; the bundle's thresholds unless given.", metavar="0..1"),
]
Idle = Annotated[float | None, typer.Option(help="Stop after so many seconds without a record.", min=0.1, callback=finite)]
TitleColumn = Annotated[str | None, typer.Option("--title", help="Column or field of the title.", metavar="NAME")]
DescriptionColumn = Annotated[
    str | None, typer.Option("--description", help="Column or field of the description.", metavar="NAME")
]
IdColumn = Annotated[str | None, typer.Option("--id", help="Column or field of the id.", metavar="NAME")]
# The values of stream.demo.shifts.Shift, whose import would slow `--help` down.
DriftKind = Annotated[
    Literal["none", "class-mix", "new-topic", "language", "no-description", "confidence"],
    typer.Option(help="How the samples drift."),
]
DriftAfter = Annotated[float, typer.Option(help="Seconds until the samples begin to drift.", min=0, callback=finite)]


def loaded(**flags: Any) -> "Loaded":
    """
    The settings with the origin of each; a flag that is None was not given.

    Raises:
        SettingsError: A value or a key is wrong.
    """
    from stream.settings.loading import load

    return load(os.environ, flags)


def settings(**flags: Any) -> "Settings":
    """The settings; flags win over the environment, the file and the defaults."""
    return loaded(**flags).settings

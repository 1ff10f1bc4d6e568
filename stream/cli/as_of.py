"""`--as-of`: the stream's champion decides for a command, and the command says which bundle that is."""

from pathlib import Path
from typing import TYPE_CHECKING

from tagstream.stream.cli.exits import EXIT_USAGE, fail

if TYPE_CHECKING:
    from tagstream.stream.decide.pipeline import Decider
    from tagstream.stream.settings.settings import Settings


def decider_of_stream(settings: "Settings", as_of: str, *, bundle: Path | None, threshold: float | None) -> "Decider":
    """
    Return the decider of the champion, and print its name, its epoch and whether the epoch has a canary.

    Args:
        settings: The settings of the command.
        as_of: The value of `--as-of`.
        bundle: The value of `--bundle`. A value ends the command with a sentence.
        threshold: The value of `--threshold`. A value ends the command with a sentence.

    Raises:
        AsOfError: There is no such champion, or its bundle cannot be loaded.
    """
    if bundle is not None:
        fail(
            "--as-of finds the bundle by the rollout's log, and --bundle names another. Next: leave one of them out.",
            EXIT_USAGE,
        )
    if threshold is not None:
        fail(
            "--as-of decides with the thresholds of the stream, and --threshold names another. Next: leave one of them out.",
            EXIT_USAGE,
        )
    from tagstream.stream.rollout.as_of import champion_as_of, decider_as_of

    found = champion_as_of(settings, as_of)
    decider = decider_as_of(settings, found.models)
    # Its imports need the extra `worker`, and `champion_as_of` has said so if it is missing.
    from tagstream.stream.cli.show import rollout as shown

    shown.champion(as_of, found)
    return decider

"""`tagstream model rules`: keyword rules for the labels of a bundle."""

from pathlib import Path
from typing import Annotated

import typer

from stream.cli.exits import EXIT_USAGE, fail
from stream.cli.options import Json, path, settings
from stream.terminal import console


def rules(
    folder: Annotated[
        Path | None,
        typer.Argument(help="Folder of the bundle; that of the settings unless given.", metavar="FOLDER", parser=path),
    ] = None,
    file: Annotated[
        Path | None, typer.Option("--rules", help="Check this file of keyword rules.", metavar="FILE", parser=path)
    ] = None,
    json: Json = False,
) -> None:
    """Check keyword rules for a bundle's labels; without --rules, print an empty file of rules to fill in."""
    from model_export import commands
    from model_export.bundle.rules import draft
    from monitoring.vocabulary import few
    from stream.decide.from_settings import rules_of

    chosen = settings(bundle=folder, rules=file)
    bundle = commands.inspect(chosen.bundle)
    if file is None:
        if json:
            fail("--json shows what a file of rules has. Next: give --rules FILE, or leave --json out.", EXIT_USAGE)
        console.show(draft(bundle.manifest.labels).removesuffix("\n"))
        return
    found = rules_of(chosen, bundle)
    if json:
        console.show_json({"version": found.version, "digest": found.digest, "words": found.words})
        return
    console.show(
        f"{found.path}: rules version {found.version}, digest {found.digest[:12]}, for the {len(found.labels)} labels of {chosen.bundle}"
    )
    silent = [label for label, words in found.words.items() if not words]
    if silent:
        console.talk(f"no words, so never guessed but as `otherwise`: {few(silent)}")
    console.talk(f"to put them to use: TAGSTREAM_DECIDER=rules TAGSTREAM_RULES={file}; every event then goes to people")

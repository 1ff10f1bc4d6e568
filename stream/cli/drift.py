"""`tagstream drift`: sets the drift reference of a stream, learned by its group or made from a file of events."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer

from tagstream.stream.cli.exits import EXIT_USAGE, fail
from tagstream.stream.cli.options import Brokers, BundleFolder, given_of, not_empty, path, settings, verb

# Marks an option that belongs to --from.
FILE = "file"


@dataclass(frozen=True, slots=True, kw_only=True)
class DriftOptions:
    """The options of `tagstream drift`."""

    confirm: Annotated[
        bool,
        typer.Option(
            "--confirm",
            help="Put the reference that the group has learned so far in force, before drift_learning_seconds are over.",
        ),
    ] = False
    learn: Annotated[bool, typer.Option("--learn", help="Let the group learn again, after an intended, lasting change.")] = (
        False
    )
    events: Annotated[
        str | None,
        typer.Option(
            "--from",
            help="Make a reference from events of a healthy period: JSON Lines of events, tagged or review records; - for standard input.",
            metavar="FILE|-",
            callback=not_empty,
        ),
    ] = None
    out: Annotated[
        Path | None, FILE, typer.Option(help="With --from: file to write the reference to.", metavar="FILE", parser=path)
    ] = None
    allow_few: Annotated[bool, FILE, typer.Option("--allow-few", help="With --from: accept fewer than 5,000 events.")] = False
    run: Annotated[
        int | None,
        FILE,
        typer.Option(
            help="With --from: also print drift thresholds, as lines for tagstream.toml: at most one false alarm of a detector in "
            "this number of events.",
            min=1000,
            max=1_000_000,
        ),
    ] = None
    brokers: Brokers = None
    bundle: BundleFolder = None


@verb(DriftOptions)
def drift(options: DriftOptions) -> None:
    """
    Set the drift reference of the stream: learn it again, confirm the learned reference, or make one from a file of events.

    `tagstream tail drift` shows the drift. Without this verb, the group learns its reference for drift_learning_seconds.
    """
    if sum((options.confirm, options.learn, options.events is not None)) != 1:
        fail(
            "`drift` needs one source of the reference. Next: give --confirm, --learn or --from FILE, one of them; `tagstream "
            "tail drift` shows the drift.",
            EXIT_USAGE,
        )
    wrong = given_of(options, FILE) if options.events is None else []
    if wrong:
        fail(f"{', '.join(wrong)}: only for a reference of a file. Next: give --from FILE, or leave it out.", EXIT_USAGE)
    chosen = settings(brokers=options.brokers, bundle=options.bundle)
    if options.events is not None:
        if options.out is None:
            fail("--from makes a file. Next: name it by --out FILE.", EXIT_USAGE)
        from tagstream.stream.batch.drift import reference

        reference(chosen, options.events, out=options.out, allow_few=options.allow_few, run_events=options.run)
        return
    from tagstream.stream.cli.show import drift_reference

    (drift_reference.confirm if options.confirm else drift_reference.learn)(chosen)

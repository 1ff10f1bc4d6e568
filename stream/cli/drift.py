"""`tagstream drift`: references and thresholds from past events or from the stream itself, and the findings as they come."""

from pathlib import Path
from typing import Annotated

import typer

from tagstream.stream.cli.options import Brokers, BundleFolder, Idle, Json, not_empty, path, settings

app = typer.Typer(no_args_is_help=True, rich_markup_mode=None)

EventsFile = Annotated[
    str,
    typer.Argument(
        help="JSON Lines of events, tagged or review records; - for standard input.", metavar="FILE|-", callback=not_empty
    ),
]


@app.command("reference")
def reference(
    what: EventsFile,
    out: Annotated[Path, typer.Option(help="File to write the reference to.", metavar="FILE", parser=path)],
    bundle: BundleFolder = None,
    allow_few: Annotated[bool, typer.Option("--allow-few", help="Accept fewer than 5,000 events.")] = False,
) -> None:
    """Make a drift reference from events of a healthy time."""
    from tagstream.stream.batch import drift

    drift.reference(settings(bundle=bundle), what, out=out, allow_few=allow_few)


@app.command("calibrate")
def calibrate(
    what: EventsFile,
    bundle: BundleFolder = None,
    run: Annotated[
        int, typer.Option(help="At most one false alarm of a detector in so many events.", min=1000, max=1_000_000)
    ] = 100_000,
) -> None:
    """
    Find drift thresholds by replaying events of a healthy time.

    They are printed as lines for tagstream.toml.
    """
    chosen = settings(bundle=bundle)
    from tagstream.stream.batch import drift

    drift.calibration(chosen, what, run_events=run)


@app.command("confirm")
def confirm(brokers: Brokers = None, bundle: BundleFolder = None) -> None:
    """
    Compare from now on with what the group has learned of its stream so far.

    Without it the group learns until its time is over (drift_learning_seconds).
    """
    from tagstream.stream.cli.show import learned

    learned.confirm(settings(brokers=brokers, bundle=bundle))


@app.command("learn")
def learn(brokers: Brokers = None, bundle: BundleFolder = None) -> None:
    """Let the group learn anew what is ordinary, after a lasting change that is wanted."""
    from tagstream.stream.cli.show import learned

    learned.learn(settings(brokers=brokers, bundle=bundle))


@app.command("tail")
def tail(
    brokers: Brokers = None,
    json: Json = False,
    from_beginning: Annotated[bool, typer.Option("--from-beginning", help="Start at the oldest finding.")] = False,
    max_records: Annotated[int | None, typer.Option("--max", help="Stop after so many findings.", min=1)] = None,
    idle: Idle = None,
) -> None:
    """Show drift findings as they come, each with events to look at."""
    from tagstream.stream.cli.show import findings

    findings.follow(
        settings(brokers=brokers), as_json=json, from_beginning=from_beginning, max_records=max_records, idle_seconds=idle
    )

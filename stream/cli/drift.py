"""`tagstream drift`: what the group has learned of its stream, and the findings as they come."""

from typing import Annotated

import typer

from tagstream.stream.cli.options import Brokers, BundleFolder, Idle, Json, settings

app = typer.Typer(help="Learn what is ordinary; show drift findings.", no_args_is_help=True, rich_markup_mode=None)


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

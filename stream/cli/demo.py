"""`tagstream demo`: sample events through a whole system."""

from typing import Annotated

import typer

from stream.cli.exits import note
from stream.cli.options import DriftAfter, DriftKind, finite, loaded


def demo(
    seconds: Annotated[
        float | None,
        typer.Option(
            help="Seconds until the demo stops by itself; Ctrl-C stops it too.", envvar="DEMO_SECONDS", min=1, callback=finite
        ),
    ] = None,
    rate: Annotated[float, typer.Option(help="Sample events a second.", min=0.1, max=2000, callback=finite)] = 20.0,
    drift: DriftKind = "language",
    drift_after: DriftAfter = 75.0,
    on_broker: Annotated[
        str | None,
        typer.Option(
            help="Run on this broker, with topics and a group of the demo's own that are removed at the end.",
            metavar="HOST:PORT",
        ),
    ] = None,
) -> None:
    """
    Run a broker, a worker and a producer of sample events, and watch them. After a while the events drift.

    TAGSTREAM_BROKERS is not used: a demo touches no broker that it has not started, unless --on-broker names one.
    """
    from stream.demo.run import Drift
    from stream.demo.run import demo as run
    from stream.demo.shifts import Shift
    from stream.terminal.console import Terminal

    found = loaded(brokers=on_broker)
    chosen, origin = found.settings, found.origins.get("brokers")
    if on_broker is None and origin is not None:
        note(
            f"brokers = {chosen.brokers} ({origin}) is not used: a demo starts a broker of its own. To run it there, on topics "
            f"of its own: `tagstream demo --on-broker {chosen.brokers}`"
        )
    moves = Drift(shift=Shift(drift), after_seconds=drift_after)
    raise typer.Exit(
        run(seconds=seconds, rate=rate, settings=chosen, console=Terminal(), on_broker=on_broker is not None, drift=moves)
    )

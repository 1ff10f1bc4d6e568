"""`tagstream demo`: sends sample events through a whole system."""

from pathlib import Path
from typing import Annotated

import typer

from tagstream.stream.cli.exits import note
from tagstream.stream.cli.options import DriftAfter, DriftKind, finite, loaded, path


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
    events: Annotated[
        Path | None,
        typer.Option(
            help="CSV or JSON Lines file of events in place of the samples; a column `tag` has what the scripted reviewer answers.",
            metavar="FILE",
            parser=path,
        ),
    ] = None,
    rollout: Annotated[
        bool,
        typer.Option(
            "--rollout",
            help="Change the model of the running stream, on Apache Kafka: a better bundle is tried and promoted, a worse bundle is "
            "rolled back. The demo ends by itself, and nothing drifts.",
        ),
    ] = False,
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

    TAGSTREAM_BROKERS is not used: a demo uses only the broker that it starts, or the broker that --on-broker names.
    """
    from tagstream.monitoring.vocabulary import few
    from tagstream.stream.demo.run import demo as run
    from tagstream.stream.demo.samples import other_labels
    from tagstream.stream.demo.shifts import Drift, Shift
    from tagstream.stream.terminal.console import Terminal

    found = loaded(brokers=on_broker)
    chosen, origin = found.settings, found.origins.get("brokers")
    if on_broker is None and origin is not None:
        note(
            f"brokers = {chosen.brokers} ({origin}) is not used: a demo starts a broker of its own. To run it there, on topics "
            f"of its own: `tagstream demo --on-broker {chosen.brokers}`"
        )
    if events is None and (labels := other_labels(chosen)):
        note(
            f"the sample events are about machine learning, and the bundle {chosen.bundle} has the labels {few(labels)}: each "
            "sample still gets one of these labels, and most samples go to a person. To see your own events: `tagstream demo --events FILE`"
        )
    moves = Drift(shift=Shift(drift), after_seconds=drift_after)
    raise typer.Exit(
        run(
            seconds=seconds,
            rate=rate,
            settings=chosen,
            console=Terminal(),
            on_broker=on_broker is not None,
            drift=moves,
            events=events,
            rollout=rollout,
        )
    )

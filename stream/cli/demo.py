"""`tagstream demo` and `send`: sample events through a whole system, and events of a file into a topic."""

from typing import Annotated

import typer

from stream.cli.exits import EXIT_USAGE, fail
from stream.cli.options import Brokers, DriftAfter, DriftKind, finite, settings


def send(
    what: Annotated[
        str | None, typer.Argument(help="A CSV or JSON Lines file, or - for standard input.", metavar="FILE|-")
    ] = None,
    brokers: Brokers = None,
    topic: Annotated[str | None, typer.Option(help="Topic; `content` of the settings unless given.")] = None,
    rate: Annotated[
        float | None, typer.Option(help="Events a second; as fast as it goes unless given.", min=0.001, callback=finite)
    ] = None,
    samples: Annotated[
        bool, typer.Option("--samples", help="Send the demo's events until stopped, 20/s unless given.")
    ] = False,
    drift: DriftKind = "none",
    drift_after: DriftAfter = 0.0,
) -> None:
    """Send the rows of a file as events; done when the broker has confirmed all."""
    chosen = settings(brokers=brokers)
    from stream.batch import rows
    from stream.demo.producer import produce
    from stream.demo.shifts import Shift
    from stream.kafka import producer
    from stream.kafka.admin import require
    from stream.kafka.rights import Operation
    from stream.terminal import console

    if (what is None) != samples or (drift != "none" and not samples):
        fail("`send` takes a file, or --samples, perhaps with --drift. Next: give one of the two.", EXIT_USAGE)
    name = topic or chosen.topics.content
    # The file is looked at first: that is quick, and waiting for a broker may not be.
    values = iter(()) if what is None else rows.begun(what)
    require(chosen, {"content": name}, operations={"content": Operation.WRITE})
    if what is None:
        sent = produce(chosen, topic=name, rate=rate or 20.0, drift=Shift(drift), after_seconds=drift_after, say=console.talk)
        console.talk(f"{sent} events in {name}, confirmed by the broker")
        return
    with producer.sender(chosen) as sender, console.progress(f"sending {what}", shown=True) as advance:
        try:
            for value in producer.pace(values, rate):
                sender.send(name, key=None, value=value)
                advance()
        except rows.RowsError as error:
            sender.flush()
            msg = (
                f"{error} The {sender.acknowledged} events above it are in {name}, confirmed by the broker: a run of the whole file "
                f"sends them again."
            )
            raise rows.RowsError(msg) from error
        sender.flush()
    console.talk(f"{sender.acknowledged} events in {name}, confirmed by the broker")


def demo(
    seconds: Annotated[
        float | None,
        typer.Option(help="Stop by itself; until Ctrl-C unless given.", envvar="DEMO_SECONDS", min=1, callback=finite),
    ] = None,
    rate: Annotated[float, typer.Option(help="Sample events a second.", min=0.1, max=2000, callback=finite)] = 20.0,
    drift: DriftKind = "language",
    drift_after: DriftAfter = 75.0,
) -> None:
    """Start a broker, a worker and a producer of sample events that drift after a while, and watch."""
    from rich.console import Console

    from stream.demo.run import Drift
    from stream.demo.run import demo as run
    from stream.demo.shifts import Shift

    moves = Drift(shift=Shift(drift), after_seconds=drift_after)
    raise typer.Exit(run(seconds=seconds, rate=rate, settings=settings(), console=Console(), drift=moves))

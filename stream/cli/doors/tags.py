"""`tagstream tags`: a table with the newest decision of every event."""

import contextlib
import signal
import threading
from collections.abc import Iterator
from typing import Annotated

import typer

from stream.cli.exits import EXIT_USAGE, fail
from stream.cli.options import Brokers, not_empty, settings

Table = Annotated[
    str,
    typer.Option(
        "--table",
        help="Database: sqlite:///FILE or postgresql://USER@HOST/NAME; #NAME behind it for another table than `predictions`.",
        metavar="URL",
        callback=not_empty,
    ),
]


def tags(
    table: Table,
    brokers: Brokers = None,
    once: Annotated[bool, typer.Option("--once", help="End when the topics are read to their ends as they are now.")] = False,
) -> None:
    """
    Keep a table of all decisions as new as the topics tagged and review, until it is stopped.

    The view NAME_newest has one row an event: the decision that holds. `tagstream lookup EVENT_ID --table URL` reads it.
    """
    chosen = settings(brokers=brokers)
    try:
        from stream.tables.predictions import open_predictions
        from stream.tags.follower import follow
    except ModuleNotFoundError as error:
        from model_export.extras import install

        fail(f"a table needs the extra `batch` ({error}). Next: {install('batch')}", EXIT_USAGE)
    from stream import logs
    from stream.terminal import console
    from stream.terminal.text import counted

    logs.configure(level=chosen.log_level, form=chosen.log_format)
    with _stopping() as stop, open_predictions(table, followed=True) as predictions:
        console.talk(f"the table: {predictions.name}")
        done = follow(chosen, predictions, stop, once=once)
    left_out = f", {counted(done.unreadable, 'record')} left out" if done.unreadable else ""
    console.talk(f"{counted(done.decisions, 'record')} read, {counted(done.written, 'row')} written{left_out}")


@contextlib.contextmanager
def _stopping() -> Iterator[threading.Event]:
    """An event that SIGINT and SIGTERM set: what is under way is written first."""
    stop = threading.Event()
    before = {number: signal.signal(number, lambda *_: stop.set()) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)

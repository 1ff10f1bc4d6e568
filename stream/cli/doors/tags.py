"""`tagstream tags`: keeps a database table of all decisions."""

from typing import Annotated

import typer

from tagstream.stream.cli.exits import needing, stopping
from tagstream.stream.cli.options import Brokers, not_empty, settings

Table = Annotated[
    str,
    typer.Option(
        "--table",
        help="Database: sqlite:///FILE or postgresql://USER@HOST/NAME; append #NAME for a table other than `predictions`.",
        metavar="URL",
        callback=not_empty,
    ),
]


def tags(
    table: Table,
    brokers: Brokers = None,
    once: Annotated[bool, typer.Option("--once", help="End once the topics are read to their present ends.")] = False,
) -> None:
    """
    Write the decisions on the topics tagged and review into a table as they come, until stopped.

    The view NAME_newest has one row for each event: the decision that holds. `tagstream lookup EVENT_ID --table URL` reads the table.
    """
    chosen = settings(brokers=brokers)
    with needing("a table", "worker", "batch"):
        from tagstream.stream.tables.follower import TableFollower
        from tagstream.stream.tables.predictions import open_predictions
    from tagstream.stream import logs
    from tagstream.stream.terminal import console
    from tagstream.stream.terminal.text import counted

    logs.configure(level=chosen.log_level, form=chosen.log_format)
    with stopping() as stop, open_predictions(table, followed=True) as predictions:
        console.talk(f"the table: {predictions.name}")
        done = TableFollower(chosen, predictions, stop, once=once)
        done.run()
    left_out = f", {counted(done.unreadable, 'record')} left out" if done.unreadable else ""
    console.talk(f"{counted(done.decisions, 'record')} read, {counted(done.written, 'row')} written{left_out}")

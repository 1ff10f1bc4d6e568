"""`tagstream review export` and `import`, as the command line has them."""

from pathlib import Path
from typing import Annotated, Literal

import typer

from tagstream.stream.cli.exits import EXIT_USAGE, fail
from tagstream.stream.cli.options import Brokers, not_empty, path, settings


def export(
    out: Annotated[Path, typer.Option(help="File to write.", metavar="FILE", parser=path)],
    form: Annotated[
        Literal["lines", "rows", "label-studio"],
        typer.Option(
            help="lines: all answers, for calibrate and import; rows: the newest, to train on; or Label Studio's JSON."
        ),
    ] = "lines",
    with_open: Annotated[
        bool, typer.Option("--open", help="Write events that wait for an answer too; with --form label-studio alone.")
    ] = False,
    brokers: Brokers = None,
) -> None:
    """Write the answers on the topic `reviewed` into a file."""
    if with_open and form != "label-studio":
        fail(f"--form {form} has no place for an event without an answer. Next: leave --open out.", EXIT_USAGE)
    from tagstream.stream.cli.people import exchange
    from tagstream.stream.review.exchange.files import Form

    exchange.export(settings(brokers=brokers), form=Form(form), out=out, with_open=with_open)


def bring(
    file: Annotated[Path, typer.Argument(help="File of `export`, or of Label Studio.", metavar="FILE", parser=path)],
    form: Annotated[Literal["lines", "label-studio"], typer.Option(help="Form of the file.")] = "lines",
    reviewer: Annotated[
        str,
        typer.Option(
            help="Name of the person who answers, where the file does not say it.", metavar="NAME", callback=not_empty
        ),
    ] = "import",
    brokers: Brokers = None,
) -> None:
    """Send the answers in a file to the topic `reviewed`. It can be repeated: what is there already is passed over."""
    from tagstream.stream.cli.people import exchange
    from tagstream.stream.review.exchange.files import Form

    exchange.bring(settings(brokers=brokers), form=Form(form), file=file, reviewer=reviewer)

"""How `tagstream` ends: its exit codes, and the sentences that it prints on standard error."""

from typing import NoReturn

import typer

from stream.terminal.text import escaped

EXIT_FAILED, EXIT_USAGE, EXIT_BROKER, EXIT_CONTRACT = 1, 2, 3, 4


def note(message: str) -> None:
    """Print one sentence on standard error and go on."""
    typer.echo(f"tagstream: {escaped(message, lines=True)}", err=True)


def fail(message: str, code: int) -> NoReturn:
    """Print one sentence on standard error and end with an exit code."""
    note(message)
    raise typer.Exit(code)

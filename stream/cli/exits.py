"""The end of a `tagstream` command: exit codes, sentences on standard error, and the signals that stop a command."""

import contextlib
import signal
import threading
from collections.abc import Iterator
from typing import NoReturn

import typer

from tagstream.stream.terminal.text import escaped

EXIT_FAILED, EXIT_USAGE, EXIT_BROKER, EXIT_CONTRACT = 1, 2, 3, 4


def note(message: str) -> None:
    """Print one sentence on standard error and go on."""
    typer.echo(f"tagstream: {escaped(message, lines=True)}", err=True)


def fail(message: str, code: int) -> NoReturn:
    """Print one sentence on standard error and end with an exit code."""
    note(message)
    raise typer.Exit(code)


@contextlib.contextmanager
def needing(what: str, *extras: str) -> Iterator[None]:
    """
    End the command if an import in this block finds no module: the sentence has the command that installs the extras.

    Args:
        what: The part of the command that needs them, as the subject of the sentence.
        extras: Their names.
    """
    try:
        yield
    except ModuleNotFoundError as error:
        fail(lacking(what, error, *extras), EXIT_USAGE)


def lacking(what: str, error: ModuleNotFoundError, *extras: str) -> str:
    """Return the sentence that says which extras are missing, and how to install them."""
    from tagstream.model_export.extras import install

    names = " and ".join(f"`{name}`" for name in extras)
    return f"{what} needs the extra{'s' if len(extras) > 1 else ''} {names} ({error}). Next: {install(','.join(extras))}"


@contextlib.contextmanager
def stopping() -> Iterator[threading.Event]:
    """Yield an event that SIGINT and SIGTERM set, so that the command can finish its current writes before it ends."""
    stop = threading.Event()
    before = {number: signal.signal(number, lambda *_: stop.set()) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)

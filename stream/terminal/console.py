"""The two consoles of `tagstream`: data goes to stdout, and sentences for a person go to stderr.

All output of `tagstream` goes through a `Terminal`, `show_json` or `exits.note`, and each of these escapes its text.
"""

import contextlib
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

import msgspec
from rich import box
from rich.console import Console, ConsoleOptions, RenderableType
from rich.progress import MofNCompleteColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn
from rich.segment import Segment
from rich.table import Table
from rich.text import Text

from tagstream.stream.terminal.text import escaped, escaped_json


class Terminal(Console):
    """
    A rich console that prints text without reading markup in it, and escapes characters that control a terminal.

    Colours come from styles, never from the text.
    """

    def __init__(self, **options: Any) -> None:
        """The options are the options of `rich.console.Console`."""
        super().__init__(**{"highlight": False, "markup": False, "emoji": False, **options})

    def render(self, renderable: RenderableType, options: ConsoleOptions | None = None) -> Iterator[Segment]:
        """Render as rich does, and escape the text. Rich's own control segments are not changed."""
        for segment in super().render(renderable, options):
            yield segment if segment.control else segment._replace(text=escaped(segment.text, lines=True))


out = Terminal(soft_wrap=True)
err = Terminal(stderr=True, soft_wrap=True)
# In a table with more columns than this, the first column is a label.
SHORT = 2
# Green and red are left out: they are the colours of `tagged` and of dead letters.
TAG_STYLES = ("magenta", "yellow", "cyan", "blue", "bright_magenta", "bright_cyan", "bright_blue")


def talk(message: str) -> None:
    """Print a sentence for a person on stderr."""
    err.print(message)


def show(text: str) -> None:
    """Print lines of data on stdout."""
    out.print(text)


def show_table(title: str, head: Sequence[str], rows: Sequence[Sequence[str]], *, note: str = "") -> None:
    """
    Print a table with its heading on stdout, and an empty line after it.

    Args:
        title: The heading.
        head: The names of the columns.
        rows: The cells of each row, `len(head)` cells a row. A cell may hold text of an event.
        note: Sentences below the table; empty for none.
    """
    made = Table(title=title, title_justify="left", title_style="bold", box=box.SIMPLE_HEAD, pad_edge=False)
    for place, name in enumerate(head):
        # On a narrow terminal, a figure may wrap above its interval. A label does not wrap.
        made.add_column(name, no_wrap=place == 0 and len(head) > SHORT, overflow="fold")
    for row in rows:
        made.add_row(*(Text(visible(cell, limit=100)) for cell in row))
    if out.measure(made).minimum > out.width:
        # Better a label in two lines than a figure that is cut.
        made.columns[0].no_wrap = False
    out.print(made)
    if note:
        out.print(Text(visible(note, limit=600), style="dim"))
    out.print()


def show_json(value: Any) -> None:
    """Print a value as JSON on one line of stdout."""
    show_json_line(msgspec.json.encode(value))
    sys.stdout.flush()


def show_json_line(line: bytes) -> None:
    """Print JSON that has no line break on one line of stdout, without flushing."""
    sys.stdout.buffer.write(escaped_json(line.decode()).encode() + b"\n")


def print_lines(lines: Iterable[str], *, as_json: bool) -> None:
    """Print commands for the user to run, one a line. In JSON, each command is an object."""
    for line in lines:
        if as_json:
            show_json({"command": line})
        else:
            show(line)


def tag_style(tag: str, labels: Sequence[str]) -> str:
    """
    Return the colour of a tag by its place among the bundle's labels; empty for a tag that is not a label.

    >>> tag_style("b", ["a", "b"]), tag_style("c", ["a", "b"])
    ('yellow', '')
    """
    return TAG_STYLES[labels.index(tag) % len(TAG_STYLES)] if tag in labels else ""


@contextlib.contextmanager
def progress(what: str, *, shown: bool) -> Iterator[Callable[[], None]]:
    """Show a counter of rows, if stderr is a terminal. Yield a function that advances the counter by one."""
    if not (shown and err.is_terminal):
        yield lambda: None
        return
    columns = (SpinnerColumn(), TextColumn("{task.description}", markup=False), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=err, transient=True) as bar:
        task = bar.add_task(what, total=None)
        yield lambda: bar.advance(task)


def visible(text: str | None, limit: int = 160) -> str:
    """
    Return the first `limit` characters of an event's text, with escapes; "(no value)" for None.

    >>> visible("a long title", limit=6)
    'a long…'
    """
    if text is None:
        return "(no value)"
    return escaped(text[:limit]) + ("…" if len(text) > limit else "")

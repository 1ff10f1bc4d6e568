"""The two consoles, and how text reaches them: data goes to stdout, sentences for a person to stderr.

All that `tagstream` prints goes through a `Terminal`, `show_json` or `exits.note`, and each of them escapes it.
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
    A console of rich that shows any text as it is: it knows no markup, and escapes characters that a terminal would obey.

    Colours come from styles, never from the text.
    """

    def __init__(self, **options: Any) -> None:
        """Take the options of `rich.console.Console`."""
        super().__init__(**{"highlight": False, "markup": False, "emoji": False, **options})

    def render(self, renderable: RenderableType, options: ConsoleOptions | None = None) -> Iterator[Segment]:
        """Render as rich does, with escapes. Rich's own control codes are segments of their own kind and pass."""
        for segment in super().render(renderable, options):
            yield segment if segment.control else segment._replace(text=escaped(segment.text, lines=True))


out = Terminal(soft_wrap=True)
err = Terminal(stderr=True, soft_wrap=True)
# Tables with more columns begin with a label.
SHORT = 2
# The doors have green, yellow and red.
TAG_STYLES = ("magenta", "yellow", "cyan", "blue", "bright_magenta", "bright_cyan", "bright_blue")


def talk(message: str) -> None:
    """A sentence for the person, on stderr."""
    err.print(message)


def show(text: str) -> None:
    """Lines of data, on stdout, as they are."""
    out.print(text)


def show_table(title: str, head: Sequence[str], rows: Sequence[Sequence[str]], *, note: str = "") -> None:
    """
    A table with its heading on stdout, and an empty line behind it.

    Args:
        title: Its heading.
        head: The names of the columns.
        rows: The cells of each row, as many as `head` has; they may have text of events.
        note: Sentences below it.
    """
    made = Table(title=title, title_justify="left", title_style="bold", box=box.SIMPLE_HEAD, pad_edge=False)
    for place, name in enumerate(head):
        # A figure may stand above its interval on a narrow terminal; a label is never cut.
        made.add_column(name, no_wrap=place == 0 and len(head) > SHORT)
    for row in rows:
        made.add_row(*(Text(visible(cell, limit=100)) for cell in row))
    out.print(made)
    if note:
        out.print(Text(visible(note, limit=600), style="dim"))
    out.print()


def show_json(value: Any) -> None:
    """A value as JSON, on a line of stdout."""
    show_json_line(msgspec.json.encode(value))
    sys.stdout.flush()


def show_json_line(line: bytes) -> None:
    """JSON without a line break, on a line of stdout, which may stay in the buffer."""
    sys.stdout.buffer.write(escaped_json(line.decode()).encode() + b"\n")


def print_lines(lines: Iterable[str], *, as_json: bool) -> None:
    """Commands to run, one a line; as JSON each is an object."""
    for line in lines:
        if as_json:
            show_json({"command": line})
        else:
            show(line)


def tag_style(tag: str, labels: Sequence[str]) -> str:
    """
    The colour of a tag, by its place among the labels of the bundle; none for a tag that is not among them.

    >>> tag_style("b", ["a", "b"]), tag_style("c", ["a", "b"])
    ('yellow', '')
    """
    return TAG_STYLES[labels.index(tag) % len(TAG_STYLES)] if tag in labels else ""


@contextlib.contextmanager
def progress(what: str, *, shown: bool) -> Iterator[Callable[[], None]]:
    """Show a counter of rows on a terminal; yields a function that advances it by one."""
    if not (shown and err.is_terminal):
        yield lambda: None
        return
    columns = (SpinnerColumn(), TextColumn("{task.description}", markup=False), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=err, transient=True) as bar:
        task = bar.add_task(what, total=None)
        yield lambda: bar.advance(task)


def visible(text: str | None, limit: int = 160) -> str:
    """
    The beginning of a text of an event, escaped before columns are counted.

    >>> visible("a long title", limit=6)
    'a long…'
    """
    if text is None:
        return "(no value)"
    return escaped(text[:limit]) + ("…" if len(text) > limit else "")

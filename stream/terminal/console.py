"""The two consoles, and how text reaches them: data goes to stdout, sentences for a person to stderr."""

import contextlib
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence

import msgspec
from rich.console import Console
from rich.progress import MofNCompleteColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

out = Console(highlight=False, soft_wrap=True)
err = Console(stderr=True, highlight=False, soft_wrap=True)
# The doors have green, yellow and red.
TAG_STYLES = ("magenta", "yellow", "cyan", "blue", "bright_magenta", "bright_cyan", "bright_blue")


def talk(message: str) -> None:
    """A sentence for the person, on stderr."""
    err.print(message)


def show(text: str) -> None:
    """Lines of data, on stdout, as they are."""
    out.print(text, markup=False)


def print_lines(lines: Iterable[str], *, as_json: bool) -> None:
    """Commands to run, one a line; as JSON each is an object."""
    for line in lines:
        sys.stdout.write(f"{msgspec.json.encode({'command': line}).decode()}\n" if as_json else f"{line}\n")
    sys.stdout.flush()


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
    columns = (SpinnerColumn(), TextColumn("{task.description}"), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=err, transient=True) as bar:
        task = bar.add_task(what, total=None)
        yield lambda: bar.advance(task)


def visible(text: str | None, limit: int = 160) -> str:
    r"""
    Event text for a terminal, with escapes for characters that are invisible, move the cursor or reorder text.

    >>> print(visible("a\x1b[2Jb \u202ec"))
    a\x1b[2Jb \u202ec
    """
    if text is None:
        return "(no value)"
    shown = "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text[:limit])
    return shown + ("…" if len(text) > limit else "")

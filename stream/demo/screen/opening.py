"""The first lines of the demo: its broker, its worker, the addresses to open."""

import shlex
import shutil
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from rich.console import Console
from rich.text import Text

from stream.demo.screen.watch import can_draw
from stream.settings.settings import Settings

NAME = "tagstream"


class Opening:
    """Prints each step when it is done; on a terminal a line that goes again shows the current wait."""

    def __init__(self, console: Console) -> None:
        """Print to this console."""
        self._console = console
        self._took = ""

    @contextmanager
    def step(self, what: str) -> Iterator[Callable[[str], None]]:
        """Time a step, and show it while it runs; yields a function for the reasons. The next line has the seconds."""
        started = time.monotonic()
        with self._shown(what) as say:
            yield say
        self._took = f"  ({time.monotonic() - started:.1f} s)"

    def tell(self, name: str, what: str) -> None:
        """Print one line."""
        self._line(Text.assemble((f"{name:<9}", "bold"), what, (self._took, "dim")))
        self._took = ""

    def addresses(self, worker: str, settings: Settings) -> None:
        """Print the addresses to open, and commands for another terminal."""
        for number, path in enumerate(("/", "/metrics", "/healthz", "/readyz")):
            self.tell("" if number else "open", worker + path)
        tagstream = command()
        there = f"TAGSTREAM_BROKERS={settings.brokers}"
        self.tell("follow", f"{there} {tagstream} tail {settings.topics.review}")
        findings = "" if settings.topics.drift == "drift" else f" TAGSTREAM_TOPICS__DRIFT={settings.topics.drift}"
        self.tell("", f"{there}{findings} {tagstream} drift tail --from-beginning")
        self.tell("", f"{tagstream} top {worker.removeprefix('http://')}")

    @contextmanager
    def _shown(self, what: str) -> Iterator[Callable[[str], None]]:
        if can_draw(self._console):
            with self._console.status(Text(what)) as status:
                yield lambda why: status.update(Text(_one_line(f"{what}: {why}", self._console.width - 4)))
            return
        last = what
        self._line(f"{what} ...")

        def say(why: str) -> None:
            nonlocal last
            if why != last:
                last = why
                self._line(f"  {why}")

        yield say

    def _line(self, text: str | Text) -> None:
        self._console.print(text, soft_wrap=True, highlight=False, markup=False)


def _one_line(text: str, columns: int) -> str:
    flat = " ".join(text.split())
    return flat if len(flat) <= columns else flat[: max(1, columns - 1)] + "…"


def command(called: str | None = None) -> str:
    """
    The command to type for this program: `tagstream` where PATH has it, else its path, as under `make demo`.

    >>> command("/usr/lib/python3/stream/cli/main.py")
    'tagstream'
    """
    path = Path(sys.argv[0] if called is None else called)
    # Started as a module it is no command, and a name without a folder is one that the shell has found.
    if path.name != NAME or path.parent == Path() or _found(path):
        return NAME
    return shlex.quote(str(path))


def _found(path: Path) -> bool:
    on_path = shutil.which(NAME)
    try:
        return on_path is not None and Path(on_path).samefile(path)
    except OSError:
        return False

"""What the demo says while it starts: which broker, which worker, which addresses to open."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.text import Text

from stream.demo.command import command
from stream.demo.watch import can_draw


class Opening:
    """Says each thing once it is so; on a terminal also, in a line that goes again, what it waits for."""

    def __init__(self, console: Console) -> None:
        """Nothing is said yet."""
        self._console = console
        self._took = ""

    @contextmanager
    def step(self, what: str) -> Iterator[Callable[[str], None]]:
        """Something that takes a while; yields what takes the reasons why. The next thing told says how long it took."""
        started = time.monotonic()
        with self._shown(what) as say:
            yield say
        self._took = f"  ({time.monotonic() - started:.1f} s)"

    def tell(self, name: str, what: str) -> None:
        """Something is so."""
        self._line(Text.assemble((f"{name:<9}", "bold"), what, (self._took, "dim")))
        self._took = ""

    def addresses(self, worker: str, bootstrap: str) -> None:
        """What can be opened and tried meanwhile, in another terminal."""
        for number, path in enumerate(("/", "/metrics", "/healthz", "/readyz")):
            self.tell("" if number else "open", worker + path)
        tagstream = command()
        self.tell("follow", f"TAGSTREAM_BROKERS={bootstrap} {tagstream} tail review")
        self.tell("", f"TAGSTREAM_BROKERS={bootstrap} {tagstream} drift tail --from-beginning")
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

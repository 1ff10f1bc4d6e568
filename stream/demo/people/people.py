"""The console of a demo and the script that answers in it, together."""

import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from model_export.extras import install
from stream.demo.people.answers import Given
from stream.demo.people.console import ReviewConsole, missing
from stream.demo.people.script import Script
from stream.settings.settings import Settings


class People:
    """
    Whoever answers in a demo.

    Attributes:
        address: The console's, `http://host:port`.
        log: The end of the console's log, once it is stopped.
    """

    def __init__(self, console: ReviewConsole, script: Script) -> None:
        """Start neither yet."""
        self._console = console
        self._script = script
        self._begun = False
        self.address = console.address
        self.log = ""

    def begin(self) -> None:
        """Start both, unless they have been; returns at once."""
        if not self._begun:
            self._begun = True
            self._console.start()
            self._script.start()

    def stop(self) -> list[str]:
        """End both in order; a sentence for each thing that went wrong."""
        late, unclean = self._script.stop(), self._console.stop()
        self.log = self._console.tail()
        refused = [f"the console did not save {len(found)}: {', '.join(found[:5])}"] if (found := self._script.troubles) else []
        return [*refused, *(one for one in (late, unclean) if one)]


def lacking() -> str | None:
    """A sentence on what the console needs and is not installed; None if everything is."""
    found = missing()
    return f"no console, since {', '.join(found)} is not installed. Next: {install('review')}" if found else None


@contextmanager
def people(settings: Settings, labels: Mapping[str, str], given: Callable[[Given], None]) -> Iterator[People]:
    """
    Console and script, not started yet; they are ended on exit.

    Args:
        settings: Brokers and topics.
        labels: The right answers that the script knows, by title.
        given: Called in another thread with each answer of the script that is saved.
    """
    with tempfile.TemporaryDirectory(prefix="tagstream-demo-console-") as folder:
        console = ReviewConsole(settings, Path(folder))
        script = Script(console.address, labels, given)
        try:
            yield People(console, script)
        finally:
            # A script that waits for a console that is gone hears of it.
            console.close()
            script.stop()

"""The console's process in a demo."""

import socket
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from stream.demo.people import console as module
from stream.demo.people.console import ReviewConsole
from stream.demo.people.people import People, lacking
from stream.demo.people.script import Script
from stream.settings.settings import Settings
from tests.waiting import until


def program(text: str) -> tuple[str, ...]:
    """The command line of a program that stands in for the console."""
    return (sys.executable, "-c", text)


@contextmanager
def begun(text: str, folder: Path) -> Iterator[People]:
    """People whose console is this program, once it has written its first line."""
    console = ReviewConsole(Settings(), folder, program(text))
    people = People(console, Script(console.address, {}, lambda _: None))
    people.begin()
    people.begin()
    try:
        until(console.tail, "the program has begun")
        yield people
    finally:
        console.close()


LISTENS = (
    "import signal, sys; signal.signal(signal.SIGTERM, lambda *_: sys.exit({code})); print('begun', flush=True); signal.pause()"
)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (LISTENS.format(code=0), []),
        # It heard the signal before it had a handler, as in a demo of three seconds.
        ("import signal; print('begun', flush=True); signal.pause()", []),
        (LISTENS.format(code=3), ["the console ended with exit code 3 after SIGTERM"]),
    ],
)
def test_the_end_of_the_console_is_told_when_it_is_not_in_order(text: str, said: list[str], tmp_path: Path) -> None:
    """A code other than 0 is a sentence, and the log's end is kept for it."""
    with begun(text, tmp_path) as people:
        assert people.stop() == said
        assert "begun" in people.log


def test_a_console_that_ended_by_itself_is_told(tmp_path: Path) -> None:
    """The stream went on meanwhile; the demo says in the end that nobody could answer."""
    console = ReviewConsole(Settings(), tmp_path, program("print('no broker'); raise SystemExit(3)"))
    console.start()
    until(lambda: not console.running(), "its end is known")
    assert console.stop() == "the console ended by itself, with exit code 3"
    assert "no broker" in console.tail()
    console.close()
    assert not tmp_path.exists()


def test_a_console_that_was_never_started_is_nothing_to_tell(tmp_path: Path) -> None:
    """A demo in which no event came out has begun nothing."""
    console = ReviewConsole(Settings(), tmp_path)
    people = People(console, Script(console.address, {}, lambda _: None))
    assert people.stop() == []
    assert people.log == ""
    console.close()


def test_answers_that_were_refused_are_told(tmp_path: Path) -> None:
    """How many, and the first of them."""
    console = ReviewConsole(Settings(), tmp_path)
    script = Script(console.address, {}, lambda _: None)
    script.troubles += ["a (HTTP 503)", "b (HTTP 409)"]
    assert People(console, script).stop() == ["the console did not save 2: a (HTTP 503), b (HTTP 409)"]


def test_a_taken_port_is_no_obstacle(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where another console holds the usual port, a free one is taken."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        monkeypatch.setattr(module, "PORT", taken.getsockname()[1])
        assert ReviewConsole(Settings(), tmp_path).address != f"http://127.0.0.1:{module.PORT}"
    assert ReviewConsole(Settings(), tmp_path).address == f"http://127.0.0.1:{module.PORT}"


def test_what_the_console_lacks_is_one_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    """With the next step; nothing where all is installed."""
    assert lacking() is None
    monkeypatch.setattr(module, "PACKAGES", ("json", "no_such_package"))
    assert lacking() is not None
    assert str(lacking()).startswith("no console, since no_such_package is not installed. Next: in the project's folder ")
    assert str(lacking()).endswith("-m pip install -e '.[review]'")

"""The demo's programs in processes of their own, and the signals that end a demo."""

import io
import os
import signal
import socket
import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from rich.console import Console

from tagstream.stream.broker.ports import free_ports
from tagstream.stream.broker.processes import Processes
from tagstream.stream.demo import program, run
from tagstream.stream.demo.interrupt import interrupts
from tagstream.stream.demo.program import Program, ProgramError
from tagstream.stream.demo.run import demo
from tagstream.stream.settings.loading import load
from tagstream.stream.settings.settings import Settings
from tests.waiting import HANG_SECONDS, until


@contextmanager
def started(text: str, folder: Path) -> Iterator[Program]:
    """A program that stands in for the console, once it has written its first line."""
    folder.mkdir()
    with Processes(grace_seconds=0, remove=folder) as processes:
        made = Program(
            "console",
            (sys.executable, "-c", text),
            env={},
            address="http://127.0.0.1:1",
            processes=processes,
            folder=folder,
            stop_seconds=HANG_SECONDS,
        )
        until(lambda: "begun" in made.log(), "the program has begun", state=made.log)
        yield made


def has_ended(found: Program) -> bool:
    """Whether it has ended."""
    try:
        found.check()
    except ProgramError:
        return True
    return False


LISTENS = (
    "import signal, sys; signal.signal(signal.SIGTERM, lambda *_: sys.exit({code})); print('begun', flush=True); signal.pause()"
)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (LISTENS.format(code=0), None),
        # It heard the signal before it had a handler, as in a demo of three seconds.
        ("import signal; print('begun', flush=True); signal.pause()", None),
        (LISTENS.format(code=3), "the console ended with exit code 3 after SIGTERM"),
    ],
)
def test_the_end_of_a_program_is_told_when_it_is_not_in_order(text: str, said: str | None, tmp_path: Path) -> None:
    """A code other than 0 is a sentence, unless the signal came while it was loading."""
    with started(text, tmp_path / "demo") as found:
        assert found.stop() == said


def test_a_program_that_was_asked_before_has_not_ended_by_itself(tmp_path: Path) -> None:
    """Several are asked at once, and then waited for one after the other."""
    with started(LISTENS.format(code=0), tmp_path / "demo") as found:
        found.ask_to_end()
        until(lambda: has_ended(found), "the program has ended", state=found.log)
        assert found.stop() is None


def test_a_program_that_ended_by_itself_is_told(tmp_path: Path) -> None:
    """Each check says so, and the end does; the end of its log has the reason."""
    with started("print('begun: no broker'); raise SystemExit(3)", tmp_path / "demo") as found:
        with pytest.raises(ProgramError, match=r"before it was ready; the end of .*console\.log is:\n  begun: no broker"):
            found.wait_until_ready(lambda _: None)
        with pytest.raises(ProgramError, match="the console ended by itself, with exit code 3"):
            found.check()
        assert found.stop() == "the console ended by itself, with exit code 3"
    assert not (tmp_path / "demo").exists()


def test_a_program_gets_the_demos_settings_and_no_others(tmp_path: Path) -> None:
    """Its environment loads as the demo's settings, without those of the shell, and its state is in the demo's folder."""
    settings = load(
        {
            "TAGSTREAM_BROKERS": "a:1,b:2",
            "TAGSTREAM_TOPICS__CONTENT": "c",
            "TAGSTREAM_CONFIDENCE_THRESHOLD": "0.5",
            "TAGSTREAM_STATE_FOLDER": "/theirs",
        },
        {"bundle": Path("some/where")},
        folder=Path("/nonexistent"),
    ).settings
    environ = program.environment(settings, tmp_path, {"TAGSTREAM_GROUP": "night", "PATH": "/bin"})
    assert environ["PATH"] == "/bin"
    changed = {"log_format": "json", "state_folder": tmp_path / "state"}
    assert load(environ).settings == settings.model_copy(update=changed)


def test_a_taken_port_is_no_obstacle() -> None:
    """The usual port is taken where it is free, since people know it; where another program holds it, any other one."""
    (usual,) = free_ports(1)
    assert program.port(usual) == usual
    with socket.create_server(("127.0.0.1", usual)):
        assert program.port(usual) not in {0, usual}
    assert program.port(0) > 0


def test_what_the_console_lacks_is_one_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    """With the next step; nothing where all is installed."""
    assert run.lacking() is None
    monkeypatch.setattr(run, "PACKAGES", ("json", "no_such_package"))
    assert str(run.lacking()).startswith("no console, since no_such_package is not installed. Next: in the project's folder ")
    assert str(run.lacking()).endswith("-m pip install -e '.[review]'")


def test_a_signal_before_the_run_breaks_off_and_a_second_does_not() -> None:
    """During the start a first signal raises, and a second one does not break off the end."""
    before = signal.getsignal(signal.SIGTERM)
    with interrupts() as interrupt:
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), signal.SIGTERM)
        os.kill(os.getpid(), signal.SIGINT)
        assert interrupt.insisted
    assert signal.getsignal(signal.SIGTERM) is before


def test_a_signal_during_the_run_is_a_request() -> None:
    """The first one asks, the second one insists, neither is an exception."""
    with interrupts() as interrupt:
        interrupt.postpone()
        asked = Counter[str]()
        for _ in range(2):
            os.kill(os.getpid(), signal.SIGINT)
            asked.update(asked=interrupt.asked, insisted=interrupt.insisted)
    assert asked == {"asked": 2, "insisted": 1}


@pytest.mark.parametrize(("seconds", "rate"), [(0.0, 20.0), (8.0, 0.0), (-1.0, 20.0)])
def test_a_demo_of_nothing_is_refused(seconds: float, rate: float) -> None:
    """No time or no rate is a mistake that is told before anything starts."""
    with pytest.raises(ValueError, match="more than 0"):
        demo(seconds=seconds, rate=rate, settings=Settings(), console=Console(file=io.StringIO()))

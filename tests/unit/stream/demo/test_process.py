"""The demo's worker process, and the signals that end a demo."""

import io
import os
import signal
import socket
import sys
from collections import Counter
from pathlib import Path

import pytest
from rich.console import Console

from stream.demo import process
from stream.demo.interrupt import interrupts
from stream.demo.run import demo
from stream.settings.loading import load
from stream.settings.settings import Settings


def test_the_worker_gets_the_demos_settings_and_no_others() -> None:
    """The worker's environment loads as the demo's settings, without those of the shell."""
    settings = load(
        {"TAGSTREAM_BROKERS": "a:1,b:2", "TAGSTREAM_TOPICS__CONTENT": "c", "TAGSTREAM_CONFIDENCE_THRESHOLD": "0.5"},
        {"metrics_port": 0, "bundle": Path("some/where")},
        folder=Path("/nonexistent"),
    ).settings
    environ = process.environment(settings, {"TAGSTREAM_GROUP": "night", "PATH": "/bin"})
    assert environ["PATH"] == "/bin"
    assert load(environ).settings == settings.model_copy(update={"log_format": "json"})


def test_the_worker_of_a_demo_keeps_its_state_in_the_demos_folder(tmp_path: Path) -> None:
    """A state folder of the settings belongs to other workers: a demo does not open or close their circuit breaker."""
    seen = tmp_path / "seen"
    program = (sys.executable, "-c", f"import os; open({str(seen)!r}, 'w').write(os.environ['TAGSTREAM_STATE_FOLDER'])")
    folder = tmp_path / "demo"
    folder.mkdir()
    with (
        pytest.raises(process.WorkerError),
        process.worker(Settings(state_folder=tmp_path / "theirs"), folder, say=lambda _: None, command=program),
    ):
        pass
    assert seen.read_text() == str(folder / "state")


def test_a_taken_metrics_port_is_no_obstacle() -> None:
    """Where another worker holds the port, a free one is taken."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        environ = process.environment(Settings(metrics_port=port), {})
        assert environ["TAGSTREAM_METRICS_PORT"] == "0"
    assert process.environment(Settings(metrics_port=port), {})["TAGSTREAM_METRICS_PORT"] == str(port)


def test_the_address_is_known_only_when_the_worker_has_said_it() -> None:
    """Other lines of the log, JSON or not, are no address."""
    assert process.metrics_address('{"event": "bundle_loaded"}\nTraceback\n') is None


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

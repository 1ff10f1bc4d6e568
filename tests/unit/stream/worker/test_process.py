"""What a worker's process does before it asks the brokers."""

import gc
import subprocess
import sys
from pathlib import Path
from unittest.mock import Mock

import pytest

from tagstream.stream.settings.settings import Settings
from tagstream.stream.worker import process
from tests.waiting import HANG_SECONDS

# A worker that ends when it comes to answers: by then it has loaded what its settings ask for.
STARTING = """
import sys
from unittest.mock import Mock
from tagstream.stream.cli import worker_process
from tagstream.stream.settings.loading import load
from tagstream.stream.worker import process

settings = load({"TAGSTREAM_ASK_RATE": sys.argv[1], "TAGSTREAM_SECURITY__ASK_KEYS_FILE": sys.argv[2]}).settings
process.look = Mock(return_value=Mock(settings=settings))
process._answers = Mock(side_effect=InterruptedError)
try:
    process.run(settings, pipeline=Mock(), make=Mock(), metrics=Mock(), registry=Mock())
except InterruptedError:
    print(*(name for name in sys.modules if name.endswith(".asking")))
"""


class AskedError(Exception):
    """The worker came to ask the brokers."""


def test_garbage_is_collected_while_a_worker_waits_for_brokers(monkeypatch: pytest.MonkeyPatch) -> None:
    """The verb switches collections off for the imports; a wait for a broker or an operator may last days."""
    monkeypatch.setattr(process, "exit_on_early_stop", Mock())
    monkeypatch.setattr(process, "look", Mock(side_effect=AskedError))
    gc.disable()
    try:
        with pytest.raises(AskedError):
            process.run(Settings(), pipeline=Mock(), make=Mock(), metrics=Mock(), registry=Mock())
        assert gc.isenabled()
    finally:
        gc.enable()
        gc.unfreeze()


@pytest.mark.parametrize("rate", ["0", "0.5"])
def test_a_worker_loads_the_asking_of_viewers_only_if_its_settings_ask(tmp_path: Path, rate: str) -> None:
    """Neither the draw nor the tokens while `ask_rate` is 0, though there are keys."""
    keys = tmp_path / "keys"
    keys.write_bytes(b"k" * 32)
    keys.chmod(0o600)
    command = [sys.executable, "-c", STARTING, rate, str(keys)]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=HANG_SECONDS, check=False)
    loaded = [] if rate == "0" else ["tagstream.stream.contract.asking", "tagstream.stream.decide.asking"]
    assert (sorted(done.stdout.split()), done.returncode) == (loaded, 0), done.stderr

"""The tutorial of labels of one's own, which trains a model: its commands run as they stand on the page."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tagstream.stream.broker.processes import Processes
from tagstream.stream.settings.loading import load
from tests.faults.observer import TopicObserver
from tests.faults.worker.fleet import ROOT, without_settings
from tests.integration.commands.test_own_labels import GOLD, ROWS, as_published, decisions
from tests.integration.running import written
from tests.waiting import HANG_SECONDS, until

pytestmark = pytest.mark.broker

EVENTS = 60
PAGE = ROOT / "docs" / "own-labels.md"
# Commands that run until they are stopped: on the page each has a terminal of its own.
LASTING = {"worker", "review"}


def command_lines() -> list[str]:
    """The command lines of the tutorial, in its order."""
    return re.findall(r"^\$ (.+)$", PAGE.read_text("utf-8"), re.MULTILINE)


def test_the_tutorial_runs_as_it_stands(environ: dict[str, str], processes: Processes, tmp_path: Path) -> None:
    """From the CSV to the stream: each command ends well, and the stream says of the gold rows what classify has said."""
    folder = tmp_path / "clone"
    shutil.copytree(ROOT / "examples", folder / "examples")
    beside = Path(sys.executable).parent
    env = {**without_settings(os.environ), "PYTHONPATH": str(ROOT), **environ, "PATH": f"{beside}:{os.environ['PATH']}"}
    lines = command_lines()
    assert [line.split()[1] for line in lines if not line.startswith("TAGSTREAM_")].count("worker") == 1
    for number, line in enumerate(lines):
        if line.split()[1] in LASTING:
            processes.start(["bash", "-c", f"cd {folder} && exec {line}"], env=env, log_file=tmp_path / f"{number}.log")
            continue
        ran = subprocess.run(
            ["bash", "-c", line], cwd=folder, env=env, capture_output=True, text=True, timeout=HANG_SECONDS, check=False
        )
        assert ran.returncode == 0, f"{line}\n{ran.stdout}{ran.stderr}"
    classified = (folder / "classified.jsonl").read_bytes().splitlines()
    assert len(classified) == ROWS
    sent = subprocess.run(
        ["tagstream", "send", GOLD], env=env, cwd=folder, capture_output=True, timeout=HANG_SECONDS, check=False
    )
    assert sent.returncode == 0, sent.stderr.decode()
    with TopicObserver(load(environ, folder=ROOT).settings) as observer:
        until(lambda: written(observer) >= ROWS + EVENTS, "every ticket has an outcome")
        outcomes = observer.outcomes()
    assert decisions(outcomes, "T-") == as_published(classified)

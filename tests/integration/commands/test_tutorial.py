"""The tutorial of labels of one's own, which trains a model: its commands run as they stand on the page."""

import shutil
from pathlib import Path

import pytest

from tagstream.stream.broker.processes import Processes
from tagstream.stream.settings.loading import load
from tests.faults.observer import TopicObserver
from tests.faults.worker.fleet import ROOT
from tests.integration.commands.test_own_labels import GOLD, ROWS, as_published, decisions
from tests.integration.pages import Reader, steps
from tests.integration.running import written
from tests.waiting import until

pytestmark = pytest.mark.broker

EVENTS = 60
PAGE, OUTSIDE = ROOT / "docs" / "own-labels.md", ROOT / "docs" / "outside-labels.md"
# Commands that run until they are stopped: on the page each has a terminal of its own.
LASTING = {"worker", "review"}


def test_the_tutorial_runs_as_it_stands(environ: dict[str, str], processes: Processes, tmp_path: Path) -> None:
    """From the CSV to the stream: each command ends well, the stream says of the gold rows what classify has said, and the gate is that of its page."""
    folder = tmp_path / "clone"
    shutil.copytree(ROOT / "examples", folder / "examples")
    reader = Reader(folder, environ, processes)
    commands = [step.command for step in steps(PAGE)]
    assert [line.split()[1] for line in commands if not line.startswith("TAGSTREAM_")].count("worker") == 1
    for line in commands:
        if line.split()[1] in LASTING:
            reader.start(line)
            continue
        reader.run(line, code=0)
    classified = (folder / "classified.jsonl").read_bytes().splitlines()
    assert len(classified) == ROWS
    reader.run(f"tagstream send {GOLD}", code=0)
    with TopicObserver(load(environ, folder=ROOT).settings) as observer:
        until(lambda: written(observer) >= ROWS + EVENTS, "every ticket has an outcome")
        outcomes = observer.outcomes()
    assert decisions(outcomes, "T-") == as_published(classified)
    inspect = steps(OUTSIDE)[-1]
    assert inspect.shown in reader.run(inspect.command)

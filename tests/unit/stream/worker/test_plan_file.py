"""A plan that ended a worker is not loaded again by the next one; one that is being loaded, or was loaded in peace, is."""

import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tagstream.stream.decide.rolled import NotReadyError
from tagstream.stream.settings.rollout import Rollout
from tagstream.stream.settings.settings import Settings
from tagstream.stream.worker.plan_file import PlanFile
from tests.waiting import HANG_SECONDS

DIES = """
import os, signal, sys
from pathlib import Path
from tagstream.stream.settings.rollout import Rollout
from tagstream.stream.settings.settings import Settings
from tagstream.stream.worker.plan_file import PlanFile
settings = Settings(state_folder=Path(sys.argv[1]), rollout=Rollout(topic="g.rollout"))
with PlanFile(settings).loading(3, waited=False):
    os.kill(os.getpid(), signal.SIGKILL)
"""


def plans(folder: Path) -> PlanFile:
    """Those of a group's workers on this machine."""
    return PlanFile(Settings(state_folder=folder, rollout=Rollout(topic="g.rollout")))


def test_a_plan_that_killed_a_worker_is_refused_until_there_is_another(tmp_path: Path) -> None:
    """However often a worker begins meanwhile; the next plan is tried, and leaves nothing behind."""
    died = subprocess.run([sys.executable, "-c", DIES, str(tmp_path)], timeout=HANG_SECONDS, check=False)
    assert died.returncode == -signal.SIGKILL
    for _ in range(2):
        with (
            pytest.raises(NotReadyError, match=r"a worker ended while it loaded this.*Next:"),
            plans(tmp_path).loading(3, waited=True),
        ):
            pass
    with plans(tmp_path).loading(4, waited=False):
        pass
    assert list(tmp_path.iterdir()) == []


def test_workers_that_load_a_plan_at_once_do_not_take_each_other_for_dead(tmp_path: Path) -> None:
    """They may share a folder; what is raised inside is no death."""
    with plans(tmp_path).loading(3, waited=True), plans(tmp_path).loading(3, waited=True):
        pass
    with pytest.raises(ZeroDivisionError), plans(tmp_path).loading(3, waited=False):
        raise ZeroDivisionError
    with plans(tmp_path).loading(3, waited=False):
        pass


def test_without_a_folder_only_plans_that_came_later_are_tried(tmp_path: Path) -> None:
    """A worker before this one may have ended by a plan that waited."""
    folder = tmp_path / "file"
    folder.write_text("no folder")
    with pytest.raises(NotReadyError, match=r"waited.*state_folder.*Next:"), plans(folder).loading(3, waited=True):
        pass
    with plans(folder).loading(3, waited=False):
        pass

"""Processes that end with the one that started them."""

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tagstream.stream.broker.processes import Process, Processes
from tagstream.stream.broker.provider import ProviderUnavailable
from tests.waiting import HANG_SECONDS

SYSTEM_PATH = "/usr/bin:/bin"


def is_gone(pid: int) -> bool:
    """Whether there is no such process, within the bound."""
    deadline = time.monotonic() + HANG_SECONDS
    while time.monotonic() < deadline:
        try:
            os.kill(pid, 0)
        except ProcessLookupError:
            return True
        time.sleep(0.05)
    return False


def is_removed(folder: Path) -> bool:
    """Whether the folder is gone, within the bound."""
    deadline = time.monotonic() + HANG_SECONDS
    while folder.exists() and time.monotonic() < deadline:
        time.sleep(0.05)
    return not folder.exists()


CHILD = """
import subprocess, sys, time
from pathlib import Path
from tagstream.stream.broker.processes import Processes
folder = Path(sys.argv[1])
processes = Processes(grace_seconds=float(sys.argv[2]), remove=folder)
process = processes.start(["/bin/sh", "-c", "trap '' TERM; while :; do sleep 0.1; done"], env={}, log_file=folder / "log")
if sys.argv[3] == "held":
    subprocess.Popen(["sleep", "15"], pass_fds=[processes._guard.stdin.fileno()], stdout=subprocess.DEVNULL)
print(process.pid, processes._guard.pid, flush=True)
time.sleep(120)
"""


class TestProcesses:
    """No process outlives the one that started it."""

    def start(self, processes: Processes, folder: Path, script: str) -> Process:
        """A shell with a guard."""
        return processes.start(["/bin/sh", "-c", script], env={"PATH": SYSTEM_PATH}, log_file=folder / "log")

    @contextmanager
    def killable(self, folder: Path, line: str) -> Iterator[tuple[subprocess.Popen[str], int, int]]:
        """Another Python that has started a process: its handle, the process and the guard."""
        folder.mkdir()
        words = [sys.executable, "-c", CHILD, str(folder), "0.5", line]
        with subprocess.Popen(words, stdout=subprocess.PIPE, text=True, cwd=Path(__file__).parents[4]) as parent:
            assert parent.stdout is not None
            pid, guard = map(int, parent.stdout.readline().split())
            try:
                yield parent, pid, guard
            finally:
                parent.kill()
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)

    def test_output_and_exit_code_are_seen(self, tmp_path: Path) -> None:
        """The output and the exit code of a process can be read."""
        with Processes(grace_seconds=0) as processes:
            process = self.start(processes, tmp_path, "echo out; echo err >&2; exit 3")
            assert process.wait(HANG_SECONDS)
            assert (process.exit_code, process.output()) == (3, "out\nerr\n")

    def test_output_is_of_this_run_only(self, tmp_path: Path) -> None:
        """A log that an earlier process wrote is kept, and not mistaken for this one's."""
        with Processes(grace_seconds=0) as processes:
            assert self.start(processes, tmp_path, "echo first").wait(HANG_SECONDS)
            second = self.start(processes, tmp_path, "echo second")
            assert second.wait(HANG_SECONDS)
            assert second.output() == "second\n"

    def test_program_that_is_not_there_is_a_reason(self, tmp_path: Path) -> None:
        """A program that cannot be run closes its provider of the ladder with a sentence."""
        with (
            Processes(grace_seconds=0) as processes,
            pytest.raises(ProviderUnavailable, match=r"cannot run /nowhere/java: .*No such file"),
        ):
            processes.start(["/nowhere/java"], env={}, log_file=tmp_path / "log")

    def test_kill_waits_until_it_is_gone(self, tmp_path: Path) -> None:
        """SIGKILL reaches one that ignores SIGTERM, and the caller knows when."""
        with Processes(grace_seconds=0) as processes:
            process = self.start(processes, tmp_path, "trap '' TERM; while :; do sleep 0.1; done")
            process.kill()
            assert process.exit_code == -signal.SIGKILL
            assert is_gone(process.pid)

    def test_close_ends_all_and_removes_the_folder(self, tmp_path: Path) -> None:
        """After close neither the processes nor the folder are left."""
        folder = tmp_path / "scratch"
        folder.mkdir()
        with Processes(grace_seconds=0, remove=folder) as processes:
            process = self.start(processes, folder, "sleep 3600")
        assert is_gone(process.pid)
        assert not folder.exists()

    def test_close_ends_what_the_processes_started(self, tmp_path: Path) -> None:
        """A child of a process is in its group and ends with it."""
        with Processes(grace_seconds=0) as processes:
            process = self.start(processes, tmp_path, "sleep 3600 & echo $!")
            assert process.wait(HANG_SECONDS)
            child = int(process.output())
        assert is_gone(child)

    def test_close_does_not_wait_for_a_fork(self, tmp_path: Path) -> None:
        """Close returns while another child of this process still holds the guard's standard input open."""
        with Processes(grace_seconds=0) as processes:
            process = self.start(processes, tmp_path, "sleep 3600")
            assert processes._guard.stdin is not None
            sibling = subprocess.Popen(["sleep", "3600"], pass_fds=[processes._guard.stdin.fileno()])
        assert sibling.poll() is None
        assert is_gone(process.pid)
        sibling.kill()
        sibling.wait(HANG_SECONDS)

    @pytest.mark.parametrize("line", ["own", "held"])
    def test_killed_parent_takes_its_processes_along(self, tmp_path: Path, line: str) -> None:
        """SIGKILL of the parent ends everything, also while its other child holds the guard's standard input open."""
        folder = tmp_path / "scratch"
        with self.killable(folder, line) as (parent, pid, guard):
            parent.kill()
            assert is_gone(pid)
            assert is_gone(guard)
            assert is_removed(folder)

    def test_killed_guard_costs_the_parent_nothing(self, tmp_path: Path) -> None:
        """The processes of a killed guard go on, and close still ends them."""
        folder = tmp_path / "scratch"
        folder.mkdir()
        with Processes(grace_seconds=0, remove=folder) as processes:
            os.kill(processes._guard.pid, signal.SIGKILL)
            process = self.start(processes, folder, "sleep 3600")
            assert process.running()
        assert is_gone(process.pid)
        assert not folder.exists()

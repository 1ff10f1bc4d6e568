"""Processes that cannot outlive the one that started them: a guard ends them when it is killed."""

import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

from tagstream.stream.broker import guard
from tagstream.stream.broker.provider import Deadline, ProviderUnavailable

# How long the system may take to remove a process after SIGKILL.
_SYSTEM_SECONDS = 20.0
_TAIL_LINES = 25


class Process:
    """
    One process, started by `Processes.start`.

    Attributes:
        pid: Its id, which is also that of a process that has ended.
        log_file: Where its output goes.
        ended_at: When it ended, on the clock of `time.monotonic`; None while it runs.
    """

    def __init__(self, running: subprocess.Popen[bytes], log_file: Path, log_start: int) -> None:
        """
        Watch a process that runs.

        Args:
            running: The process.
            log_file: The file that its output is appended to.
            log_start: The byte of the file at which its output begins.
        """
        self.pid = running.pid
        self.log_file = log_file
        self.ended_at: float | None = None
        self._running = running
        self._log_start = log_start
        self._ended = threading.Event()
        threading.Thread(target=self._reap, name=f"process-{self.pid}", daemon=True).start()

    @property
    def exit_code(self) -> int | None:
        """Its exit code, or the signal that ended it as a negative number; None while it runs."""
        return self._running.returncode if self._ended.is_set() else None

    def running(self) -> bool:
        """Whether it has not ended yet."""
        return not self._ended.is_set()

    def wait(self, seconds: float) -> bool:
        """Wait at most so many seconds for the end; whether it came."""
        return self._ended.wait(seconds)

    def ask_to_end(self) -> None:
        """Send SIGTERM."""
        self._running.terminate()

    def kill(self) -> None:
        """
        Send SIGKILL, and wait until the process is gone.

        Raises:
            TimeoutError: It is still there.
        """
        self._running.kill()
        if not self.wait(_SYSTEM_SECONDS):
            msg = f"process {self.pid} is still there {_SYSTEM_SECONDS:.0f} s after SIGKILL: see what it waits for"
            raise TimeoutError(msg)

    def output(self) -> str:
        """The output of this process so far, without that of an earlier one with the same log file."""
        with self.log_file.open("rb") as log:
            log.seek(self._log_start)
            return log.read().decode(errors="replace")

    def _reap(self) -> None:
        self._running.wait()
        self.ended_at = time.monotonic()
        self._ended.set()


class Processes:
    """
    Starts processes that end with this one, however it ends.

    They are in the process group of the guard, and not in the terminal's foreground group: Ctrl-C reaches this process
    alone, which then ends them in order.

    Args:
        grace_seconds: Between SIGTERM and SIGKILL when everything is ended; 0 sends SIGKILL at once.
        remove: A folder that `close` removes; the guard does when this process is killed.
    """

    def __init__(self, *, grace_seconds: float, remove: Path | None = None) -> None:
        """Start the guard."""
        self._grace_seconds = grace_seconds
        self._remove = remove
        self._all: list[Process] = []
        words = [sys.executable, "-I", "-S", guard.__file__, str(os.getpid()), str(grace_seconds)]
        self._guard = subprocess.Popen(  # noqa: S603 - our own file, in our own interpreter
            [*words, str(remove)] if remove else words, stdin=subprocess.PIPE, process_group=0
        )

    def start(self, argv: Sequence[str | Path], *, env: Mapping[str, str], log_file: Path) -> Process:
        """
        Run a program.

        Args:
            argv: The program's path and its arguments.
            env: All variables of its environment.
            log_file: The file that its output is appended to.

        Raises:
            ProviderUnavailable: It cannot be run.
        """
        with log_file.open("ab") as log:
            log_start = log.tell()
            try:
                running = subprocess.Popen(  # noqa: S603 - no shell is wanted
                    [str(word) for word in argv],
                    env=dict(env),
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=subprocess.STDOUT,
                    process_group=self._guard.pid,
                )
            except OSError as error:
                msg = f"cannot run {argv[0]}: {error}"
                raise ProviderUnavailable(msg) from error
        process = Process(running, log_file, log_start)
        self._all.append(process)
        return process

    def close(self) -> None:
        """End every process and its children, remove the folder, and return when all are gone."""
        if self._guard.returncode is not None:
            return
        try:
            end_all(self._all, grace_seconds=self._grace_seconds)
        finally:
            os.killpg(self._guard.pid, signal.SIGKILL)
            self._guard.communicate(timeout=_SYSTEM_SECONDS)
        if self._remove is not None:
            shutil.rmtree(self._remove, ignore_errors=True)

    def __enter__(self) -> Self:
        """Itself."""
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        """End every process."""
        self.close()


def end_all(processes: Sequence[Process], *, grace_seconds: float) -> None:
    """Send SIGTERM to all at once, and SIGKILL to those that are still there after the grace."""
    running = [process for process in processes if process.running()]
    if grace_seconds > 0:
        for process in running:
            process.ask_to_end()
        deadline = Deadline.after(grace_seconds)
        for process in running:
            process.wait(deadline.left())
    for process in running:
        if process.running():
            process.kill()


def tail(process: Process) -> str:
    """The end of a process's log, for an error."""
    lines = process.output().strip().splitlines()[-_TAIL_LINES:]
    return "\n".join([f"the end of {process.log_file} is:", *(f"  {line[:400]}" for line in lines)])

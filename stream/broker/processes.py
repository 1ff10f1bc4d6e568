"""The parent's side of the supervisor: processes that cannot outlive the one that asked for them."""

import contextlib
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import IO, Self

from stream.broker import supervisor
from stream.broker.rung import Deadline

# How long the system may take to make a process of ours appear or, after SIGKILL, go.
_SYSTEM_SECONDS = 20.0


class Process:
    """One process under the supervisor. It is signalled through the supervisor, never by a pid that may be reused."""

    def __init__(self, owner: "Processes", number: int, log_file: Path) -> None:
        """Made by `Processes.start`."""
        self.log_file = log_file
        self.pid = 0
        self.exit_code: int | None = None
        # On the clock of `time.monotonic`, when the end was told.
        self.ended_at: float | None = None
        self._log_start = log_file.stat().st_size if log_file.exists() else 0
        self._owner = owner
        self._number = number

    def running(self) -> bool:
        """Whether it has not ended yet."""
        return self.exit_code is None

    def wait(self, seconds: float) -> bool:
        """Wait for the end, at most `seconds`; whether it came."""
        with self._owner.changed:
            return self._owner.changed.wait_for(lambda: self.exit_code is not None, timeout=seconds)

    def ask_to_end(self) -> None:
        """SIGTERM."""
        self._owner.send({"do": "signal", "id": self._number, "signal": int(signal.SIGTERM)})

    def kill(self) -> None:
        """SIGKILL, and wait until it is gone."""
        self._owner.send({"do": "signal", "id": self._number, "signal": int(signal.SIGKILL)})
        if not self.wait(_SYSTEM_SECONDS):
            msg = f"process {self.pid} is still there {_SYSTEM_SECONDS:.0f} s after SIGKILL: see what it waits for"
            raise TimeoutError(msg)

    def output(self) -> str:
        """What this process, not an earlier one with the same log file, has written so far."""
        if not self.log_file.exists():
            return ""
        with self.log_file.open("rb") as log:
            log.seek(self._log_start)
            return log.read().decode(errors="replace")


class Processes:
    """
    Starts processes that end with this one, however it ends.

    Args:
        grace_seconds: Between SIGTERM and SIGKILL when everything is ended; 0 sends SIGKILL at once.
        remove: A folder that `close` removes, and that also goes when this process is killed.
    """

    def __init__(self, *, grace_seconds: float, remove: Path | None = None) -> None:
        """Start the supervisor."""
        self.changed = threading.Condition()
        self._grace_seconds = grace_seconds
        self._all: dict[int, Process] = {}
        # Re-entrant for a signal handler that ends things while a start is on its way.
        self._sending = threading.RLock()
        self._line = _launch(grace_seconds, remove)
        self._reader = threading.Thread(target=self._read_facts, name="broker-supervisor", daemon=True)
        self._reader.start()

    def start(self, argv: Sequence[str | Path], *, env: Mapping[str, str], log_file: Path) -> Process:
        """Run `argv`, whose first item is a path, with its output appended to `log_file`."""
        with self._sending:
            number = len(self._all) + 1
            process = Process(self, number, log_file)
            self._all[number] = process
            words = [str(word) for word in argv]
            self.send({"do": "start", "id": number, "argv": words, "env": dict(env), "log": str(log_file)})
        with self.changed:
            if not self.changed.wait_for(lambda: process.pid or not process.running(), timeout=_SYSTEM_SECONDS):
                msg = f"{words[0]} was not started within {_SYSTEM_SECONDS:.0f} s: is the machine overloaded?"
                raise TimeoutError(msg)
        return process

    def send(self, command: Mapping[str, object]) -> None:
        """Hand one command to the supervisor; one that is gone took its processes along, as `wait` shows."""
        try:
            with self._sending:
                _pipe(self._line.stdin).write(json.dumps(command).encode() + b"\n")
                _pipe(self._line.stdin).flush()
        except BrokenPipeError:
            return

    def close(self) -> None:
        """End every process and the supervisor; return when they are gone."""
        line = self._line
        if line.returncode is not None:
            return
        # Said, not only shown by the end of the line: a fork of this process may hold the line open.
        self.send({"do": "end"})
        # A supervisor that is gone already cannot take what was still to be said to it.
        with contextlib.suppress(BrokenPipeError):
            _pipe(line.stdin).close()
        try:
            line.wait(self._grace_seconds + _SYSTEM_SECONDS)
        finally:
            # Only a supervisor that hangs is still there; its children have the kernel's word that they go with it.
            line.kill()
            line.wait(_SYSTEM_SECONDS)
            self._reader.join(_SYSTEM_SECONDS)
            _pipe(line.stdout).close()

    def __enter__(self) -> Self:
        """Itself."""
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        """End every process."""
        self.close()

    def _read_facts(self) -> None:
        for line in _pipe(self._line.stdout):
            fact = json.loads(line)
            with self.changed:
                process = self._all[fact["id"]]
                if fact["fact"] == "started":
                    process.pid = fact["pid"]
                else:
                    process.ended_at = time.monotonic()
                    process.exit_code = fact["code"]
                self.changed.notify_all()
        with self.changed:
            for process in self._all.values():
                if process.exit_code is None:
                    process.exit_code = -signal.SIGKILL
            self.changed.notify_all()


def end_all(processes: Sequence[Process], *, grace_seconds: float) -> None:
    """SIGTERM to all at once, SIGKILL to those that are still there after the grace."""
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


def _launch(grace_seconds: float, remove: Path | None) -> subprocess.Popen[bytes]:
    words = [sys.executable, "-I", "-S", supervisor.__file__, str(os.getpid()), str(grace_seconds)]
    return subprocess.Popen(  # noqa: S603 - our own file, in our own interpreter
        [*words, str(remove)] if remove else words,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        start_new_session=True,
    )


def _pipe(pipe: IO[bytes] | None) -> IO[bytes]:
    assert pipe is not None, "Popen was asked for this pipe"
    return pipe

"""Child processes of the demo that run `tagstream`: the worker, the console, and the programs of a rollout. Each has a log file."""

import http.client
import os
import signal
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from tagstream.stream.broker.ports import free_ports, is_free
from tagstream.stream.broker.processes import Processes, tail
from tagstream.stream.settings.settings import PREFIX, Settings

READY_SECONDS = 60.0
ASK_SECONDS = 2.0
POLL_SECONDS = 0.1
COMMAND = (sys.executable, "-m", "tagstream.stream.cli.main")


class ProgramError(Exception):
    """A program ended by itself or did not become ready. The message says which, mostly with the end of the program's log."""

    exit_code = 1


class Program:
    """
    A running program that serves `/readyz`.

    Attributes:
        name: The name for people, for example "worker".
        address: The program's address, `http://host:port`; known before the program listens there.
        pid: The process id.
    """

    def __init__(
        self,
        name: str,
        words: Sequence[str],
        *,
        env: Mapping[str, str],
        address: str,
        processes: Processes,
        folder: Path,
        stop_seconds: float,
    ) -> None:
        """
        Start the program without waiting for it.

        Args:
            name: The name for people, also used for the log file.
            words: The command line.
            env: The whole environment of the program.
            address: The address that the command line tells the program to use.
            processes: Starts the process, and ends it if this process is killed.
            folder: The folder of the log file.
            stop_seconds: The time from SIGTERM until the program is killed, in seconds.
        """
        self.name = name
        self.address = address
        self._stop_seconds = stop_seconds
        self._process = processes.start(words, env=env, log_file=folder / f"{name}.log")
        self._was_ready = self._asked = False
        self.pid = self._process.pid

    def check(self) -> None:
        """
        Check that the program is running.

        Raises:
            ProgramError: The program has ended.
        """
        if not self._process.running():
            msg = f"the {self.name} ended by itself, with exit code {self._process.exit_code}"
            raise ProgramError(msg)

    def readiness(self) -> tuple[bool, str]:
        """Return whether the program is ready, and the text of `/readyz`."""
        status, why = self._answer("/readyz")
        self._was_ready = self._was_ready or status == http.client.OK
        return status == http.client.OK, why.strip()

    def figures(self, name: str) -> dict[str, float]:
        """Return the values of a metric by labels, in the notation of `/metrics`; empty if the program does not answer."""
        lines = (
            line.removeprefix(name).rpartition(" ")
            for line in self._answer("/metrics")[1].splitlines()
            if line.startswith(name)
        )
        return {labels: float(value) for labels, _, value in lines}

    def wait_until_ready(self, say: Callable[[str], None]) -> None:
        """
        Wait until the program is ready. Meanwhile call `say` with the text of `/readyz`.

        Raises:
            ProgramError: The program ended, or was not ready within `READY_SECONDS`.
        """
        deadline = time.monotonic() + READY_SECONDS
        while True:
            ready, why = self.readiness()
            if ready:
                return
            if not self._process.running():
                msg = f"the {self.name} ended with exit code {self._process.exit_code} before it was ready; {self.log()}"
                raise ProgramError(msg)
            if time.monotonic() > deadline:
                msg = f"the {self.name} was not ready within {READY_SECONDS:.0f} s: {why}; {self.log()}"
                raise ProgramError(msg)
            say(why)
            time.sleep(POLL_SECONDS)

    def ask_to_end(self) -> None:
        """Send SIGTERM once without waiting for the end; `stop` waits."""
        if not self._asked and self._process.running():
            self._asked = True
            self._process.ask_to_end()

    def stop(self) -> str | None:
        """Send SIGTERM and wait for the end. Return None after an orderly end, otherwise a sentence about the end."""
        self.ask_to_end()
        if not self._asked:
            return f"the {self.name} ended by itself, with exit code {self._process.exit_code}"
        if not self._process.wait(self._stop_seconds):
            self._process.kill()
            return f"the {self.name} was still there {self._stop_seconds:.0f} s after SIGTERM and was killed"
        # A program that is still loading has no handler yet, and the signal itself ends it.
        if self._process.exit_code not in ({0} if self._was_ready else {0, -signal.SIGTERM}):
            return f"the {self.name} ended with exit code {self._process.exit_code} after SIGTERM"
        return None

    def log(self) -> str:
        """Return the end of the program's log."""
        return tail(self._process)

    def _answer(self, path: str) -> tuple[int, str]:
        connection = http.client.HTTPConnection(urlsplit(self.address).netloc, timeout=ASK_SECONDS)
        try:
            connection.request("GET", path)
            response = connection.getresponse()
            return response.status, response.read().decode()
        except (OSError, http.client.HTTPException):
            return 0, "it is starting"
        finally:
            connection.close()


def environment(settings: Settings, folder: Path, environ: Mapping[str, str] = os.environ) -> dict[str, str]:
    """
    Return an environment that gives a program exactly these settings. Settings of this process or of a `tagstream.toml` do not apply.

    The state folder is inside the demo's folder. A shared state folder could hold an open circuit breaker of another worker, or the demo
    could stop another worker by its own circuit breaker.

    Args:
        settings: The program's settings.
        folder: The demo's folder.
        environ: The environment of this process.
    """
    given = settings.model_dump(mode="json", exclude_unset=True, exclude_none=True)
    given.update(log_format="json", state_folder=str(folder / "state"))
    return {
        **{name: value for name, value in environ.items() if not name.startswith(PREFIX)},
        "TAGSTREAM_CONFIG": os.devnull,
        **{PREFIX + name.upper(): str(value) for name, value in _flat(given)},
    }


def port(usual: int) -> int:
    """Return the usual port if it is free, because people and Prometheus know it; otherwise another free port."""
    return usual if usual and is_free(usual) else free_ports(1)[0]


def _flat(table: Mapping[str, Any], above: str = "") -> Iterator[tuple[str, object]]:
    for name, value in table.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{above}{name}__")
        else:
            yield above + name, value

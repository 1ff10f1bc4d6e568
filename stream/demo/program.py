"""A `tagstream` of the demo in a process of its own: its worker, its console. Each has its log in a file."""

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
    """The program ended by itself, or did not get ready: the message says so, with the end of its log."""

    exit_code = 1


class Program:
    """
    A running program that serves `/readyz`.

    Attributes:
        name: For people: "worker".
        address: Where it serves, `http://host:port`; known before it listens there.
        pid: Its process id.
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
        Start it, and wait for nothing.

        Args:
            name: For people, and for its log.
            words: The command line.
            env: Its whole environment.
            address: Where it is told to serve.
            processes: End it if this process is killed.
            folder: For its log.
            stop_seconds: It is killed if it is still there so long after SIGTERM.
        """
        self.name = name
        self.address = address
        self._stop_seconds = stop_seconds
        self._process = processes.start(words, env=env, log_file=folder / f"{name}.log")
        self._was_ready = self._asked = False
        self.pid = self._process.pid

    def check(self) -> None:
        """
        Check that it still runs.

        Raises:
            ProgramError: It has ended.
        """
        if not self._process.running():
            msg = f"the {self.name} ended by itself, with exit code {self._process.exit_code}"
            raise ProgramError(msg)

    def readiness(self) -> tuple[bool, str]:
        """Whether it is ready, and what it says of that."""
        status, why = self._answer("/readyz")
        self._was_ready = self._was_ready or status == http.client.OK
        return status == http.client.OK, why.strip()

    def figures(self, name: str) -> dict[str, float]:
        """The values of a metric by their labels, as `/metrics` writes both; none while it does not answer."""
        lines = (
            line.removeprefix(name).rpartition(" ")
            for line in self._answer("/metrics")[1].splitlines()
            if line.startswith(name)
        )
        return {labels: float(value) for labels, _, value in lines}

    def wait_until_ready(self, say: Callable[[str], None]) -> None:
        """
        Wait, and call `say` with the reason.

        Raises:
            ProgramError: It ended, or was not ready in time.
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
        """Send SIGTERM once, and wait for nothing; `stop` waits."""
        if not self._asked and self._process.running():
            self._asked = True
            self._process.ask_to_end()

    def stop(self) -> str | None:
        """Send SIGTERM and wait; None if it ended in order, else a sentence about its end."""
        self.ask_to_end()
        if not self._asked:
            return f"the {self.name} ended by itself, with exit code {self._process.exit_code}"
        if not self._process.wait(self._stop_seconds):
            self._process.kill()
            return f"the {self.name} was still there {self._stop_seconds:.0f} s after SIGTERM and was killed"
        # One that is still loading hears the signal before it has a handler.
        if self._process.exit_code not in ({0} if self._was_ready else {0, -signal.SIGTERM}):
            return f"the {self.name} ended with exit code {self._process.exit_code} after SIGTERM"
        return None

    def log(self) -> str:
        """The end of its log."""
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
    The environment of a program that is to have these settings, and none of this process or of a `tagstream.toml`.

    Its state goes with the demo: another worker's folder may hold an open circuit breaker, or be closed by this one's.

    Args:
        settings: The settings that the program is to have.
        folder: The demo's; the program's state lies in it.
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
    """The usual port if it is free, since people and Prometheus know it; else any."""
    return usual if usual and is_free(usual) else free_ports(1)[0]


def _flat(table: Mapping[str, Any], above: str = "") -> Iterator[tuple[str, object]]:
    for name, value in table.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{above}{name}__")
        else:
            yield above + name, value

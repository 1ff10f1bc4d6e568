"""The demo's one worker: the real `tagstream worker`, in a process of its own, with its log in a file."""

import http.client
import json
import os
import socket
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from stream.broker.processes import Process, Processes
from stream.settings.settings import PREFIX, Settings

READY_SECONDS = 60.0
# The worker bounds its own shutdown by shutdown_timeout_seconds, from the moment when it hears the signal. One that is still there so
# long after that hangs, and is killed; a busy machine takes some seconds to deliver the signal and to take down the process.
HANG_SECONDS = 20.0
POLL_SECONDS = 0.1
TAIL_LINES = 25

COMMAND = (sys.executable, "-m", "stream.cli.main", "worker")


class WorkerError(Exception):
    """The worker ended by itself, or did not get ready: the message says so, with the end of its log."""

    exit_code = 1


class Worker:
    """A running worker that is ready."""

    def __init__(self, process: Process, address: str, stop_seconds: float) -> None:
        """
        Hold a process.

        Args:
            process: The worker's.
            address: `http://host:port`, where it serves /metrics, /healthz and /readyz.
            stop_seconds: It is killed if it is still there so long after SIGTERM.
        """
        self._process = process
        self._stop_seconds = stop_seconds
        self.address = address

    @property
    def pid(self) -> int:
        """Its process id."""
        return self._process.pid

    def check(self) -> None:
        """
        Check that it still runs.

        Raises:
            WorkerError: It has ended.
        """
        if not self._process.running():
            msg = f"the worker ended by itself, with exit code {self._process.exit_code}"
            raise WorkerError(msg)

    def tail(self) -> str:
        """The end of its log, indented."""
        return tail(self._process)

    def stop(self) -> str | None:
        """Send SIGTERM and wait; None if it ended in order, or before, else a sentence about its end."""
        if not self._process.running():
            return None
        self._process.ask_to_end()
        if not self._process.wait(self._stop_seconds):
            self._process.kill()
            return f"the worker was still there {self._stop_seconds:.0f} s after SIGTERM and was killed"
        if self._process.exit_code != 0:
            return f"the worker ended with exit code {self._process.exit_code} after SIGTERM"
        return None


@contextmanager
def worker(
    settings: Settings, folder: Path, say: Callable[[str], None], command: tuple[str, ...] = COMMAND
) -> Iterator[Worker]:
    """
    Start a worker and wait until it is ready; it is ended on exit, and its folder removed.

    Args:
        settings: Its settings. It reads neither `tagstream.toml` nor this process's environment.
        folder: Where its log goes; it is removed in the end.
        say: Called with the reason for each wait.
        command: The command line.

    Raises:
        WorkerError: It ended, or was not ready in time.
    """
    # Ctrl-C in the terminal does not reach it: the demo ends it in order.
    stop_seconds = settings.shutdown_timeout_seconds + HANG_SECONDS
    with Processes(grace_seconds=stop_seconds, remove=folder) as processes:
        # Its state goes with the demo: another worker's folder may hold an open circuit breaker, or be closed by this one's.
        env = {**environment(settings, os.environ), "TAGSTREAM_STATE_FOLDER": str(folder / "state")}
        process = processes.start(command, env=env, log_file=folder / "worker.log")
        yield Worker(process, _wait_until_ready(process, say), stop_seconds)


def environment(settings: Settings, environ: Mapping[str, str]) -> dict[str, str]:
    """The environment of a worker that is to have these settings and no others."""
    given = settings.model_dump(mode="json", exclude_unset=True, exclude_none=True)
    given.update(log_format="json", metrics_port=_port(settings))
    return {
        **{name: value for name, value in environ.items() if not name.startswith(PREFIX)},
        "TAGSTREAM_CONFIG": os.devnull,
        **{PREFIX + name.upper(): str(value) for name, value in _flat(given)},
    }


def _flat(table: Mapping[str, Any], above: str = "") -> Iterator[tuple[str, object]]:
    for name, value in table.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{above}{name}__")
        else:
            yield above + name, value


def _port(settings: Settings) -> int:
    """The port of the settings if it is free, since people and Prometheus know it; else any."""
    with socket.socket() as probe:
        # As the server does, or the last demo's closed connections would keep the port taken for a minute.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((settings.metrics_host, settings.metrics_port))
        except OSError:
            return 0
    return settings.metrics_port


def _wait_until_ready(process: Process, say: Callable[[str], None]) -> str:
    deadline = time.monotonic() + READY_SECONDS
    while True:
        if not process.running():
            msg = (
                f"the worker ended with exit code {process.exit_code} before it was ready. The end of its log:\n{tail(process)}"
            )
            raise WorkerError(msg)
        address = metrics_address(process.output())
        ready, why = _readiness(address) if address else (False, "it loads the model and looks for the topics")
        if ready and address:
            return address
        if time.monotonic() > deadline:
            msg = f"the worker was not ready within {READY_SECONDS:.0f} s: {why}. The end of its log:\n{tail(process)}"
            raise WorkerError(msg)
        say(why)
        time.sleep(POLL_SECONDS)


def metrics_address(log: str) -> str | None:
    """
    Where the worker says that it serves its metrics, `http://host:port`; None before it has said so.

    >>> metrics_address('{"event": "worker_starting", "metrics": "http://127.0.0.1:9108/metrics"}')
    'http://127.0.0.1:9108'
    """
    for line in log.splitlines():
        if '"worker_starting"' in line:
            return str(json.loads(line)["metrics"]).removesuffix("/metrics")
    return None


def _readiness(address: str) -> tuple[bool, str]:
    connection = http.client.HTTPConnection(urlsplit(address).netloc, timeout=2.0)
    try:
        connection.request("GET", "/readyz")
        response = connection.getresponse()
        return response.status == http.client.OK, response.read().decode().strip()
    except (OSError, http.client.HTTPException) as error:
        return False, f"{address}/readyz does not answer ({error})"
    finally:
        connection.close()


def tail(process: Process) -> str:
    """The end of a process' log, indented."""
    return "\n".join(f"  {line[:400]}" for line in process.output().strip().splitlines()[-TAIL_LINES:])

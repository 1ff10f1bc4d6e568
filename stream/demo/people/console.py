"""The demo's review console: the real `tagstream review`, in a process of its own, with its store and its log in a folder."""

import importlib.util
import os
import socket
import sys
from pathlib import Path

from stream.broker.processes import Process, Processes
from stream.demo.process import environment, tail
from stream.settings.settings import Settings

# The console's own port, if it is free.
PORT = 8090
# Its server finishes what is under way within 30 s, and what fills its store within an answer of the brokers.
STOP_SECONDS = 90.0
COMMAND = (sys.executable, "-m", "stream.cli.main", "review")
# The packages of the extra [review] that the console imports.
PACKAGES = ("fastapi", "jinja2", "python_multipart", "scipy", "sqlalchemy", "uvicorn")


def missing() -> list[str]:
    """The packages of the console that are not installed."""
    return [name for name in PACKAGES if importlib.util.find_spec(name) is None]


class ReviewConsole:
    """
    The console's process: started by `start`, ended by `close` whatever happens.

    Attributes:
        address: `http://host:port`, known before it listens there.
    """

    def __init__(self, settings: Settings, folder: Path, command: tuple[str, ...] = COMMAND) -> None:
        """
        Choose the port; nothing is started yet.

        Args:
            settings: Its brokers and topics. It reads neither `tagstream.toml` nor this process's environment.
            folder: For its store and its log alone; `close` removes it.
            command: The command line.
        """
        self._folder = folder
        self._words = (
            *command,
            "--host",
            "127.0.0.1",
            "--port",
            str(port := _port()),
            "--store",
            f"sqlite:///{folder}/review.sqlite",
        )
        self._environ = {**environment(settings, os.environ), "TAGSTREAM_STATE_FOLDER": str(folder / "state")}
        self._processes: Processes | None = None
        self._process: Process | None = None
        self.address = f"http://127.0.0.1:{port}"

    def start(self) -> None:
        """Start it, and wait for nothing."""
        self._processes = Processes(grace_seconds=STOP_SECONDS, remove=self._folder)
        self._process = self._processes.start(self._words, env=self._environ, log_file=self._folder / "console.log")

    def running(self) -> bool:
        """Whether it was started and has not ended."""
        return self._process is not None and self._process.running()

    def stop(self) -> str | None:
        """Send SIGTERM and wait; None if it ended in order or was never started, else a sentence about its end."""
        if self._process is None:
            return None
        if not self._process.running():
            return f"the console ended by itself, with exit code {self._process.exit_code}"
        self._process.ask_to_end()
        if not self._process.wait(STOP_SECONDS):
            self._process.kill()
            return f"the console was still there {STOP_SECONDS:.0f} s after SIGTERM and was killed"
        # A short demo ends while Python is still loading the console, which hears the signal before it has a handler.
        if self._process.exit_code not in {0, -15}:
            return f"the console ended with exit code {self._process.exit_code} after SIGTERM"
        return None

    def tail(self) -> str:
        """The end of its log, indented; empty if it was never started."""
        return "" if self._process is None else tail(self._process)

    def close(self) -> None:
        """End its processes and remove its folder."""
        if self._processes is not None:
            self._processes.close()


def _port() -> int:
    """The console's usual port if it is free, else any."""
    for port in (PORT, 0):
        try:
            with socket.create_server(("127.0.0.1", port)) as probe:
                return int(probe.getsockname()[1])
        except OSError:
            continue
    msg = "no port is free on 127.0.0.1 for the console. Next: see what has taken them all."
    raise OSError(msg)

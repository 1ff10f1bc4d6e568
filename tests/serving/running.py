"""`tagstream serve` as a process of its own, with the tiny bundle."""

import contextlib
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import httpx

from tests.waiting import HANG_SECONDS, until

ROOT = Path(__file__).parents[2]
TINY = ROOT / "tests" / "data" / "tiny_bundle"
# No broker listens there: a service that is asked for decisions alone needs no broker.
NO_BROKER = "127.0.0.1:9"


class Service:
    """
    A running service.

    Attributes:
        process: Its process.
        url: Its address, without a slash at the end.
    """

    def __init__(self, process: subprocess.Popen[bytes], log: Path) -> None:
        self.process = process
        self._log = log
        self.url = until(self._address, "the service says its address", state=self.log)
        # The socket listens before the service answers: a slow machine lets the first request wait.
        until(
            lambda: httpx.get(f"{self.url}/readyz", timeout=HANG_SECONDS).status_code == 200,
            "the service is ready",
            state=self.log,
        )

    def log(self) -> str:
        """Its output so far."""
        return self._log.read_text(encoding="utf-8")

    def ended(self) -> int:
        """Its exit code, when it has ended."""
        return self.process.wait(HANG_SECONDS)

    def _address(self) -> str:
        assert self.process.poll() is None, self.log()
        found = re.search(r"the service: (http://[\w.:]+)/docs", self.log())
        return found[1] if found else ""


@contextlib.contextmanager
def service(
    folder: Path,
    *options: str,
    bundle: Path = TINY,
    files: int | None = None,
    program: str = "tagstream.stream.cli.main",
    **environ: str,
) -> Iterator[Service]:
    """
    A service on a free port; it is killed at the end, unless it has ended.

    Args:
        folder: For its log.
        options: Of the command.
        bundle: Decides.
        files: The most that the service may have open, connections among them; this process's own limit unless given.
        program: The module that runs as `tagstream`.
        environ: Settings.
    """
    log = folder / "serve.log"
    command = [sys.executable, "-m", program, "serve", "--port", "0", "--bundle", str(bundle), *options]
    if files is not None:
        command = ["sh", "-c", f'ulimit -n {files} && exec "$@"', "sh", *command]
    with log.open("wb") as written:
        process = subprocess.Popen(
            command, cwd=ROOT, stdout=written, stderr=written, env=os.environ | {"TAGSTREAM_BROKERS": NO_BROKER} | environ
        )
        try:
            yield Service(process, log)
        finally:
            process.kill()
            process.wait(HANG_SECONDS)

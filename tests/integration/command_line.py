"""The `tagstream` command as a process that runs to its end."""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

from tests.faults.worker.fleet import ROOT, without_settings
from tests.waiting import HANG_SECONDS

Command = Callable[..., subprocess.CompletedProcess[bytes]]


def command(folder: Path) -> Command:
    """See `tagstream`."""

    def run(
        *words: str | Path, environ: dict[str, str] | None = None, stdin: bytes = b""
    ) -> subprocess.CompletedProcess[bytes]:
        return subprocess.run(
            [sys.executable, "-m", "tagstream.stream.cli.main", *map(str, words)],
            cwd=folder,
            env={**without_settings(os.environ), "PYTHONPATH": str(ROOT), "COLUMNS": "200", **(environ or {})},
            input=stdin,
            capture_output=True,
            timeout=HANG_SECONDS,
            check=False,
        )

    return run


def lines(output: bytes) -> list[dict[str, object]]:
    """The objects of an output in JSON Lines."""
    return [json.loads(line) for line in output.splitlines()]

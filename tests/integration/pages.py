"""The commands of a page, and what it shows below each: a test runs them as a reader would."""

import os
import re
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from tagstream.stream.broker.processes import Process, Processes
from tests.faults.worker.fleet import ROOT, without_settings
from tests.waiting import HANG_SECONDS


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """A command of a page, and the lines that the page shows below it."""

    command: str
    shown: str


def steps(page: Path) -> list[Step]:
    """The commands of the page's blocks of the kind `console`, in their order."""
    blocks = re.findall(r"^```console\n(.*?)^```$", page.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)
    found = [piece.partition("\n") for block in blocks for piece in re.split(r"^\$ ", block, flags=re.MULTILINE) if piece]
    return [Step(command=command, shown=shown) for command, _, shown in found]


class Reader:
    """Somebody who types a page's commands, in a folder and with the settings of a test."""

    def __init__(self, folder: Path, environ: Mapping[str, str], processes: Processes) -> None:
        beside = Path(sys.executable).parent
        self.folder = folder
        self._environ = environ
        self._processes = processes
        self._env = {
            **without_settings(os.environ),
            "PYTHONPATH": str(ROOT),
            "COLUMNS": "200",
            **environ,
            "PATH": f"{beside}:{environ.get('PATH', os.environ['PATH'])}",
        }

    def run(self, command: str, *, code: int | None = None) -> str:
        """What a command that ends prints, to standard output and standard error alike; with a code, it must be the one that it ends with."""
        ran = subprocess.run(
            ["bash", "-c", command],
            cwd=self.folder,
            env=self._env,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=HANG_SECONDS,
            check=False,
        )
        assert code in {None, ran.returncode}, f"{command}\n{ran.stdout}"
        return ran.stdout

    def start(self, command: str) -> Process:
        """A command that runs until it is stopped: on the page it has a terminal of its own."""
        log = self.folder / f"{len(list(self.folder.glob('*.log')))}.log"
        return self._processes.start(["bash", "-c", f"cd {self.folder} && exec env {command}"], env=self._env, log_file=log)

"""`tagstream second` as a process."""

import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tagstream.stream.broker.processes import Process, Processes
from tests.faults.worker.fleet import ROOT, without_settings
from tests.waiting import until


@pytest.fixture
def second(environ: dict[str, str], processes: Processes, tmp_path: Path) -> Callable[..., Process]:
    """Starts `tagstream second` with this endpoint and these settings, and waits until it has begun."""

    def run(url: str, **settings: Any) -> Process:
        given = {"endpoint": url, "model": "large", "precision": 0.5, "audit": 0.2, "requests_a_minute": 60_000}
        given |= {"calls_a_day": 100_000, "timeout_seconds": 4, "attempts": 2, "concurrency": 8, **settings}
        env = without_settings(os.environ) | environ | {"PYTHONPATH": str(ROOT), "TAGSTREAM_LOG_FORMAT": "json"}
        env |= {f"TAGSTREAM_SECOND__{name.upper()}": str(value) for name, value in given.items()}
        words = [sys.executable, "-m", "tagstream.stream.cli.main", "second", "--metrics-port", "0"]
        process = processes.start(words, env=env, log_file=tmp_path / "second.log")
        until(lambda: "second_begins" in process.output(), "the process begins", process=process)
        return process

    return run

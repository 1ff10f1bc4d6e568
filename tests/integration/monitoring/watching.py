"""Workers as `tagstream worker` starts them, and a real Prometheus over them with the project's own rules."""

import json
import math
import os
import shutil
import sys
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import yaml

from tagstream.stream.broker.ports import free_ports
from tagstream.stream.broker.processes import Process, Processes
from tests.faults.worker.fleet import ROOT, without_settings
from tests.integration.running import RunningWorker
from tests.prometheus import FOLDER, final, quick
from tests.waiting import HANG_SECONDS, until

# A worker that does not answer a scrape for this time counts as absent; an idle one answers within a hundredth of it.
STEP_SECONDS = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class Prometheus:
    """A Prometheus process. `since` is when it began, Unix seconds."""

    url: str
    process: Process
    since: float

    def get(self, path: str, **parameters: object) -> Any:
        """The data of an answer of its API."""
        asked = f"{self.url}{path}?{urllib.parse.urlencode(parameters)}"
        try:
            with urllib.request.urlopen(asked, timeout=HANG_SECONDS) as answer:  # noqa: S310 - loopback
                return json.load(answer)["data"]
        except urllib.error.HTTPError as error:
            with error:
                raise AssertionError(parameters, error.read().decode()) from error

    def ready(self) -> bool:
        """Whether it answers."""
        try:
            with urllib.request.urlopen(f"{self.url}/-/ready", timeout=HANG_SECONDS) as answer:  # noqa: S310 - loopback
                return bool(answer.status == 200)
        except OSError:
            return False

    def now(self, expression: str) -> list[tuple[dict[str, str], float]]:
        """The series of an expression at this moment."""
        found = self.get("/api/v1/query", query=expression)["result"]
        return [(one["metric"], float(one["value"][1])) for one in found]

    def value(self, expression: str) -> float | None:
        """The only series of an expression; None without one."""
        found = self.now(expression)
        assert len(found) < 2, found
        return found[0][1] if found else None

    def until(self, expression: str, expected: object) -> None:
        """Wait until the only series of an expression has this value."""
        until(lambda: self.value(expression) == expected, f"{expression} is {expected}", state=lambda: self.value(expression))

    def fired(self, job: str, *, since: float, before: float) -> dict[str, set[str]]:
        """The alerts of a job that fired between two moments, Unix seconds, each with the values of its label `signal`."""
        asked = {"query": f'ALERTS{{job="{job}", alertstate="firing"}}', "start": since, "end": before, "step": 1}
        found: dict[str, set[str]] = {}
        for one in self.get("/api/v1/query_range", **asked)["result"]:
            found.setdefault(one["metric"]["alertname"], set()).add(one["metric"].get("signal", ""))
        return found

    def states(self, *, since: float, before: float) -> set[tuple[str, str, str]]:
        """The alerts that were pending or firing between two moments, Unix seconds: name, tier and state of each."""
        asked = {"query": "ALERTS", "start": since, "end": before, "step": STEP_SECONDS}
        seen = (one["metric"] for one in self.get("/api/v1/query_range", **asked)["result"])
        return {(one["alertname"], one["tier"], one["alertstate"]) for one in seen}

    def evaluated(self) -> float:
        """The time of the last evaluation of the group of rules that is the furthest behind, Unix seconds."""
        groups = self.get("/api/v1/rules")["groups"]
        return min(datetime.fromisoformat(group["lastEvaluation"]).timestamp() for group in groups)

    def ever(self, expression: str) -> int:
        """How many series of an expression have had a number since the beginning."""
        asked = {"query": expression, "start": self.since, "end": time.time(), "step": STEP_SECONDS}
        found = self.get("/api/v1/query_range", **asked)["result"]
        return sum(any(not math.isnan(float(value)) for _, value in one["values"]) for one in found)


def started(processes: Processes, environ: dict[str, str], log_file: Path) -> RunningWorker:
    """A worker as `tagstream worker` starts it, once it serves its metrics."""
    return RunningWorker(launched(processes, environ, log_file))


def launched(processes: Processes, environ: dict[str, str], log_file: Path) -> Process:
    """The process of a worker, which may still wait for its brokers."""
    clean = {**without_settings(os.environ), "PYTHONPATH": str(ROOT), **environ}
    return processes.start([sys.executable, "-m", "tagstream.stream.cli.main", "worker"], env=clean, log_file=log_file)


def watching(processes: Processes, jobs: Mapping[str, Sequence[str]], folder: Path, *, real_pace: bool = False) -> Prometheus:
    """
    Prometheus over workers (their addresses, by job), with the project's rules at a pace that a test can wait for.

    The only change to a rule is its durations (see `tests.prometheus`); the recording rules stand a second time over whole counters.
    With `real_pace` the rules are those of the project to the letter.
    """
    recording, alerts = ((FOLDER / name).read_text(encoding="utf-8") for name in ("recording.yml", "alerts.yml"))
    if real_pace:
        files = {"recording.yml": recording, "alerts.yml": alerts}
    else:
        files = {"recording.yml": quick(recording), "final.yml": quick(final(recording)), "alerts.yml": quick(alerts)}
    for name, text in files.items():
        (folder / name).write_text(text, encoding="utf-8")
    pace = f"{STEP_SECONDS}s"
    configuration = {
        "global": {"scrape_interval": pace, "scrape_timeout": pace, "evaluation_interval": pace},
        "rule_files": list(files),
        "scrape_configs": [
            {"job_name": job, "static_configs": [{"targets": [url.removeprefix("http://") for url in workers]}]}
            for job, workers in jobs.items()
        ],
    }
    (folder / "prometheus.yml").write_text(yaml.safe_dump(configuration), encoding="utf-8")
    (port,) = free_ports(1)
    process = processes.start(
        [
            shutil.which("prometheus") or "prometheus",
            f"--config.file={folder / 'prometheus.yml'}",
            f"--storage.tsdb.path={folder / 'data'}",
            f"--web.listen-address=127.0.0.1:{port}",
        ],
        env=without_settings(os.environ),
        log_file=folder / "prometheus.log",
    )
    found = Prometheus(url=f"http://127.0.0.1:{port}", process=process, since=time.time())
    until(found.ready, "Prometheus is ready", process=process)
    return found

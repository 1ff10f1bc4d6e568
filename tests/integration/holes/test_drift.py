"""A stream is compared with itself: learned by the group, confirmed by a command, kept over a restart. By commands and HTTP alone."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tagstream.stream.broker.processes import Processes
from tests.faults.worker.fleet import ROOT, without_settings
from tests.integration.command_line import Command
from tests.integration.running import RunningWorker
from tests.waiting import HANG_SECONDS, until

pytestmark = [pytest.mark.broker, pytest.mark.needs("promtool"), pytest.mark.slow]

WINDOW = 100
SUBJECTS = ("image", "translation", "deployment", "song", "forecast", "parser", "camera", "pipeline")


def started(processes: Processes, environ: dict[str, str], log: Path) -> RunningWorker:
    """A worker with small windows, whose time of learning is the default."""
    env = {
        **without_settings(os.environ),
        "PYTHONPATH": str(ROOT),
        **environ,
        "TAGSTREAM_DRIFT_WINDOW_EVENTS": str(WINDOW),
        "TAGSTREAM_DRIFT_REFERENCE_WINDOWS": "1",
    }
    worker = RunningWorker(
        processes.start([sys.executable, "-m", "tagstream.stream.cli.main", "worker"], env=env, log_file=log)
    )
    worker.until_metric("tagstream_assigned_partitions", lambda value: value > 0)
    return worker


def reference(worker: RunningWorker) -> dict[str, str]:
    """The lines of the reference that are on a worker's page."""
    lines = worker.get("/metrics")[1].splitlines()
    return dict(line.rsplit(" ", 1) for line in lines if line.startswith("tagstream_reference_"))


def send(tagstream: Command, environ: dict[str, str], first: int, count: int) -> None:
    """Short titles, none with a description: nothing like the rows that a bundle is calibrated on."""
    rows = [
        {"id": f"e{at}", "title": f"a {SUBJECTS[at % 8]} for {SUBJECTS[at // 8 % 8]}"} for at in range(first, first + count)
    ]
    done = tagstream("send", "-", environ=environ, stdin="\n".join(map(json.dumps, rows)).encode())
    assert done.returncode == 0, done.stderr.decode()


def test_a_group_learns_its_stream_and_compares_it_with_itself(
    environ: dict[str, str], tagstream: Command, processes: Processes, tmp_path: Path
) -> None:
    """Until it has learned there is no reference and no alarm; a command puts it in force, and the next worker has it from its start."""
    first = started(processes, environ, tmp_path / "first.log")
    assert reference(first) == {}
    send(tagstream, environ, 0, 8 * WINDOW)
    first.until_metric("tagstream_drift_last_evaluated_timestamp_seconds", lambda value: value > 0)
    until(lambda: first.metric("tagstream_predictions_total") >= 8 * WINDOW, "all are decided")
    address = first.url.removeprefix("http://")

    def top() -> dict[str, Any]:
        shown = tagstream("top", address, "--once", "--json", environ=environ)
        found: dict[str, Any] = json.loads(shown.stdout)
        return found

    seen = top()
    assert seen["figures"]["detectors"]["learned"] < 1
    assert seen["alarms"] == []
    assert "Learning what is ordinary" in tagstream("top", address, "--once", environ=environ).stdout.decode()
    assert reference(first) == {}

    def confirmed() -> bool:
        return tagstream("drift", "--confirm", environ=environ).returncode == 0

    until(confirmed, "what is learned can be confirmed", state=first.process.output)
    first.until_metric("tagstream_reference_events", lambda value: value >= WINDOW)
    learned = reference(first)
    assert learned["tagstream_reference_without_description_ratio"] == "1.0"
    assert first.metric("tagstream_drift_learned_ratio") == 1
    assert not {one["name"] for one in top()["alarms"]} & {"WithoutDescriptionShare", "ConfidenceDrift", "EnergyDrift"}
    first.stop()
    second = started(processes, environ, tmp_path / "second.log")
    second.until_metric("tagstream_reference_events", lambda value: value >= WINDOW)
    assert reference(second) == learned
    again = tagstream("drift", "--learn", environ=environ)
    assert again.returncode == 0, again.stderr.decode()
    until(lambda: reference(second) == {}, "the group learns anew", state=second.process.output)
    assert second.metric("tagstream_drift_learned_ratio") < 1


def test_promtool_finds_no_fault_in_a_workers_page(
    environ: dict[str, str], tagstream: Command, processes: Processes, tmp_path: Path
) -> None:
    """`promtool check metrics` has nothing to say about a page with a reference."""
    made = tmp_path / "reference.json"
    rows = [json.dumps({"id": str(at), "title": f"a {SUBJECTS[at % 8]}", "source": "papers"}) for at in range(50)]
    (tmp_path / "rows.jsonl").write_text("\n".join(rows), encoding="utf-8")
    done = tagstream("drift", "--from", tmp_path / "rows.jsonl", "--out", made, "--allow-few", environ=environ)
    assert done.returncode == 0, done.stderr.decode()
    worker = started(processes, {**environ, "TAGSTREAM_DRIFT_REFERENCE": str(made)}, tmp_path / "worker.log")
    page = worker.get("/metrics")[1]
    assert "tagstream_reference_confidence_cdf{" in page
    # The file's, not the bundle's.
    assert worker.metric("tagstream_reference_events") == 50
    checked = subprocess.run(
        [shutil.which("promtool") or "promtool", "check", "metrics"],
        input=page,
        capture_output=True,
        text=True,
        timeout=HANG_SECONDS,
        check=False,
    )
    assert (checked.returncode, checked.stdout + checked.stderr) == (0, "")

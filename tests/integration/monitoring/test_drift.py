"""Drift on Apache Kafka: a real worker learns, and the topic names a change; without the topic the worker works on."""

import json
import os
import random
import signal
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from kafka import KafkaAdminClient

from tagstream.stream.broker.processes import Process, Processes
from tagstream.stream.settings.loading import load
from tests.faults.observer import TopicObserver
from tests.faults.worker.fleet import ROOT, without_settings
from tests.integration.command_line import Command
from tests.integration.running import RunningWorker, ended, written
from tests.waiting import until

pytestmark = pytest.mark.broker

WINDOW = 300
SUBJECTS = ("image", "translation", "deployment", "song", "forecast", "parser", "camera", "pipeline")
PLANTED = "quantabyte"


def events(first: int, count: int, *, planted: bool) -> Iterator[bytes]:
    """Short titles; with `planted` every fourth one has a new word and a new producer."""
    chance = random.Random(first)  # noqa: S311 - the same every time
    for number in range(first, first + count):
        new = planted and number % 4 == 0
        title = f"a {chance.choice(SUBJECTS)} for {chance.choice(SUBJECTS)} {PLANTED if new else ''}"
        yield json.dumps({"id": f"e{number}", "title": title, "source": "press" if new else "papers"}).encode()


def start(processes: Processes, environ: dict[str, str], bundle: Path, log: Path) -> Process:
    """A worker with small drift windows."""
    return processes.start(
        [sys.executable, "-m", "tagstream.stream.cli.main", "worker", "--bundle", bundle],
        env={
            **without_settings(os.environ),
            "PYTHONPATH": str(ROOT),
            **environ,
            "TAGSTREAM_DRIFT_WINDOW_EVENTS": str(WINDOW),
            "TAGSTREAM_DRIFT_REFERENCE_WINDOWS": "1",
            "TAGSTREAM_DRIFT_LEARNING_SECONDS": "0",
        },
        log_file=log,
    )


def until_written(environ: dict[str, str], wanted: int, log: Path) -> None:
    """Wait until there are so many outcomes."""
    with TopicObserver(load(environ, folder=ROOT).settings) as observer:
        until(lambda: written(observer) >= wanted, f"{wanted} outcomes are written", state=log.read_text)


def test_the_topic_names_the_planted_word_and_producer(
    environ: dict[str, str], bundle_folder: Path, tagstream: Command, processes: Processes, tmp_path: Path
) -> None:
    """The planted word and producer are among the first five, with sample events, and `tail drift` shows the finding."""
    log = tmp_path / "worker.log"
    worker = RunningWorker(start(processes, environ, bundle_folder, log))
    for first, planted in ((0, False), (2 * WINDOW, True)):
        sent = tagstream("send", "-", environ=environ, stdin=b"\n".join(events(first, 2 * WINDOW, planted=planted)))
        assert sent.returncode == 0, sent.stderr.decode()
        until_written(environ, first + 2 * WINDOW, log)
    worker.until_metric("tagstream_drift_findings_total", lambda value: value >= 2)
    findings: list[dict[str, Any]] = []

    def both_kinds() -> bool:
        shown = tagstream("tail", "drift", "--json", "--from-beginning", "--idle", "2", environ=environ)
        assert shown.returncode == 0, shown.stderr.decode()
        findings[:] = [json.loads(line)["value"] for line in shown.stdout.splitlines()]
        return {"words", "sources"} <= {found["kind"] for found in findings}

    until(both_kinds, "the topic has findings of words and of sources", state=lambda: (findings, log.read_text()))
    words = [found for found in findings if found["kind"] == "words"]
    assert PLANTED in [word["word"] for word in words[0]["words"][:5]]
    assert "press" in [source["source"] for source in words[0]["sources"]]
    assert 0 < len(words[0]["example_ids"]) <= 10
    for_people = tagstream("tail", "drift", "--from-beginning", "--idle", "2", environ=environ)
    assert PLANTED in for_people.stdout.decode()


@pytest.mark.slow
def test_without_the_drift_topic_a_worker_delivers_and_logs_its_findings(
    environ: dict[str, str], bundle_folder: Path, tagstream: Command, processes: Processes, tmp_path: Path
) -> None:
    """Without its topic, findings are counted and logged, every event is delivered, and the stop is quick."""
    settings = load(environ, folder=ROOT).settings
    admin = KafkaAdminClient(bootstrap_servers=settings.broker_list)
    try:
        admin.delete_topics([settings.topics.drift])
    finally:
        admin.close()
    log = tmp_path / "worker.log"
    worker = start(processes, environ, bundle_folder, log)
    values = [*events(0, 2 * WINDOW, planted=False), *events(2 * WINDOW, 2 * WINDOW, planted=True)]
    sent = tagstream("send", "-", environ=environ, stdin=b"\n".join(values))
    assert sent.returncode == 0, sent.stderr.decode()
    until_written(environ, 4 * WINDOW, log)
    until(lambda: "drift_found" in log.read_text(), "the worker logs a finding", process=worker)
    RunningWorker(worker).until_metric("tagstream_drift_findings_unpublished_total", lambda value: value > 0)
    assert "drift_topic_missing" in log.read_text()
    assert PLANTED not in log.read_text()
    worker.ask_to_end()
    assert ended(worker) in {0, -signal.SIGTERM}

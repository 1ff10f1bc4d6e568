"""Labels of one's own through Apache Kafka: the stream says what the command line says, and every page speaks of these labels alone."""

import json
import os
import re
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

import msgspec
import pytest

from tagstream.monitoring.vocabulary import Destination
from tagstream.stream.broker.processes import Processes
from tagstream.stream.contract.event import Record
from tagstream.stream.settings.loading import load
from tests.faults.observer import TopicObserver
from tests.faults.verdict.matching import CLOCK
from tests.faults.worker.fleet import ROOT, without_settings
from tests.foreign import bundles
from tests.foreign.labels import TICKETS
from tests.integration.command_line import Command
from tests.integration.running import get, written
from tests.waiting import until

pytestmark = pytest.mark.broker

GOLD = ROOT / "examples" / "tickets" / "gold.csv"
ROWS = 140


def decisions(outcomes: Mapping[Destination, Sequence[Record]], prefix: str = "") -> dict[str, tuple[str, bytes]]:
    """The door of each event and its decision's bytes up to the clock, by id, of the ids that begin so."""
    found = {}
    for door in (Destination.TAGGED, Destination.REVIEW):
        for record in outcomes[door]:
            value = record.value or b""
            found[msgspec.json.decode(value)["id"]] = (door.value, value.rpartition(CLOCK)[0])
    return {event_id: decision for event_id, decision in found.items() if event_id.startswith(prefix)}


def as_published(lines: Sequence[bytes]) -> dict[str, tuple[str, bytes]]:
    """The same of the lines of `tagstream classify --json`."""
    found = {}
    for line in lines:
        value = msgspec.json.decode(line)
        found[value["id"]] = (value["destination"], line.rpartition(CLOCK)[0])
    return found


def test_the_stream_says_of_foreign_labels_what_the_command_line_says(
    environ: dict[str, str], tagstream: Command, processes: Processes, tmp_path: Path
) -> None:
    """Every gold row's decision is the same to the last digit, and the worker's page has the seven labels and no other."""
    bundle = bundles.write(tmp_path / "bundle").path
    offline = tagstream("classify", "--json", GOLD, "--bundle", bundle)
    assert offline.returncode == 0, offline.stderr.decode()
    sent = tagstream("send", GOLD, environ=environ)
    assert sent.returncode == 0, sent.stderr.decode()
    worker = processes.start(
        [sys.executable, "-m", "tagstream.stream.cli.main", "worker", "--bundle", bundle],
        env={**without_settings(os.environ), "PYTHONPATH": str(ROOT), "TAGSTREAM_METRICS_PORT": "0", **environ},
        log_file=tmp_path / "worker.log",
    )
    with TopicObserver(load(environ, folder=ROOT).settings) as observer:
        until(lambda: written(observer) >= ROWS, "every row has an outcome", process=worker)
        outcomes = observer.outcomes()
    expected = as_published(offline.stdout.splitlines())
    assert len(expected) == ROWS
    assert decisions(outcomes) == expected
    served = re.search(r'"metrics": "(http://[^"]+)/metrics"', worker.output())
    assert served is not None, worker.output()
    status, snapshot = get(f"{served[1]}/snapshot.json")
    assert status == 200
    assert tuple(one["label"] for one in json.loads(snapshot)["figures"]["labels"]) == TICKETS

"""Promise 4 on Apache Kafka: the holdout through the stream gives the figures of the command line, to the last digit."""

import os
import sys
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest
from sklearn.metrics import f1_score

from tagstream.model_export.bundle.bundle import DEFAULT_BUNDLE
from tagstream.model_export.bundle.manifest import MANIFEST
from tagstream.model_export.data.madewithml import HOLDOUT, DataError, download, records
from tagstream.monitoring.vocabulary import Destination
from tagstream.stream.broker.processes import Processes
from tagstream.stream.settings.loading import load
from tests.faults.observer import TopicObserver
from tests.faults.verdict.matching import CLOCK
from tests.faults.worker.fleet import ROOT, without_settings
from tests.integration.command_line import Command
from tests.integration.running import written
from tests.waiting import until

pytestmark = pytest.mark.broker

ROWS = 191
# The lower bound of the shipped bundle. Its target of 0.95 is not reached: docs/decisions/0003-model.md.
LEAST_WEIGHTED_F1 = 0.92


@pytest.fixture(scope="module")
def holdout() -> Path:
    """The gold file: from TAGSTREAM_DATA, which must then have it, or downloaded."""
    named = os.environ.get("TAGSTREAM_DATA")
    if named:
        records(Path(named), HOLDOUT)
        return Path(named) / HOLDOUT
    try:
        return download() / HOLDOUT
    except DataError as error:
        pytest.skip(f"the holdout is not in the project and cannot be had: {error}")


def test_the_stream_gives_the_offline_figures(
    holdout: Path,
    environ: dict[str, str],
    bundle_folder: Path,
    tagstream: Command,
    processes: Processes,
    tmp_path: Path,
    publish_report: Callable[[object], None],
) -> None:
    """Every row's tag and probabilities, read back from `tagged` and `review`, are the bytes of `tagstream classify --json`."""
    offline = tagstream("classify", "--json", holdout, "--bundle", bundle_folder)
    assert offline.returncode == 0, offline.stderr.decode()
    sent = tagstream("send", holdout, environ=environ)
    assert sent.returncode == 0, sent.stderr.decode()

    worker = processes.start(
        [sys.executable, "-m", "tagstream.stream.cli.main", "worker", "--bundle", bundle_folder],
        env={**without_settings(os.environ), "PYTHONPATH": str(ROOT), **environ},
        log_file=tmp_path / "worker.log",
    )
    with TopicObserver(load(environ, folder=ROOT).settings) as observer:
        until(lambda: written(observer) >= ROWS, "every row has an outcome", process=worker)
        outcomes = observer.outcomes()

    streamed = {
        msgspec.json.decode(record.value or b"")["id"]: (door.value, (record.value or b"").rpartition(CLOCK)[0])
        for door in (Destination.TAGGED, Destination.REVIEW)
        for record in outcomes[door]
    }
    expected = {}
    for line in offline.stdout.splitlines():
        value = msgspec.json.decode(line)
        expected[value["id"]] = (value["destination"], line.rpartition(CLOCK)[0])
    assert len(expected) == ROWS
    assert streamed == expected

    truth = {row["id"]: row["tag"] for row in records(holdout.parent, HOLDOUT)}
    tags = {event_id: msgspec.json.decode(before + b"}")["tag"] for event_id, (_, before) in streamed.items()}
    ids = sorted(truth)
    weighted = float(f1_score([truth[one] for one in ids], [tags[one] for one in ids], average="weighted"))
    reviewed = sum(door == Destination.REVIEW.value for door, _ in streamed.values())
    publish_report(
        f"{bundle_folder.name} bundle: weighted F1 {weighted:.4f} on {len(ids)} rows from Kafka, {reviewed} of them in review"
    )
    if (DEFAULT_BUNDLE / MANIFEST).is_file():
        assert weighted >= LEAST_WEIGHTED_F1


def test_the_rows_are_the_gold_ones(holdout: Path) -> None:
    """The comparison relies on distinct ids, since a repeated one would hide a missing row."""
    assert len({row["id"] for row in records(holdout.parent, HOLDOUT)}) == ROWS

"""Notes on `references` that no worker wrote, and more of them than a worker has memory for. By commands, topics and HTTP alone."""

import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from kafka import KafkaProducer

from tagstream.model_export.bundle.bundle import DEFAULT_BUNDLE
from tagstream.stream.broker.processes import Processes
from tests.integration.command_line import Command
from tests.integration.holes.test_drift import WINDOW, reference, send, started
from tests.integration.running import peak_bytes
from tests.waiting import HANG_SECONDS, until

pytestmark = [pytest.mark.broker, pytest.mark.slow]

MIB = 1024 * 1024
MODEL = hashlib.sha256((DEFAULT_BUNDLE / "bundle.json").read_bytes()).hexdigest()

Put = Callable[[bytes, bytes], None]


@pytest.fixture
def put(environ: dict[str, str]) -> Put:
    """Writes a record to `references`, as anybody may who has the right to."""
    producer = KafkaProducer(bootstrap_servers=environ["TAGSTREAM_BROKERS"], acks="all", max_request_size=4 * MIB)

    def write(key: bytes, value: bytes) -> None:
        producer.send(environ["TAGSTREAM_TOPICS__REFERENCES"], key=key, value=value).get(timeout=HANG_SECONDS)

    return write


def note(environ: dict[str, str], *, baseline: dict[str, Any] | None = None, **fields: object) -> bytes:
    """A note of the test's group on its bundle."""
    return json.dumps({"group": environ["TAGSTREAM_GROUP"], "model": MODEL, **fields, "baseline": baseline}).encode()


def counts(**fields: object) -> dict[str, Any]:
    """The counts of a note."""
    none = {"words": {}, "sources": {}, "without_source": 1, "lone_sources": 0, "labels": {}}
    return {"events": 1, **none, **fields}


def test_what_no_worker_can_have_noted_is_skipped_and_the_group_learns(
    environ: dict[str, str], tagstream: Command, processes: Processes, put: Put, tmp_path: Path
) -> None:
    """A count of 400 digits, a learning that begins in 146 million years, objects in objects: drift is watched, and the commands do what they say."""
    many = 10**400
    counted = (
        note(environ, worker="x", since_ms=1, baseline=counts(labels={"other": many})),
        note(environ, worker="y", since_ms=many, baseline=counts()),
        note(environ, baseline=counts(labels={"other": many, "mlops": 1})),
        b'{"later":' * 100_000,
        b"\xff",
    )
    begun = (note(environ, began_ms=2**62), note(environ, worker="z", began_ms=2**62, since_ms=2**62, baseline=counts()))
    for number, value in enumerate(counted):
        put(str(number).encode(), value)
    worker = started(processes, environ, tmp_path / "worker.log")
    send(tagstream, environ, 0, 8 * WINDOW)
    until(lambda: worker.metric("tagstream_predictions_total") >= 8 * WINDOW, "all are decided")
    until(
        lambda: tagstream("drift", "--confirm", environ=environ).returncode == 0,
        "the group learns",
        state=worker.process.output,
    )
    worker.until_metric("tagstream_reference_events", lambda value: value >= WINDOW)
    for number, value in enumerate(begun):
        put(str(number).encode(), value)
    assert tagstream("drift", "--learn", environ=environ).returncode == 0
    until(lambda: reference(worker) == {}, "the group learns anew", state=worker.process.output)
    said = worker.process.output()
    assert ("drift_notes_skipped" in said, "drift_broken" in said) == (True, False), said


def test_large_notes_of_many_workers_cost_little_memory(
    environ: dict[str, str], tagstream: Command, processes: Processes, put: Put, tmp_path: Path
) -> None:
    """40 notes of 800 KB, each with words of its own: memory stays far below the limit, and their sum can be put in force."""
    for number in range(40):
        words = {f"{number}w{word}": 2 for word in range(60_000)}
        value = note(environ, worker=f"w{number}", since_ms=1, baseline=counts(words=words))
        assert 800_000 < len(value) < MIB
        put(str(number).encode(), value)
    worker = started(processes, environ, tmp_path / "worker.log")
    send(tagstream, environ, 0, 2 * WINDOW)
    until(lambda: worker.metric("tagstream_drift_learned_ratio") > 0, "it has read them", state=worker.process.output)
    assert tagstream("drift", "--confirm", environ=environ).returncode == 0
    worker.until_metric("tagstream_reference_events", lambda value: value > 0)
    assert peak_bytes(worker.process) < 400 * MIB
    assert "drift_broken" not in worker.process.output()

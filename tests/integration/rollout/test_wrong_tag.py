"""The page on a wrong tag, on Apache Kafka: from a tag that somebody finds wrong to a person's, and to the model before."""

import json
import os
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import pytest
from kafka import KafkaProducer

from tagstream.model_export.bundle.bundle import Bundle
from tagstream.stream.broker.processes import Processes
from tagstream.stream.settings.settings import Settings
from tests.faults.worker.fleet import ROOT
from tests.integration.holes.console_process import Console
from tests.integration.pages import Reader, steps
from tests.integration.rollout.conftest import StartReal
from tests.waiting import HANG_SECONDS, until

pytestmark = [pytest.mark.broker, pytest.mark.slow]

PAGE = ROOT / "docs" / "wrong-tag.md"
EVENT, RIGHT = "e-1", "other"


def test_a_wrong_tag_is_looked_up_reported_answered_and_its_model_rolled_back(
    rollout_environ: dict[str, str],
    rollout_settings: Settings,
    tiny_bundle: Bundle,
    processes: Processes,
    start_real: StartReal,
    promote: Callable[..., bytes],
    tmp_path: Path,
) -> None:
    """Each command of the page does what the page says of it, and consumers get what its last table says."""
    folder = tmp_path / "reader"
    folder.mkdir()
    reader = Reader(folder, rollout_environ, processes)
    settings = rollout_settings
    producer = KafkaProducer(bootstrap_servers=settings.broker_list, acks="all")

    def send(event_id: str, title: str = "Detecting objects in images") -> None:
        event = {"id": event_id, "title": title}
        producer.send(settings.topics.content, value=json.dumps(event).encode()).get(timeout=HANG_SECONDS)

    def looked(event_id: str, what: str) -> str:
        found = until(
            lambda: said if what in (said := reader.run(f"tagstream lookup {event_id}")) else "", f"lookup says {what!r}"
        )
        return str(found)

    start_real(1)
    promote("2")
    send(EVENT)
    wrong = looked(EVENT, "tagged")
    assert f"by the model, {tiny_bundle.manifest.name} 2, epoch 1  " in wrong
    since = datetime.now(UTC).isoformat(timespec="seconds")

    reader.run(f"tagstream report {EVENT} --tag {RIGHT} --reporter ann", code=0)
    console = Console(processes, os.environ | rollout_environ, tmp_path)
    console.until_waiting(1)
    page = console.page("ben")
    assert EVENT in page
    console.post("ben", page, tag=RIGHT)
    answered = looked(EVENT, f"holds     {RIGHT}")
    assert "by a reviewer, version 1; the model said computer-vision" in answered

    words = {
        "EVENT_ID": EVENT,
        "WRONG": "computer-vision",
        "TIME": since,
        "DIGEST": str(settings.bundle),
        "--max 50": "--max 1",
        "tagstream quality": f"tagstream quality --store sqlite:///{tmp_path}/store.db",
    }
    # An estimate rests on decisions that people were asked about by design.
    send("e-0", "A walk along the river")
    looked("e-0", "review")
    console.until_waiting(1)
    said = []
    for step in steps(PAGE):
        command = step.command.partition("#")[0]
        for placeholder, value in words.items():
            command = command.replace(placeholder, value)
        said.append(reader.run(command, code=0))
    found, answers, tail, quality, _drift, log, at, replayed = said
    assert f"{RIGHT}  by ben, " in found
    assert "[ben, version 1; the model said computer-vision]" in answers
    assert "Detecting objects in images" in tail
    assert "published" in quality
    assert "plan 1: " in log
    assert f"epoch 1, {tiny_bundle.manifest.name} 2 " in at
    assert "The same tag: 100.00 %" in replayed

    reader.run('tagstream rollout rollback --why "wrong tags since epoch 1"', code=0)
    assert "wrong tags since epoch 1" in reader.run("tagstream rollout log", code=0)
    send("e-2")
    assert f"by the model, {tiny_bundle.manifest.name} {tiny_bundle.manifest.version}, epoch 2  " in looked("e-2", "tagged")
    assert looked(EVENT, "holds").splitlines()[-1] == answered.splitlines()[-1]
    producer.close()

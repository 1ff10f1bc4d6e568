"""A bundle that cannot decide is refused before it is planned, and takes nothing with it where it is planned all the same."""

import json
import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
from kafka import KafkaProducer

from tagstream.model_export.bundle import bundle as bundles
from tagstream.model_export.bundle.bundle import Bundle
from tagstream.stream.broker.processes import Process, Processes
from tagstream.stream.contract.rollout_records import (
    BundleName,
    Close,
    Mark,
    Marks,
    Plan,
    RolloutRecord,
    write_rollout,
)
from tagstream.stream.kafka.admin import admin
from tagstream.stream.rollout.content_ends import content_partitions
from tagstream.stream.settings.settings import Settings
from tests.data import make_tiny_bundle
from tests.data.make_endless_bundle import endless
from tests.integration.command_line import Command
from tests.integration.rollout.conftest import Producer, StartReal, altered, judged
from tests.integration.running import ended
from tests.waiting import HANG_SECONDS, until

pytestmark = [pytest.mark.broker, pytest.mark.timeout(1800), pytest.mark.slow]
AT = "2026-01-01T00:00:00.000Z"


@pytest.fixture
def foreign(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A bundle with one label of another name."""
    monkeypatch.setattr(make_tiny_bundle, "LABELS", ("computer-vision", "operations", "natural-language-processing", "other"))
    monkeypatch.setattr(
        make_tiny_bundle,
        "WORDS",
        {"operations" if label == "mlops" else label: words for label, words in make_tiny_bundle.WORDS.items()},
    )
    make_tiny_bundle.main(tmp_path / "foreign")
    return tmp_path / "foreign"


@pytest.fixture
def endless_bundle(tiny_bundle: Bundle, tmp_path: Path) -> Bundle:
    """A bundle whose network computes for an hour."""
    return bundles.read(endless(tiny_bundle, tmp_path / "endless"))


def test_the_command_refuses_what_no_worker_could_load_where_no_worker_is_there(
    start_real: StartReal,
    rollout_environ: dict[str, str],
    tagstream: Command,
    tiny_bundle: Bundle,
    foreign: Path,
    endless_bundle: Bundle,
    tmp_path: Path,
) -> None:
    """Other labels than the group's, or a network that does not end: a sentence, and neither a plan nor a topic; the next change is as ever."""

    def refused(verb: str, bundle: Path, *words: str) -> str:
        done = tagstream("rollout", verb, str(bundle), *words, environ=rollout_environ)
        said = done.stderr.decode()
        assert (done.returncode, "Traceback" in said) == (1, False), said
        return said

    for verb, words in (("promote", ()), ("canary", ("--share", "0.5"))):
        said = refused(verb, foreign, *words)
        assert "operations" in said
        assert "the group's tiny 1 has computer-vision, mlops" in said
        assert "Next: train it on the same labels" in said
    assert "has not decided on the golden texts within 60 s" in refused("promote", endless_bundle.path)
    absent = tagstream("rollout", "status", environ=rollout_environ)
    assert b"there is no topic" in absent.stderr
    start_real(0)
    begun = tagstream("rollout", "promote", str(altered(tiny_bundle, tmp_path, "2")), environ=rollout_environ)
    assert begun.returncode == 0, begun.stderr.decode()
    # What the setting names now does not matter: the topic says whose the labels are.
    elsewhere = {**rollout_environ, "TAGSTREAM_BUNDLE": str(foreign)}
    assert tagstream("rollout", "promote", str(foreign), environ=elsewhere).returncode == 1
    status = tagstream("rollout", "status", environ=rollout_environ)
    assert b"epoch 1: tiny 2" in status.stderr


def test_a_plan_of_a_bundle_that_does_not_end_takes_no_worker_with_it(
    start_real: StartReal,
    rollout_settings: Settings,
    rollout_environ: dict[str, str],
    tagstream: Command,
    promote: Callable[..., bytes],
    endless_bundle: Bundle,
) -> None:
    """Planned by a command that verifies nothing: while it is tried, and once it was refused, the next change and the way back are as ever, without a restart."""
    workers = [start_real(0), start_real(1)]
    promote("2")
    producer = Producer(rollout_settings, 50)
    try:
        planned_by_another(rollout_settings, rollout_environ, tagstream, endless_bundle, 2)
        until(lambda: all(tried_by(worker) for worker in workers), "both try it")
        # The next controller gives that plan up.
        assert b"epoch 3 has begun" in promote("3")
        assert not any(tried_by(worker) for worker in workers)
        planned_by_another(rollout_settings, rollout_environ, tagstream, endless_bundle, 4)
        status = until(lambda: both_refuse(tagstream, rollout_environ), "both have refused it")
        assert "has not decided on the golden texts within 60 s" in status
        back = tagstream("rollout", "rollback", environ=rollout_environ)
        assert b"epoch 5 has begun: tiny 2" in back.stderr, back.stderr.decode()
        assert b"epoch 6 has begun" in promote("6", "--ask-people")
    finally:
        sent = producer.stop()
    found = judged(rollout_settings, sent)
    assert found.is_right, found
    for worker in workers:
        assert worker.running()
        worker.ask_to_end()
        assert ended(worker) == 0


def test_a_worker_that_starts_with_a_bundle_that_does_not_end_says_so_and_ends(
    start_real: StartReal,
    rollout_settings: Settings,
    rollout_environ: dict[str, str],
    tagstream: Command,
    processes: Processes,
    promote: Callable[..., bytes],
    endless_bundle: Bundle,
) -> None:
    """With 2, as of any wrong setting: where its settings name the bundle, and where an epoch does."""
    by_setting = started(
        processes, {**rollout_environ, "TAGSTREAM_BUNDLE": str(endless_bundle.path)}, endless_bundle.path.parent / "a.log"
    )
    good = start_real(0)
    promote("2")
    good.ask_to_end()
    assert ended(good) == 0
    planned_by_another(rollout_settings, rollout_environ, tagstream, endless_bundle, 2)
    with admin(rollout_settings) as client:
        places = sorted(content_partitions(rollout_settings, client), key=lambda place: place.partition)
    marks = Marks(epoch=2, at=AT, by="older", marks=tuple(Mark(at=place, offset=0) for place in places))
    written(rollout_settings, Close(epoch=2, at=AT, by="older"), marks)
    by_epoch = started(processes, rollout_environ, endless_bundle.path.parent / "b.log")
    assert ended(by_epoch) == ended(by_setting) == 2
    of_epoch, of_setting = (json.loads(one.output().splitlines()[-1]) for one in (by_epoch, by_setting))
    assert of_epoch["event"] == of_setting["event"] == "worker_ended"
    assert "in epoch 2 bundle" in of_epoch["why"]
    assert "has not decided on the golden texts within 60 s" in of_epoch["why"]
    assert f"bundle {endless_bundle.path} is refused: it was not loaded" in of_setting["why"]
    assert "Next: `tagstream model verify" in of_setting["why"]


def started(processes: Processes, environ: dict[str, str], log_file: Path) -> Process:
    """A worker that need not become ready."""
    argv = [sys.executable, "-m", "tagstream.stream.cli.main", "worker"]
    return processes.start(argv, env=os.environ | environ | {"TAGSTREAM_METRICS_PORT": "0"}, log_file=log_file)


def planned_by_another(settings: Settings, environ: dict[str, str], tagstream: Command, bundle: Bundle, epoch: int) -> None:
    """A plan in the topic, by a command that verifies nothing."""
    stored = tagstream("rollout", "store", str(bundle.path), environ=environ)
    assert stored.returncode == 0, stored.stderr.decode()
    name = BundleName(digest=bundle.digest, name=bundle.manifest.name, version=bundle.manifest.version)
    written(settings, Plan(epoch=epoch, at=AT, by="older", champion=name))


def written(settings: Settings, *of_topic: RolloutRecord) -> None:
    """Records at the end of the topic."""
    producer = KafkaProducer(bootstrap_servers=settings.broker_list, acks="all")
    for record in of_topic:
        producer.send(settings.rollout.topic, value=write_rollout(record), partition=0).get(timeout=HANG_SECONDS)
    producer.close()


def tried_by(worker: Process) -> Sequence[str]:
    """The processes that a worker has started to verify a bundle."""
    found = []
    for task in Path(f"/proc/{worker.pid}/task").iterdir():
        for child in (task / "children").read_text(encoding="ascii").split():
            words = Path(f"/proc/{child}/cmdline")
            if words.exists() and b"tagstream.model_export.verify" in words.read_bytes():
                found.append(child)
    return found


def both_refuse(tagstream: Command, environ: dict[str, str]) -> str:
    """What the status says of two refusals; empty before."""
    said = tagstream("rollout", "status", environ=environ).stderr.decode()
    return said if said.count(": refused, epoch") == 2 else ""

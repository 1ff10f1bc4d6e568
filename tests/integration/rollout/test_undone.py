"""Every change of the model can be undone, whatever happened in its midst: by commands and topics alone."""

import json
import os
import shutil
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tagstream.model_export.bundle.bundle import Bundle
from tagstream.stream.broker.processes import Process, Processes
from tagstream.stream.settings.settings import Settings
from tests.faults.epochs.controller import POINT_VARIABLE
from tests.faults.worker.fleet import ROOT
from tests.integration.command_line import Command, lines
from tests.integration.rollout.conftest import Producer, StartReal, altered, judged, records, sent
from tests.waiting import HANG_SECONDS, until

pytestmark = [pytest.mark.broker, pytest.mark.timeout(1800)]


def decided(settings: Settings) -> list[dict[str, Any]]:
    """Every outcome."""
    topics = settings.topics
    return [json.loads(record.value or b"") for record in records(settings, topics.tagged, topics.review)]


def all_decided(settings: Settings, events: int) -> dict[str, str]:
    """The version that decided each event, once all are decided and none is a dead letter."""
    until(
        lambda: len({one["id"] for one in decided(settings)}) == events,
        "every event is decided",
        state=lambda: len(decided(settings)),
    )
    assert not list(records(settings, settings.topics.dlq))
    found = {(one["id"], one["model"]["version"]) for one in decided(settings)}
    assert len(found) == events, "an event has two deciders"
    return dict(found)


def ended(worker: Process) -> None:
    """End a worker in good order."""
    worker.ask_to_end()
    assert worker.wait(HANG_SECONDS), worker.output()


StartCommand = Callable[..., Process]


@pytest.fixture
def change(processes: Processes, rollout_environ: dict[str, str], tmp_path: Path) -> StartCommand:
    """Starts a change of the model, to which a signal comes at a point between two of its steps."""

    def run(bundle: Path, point: str = "") -> Process:
        return processes.start(
            [sys.executable, "-m", "tests.faults.epochs.controller", "promote", str(bundle)],
            env={**os.environ, **rollout_environ, "PYTHONPATH": str(ROOT), POINT_VARIABLE: point},
            log_file=tmp_path / f"change-{bundle.name}.log",
        )

    return run


@pytest.fixture
def watch(processes: Processes, rollout_environ: dict[str, str], tmp_path: Path) -> Callable[[], Process]:
    """Starts `rollout watch`."""

    def run() -> Process:
        return processes.start(
            [sys.executable, "-m", "tagstream.stream.cli.main", "rollout", "watch", "--metrics-port", "0"],
            env={**os.environ, **rollout_environ, "PYTHONPATH": str(ROOT)},
            log_file=tmp_path / "watch.log",
        )

    return run


@pytest.mark.slow
def test_a_change_without_workers_is_refused_unless_it_is_asked_for(
    start_real: StartReal,
    rollout_settings: Settings,
    rollout_environ: dict[str, str],
    tagstream: Command,
    tiny_bundle: Bundle,
    tmp_path: Path,
) -> None:
    """Nobody says whether the bundle loads: exit 1, the way on, and no record that a worker would obey."""
    worker = start_real(0)
    all_decided(rollout_settings, len(sent(rollout_settings, 20)))
    ended(worker)
    new = str(altered(tiny_bundle, tmp_path, "2"))
    for words in (("promote", new), ("canary", new, "--share", "0.1")):
        refused = tagstream("rollout", *words, environ=rollout_environ)
        assert refused.returncode == 1, refused.stderr
        assert b"--without-workers" in refused.stderr
    assert not list(records(rollout_settings, rollout_settings.rollout.topic))
    asked_for = tagstream("rollout", "promote", new, "--without-workers", environ=rollout_environ)
    assert asked_for.returncode == 0, asked_for.stderr


def test_what_waits_follows_the_model_that_a_rollback_brings_back(
    start_real: StartReal,
    rollout_settings: Settings,
    rollout_environ: dict[str, str],
    promote: Callable[..., bytes],
    tagstream: Command,
) -> None:
    """A model that was rolled back before it decided anything decides nothing, though events have waited for it; earlier decisions stay."""
    worker = start_real(0)
    promote("2")
    first = sent(rollout_settings, 40)
    assert set(all_decided(rollout_settings, len(first)).values()) == {"2"}
    ended(worker)
    promote("3", "--without-workers")
    sent(rollout_settings, 160)
    back = tagstream("rollout", "rollback", environ=rollout_environ)
    assert back.returncode == 0, back.stderr
    start_real(1)
    assert set(all_decided(rollout_settings, 160).values()) == {"2"}


@pytest.mark.slow
def test_a_model_that_loads_nowhere_leaves_no_event_behind(
    start_real: StartReal,
    processes: Processes,
    rollout_settings: Settings,
    rollout_environ: dict[str, str],
    promote: Callable[..., bytes],
    tagstream: Command,
    tmp_path: Path,
) -> None:
    """Workers end with 2 as long as it decides; after a rollback they start, and every event is decided."""
    worker = start_real(0)
    promote("2")
    first = sent(rollout_settings, 40)
    all_decided(rollout_settings, len(first))
    ended(worker)
    promote("3", "--without-workers")
    begun = lines(tagstream("rollout", "status", "--json", environ=rollout_environ).stdout)[0]
    shutil.rmtree(tmp_path / "bundles" / begun["now"]["champion"]["digest"])  # type: ignore[index]
    sent(rollout_settings, 100)
    lost = processes.start(
        [sys.executable, "-m", "tagstream.stream.cli.main", "worker"],
        env={**os.environ, **rollout_environ, "PYTHONPATH": str(ROOT), "TAGSTREAM_METRICS_PORT": "0"},
        log_file=tmp_path / "lost.log",
    )
    assert lost.wait(HANG_SECONDS)
    assert lost.exit_code == 2, lost.output()
    back = tagstream("rollout", "rollback", environ=rollout_environ)
    assert back.returncode == 0, back.stderr
    start_real(2)
    assert set(all_decided(rollout_settings, 100).values()) == {"2"}


@pytest.mark.slow
def test_a_rollback_takes_from_a_model_that_decides_what_it_has_not_begun(
    start_real: StartReal,
    rollout_settings: Settings,
    rollout_environ: dict[str, str],
    promote: Callable[..., bytes],
    tagstream: Command,
) -> None:
    """A worker that was killed with events in its hands: what it decided stays, no event has two models, and those that wait get the model before."""
    worker = start_real(0)
    promote("2")
    producer = Producer(rollout_settings, 200)
    until(lambda: any(one["model"]["version"] == "2" for one in decided(rollout_settings)), "the new model decides")
    os.kill(worker.pid, signal.SIGKILL)
    worker.wait(HANG_SECONDS)
    count = producer.stop()
    # More than a worker says that it may begin, in every partition.
    later = 3000
    sent(rollout_settings, later)
    back = tagstream("rollout", "rollback", environ=rollout_environ)
    assert back.returncode == 0, back.stderr
    start_real(1)
    found = judged(rollout_settings, count + later)
    assert found.is_right, found
    versions = all_decided(rollout_settings, count + later)
    assert set(versions.values()) == {"1", "2"}
    assert {versions[f"e-{number}"] for number in range(later - 100, later)} == {"1"}


@pytest.mark.slow
@pytest.mark.parametrize("sign", ["SIGINT", "SIGTERM"])
def test_a_signal_between_close_and_marks_waits_for_the_marks(
    change: StartCommand, start_real: StartReal, rollout_settings: Settings, tiny_bundle: Bundle, tmp_path: Path, sign: str
) -> None:
    """The epoch has begun, the command says so, and no event is held."""
    start_real(0)
    command = change(altered(tiny_bundle, tmp_path, "2"), f"{sign} after close")
    assert command.wait(HANG_SECONDS)
    assert command.exit_code == 0, command.output()
    assert "epoch 1 has begun" in command.output()
    events = sent(rollout_settings, 20)
    assert set(all_decided(rollout_settings, len(events)).values()) == {"2"}


@pytest.mark.slow
def test_a_signal_before_the_close_gives_the_plan_up(
    change: StartCommand,
    start_real: StartReal,
    rollout_environ: dict[str, str],
    tagstream: Command,
    tiny_bundle: Bundle,
    tmp_path: Path,
) -> None:
    """A command that has planned ends with 130 and a sentence, and no plan is left behind."""
    start_real(0)
    command = change(altered(tiny_bundle, tmp_path, "2"), "SIGINT after plan")
    assert command.wait(HANG_SECONDS)
    assert command.exit_code == 130, command.output()
    assert "nothing has changed" in command.output()
    assert "Traceback" not in command.output()
    status = lines(tagstream("rollout", "status", "--json", environ=rollout_environ).stdout)[0]
    assert (status["planned"], status["closing"], status["now"]["epoch"]) == (None, None, 0)  # type: ignore[index]


@pytest.mark.slow
def test_a_worker_finishes_what_a_killed_command_left_closing(
    change: StartCommand, start_real: StartReal, rollout_settings: Settings, tiny_bundle: Bundle, tmp_path: Path
) -> None:
    """Two workers hold their events for some seconds, one of them writes the marks, and no person is needed."""
    workers = [start_real(number) for number in range(2)]
    producer = Producer(rollout_settings, 50)
    command = change(altered(tiny_bundle, tmp_path, "2"), "SIGKILL after close")
    assert command.wait(HANG_SECONDS)
    assert command.exit_code == -signal.SIGKILL
    until(lambda: any(one["model"]["version"] == "2" for one in decided(rollout_settings)), "the new model decides")
    count = producer.stop()
    found = judged(rollout_settings, count)
    assert found.is_right, found
    assert set(found.by_epoch) == {0, 1}
    assert all(worker.running() for worker in workers)
    marks = [one for one in map(_value, records(rollout_settings, rollout_settings.rollout.topic)) if one["kind"] == "marks"]
    assert [one["epoch"] for one in marks] == [1]
    assert marks[0]["by"].startswith("worker@")


@pytest.mark.slow
def test_a_watch_that_starts_later_finishes_what_was_left_closing(
    change: StartCommand,
    start_real: StartReal,
    watch: Callable[[], Process],
    rollout_environ: dict[str, str],
    tagstream: Command,
    tiny_bundle: Bundle,
    tmp_path: Path,
) -> None:
    """Without a worker, `rollout watch` writes the marks, as its help says."""
    worker = start_real(0)
    command = change(altered(tiny_bundle, tmp_path, "2"), "SIGKILL within marks")
    assert command.wait(HANG_SECONDS)
    os.kill(worker.pid, signal.SIGKILL)
    watch()

    def begun() -> bool:
        status = lines(tagstream("rollout", "status", "--json", environ=rollout_environ).stdout)[0]
        now: dict[str, Any] = status["now"]  # type: ignore[assignment]
        return status["closing"] is None and now["epoch"] == 1

    until(begun, "the epoch has begun")


def _value(record: Any) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(record.value)
    return found

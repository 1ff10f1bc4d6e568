"""The model of a running stream is changed by `tagstream rollout`, and each event's place in the log says which model decides it."""

import json
import os
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest

from tagstream.stream.contract.outcome import timestamp
from tagstream.stream.settings.loading import load
from tagstream.stream.settings.settings import Settings
from tests.faults.cluster.topics import make_topics
from tests.faults.worker.fleet import ROOT
from tests.integration.command_line import Command
from tests.integration.dead_letters.planted_letters import lay
from tests.integration.rollout.conftest import Producer, StartReal, judged, records
from tests.waiting import HANG_SECONDS, until

pytestmark = [pytest.mark.broker, pytest.mark.timeout(1800)]
BIN = Path(sys.executable).parent
# Above the session timeout of these workers: the group gives the partitions of a stopped one away.
STOPPED_SECONDS = 8.0


def test_three_workers_change_their_model_at_one_point_in_the_log(
    start_real: StartReal,
    rollout_settings: Settings,
    rollout_environ: dict[str, str],
    promote: Callable[[str], bytes],
    tagstream: Command,
) -> None:
    """Changes and a rollback while events flow: none is lost, none has two models, each has that of its place; the commands say so."""
    first, *_ = [start_real(number) for number in range(3)]
    producer = Producer(rollout_settings, 200)
    assert b"has begun" in promote("2")
    begun_ms = int(time.time() * 1000)
    for version in ("3", "4"):
        assert b"has begun" in promote(version)
    first.ask_to_end()
    assert first.wait(HANG_SECONDS)
    assert first.exit_code == 0, first.output()
    start_real(3)
    back = tagstream("rollout", "rollback", "--why", "a test", environ=rollout_environ)
    assert back.returncode == 0, back.stderr.decode()
    sent = producer.stop()
    found = judged(rollout_settings, sent)
    assert found.is_right, found
    assert found.events == sent
    assert set(found.by_epoch) == {0, 1, 2, 3, 4}
    status = msgspec.json.decode(tagstream("rollout", "status", "--json", environ=rollout_environ).stdout)
    assert (status["now"]["epoch"], status["now"]["champion"]["version"], status["planned"], status["closing"]) == (
        4,
        "3",
        None,
        None,
    )
    assert [worker["state"]["state"] for worker in status["workers"]] == ["decides"] * 3
    log = tagstream("rollout", "log", environ=rollout_environ).stdout.decode().splitlines()
    assert [line.split("  ")[3].split()[0] for line in log] == ["start:", *["plan", "close", "marks"] * 4]
    assert "(a test)" in log[-3]
    then = tagstream("rollout", "log", "--at", timestamp(begun_ms), "--partition", "0", environ=rollout_environ).stdout.decode()
    assert then.splitlines()[0].startswith(f"{timestamp(begun_ms)}: epoch 1, tiny 2 ")


@pytest.mark.slow
def test_a_change_under_exactly_once_is_the_same_point_in_the_log(
    start_real: StartReal, rollout_settings: Settings, promote: Callable[[str], bytes]
) -> None:
    """Outcomes and commits in one transaction, a worker that is killed over a change, and readers of committed records alone."""
    exactly = {"TAGSTREAM_DELIVERY": "exactly_once"}
    killed, _ = (start_real(number, **exactly) for number in range(2))
    producer = Producer(rollout_settings, 150)
    promote("2")
    os.kill(killed.pid, signal.SIGKILL)
    start_real(2, **exactly)
    promote("3")
    sent = producer.stop()
    found = judged(rollout_settings, sent)
    assert found.is_right, found
    assert found.events == sent
    assert set(found.by_epoch) == {0, 1, 2}


@pytest.mark.slow
def test_a_change_of_a_group_with_two_topics_begins_at_a_place_of_each(
    start_real: StartReal,
    rollout_settings: Settings,
    rollout_environ: dict[str, str],
    promote: Callable[[str], bytes],
    tagstream: Command,
) -> None:
    """Every partition of both topics has a mark, and each event the model of its place; `log --at` names both."""
    other = f"{rollout_settings.topics.content}.posts"
    rollout_environ["TAGSTREAM_CONTENTS"] = json.dumps({other: {}})
    settings = load(rollout_environ, folder=ROOT).settings
    make_topics(settings)
    start_real(0)
    producers = [Producer(one, 100) for one in settings.each_content]
    for version in ("2", "3"):
        assert f"{other}/0:" in promote(version).decode()
    sent = sum(producer.stop() for producer in producers)
    found = judged(settings, sent)
    assert found.is_right, found
    assert (found.events, set(found.by_epoch)) == (sent, {0, 1, 2})
    now = timestamp(int(time.time() * 1000))
    then = tagstream("rollout", "log", "--at", now, "--partition", "0", environ=rollout_environ).stdout.decode()
    assert f"{settings.topics.content}/0" in then
    assert f"{other}/0" in then


@pytest.mark.slow
def test_a_dead_letter_that_is_replayed_gets_the_model_of_its_new_place(
    start_real: StartReal,
    rollout_settings: Settings,
    rollout_environ: dict[str, str],
    promote: Callable[[str], bytes],
    tagstream: Command,
) -> None:
    """A replay sends the event again, behind the mark: the epoch of now decides it, as any event that comes now."""
    start_real(0)
    lay(rollout_settings, ((b"k", b'{"id":"letter","title":"Detecting objects in images"}', ()),))
    promote("2")
    replayed = tagstream("dlq", "replay", environ=rollout_environ)
    assert replayed.returncode == 0, replayed.stderr.decode()
    topics = rollout_settings.topics
    until(lambda: any(records(rollout_settings, topics.tagged, topics.review)), "an event of a dead letter is decided")
    decided = [msgspec.json.decode(one.value or b"") for one in records(rollout_settings, topics.tagged, topics.review)]
    assert {one["model"]["epoch"] for one in decided} == {"1"}
    assert {one["model"]["version"] for one in decided} == {"2"}


@pytest.mark.slow
def test_kills_and_stops_beyond_the_session_give_no_event_two_models(
    start_real: StartReal, rollout_settings: Settings, promote: Callable[[str], bytes]
) -> None:
    """One worker is stopped over a whole change with events in its hands, another is killed during the next one."""
    stopped, killed, _ = [start_real(number) for number in range(3)]
    producer = Producer(rollout_settings, 150)
    promote("2")
    os.kill(stopped.pid, signal.SIGSTOP)
    begun = time.monotonic()
    # Its partitions go to the others, and it is no member any more once the plan asks who is ready.
    time.sleep(STOPPED_SECONDS)
    promote("3")
    os.kill(stopped.pid, signal.SIGCONT)
    assert time.monotonic() - begun > STOPPED_SECONDS
    os.kill(killed.pid, signal.SIGKILL)
    start_real(3)
    promote("4")
    sent = producer.stop()
    found = judged(rollout_settings, sent)
    assert found.is_right, found
    assert found.events == sent

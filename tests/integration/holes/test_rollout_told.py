"""What `tagstream rollout` says of the past, of what it is about to do, and of a machine whose clock is wrong, is true."""

import hashlib
import json
import os
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from kafka import KafkaProducer

from tagstream.model_export.bundle.bundle import Bundle
from tagstream.stream.contract.outcome import timestamp
from tagstream.stream.kafka import admin
from tagstream.stream.settings.settings import Settings
from tests.integration.command_line import Command, lines
from tests.integration.holes.test_clock import HOUR, Clock
from tests.integration.rollout.conftest import (
    StartReal,
    altered,
    another,
    promote,
    rollout_environ,
    rollout_settings,
    sent,
    start_real,
)
from tests.waiting import HANG_SECONDS

__all__ = ["another", "promote", "rollout_environ", "rollout_settings", "start_real"]

pytestmark = [pytest.mark.broker, pytest.mark.timeout(900), pytest.mark.slow]

EVENTS = 2_000


def now() -> str:
    """A time between what was written before and what will be."""
    time.sleep(0.05)
    found = timestamp(int(time.time() * 1000))
    time.sleep(0.05)
    return found


def test_the_log_names_the_epoch_of_a_time_and_no_later_change_alters_the_answer(
    start_real: StartReal,
    rollout_settings: Settings,
    rollout_environ: dict[str, str],
    promote: Callable[..., bytes],
    tagstream: Command,
) -> None:
    """By the times in the topic, with the first event from then on beside it; before the first record nothing is known, and the exit code says so."""
    start_real(0)
    before_all = now()
    promote("2")
    sent(rollout_settings, 20)
    under_2 = now()
    promote("3")
    under_3 = now()

    def asked(moment: str) -> list[dict[str, object]]:
        done = tagstream("rollout", "log", "--at", moment, "--json", environ=rollout_environ)
        assert done.returncode == 0, done.stderr.decode()
        return lines(done.stdout)

    for moment, version in ((under_2, "2"), (under_3, "3")):
        first, *partitions = asked(moment)
        assert first["champion"]["version"] == version  # type: ignore[index]
        assert first["at"] == moment
        # No event has come since: it may still get another model.
        assert {(one["offset"], one["epoch"]) for one in partitions} == {(None, None)}
    sent(rollout_settings, 20)
    answers = {moment: asked(moment) for moment in (under_2, under_3)}
    assert {one["epoch"] for one in answers[under_2][1:] if one["offset"] is not None} == {2}
    back = tagstream("rollout", "rollback", environ=rollout_environ)
    assert back.returncode == 0, back.stderr.decode()
    sent(rollout_settings, 20)
    promote("4")
    assert {moment: asked(moment) for moment in answers} == answers
    for moment, words in (
        (before_all, b"is not known"),
        ("2020-01-01T00:00Z", b"is not known"),
        ("2999-01-01T00:00Z", b"not come"),
    ):
        refused = tagstream("rollout", "log", "--at", moment, environ=rollout_environ)
        assert (refused.returncode, refused.stdout) == (1, b""), refused
        assert words in refused.stderr
        assert b"Next: " in refused.stderr


def test_a_rollback_says_beforehand_where_it_goes(
    start_real: StartReal, rollout_environ: dict[str, str], promote: Callable[..., bytes], tagstream: Command
) -> None:
    """In the status, and before it plans anything: after A, B and A again it goes to what decided before the first A, and from a canary to its champion."""
    start_real(0)
    for version in ("2", "3", "2"):
        promote(version)
    promote("4", "--share", "0.5", verb="canary")
    for words, version in (("the challenger goes", "2"), ("back to that of epoch 0", "1")):
        status = tagstream("rollout", "status", environ=rollout_environ)
        assert f"{words}: tiny {version} " in status.stderr.decode()
        as_json = json.loads(tagstream("rollout", "status", "--json", environ=rollout_environ).stdout)
        assert as_json["rollback"]["champion"]["version"] == version
        back = tagstream("rollout", "rollback", environ=rollout_environ)
        assert back.returncode == 0, back.stderr.decode()
        told, begun, *_ = back.stderr.decode().splitlines()
        assert told.startswith(f"{words}: tiny {version} ")
        assert "has begun: tiny" in begun
    assert (
        b"`tagstream rollout rollback`: there is nothing before"
        in tagstream("rollout", "status", environ=rollout_environ).stderr
    )


def test_a_canary_says_how_many_events_its_share_of_the_keys_is(
    start_real: StartReal,
    rollout_environ: dict[str, str],
    promote: Callable[..., bytes],
    tagstream: Command,
) -> None:
    """Counted on the newest events before it begins, since a heavy key may be in it; a larger share alone keeps its sources and its unit."""
    start_real(0)
    producer = KafkaProducer(bootstrap_servers=rollout_environ["TAGSTREAM_BROKERS"], acks="all")
    keys = [b"heavy" if number % 5 == 0 else b"k%d" % (number % 300) for number in range(EVENTS)]
    for number, key in enumerate(keys):
        event = {"id": f"e-{number}", "title": "A walk", "source": ("web", "mail")[number % 2]}
        producer.send(rollout_environ["TAGSTREAM_TOPICS__CONTENT"], value=json.dumps(event).encode(), key=key)
    producer.flush(HANG_SECONDS)
    producer.close()

    def planned() -> dict[str, object]:
        log = lines(tagstream("rollout", "log", "--json", environ=rollout_environ).stdout)
        return [one["record"] for one in log if one["record"]["kind"] == "plan"][-1]["challenger"]  # type: ignore[index]

    told = promote("2", "--share", "0.3", verb="canary").decode()
    salt = str(planned()["salt"])
    drawn = [key for key in keys if is_drawn(salt, key, 0.3)]
    heaviest = max(map(drawn.count, set(drawn)), default=0)
    assert (
        f"0.3 by key: it would have decided {len(drawn) / EVENTS:.1%} of the newest {EVENTS} events; one key alone has {heaviest / EVENTS:.1%}"
        in told
    )
    back = tagstream("rollout", "rollback", environ=rollout_environ)
    assert back.returncode == 0, back.stderr.decode()
    told = promote("2", "--share", "1", "--source", "web", "--unit", "id", verb="canary").decode()
    assert "1 of the events from web by id: it would have decided 50.0% of the newest 2000 events\n" in told
    promote("2", "--share", "0.5", verb="canary")
    assert (planned()["share"], planned()["sources"], planned()["unit"]) == (0.5, ["web"], "id")


def is_drawn(salt: str, key: bytes, share: float) -> bool:
    """Whether a key is in an arm, computed here."""
    return int(hashlib.sha256(b"rollout:" + salt.encode() + b":" + key).hexdigest()[:16], 16) < share * 2**64


def test_workers_that_refuse_alike_are_one_sentence(
    start_real: StartReal, rollout_environ: dict[str, str], tagstream: Command, tiny_bundle: Bundle, tmp_path: Path
) -> None:
    """Once the reason, the number of workers, and one next step that helps."""
    for number in range(3):
        start_real(number, TAGSTREAM_ROLLOUT__BUNDLES=str(tmp_path / "elsewhere"))
    refused = tagstream("rollout", "promote", str(altered(tiny_bundle, tmp_path, "2")), environ=rollout_environ)
    assert refused.returncode == 1
    assert refused.stderr.count(b"there is no such folder") == 1, refused.stderr.decode()
    assert b"3 workers (" in refused.stderr
    assert refused.stderr.count(b"Next: ") == 1


def test_a_group_that_does_not_exist_is_not_changed(
    rollout_environ: dict[str, str], rollout_settings: Settings, tagstream: Command, tiny_bundle: Bundle, tmp_path: Path
) -> None:
    """A slip in TAGSTREAM_GROUP makes no topic, and no epoch of a group that nobody is in."""
    slip = {
        name: value
        for name, value in rollout_environ.items()
        if not name.startswith("TAGSTREAM_ROLLOUT__") or "BUNDLES" in name
    }
    slip["TAGSTREAM_GROUP"] = f"{rollout_environ['TAGSTREAM_GROUP']}-slip"
    new = str(altered(tiny_bundle, tmp_path, "2"))
    for words in (("promote", new), ("canary", new, "--share", "0.5"), ("rollback",), ("finish",)):
        refused = tagstream("rollout", *words, environ=slip)
        assert refused.returncode == 1, refused.stderr.decode()
        assert b"there is no " in refused.stderr
        assert b"-slip" in refused.stderr
        assert b"Next: " in refused.stderr
    assert not [name for name in admin.partitions(rollout_settings) if "-slip" in name]


@pytest.mark.needs("faketime")
def test_a_command_names_a_clock_that_is_wrong(
    start_real: StartReal, rollout_environ: dict[str, str], tagstream: Command, tiny_bundle: Bundle, tmp_path: Path
) -> None:
    """Brokers refuse an event of two hours ahead. The topic of a rollout has their time, so a change works and says how far the clock is off, as the log does."""
    clock = Clock(tmp_path, jumps=False)
    start_real(0)
    clock.set(2 * HOUR)
    refused = tagstream("send", "-", environ=rollout_environ | clock.environ, stdin=b'{"title": "A walk"}\n')
    assert refused.returncode == 1, refused.stderr.decode()
    assert b"this machine's clock says" in refused.stderr
    for version, hours, words in (("2", 2, b"2:00:0"), ("3", -2, b"behind theirs")):
        clock.set(hours * HOUR)
        new = str(altered(tiny_bundle, tmp_path, version))
        before = now()
        changed = tagstream("rollout", "promote", new, environ=rollout_environ | clock.environ)
        assert changed.returncode == 0, changed.stderr.decode()
        assert b"this machine's clock is wrong" in changed.stderr
        assert words in changed.stderr
        after = now()
        (then, *_) = lines(tagstream("rollout", "log", "--at", after, "--json", environ=rollout_environ).stdout)
        assert then["champion"]["version"] == version  # type: ignore[index]
        assert before < str(then["since"]) < after
    assert b"was 2:00:00 behind the brokers'" in tagstream("rollout", "log", environ=rollout_environ).stdout


@pytest.mark.needs("faketime")
@pytest.mark.parametrize("delivery", ["at_least_once", "exactly_once"])
def test_a_worker_names_a_clock_that_is_wrong(
    start_real: StartReal, rollout_settings: Settings, tmp_path: Path, delivery: str
) -> None:
    """Its last line says that the brokers refuse the time of its records, and to set the clock; it ends as a broken machine does."""
    clock = Clock(tmp_path, jumps=False)
    clock.set(2 * HOUR)
    worker = start_real(0, TAGSTREAM_DELIVERY=delivery, **clock.environ)
    sent(rollout_settings, 4)
    assert worker.wait(HANG_SECONDS)
    assert worker.exit_code == os.EX_SOFTWARE
    last = json.loads(worker.output().splitlines()[-1])
    assert last["event"] == "worker_ended"
    assert "this machine's clock says" in last["why"]
    assert "set the clock" in last["next"]

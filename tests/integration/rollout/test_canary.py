"""A second model decides a share of the keys of a running stream, and an epoch sends every event to people."""

import hashlib
import json
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest

from tagstream.model_export.bundle.bundle import Bundle
from tagstream.stream.settings.settings import Settings
from tests.integration.command_line import Command
from tests.integration.rollout.conftest import Producer, StartReal, altered, judged, records

pytestmark = [pytest.mark.broker, pytest.mark.timeout(1800), pytest.mark.slow]


def test_a_share_of_the_keys_goes_to_the_challenger_and_only_grows(
    start_real: StartReal,
    rollout_settings: Settings,
    rollout_environ: dict[str, str],
    promote: Callable[..., bytes],
    tagstream: Command,
    tiny_bundle: Bundle,
    tmp_path: Path,
) -> None:
    """The judge draws the arms anew; a larger share keeps every key; a rollback ends it; a promotion gives the challenger all."""
    for number in range(2):
        start_real(number)
    producer = Producer(rollout_settings, 200)
    first = promote("2", "--share", "0.2", "--why", "a first look", verb="canary")
    assert b"decides, and tiny 2" in first
    assert b"0.2 by key" in first
    promote("2", "--share", "0.6", verb="canary")
    other = str(altered(tiny_bundle, tmp_path, "2"))
    changed = tagstream("rollout", "canary", other, "--share", "0.7", "--margin", "0.1", environ=rollout_environ)
    assert changed.returncode == 1
    assert b"are fixed when it begins" in changed.stderr
    refused = tagstream("rollout", "canary", rollout_environ["TAGSTREAM_BUNDLE"], "--share", "0.5", environ=rollout_environ)
    assert refused.returncode == 1
    assert b"cannot be its own challenger" in refused.stderr
    back = tagstream("rollout", "rollback", environ=rollout_environ)
    assert back.returncode == 0, back.stderr.decode()
    promote("2")
    sent = producer.stop()
    found = judged(rollout_settings, sent)
    assert found.is_right, found
    assert set(found.by_epoch) == {0, 1, 2, 3, 4}
    assert found.by_arm["challenger"] > 0
    assert found.by_arm["fallback"] == 0
    log = tagstream("rollout", "log", "--json", environ=rollout_environ).stdout.decode().splitlines()
    plans = [one["record"] for one in map(json.loads, log) if one["record"]["kind"] == "plan"]
    assert plans[0]["challenger"]["salt"] == plans[1]["challenger"]["salt"]
    assert [plan.get("challenger") is not None for plan in plans] == [True, True, False, False]
    assert [plan["champion"]["version"] for plan in plans] == ["1", "1", "1", "2"]
    keys = {f"k{number}".encode() for number in range(97)}
    small, large = (arm(plan["challenger"], keys) for plan in plans[:2])
    assert small < large < keys


def arm(challenger: dict[str, object], keys: set[bytes]) -> set[bytes]:
    """The keys of the challenger's arm, computed here."""

    def share(key: bytes) -> float:
        drawn = hashlib.sha256(b"rollout:" + str(challenger["salt"]).encode() + b":" + key).hexdigest()
        return int(drawn[:16], 16) / 2**64

    return {key for key in keys if share(key) < float(str(challenger["share"]))}


def test_every_event_of_an_epoch_goes_to_people_until_the_next_one(
    start_real: StartReal, rollout_settings: Settings, promote: Callable[..., bytes]
) -> None:
    """With the model's tag as a suggestion; the epoch after publishes again what the model is sure of."""
    start_real(0)
    producer = Producer(rollout_settings, 100)
    promote("2", "--ask-people")
    promote("3")
    found = judged(rollout_settings, producer.stop())
    assert found.is_right, found
    tagged = {
        json.loads(record.value or b"")["model"].get("epoch")
        for record in records(rollout_settings, rollout_settings.topics.tagged)
    }
    assert "1" not in tagged
    assert "2" in tagged
    asked = [msgspec.json.decode(record.value or b"") for record in records(rollout_settings, rollout_settings.topics.review)]
    of_epoch = [one for one in asked if one["model"].get("epoch") == "1"]
    assert of_epoch
    assert all(one["threshold"] > 1 and one["tag"] and one["reasons"][0] == "low_confidence" for one in of_epoch)

"""A change that a worker cannot follow changes nothing: the stream goes on under the model before, and the reason is said."""

from collections.abc import Callable
from pathlib import Path

import pytest

from tagstream.model_export.bundle import bundle as bundles
from tagstream.model_export.bundle.bundle import Bundle
from tagstream.stream.kafka.admin import admin
from tagstream.stream.settings.settings import Settings
from tests.integration.command_line import Command
from tests.integration.rollout.conftest import Producer, StartReal, altered, begin_group, judged
from tests.unit.model_export.bundle.test_signature import new_keys
from tests.waiting import HANG_SECONDS, until

pytestmark = [pytest.mark.broker, pytest.mark.timeout(900), pytest.mark.slow]


def test_a_worker_that_cannot_load_a_bundle_stops_the_change_and_not_the_stream(
    start_real: StartReal,
    rollout_settings: Settings,
    rollout_environ: dict[str, str],
    tagstream: Command,
    promote: Callable[[str], bytes],
    tiny_bundle: Bundle,
    tmp_path: Path,
) -> None:
    """Its reason is in the command's words and in the status; once it is gone, the next change has another number."""
    start_real(0)
    astray = start_real(1, TAGSTREAM_ROLLOUT__BUNDLES=str(tmp_path / "elsewhere"))
    producer = Producer(rollout_settings, 50)
    new = str(altered(tiny_bundle, tmp_path, "2"))
    refused = tagstream("rollout", "promote", new, environ=rollout_environ)
    assert refused.returncode == 1
    assert b"Traceback" not in refused.stderr
    assert b"there is no such folder" in refused.stderr
    assert b"elsewhere" in refused.stderr
    status = tagstream("rollout", "status", environ=rollout_environ)
    assert b"epoch 0: tiny 1" in status.stderr
    astray.ask_to_end()
    assert astray.wait(HANG_SECONDS)
    assert b"epoch 2 has begun" in promote("2")
    sent = producer.stop()
    found = judged(rollout_settings, sent)
    assert found.is_right, found
    assert set(found.by_epoch) == {0, 2}


def test_workers_with_keys_take_signed_bundles_alone(
    start_real: StartReal, rollout_environ: dict[str, str], tagstream: Command, tiny_bundle: Bundle, tmp_path: Path
) -> None:
    """Whoever may write to the topic and to the place of the bundles still chooses none that a trusted key has not signed."""
    private, public = new_keys(tmp_path, "release")
    trusting = {**rollout_environ, "TAGSTREAM_ROLLOUT__BUNDLE_KEYS": str(public)}
    start_real(0, TAGSTREAM_ROLLOUT__BUNDLE_KEYS=str(public))
    new = str(altered(tiny_bundle, tmp_path, "2"))
    unsigned = tagstream("rollout", "promote", new, environ=rollout_environ)
    assert unsigned.returncode == 1
    assert b"it is not signed" in unsigned.stderr
    unverified = tagstream("model", "verify", new, "--key", str(public), environ=rollout_environ)
    assert (unverified.returncode, b"it is not signed" in unverified.stderr) == (1, True)
    signed = tagstream("model", "verify", new, "--sign", str(private), environ=rollout_environ)
    assert signed.returncode == 0, signed.stderr.decode()
    verified = tagstream("model", "verify", new, "--key", str(public), environ=rollout_environ)
    assert verified.returncode == 0, verified.stderr.decode()
    taken = tagstream("rollout", "promote", new, environ=trusting)
    assert taken.returncode == 0, taken.stderr.decode()
    assert b"epoch 2 has begun" in taken.stderr


def test_what_cannot_be_promoted_is_told_before_anything_is_written(
    rollout_environ: dict[str, str], rollout_settings: Settings, tagstream: Command, tiny_bundle: Bundle, tmp_path: Path
) -> None:
    """No place for bundles, no bundle, and nothing to go back to: a sentence each, with the next step."""
    with admin(rollout_settings) as client:
        begin_group(rollout_settings, client)
    new = str(altered(tiny_bundle, tmp_path, "2"))
    nowhere = tagstream("rollout", "promote", new, environ={**rollout_environ, "TAGSTREAM_ROLLOUT__BUNDLES": ""})
    assert (nowhere.returncode, b"TAGSTREAM_ROLLOUT__BUNDLES" in nowhere.stderr) == (1, True)
    nothing = tagstream("rollout", "promote", str(tmp_path), environ=rollout_environ)
    assert (nothing.returncode, b"refused" in nothing.stderr) == (1, True)
    for verb in ("status", "log"):
        absent = tagstream("rollout", verb, environ=rollout_environ)
        assert (absent.returncode, b"there is no topic" in absent.stderr) == (1, True), absent.stderr
    first = tagstream("rollout", "promote", new, "--without-workers", environ=rollout_environ)
    assert first.returncode == 0, first.stderr.decode()
    again = tagstream("rollout", "promote", new, "--without-workers", environ=rollout_environ)
    assert (again.returncode, b"decides so already" in again.stderr) == (1, True)
    back = tagstream("rollout", "rollback", environ=rollout_environ)
    assert back.returncode == 0
    late = tagstream("rollout", "log", "--at", "yesterday", environ=rollout_environ)
    assert (late.returncode, b"is no time" in late.stderr) == (1, True)


def test_another_bundle_under_the_name_of_a_stored_one_decides_nothing(
    start_real: StartReal, rollout_environ: dict[str, str], tagstream: Command, tiny_bundle: Bundle, tmp_path: Path
) -> None:
    """The digest counts: a folder that was replaced in its place is another bundle, and a change puts the right one there again."""
    start_real(0)
    new = bundles.read(altered(tiny_bundle, tmp_path, "2"))
    stored = tagstream("rollout", "store", str(new.path), environ=rollout_environ)
    assert stored.returncode == 0, stored.stderr.decode()
    place = tmp_path / "bundles" / new.digest
    other = bundles.read(altered(tiny_bundle, tmp_path, "3"))
    (place / "bundle.json").write_bytes((other.path / "bundle.json").read_bytes())
    done = tagstream("rollout", "promote", str(new.path), environ=rollout_environ)
    assert done.returncode == 0, done.stderr.decode()
    assert bundles.read(place).digest == new.digest


def test_a_worker_that_starts_under_another_bundle_decides_by_the_epochs(
    start_real: StartReal, rollout_settings: Settings, promote: Callable[..., bytes], tiny_bundle: Bundle, tmp_path: Path
) -> None:
    """The setting `bundle` is where it starts; it reads the topic before its first event, and old events get their old model."""
    first = start_real(0)
    producer = Producer(rollout_settings, 100)
    until(lambda: producer.sent > 100, "some events are sent")
    promote("2")
    first.kill()
    promote("3", "--without-workers")
    start_real(1, TAGSTREAM_BUNDLE=str(altered(tiny_bundle, tmp_path, "9")))
    sent = producer.stop()
    found = judged(rollout_settings, sent)
    assert found.is_right, found

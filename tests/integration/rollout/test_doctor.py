"""`doctor` on a stream whose model was changed: from outside, by commands alone."""

import json
from collections.abc import Callable

import pytest

from tagstream.model_export.bundle.bundle import Bundle
from tests.integration.command_line import Command, lines
from tests.integration.rollout.conftest import StartReal

pytestmark = [pytest.mark.broker, pytest.mark.slow]


def test_the_doctor_names_the_bundle_that_decides(
    rollout_environ: dict[str, str],
    tiny_bundle: Bundle,
    start_real: StartReal,
    promote: Callable[..., bytes],
    tagstream: Command,
) -> None:
    """Before a change it is that of the settings; after one the doctor names epoch, version and digest of what decides, and a challenger beside it."""

    def found() -> tuple[str, str]:
        said = {one["check"]: one for one in lines(tagstream("doctor", "--json", environ=rollout_environ).stdout)}
        epoch = said.get("rollout epoch", {"status": "OK", "detail": "no topic"})
        assert epoch["status"] == "OK"
        return str(said["bundle"]["detail"]), str(epoch["detail"])

    start_real(1)
    of_settings, epoch = found()
    assert epoch == "no topic"
    assert f"tiny {tiny_bundle.manifest.version}, digest {tiny_bundle.digest[:12]}" in of_settings
    promote("2")
    status = json.loads(tagstream("rollout", "status", "--json", environ=rollout_environ).stdout)
    digest = status["now"]["champion"]["digest"]
    assert digest != tiny_bundle.digest
    same, epoch = found()
    assert same == of_settings
    assert epoch.startswith(f"epoch 1: {tiny_bundle.manifest.name} 2, digest {digest[:12]} decides;")
    promote("3", "--share", "0.2", verb="canary")
    assert "digest" in (both := found()[1])
    assert both.startswith(
        f"epoch 2: {tiny_bundle.manifest.name} 2, digest {digest[:12]} and {tiny_bundle.manifest.name} 3, digest "
    )

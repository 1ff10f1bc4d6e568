"""A change of the model is seen: in the metrics of each worker, and in the answers of `tagstream serve`."""

import asyncio
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families

from tagstream.model_export.bundle.bundle import Bundle
from tagstream.monitoring.vocabulary import Arm, PlanState
from tagstream.stream.kafka.admin import admin
from tagstream.stream.rollout.change import store
from tagstream.stream.rollout.control import controlling
from tagstream.stream.settings.settings import Settings
from tests.integration.command_line import Command
from tests.integration.rollout.conftest import Producer, StartReal, altered, begin_group, judged
from tests.integration.running import RunningWorker
from tests.serving.running import NO_BROKER, Service, service
from tests.waiting import HANG_SECONDS, until

pytestmark = [pytest.mark.broker, pytest.mark.timeout(900), pytest.mark.slow]
EPOCH = "tagstream_rollout_epoch"


def test_the_metrics_of_two_workers_follow_a_change(
    start_real: StartReal, rollout_settings: Settings, promote: Callable[[str], bytes]
) -> None:
    """Neither follows one without the topic; then both show the new one, and count decisions by arm and the waits of their batches."""
    workers = [RunningWorker(start_real(number)) for number in range(2)]
    for worker in workers:
        assert worker.metric("tagstream_rollout_followed") == 0
        assert worker.metric("tagstream_rollout_hold_duration_seconds_count") == 0
    producer = Producer(rollout_settings, 100)
    promote("2")
    for worker in workers:
        worker.until_metric(EPOCH, lambda epoch: epoch == 1)
    for worker in workers:
        worker.until_metric("tagstream_rollout_decisions_total", lambda decisions: decisions > 0)
        assert worker.metric("tagstream_rollout_hold_duration_seconds_count") > 0
        worker.until_metric("tagstream_rollout_planned_epoch", lambda epoch: epoch == 0)
        assert worker.metric("tagstream_rollout_closing_epoch") == 0
        assert worker.metric("tagstream_rollout_refusals_total") == 0
    sent = producer.stop()
    found = judged(rollout_settings, sent)
    assert found.is_right, found
    counted = [worker.series("tagstream_rollout_decisions_total", "arm") for worker in workers]
    assert sum(arms[Arm.CHAMPION] for arms in counted) == found.by_epoch[1]
    assert sum(arms[arm] for arms in counted for arm in (Arm.CHALLENGER, Arm.FALLBACK)) == 0


def test_a_worker_that_refuses_counts_it_and_the_others_show_that_they_were_ready(
    start_real: StartReal, rollout_environ: dict[str, str], tagstream: Command, tiny_bundle: Bundle, tmp_path: Path
) -> None:
    """The count stays when the plan is gone."""
    ready, astray = (
        RunningWorker(start_real(number, **more))
        for number, more in enumerate([{}, {"TAGSTREAM_ROLLOUT__BUNDLES": str(tmp_path / "elsewhere")}])
    )
    refused = tagstream("rollout", "promote", str(altered(tiny_bundle, tmp_path, "2")), environ=rollout_environ)
    assert refused.returncode == 1
    astray.until_metric("tagstream_rollout_refusals_total", lambda plans: plans == 1)
    assert ready.metric("tagstream_rollout_refusals_total") == 0
    for worker in (ready, astray):
        worker.until_metric("tagstream_rollout_planned_epoch", lambda epoch: epoch == 0)
        assert (worker.metric(EPOCH), worker.metric("tagstream_rollout_followed")) == (0, 1)


class GoneError(Exception):
    """The controller is gone."""


async def close(settings: Settings, bundle: Path) -> None:
    """Plan an epoch, close the one before, and be gone."""

    async def gone(_: int) -> None:
        raise GoneError

    name = await asyncio.to_thread(store, settings, bundle)
    async with controlling(settings, by="test") as control:
        await control.controller.begin()
        control.controller._mark = gone  # type: ignore[method-assign]
        with pytest.raises(GoneError):
            await control.controller.change(name)


def test_events_that_are_held_are_seen_while_an_epoch_is_closing(
    start_real: StartReal,
    rollout_settings: Settings,
    rollout_environ: dict[str, str],
    promote: Callable[[str], bytes],
    tagstream: Command,
    tiny_bundle: Bundle,
    tmp_path: Path,
) -> None:
    """A controller is gone after the close; the worker says which epoch, how many events and for how long, until another one marks it."""
    worker = RunningWorker(start_real(0, TAGSTREAM_ROLLOUT__HOLD_SECONDS=str(HANG_SECONDS)))
    promote("2")
    asyncio.run(close(rollout_settings, altered(tiny_bundle, tmp_path, "3")))
    producer = Producer(rollout_settings, 50)
    worker.until_metric("tagstream_rollout_closing_epoch", lambda epoch: epoch == 2)
    worker.until_metric("tagstream_rollout_held_events", lambda events: events > 0)
    worker.until_metric("tagstream_rollout_held_seconds", lambda seconds: seconds > 1)
    assert worker.series("tagstream_rollout_planned_epoch", "state") == {
        PlanState.LOADING: 0,
        PlanState.READY: 2,
        PlanState.REFUSED: 0,
    }
    # The worker itself may be at it, and its marks end a command that came between.
    until(lambda: tagstream("rollout", "rollback", environ=rollout_environ).returncode == 0, "the model before decides again")
    worker.until_metric("tagstream_rollout_held_events", lambda events: events == 0)
    worker.until_metric("tagstream_rollout_closing_epoch", lambda epoch: epoch == 0)
    judged(rollout_settings, producer.stop())


def asked(running: Service, **event: str) -> dict[str, Any]:
    """The answer to one event."""
    found = httpx.post(f"{running.url}/classify", json={"title": "Detecting objects", **event}, timeout=HANG_SECONDS)
    assert found.status_code == 200, found.text
    answer: dict[str, Any] = found.json()
    return answer


def epoch_of(running: Service) -> str | None:
    """The epoch that an answer names."""
    found: str | None = asked(running, id="e")["model"].get("epoch")
    return found


def test_serve_decides_by_the_newest_epoch(
    start_real: StartReal,
    rollout_environ: dict[str, str],
    promote: Callable[[str], bytes],
    tagstream: Command,
    tiny_bundle: Bundle,
    tmp_path: Path,
) -> None:
    """It follows the topic while it runs, and reads it before its first answer; a second model decides its share of the ids, everywhere the same."""
    start_real(0)
    with service(tmp_path, **rollout_environ) as running:
        assert epoch_of(running) is None
        assert served_epoch(running) == 0
        promote("2")
        until(lambda: epoch_of(running) == "1", "an answer names the first epoch", state=running.log)
        assert asked(running, id="e")["model"] == asked(running, id="other")["model"]
        assert (asked(running)["model"]["version"], asked(running)["model"]["arm"]) == ("2", "champion")
        promote("3")
        until(lambda: epoch_of(running) == "2", "an answer names the second epoch", state=running.log)
        assert served_epoch(running) == 2
        assert httpx.get(f"{running.url}/readyz").text == "ready\n"
        canary = str(altered(tiny_bundle, tmp_path, "4"))
        begun = tagstream("rollout", "canary", canary, "--share", "0.5", environ=rollout_environ)
        assert begun.returncode == 0, begun.stderr.decode()
        until(lambda: epoch_of(running) == "3", "an answer names the third epoch", state=running.log)
        models = [asked(running, id=str(number))["model"] for number in range(20)]
        assert {(model["arm"], model["version"]) for model in models} == {("champion", "3"), ("challenger", "4")}
    (tmp_path / "later").mkdir()
    with service(tmp_path / "later", **rollout_environ) as later:
        assert [asked(later, id=str(number))["model"] for number in range(20)] == models


def test_serve_publishes_events_for_a_worker_to_decide(
    start_real: StartReal,
    rollout_settings: Settings,
    rollout_environ: dict[str, str],
    promote: Callable[[str], bytes],
    tmp_path: Path,
) -> None:
    """The worker's decision names the epoch of its place in the log, as the answer does."""
    start_real(0)
    promote("2")
    with service(tmp_path, **rollout_environ) as running:
        answer = httpx.post(f"{running.url}/classify?publish=true", json={"id": "e", "title": "A walk"}, timeout=HANG_SECONDS)
        assert answer.status_code == 200, answer.text
        assert answer.json()["model"]["epoch"] == "1"
    found = judged(rollout_settings, 1)
    assert found.is_right, found
    assert set(found.by_epoch) == {1}


def test_serve_without_brokers_decides_by_its_bundle_and_says_so(
    rollout_environ: dict[str, str], rollout_settings: Settings, promote: Callable[..., bytes], tmp_path: Path
) -> None:
    """Whether there is a rollout is unknown to it, which is no reason to refuse requests."""
    with admin(rollout_settings) as client:
        begin_group(rollout_settings, client)
    promote("2", "--without-workers")
    with service(tmp_path, **rollout_environ | {"TAGSTREAM_BROKERS": NO_BROKER}) as running:
        assert epoch_of(running) is None
        found = httpx.get(f"{running.url}/readyz")
        assert (found.status_code, found.text) == (
            200,
            "ready\nit is not known whether the model was changed; tiny 1 decides\n",
        )
        assert "rollout_unknown" in running.log()
        running.process.send_signal(signal.SIGTERM)
        assert running.ended() == 0


def test_serve_goes_on_by_the_model_that_it_has_where_the_next_one_cannot_be_had(
    start_real: StartReal, rollout_environ: dict[str, str], promote: Callable[[str], bytes], tmp_path: Path
) -> None:
    """Its place of bundles is another one than the workers': no request fails, and the log has the reason."""
    start_real(0)
    promote("2")
    with service(tmp_path, **rollout_environ | {"TAGSTREAM_ROLLOUT__BUNDLES": str(tmp_path / "elsewhere")}) as running:
        assert epoch_of(running) is None
        assert "it is not known" in httpx.get(f"{running.url}/readyz").text
        assert "there is no such folder" in running.log()


def served_epoch(running: Service) -> float:
    """The epoch in the service's metrics."""
    families = text_string_to_metric_families(httpx.get(f"{running.url}/metrics").text)
    return next(sample.value for family in families for sample in family.samples if sample.name == "tagstream_http_epoch")

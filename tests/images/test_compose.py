"""`docker-compose.yml` as it runs: its services, the rights of its containers, and how they end."""

import json
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import httpx
import msgspec
import pytest

from tagstream.stream.contract.answers import OFF_SUBJECT
from tagstream.stream.contract.event import Record
from tagstream.stream.kafka.reading import tail
from tagstream.stream.settings.settings import Settings
from tests.images.engine import Engine
from tests.images.stack import BUNDLE, Stack
from tests.integration.holes.console_process import SHOWN
from tests.waiting import HANG_SECONDS, until

# The image and its bases are made within the first test's time.
pytestmark = [pytest.mark.images, pytest.mark.timeout(4 * 3600)]

SHIPPED = ("kafka", "worker", "prometheus", "producer", "postgres", "review", "serve", "controller", "shadow")

# The event that the service is asked to publish.
PUBLISHED_ID = "asked-and-published"


def records(
    running: Stack,
    topic: str,
    *,
    least: int,
    enough: Callable[[list[Record]], bool] = lambda _: True,
    seconds: float = HANG_SECONDS,
) -> list[Record]:
    """Some records of a topic, asked for from outside, through the port on this machine: so many, and until they are enough."""
    settings = Settings.model_validate({"brokers": f"127.0.0.1:{running.kafka_port}"})
    found: list[Record] = []
    deadline = time.monotonic() + seconds
    for batch in tail.read(settings, [topic], from_beginning=True):
        found += batch
        if (len(found) >= least and enough(found)) or time.monotonic() > deadline:
            return found
    return found


def status(running: Stack, container: str) -> dict[str, str]:
    """The kernel's status of a container's first process."""
    lines = running.engine.run("exec", container, "cat", "/proc/1/status").splitlines()
    return {name: value.strip() for name, _, value in (line.partition(":") for line in lines)}


def scraped(running: Stack, job: str = "tagstream") -> list[str]:
    """The addresses of the job's processes that Prometheus has scraped well."""
    targets = running.prometheus("targets")["activeTargets"]
    return [target["labels"]["instance"] for target in targets if target["health"] == "up" and target["labels"]["job"] == job]


def published(running: Stack) -> dict[str, float]:
    """Outcomes by worker, as Prometheus has them."""
    answer = running.prometheus("query", query="sum by (instance) (tagstream_events_published_total)")
    return {series["metric"]["instance"]: float(series["value"][1]) for series in answer["result"]}


def test_one_command_classifies_with_no_network_and_no_rights(container_engine: Engine, image: str) -> None:
    """The bundle is in the image, and nothing is fetched or written."""
    words = ("run", "--rm", "--network", "none", "--read-only", "--cap-drop", "ALL", "--security-opt", "no-new-privileges")
    line = container_engine.run(*words, image, "classify", "--json", "Pruning a vision transformer for phones")
    assert json.loads(line)["tag"] in {"computer-vision", "mlops", "natural-language-processing", "other"}


def test_events_come_out_tagged_or_for_a_person(running: Stack) -> None:
    """The producer's events leave with a decision of the bundle in the image."""
    decisions = [msgspec.json.decode(record.value or b"") for record in records(running, "tagged", least=5)]
    assert len(decisions) >= 5
    assert all(decision["decider"] == "model" and decision["model"]["digest"] for decision in decisions)


def test_the_healthy_producer_sends_no_dead_letters(running: Stack) -> None:
    """A page for dead letters must not come from the samples."""
    assert records(running, "content", least=50)
    assert records(running, "content.dlq", least=1, seconds=3.0) == []


def test_prometheus_scrapes_both_workers_and_both_work(running: Stack) -> None:
    """Found by the service's name, each by its own address."""
    until(lambda: len(scraped(running)) == 2, "Prometheus scrapes two workers", state=lambda: running.prometheus("targets"))
    until(
        lambda: len(published(running)) == 2 and all(published(running).values()),
        "both workers have published outcomes",
        state=lambda: published(running),
    )


@pytest.mark.parametrize("service", ["serve", "review", "controller", "shadow"])
def test_prometheus_scrapes_what_stands_beside_the_workers(running: Stack, service: str) -> None:
    """By the service's name."""
    until(
        lambda: len(scraped(running, f"tagstream-{service}")) == 1,
        f"Prometheus scrapes {service}",
        state=lambda: running.prometheus("targets"),
    )


def test_prometheus_loads_all_rules(running: Stack) -> None:
    """The recording rules and alerts of this tree, none with an error."""
    until(
        lambda: all(rule["health"] == "ok" for rule in rules(running)),
        "every rule is evaluated without an error",
        state=lambda: list(rules(running)),
    )
    assert {rule["type"] for rule in rules(running)} == {"alerting", "recording"}


def rules(running: Stack) -> Iterator[dict[str, str]]:
    """Every rule that Prometheus has, in any state."""
    for group in running.prometheus("rules")["groups"]:
        yield from group["rules"]


@pytest.mark.parametrize("service", SHIPPED)
def test_no_container_is_root_or_can_become_it(running: Stack, service: str) -> None:
    """A user above 0, no capability, none to be gained, and a bound on memory and processes."""
    for container in running.containers(service):
        found = status(running, container)
        assert all(int(uid) > 0 for uid in found["Uid"].split())
        assert {int(found[name], 16) for name in ("CapEff", "CapPrm", "CapBnd")} == {0}
        assert found["NoNewPrivs"] == "1"
        assert int(running.inspect(container, "{{.HostConfig.Memory}}")) > 0
        assert int(running.inspect(container, "{{.HostConfig.PidsLimit}}")) > 0


# Postgres' socket lies in its image's own folder; docker-compose.yml says why.
READ_ONLY = tuple(service for service in SHIPPED if service != "postgres")


@pytest.mark.parametrize("service", READ_ONLY)
def test_every_root_file_system_is_read_only(running: Stack, service: str) -> None:
    """As mounted, not as asked for."""
    for container in running.containers(service):
        mounts = [line.split() for line in running.engine.run("exec", container, "cat", "/proc/1/mounts").splitlines()]
        assert "ro" in next(options for _, point, _, options, *_ in mounts if point == "/").split(",")


def test_a_worker_can_write_nowhere(running: Stack) -> None:
    """Not where it lives, and not where a program is configured. A mount that the engine makes as tmpfs by itself is gone with it."""
    program = """
import os
def writable(folder):
    try:
        open(os.path.join(folder, "probe"), "w").close()
        return True
    except OSError:
        return False
print([folder for folder in ("/", "/opt/tagstream", "/etc", "/var/lib") if writable(folder)])
"""
    for worker in running.containers("worker"):
        assert running.python(worker, program) == "[]"


def test_every_port_on_this_machine_is_on_loopback(running: Stack) -> None:
    """Grafana's too, which does not run here."""
    services = json.loads(running.compose("config", "--format", "json"))["services"]
    ports = [port for service in services.values() for port in service.get("ports", ())]
    assert len(ports) == 5
    assert {port["host_ip"] for port in ports} == {"127.0.0.1"}
    assert not any("ports" in services[name] for name in ("worker", "postgres", "controller", "shadow"))


def test_every_service_that_stays_has_a_health_check_and_a_pinned_image(running: Stack) -> None:
    """`worker` has its image's own check."""
    services = json.loads(running.compose("config", "--format", "json"))["services"]
    assert set(services) == {*SHIPPED, "topics", "grafana"}
    assert {name for name, service in services.items() if "test" in service.get("healthcheck", {})} == {
        *SHIPPED,
        "grafana",
    } - {"worker"}
    assert all(":" in service["image"] and not service["image"].endswith(":latest") for service in services.values())
    assert all(
        service.get("read_only", False) == (name != "postgres") and service["cap_drop"] == ["ALL"] and service["mem_limit"]
        for name, service in services.items()
    )


@pytest.mark.parametrize("service", SHIPPED)
def test_everything_gets_healthy(running: Stack, service: str) -> None:
    """By each container's own check."""
    template = "{{.State.Health.Status}}" if running.engine.program == "docker" else "{{.State.Healthcheck.Status}}"
    for container in running.containers(service):
        until(
            lambda name=container: running.inspect(name, template) == "healthy",
            f"{container} is healthy",
            state=lambda: running.log(service),
        )


def test_an_answer_in_the_console_reaches_tagged(running: Stack) -> None:
    """A person answers on the published port; the worker publishes the decision, and Postgres has the answer."""
    same = {"Sec-Fetch-Site": "same-origin"}
    with httpx.Client(base_url=f"http://127.0.0.1:{running.review_port}", headers=same, timeout=HANG_SECONDS) as browser:
        shown = until(lambda: SHOWN.search(browser.get("/").text), "an item waits", state=lambda: running.log("review"))
        assert shown is not None
        event_id, token = shown.groups()
        answer = browser.post("/answer", data={"event": event_id, "token": token, "tag": OFF_SUBJECT})
    assert answer.status_code == httpx.codes.SEE_OTHER

    def decisions() -> list[dict[str, str]]:
        found = [msgspec.json.decode(record.value or b"") for record in records(running, "tagged", least=10**6, seconds=5.0)]
        return [decision for decision in found if decision["decider"] == "reviewer" and decision["id"] == event_id]

    (decision,) = until(decisions, "the answer is in tagged", state=lambda: running.log("review"))
    assert decision["tag"] == OFF_SUBJECT
    (postgres,) = running.containers("postgres")
    kept = running.engine.run(
        "exec",
        postgres,
        "psql",
        "--username",
        "tagstream",
        "--tuples-only",
        "--no-align",
        "--command",
        "select count(*) from review_answers",
    )
    assert int(kept) >= 1


def test_serve_answers_as_the_command_does(running: Stack) -> None:
    """The same bytes before the time, asked for on the port of this machine."""
    title = "Pruning a vision transformer for phones"
    answer = asked(running, {"id": "asked-1", "title": title})
    (serve,) = running.containers("serve")
    program = f"""
import subprocess
event = {json.dumps({"id": "asked-1", "title": title})!r}
print(subprocess.run(["tagstream", "classify", "--json", "-"], input=event, capture_output=True, text=True, check=True).stdout)
"""
    said = running.python(serve, program).strip().encode()
    assert answer.split(b',"tagged_at"')[0] == said.split(b',"tagged_at"')[0]


def test_an_event_that_serve_publishes_is_decided_by_a_worker(running: Stack) -> None:
    """It is on `tagged` or `review`, as if a producer had sent it."""
    asked(running, {"id": PUBLISHED_ID, "title": "Feature stores in production"}, "?publish=true")

    def outcomes() -> list[dict[str, str]]:
        found = [record for topic in ("tagged", "review") for record in records(running, topic, least=10**6, seconds=5.0)]
        decisions = [msgspec.json.decode(record.value or b"") for record in found]
        return [decision for decision in decisions if decision["id"] == PUBLISHED_ID]

    assert until(outcomes, "the event has an outcome", state=lambda: running.log("serve"))


def asked(running: Stack, event: dict[str, str], query: str = "") -> bytes:
    """The answer of `serve` to one event."""
    answer = httpx.post(f"http://127.0.0.1:{running.serve_port}/classify{query}", json=event, timeout=HANG_SECONDS)
    return answer.raise_for_status().content


def test_a_bundle_that_is_stored_in_the_controller_is_found_by_the_others(running: Stack) -> None:
    """`rollout store` in its container puts it where a worker reads, and where none of the others may write."""
    (controller,) = running.containers("controller")
    running.engine.run("exec", controller, "tagstream", "rollout", "store", BUNDLE)
    program = """
import os, pathlib
place = pathlib.Path(os.environ["TAGSTREAM_ROLLOUT__BUNDLES"])
print([(path / "bundle.json").is_file() for path in place.iterdir()], os.access(place, os.W_OK))
"""
    for service in ("worker", "serve", "shadow"):
        for container in running.containers(service):
            assert running.python(container, program).strip() == "[True] False"


def test_the_password_of_postgres_is_in_no_environment(running: Stack) -> None:
    """Neither container has it in what an inspection shows."""
    password = Path(running.environ["REVIEW_PASSWORD_FILE"]).read_text(encoding="utf-8")
    for service in ("postgres", "review"):
        for container in running.containers(service):
            assert password not in running.engine.run("inspect", "--type", "container", container)


def test_the_producer_drifts_on_command(running: Stack) -> None:
    """One command, and the events to come have no description."""
    before = len(records(running, "content", least=50))
    running.compose("up", "--detach", "--no-build", "--no-deps", "producer", DRIFT="no-description")
    until(
        lambda: "they drift (no-description)" in running.log("producer"),
        "the producer says that it drifts",
        state=lambda: running.log("producer"),
    )
    # The first run may have written any number of events before it ended.
    found = records(running, "content", least=before, enough=lambda found: len(runs_of(found)) > 1)
    first, second = runs_of(found).values()
    assert any("description" in event for event in first)
    assert not any("description" in event for event in second)


def runs_of(found: Iterable[Record]) -> dict[str, list[dict[str, str]]]:
    """The producer's events by the ending of their ids, which is that of a run; the first run comes first."""
    runs: dict[str, list[dict[str, str]]] = {}
    for event in (msgspec.json.decode(record.value or b"") for record in found):
        # The service's event is no event of the producer.
        if event["id"] != PUBLISHED_ID:
            runs.setdefault(event["id"].rsplit("-", 1)[-1], []).append(event)
    return runs


def test_nothing_must_be_killed_when_it_is_stopped(running: Stack) -> None:
    """SIGTERM reaches each process itself: all but the workers end with 0, a worker too, or with 1 at its own bound.

    A worker whose group forms anew while it stops can wait for a coordinator until that bound; see docs/kubernetes.md.
    """
    ending_well = ("producer", "review", "serve", "controller", "shadow")
    running.compose("stop", "worker", *ending_well)
    for service in ending_well:
        (container,) = running.containers(service)
        assert ending(running, container) == ("exited", 0), service
    workers = running.containers("worker")
    assert len(workers) == 2
    assert all(ending(running, worker) in {("exited", 0), ("exited", 1)} for worker in workers)


def ending(running: Stack, container: str) -> tuple[str, int]:
    """How a container stands, and the exit code of its process."""
    return running.inspect(container, "{{.State.Status}}"), int(running.inspect(container, "{{.State.ExitCode}}"))

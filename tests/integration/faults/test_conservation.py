"""Promise 1 on Apache Kafka: every event leaves by exactly one door, whatever happens to the workers."""

from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from stream.broker import Broker
from stream.broker.processes import Processes
from stream.kafka import admin
from stream.settings.loading import load
from tests.faults.cluster.brokers import StruckCluster
from tests.faults.cluster.topics import fault_environment
from tests.faults.faults import ANSWERED_BY_EXIT, Fault
from tests.faults.fleet import ROOT
from tests.faults.harness import run
from tests.faults.inputs import plant
from tests.faults.plan import Plan
from tests.faults.report import Report

pytestmark = [
    pytest.mark.broker,
    pytest.mark.timeout(400),
]

MALFORMED_SHARE = 0.01
MOST_DUPLICATES = 0.02
STOP_SECONDS = 10.0
# On one broker, to workers with the real model: whatever can happen inside of them and to them.
OF_WORKERS = (
    Fault.JOIN,
    Fault.EXCEPTION,
    Fault.LEAVE,
    Fault.KILL,
    Fault.TERM,
    Fault.PRODUCE_FAILURE,
    Fault.KILL_AMONG_SENDS,
    Fault.ABORT,
    Fault.TERM_TWICE,
    Fault.KILL_BEFORE_DECIDING,
    Fault.OUT_OF_MEMORY,
    Fault.SHORT_FREEZE,
    Fault.KILL_BEFORE_SENDING,
    Fault.MODEL_FAILS_ONCE,
    Fault.PRODUCE_REFUSED,
    Fault.KILL_ALL,
    Fault.TERM,
    Fault.EXCEPTION,
    Fault.KILL_BEFORE_COMMITTING,
    Fault.KILL_BEFORE_ACKNOWLEDGING,
)
# On three brokers behind a network, to workers with the stub: what happens around them too.
OF_ALL = (
    Fault.KILL,
    Fault.BROKER_KILL,
    Fault.PARTITIONS,
    Fault.RESET,
    Fault.HANG,
    Fault.COORDINATOR_KILL,
    Fault.SILENT,
    Fault.TERM_TOGETHER,
    Fault.FREEZE,
    Fault.DISK_FULL,
    Fault.BLOCKED_LOOP,
    Fault.CUT,
    Fault.EXCEPTION,
    Fault.OUTAGE,
    Fault.TERM,
    Fault.BROKER_FREEZE,
    Fault.DEAF,
    Fault.KILL_AMONG_SENDS,
    Fault.SLOW_MODEL,
    Fault.BROKER_STOP,
)


@pytest.fixture(scope="module")
def reports(kafka: Broker, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Report]:
    """Both runs, at the same time: they mostly wait."""

    def with_the_model() -> Report:
        environ = fault_environment(kafka.bootstrap, "conservation-model")
        return fault_run("bundle", OF_WORKERS, 20_000, environ, tmp_path_factory.mktemp("model"), None)

    def with_the_stub() -> Report:
        with StruckCluster() as cluster:
            environ = fault_environment(cluster.proxied, "conservation-stub", replication=cluster.nodes)
            return fault_run("stub", OF_ALL, 40_000, environ, tmp_path_factory.mktemp("stub"), cluster)

    with ThreadPoolExecutor(2) as executor:
        running = {"bundle": executor.submit(with_the_model), "stub": executor.submit(with_the_stub)}
        return {name: future.result() for name, future in running.items()}


def fault_run(
    model: str, faults: tuple[Fault, ...], events: int, environ: dict[str, str], folder: Path, cluster: StruckCluster | None
) -> Report:
    """Two workers, so many events, these faults. What is in hand when a worker dies is done twice: batches are small."""
    environ = environ | {"TAGSTREAM_BATCH_MAX_EVENTS": "16"}
    past_the_network = {"TAGSTREAM_BROKERS": cluster.bootstrap} if cluster else {}
    admin.create(load(environ | past_the_network, folder=ROOT).settings)
    plan = Plan(
        model=model, seconds_per_batch=0.5, faults=faults, max_seconds=600.0, patience_seconds=60.0, seed="conservation"
    )
    planted = plant(events, malformed=int(events * MALFORMED_SHARE), seed=f"conservation-{model}")
    with Processes(grace_seconds=0) as processes:
        return run(plan, planted, environ=environ, folder=folder, processes=processes, cluster=cluster)


@pytest.mark.timeout(900)
@pytest.mark.parametrize(("model", "faults"), [("bundle", OF_WORKERS), ("stub", OF_ALL)], ids=["bundle", "stub"])
def test_no_event_is_lost_under_faults(
    model: str, faults: tuple[Fault, ...], reports: dict[str, Report], publish_report: Callable[[object], None]
) -> None:
    """The union of the three topics is exactly the input, no decision differs, and no commit runs ahead, through every fault."""
    report = reports[model]
    publish_report(report)

    assert report.verdict.broken == [], str(report)
    assert report.idle_faults == 0
    assert report.faults == Counter(faults), str(report)
    assert report.self_exits >= sum(fault in ANSWERED_BY_EXIT for fault in faults)
    assert report.verdict.duplicates <= MOST_DUPLICATES * report.inputs, str(report)


def test_a_stop_that_was_asked_for_comes_in_time(reports: dict[str, Report]) -> None:
    """SIGTERM, once, twice, or to two workers at once, under load: exit 0 within ten seconds."""
    report = reports["bundle"]

    assert report.stops, str(report)
    for stop in report.stops:
        assert stop.code == 0, str(report)
        assert stop.asked_seconds is not None
        assert stop.asked_seconds < STOP_SECONDS, str(report)

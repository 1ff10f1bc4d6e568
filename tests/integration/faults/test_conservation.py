"""Promise 1 on Apache Kafka: every event has exactly one outcome, through every fault of workers, network and brokers.

A few faults of workers are part of `make test`, a few of network and brokers of `make test-rest`; `make faults` has all of them.
"""

from collections import Counter
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass

import pytest

from tagstream.stream.broker import Broker
from tagstream.stream.broker.processes import Processes
from tagstream.stream.settings.loading import load
from tests.faults.answers.planned import answers_to
from tests.faults.cluster.brokers import StruckCluster
from tests.faults.cluster.topics import fault_environment, make_topics
from tests.faults.faults import ANSWERED_BY_EXIT, Fault
from tests.faults.harness import run
from tests.faults.plan import Plan
from tests.faults.report import Report
from tests.faults.stranger import Stranger, mingled
from tests.faults.upstream.variety import varied
from tests.faults.worker.fleet import ROOT
from tests.waiting import HANG_SECONDS

pytestmark = pytest.mark.broker

MALFORMED_SHARE = 0.01
# A bound against a worker that repeats all; how many events are in hand at a fault depends on the machine. 0.03 was seen.
MOST_DUPLICATES = 0.3
# On one broker, to workers with the real model: faults inside the workers and of their processes.
FEW_OF_WORKERS = (
    Fault.EXCEPTION,
    Fault.KILL,
    Fault.TERM,
    Fault.KILL_AMONG_SENDS,
    Fault.KILL_BEFORE_COMMITTING,
)
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
# On brokers behind a network, to workers with the stub: faults around them too.
FEW_OF_ALL = (
    Fault.CUT,
    Fault.PARTITIONS,
    Fault.OUTAGE,
    Fault.FREEZE,
)
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


@dataclass(frozen=True, slots=True, kw_only=True)
class Matrix:
    """
    A model, the faults of its workers, and the numbers of events, of answers and of a stranger's records among these.

    `nodes`: brokers of its own; 0 is the shared one.
    """

    model: str
    faults: tuple[Fault, ...]
    events: int
    answers: int
    stranger: int
    nodes: int = 0


WITH_THE_MODEL = (
    pytest.param(Matrix(model="bundle", faults=FEW_OF_WORKERS, events=10_000, answers=1_000, stranger=11), id="bundle-few"),
    pytest.param(
        Matrix(model="bundle", faults=OF_WORKERS, events=20_000, answers=2_000, stranger=55),
        id="bundle",
        marks=pytest.mark.faults,
    ),
)
WITH_THE_STUB = (
    pytest.param(
        Matrix(model="stub", faults=FEW_OF_ALL, events=10_000, answers=1_000, stranger=11, nodes=1),
        id="stub-few",
        marks=pytest.mark.slow,
    ),
    pytest.param(
        Matrix(model="stub", faults=OF_ALL, events=40_000, answers=10_000, stranger=110, nodes=3),
        id="stub",
        marks=pytest.mark.faults,
    ),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Done:
    """A finished run."""

    matrix: Matrix
    report: Report


@pytest.fixture(scope="module")
def done(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Done:
    """Two workers under the faults of one matrix, with small batches, since events in hand at a death are decided twice."""
    matrix: Matrix = request.param
    name = f"conservation-{matrix.model}"
    with ExitStack() as stack:
        cluster = stack.enter_context(StruckCluster(nodes=matrix.nodes)) if matrix.nodes else None
        kafka: Broker | None = None if cluster else request.getfixturevalue("kafka")
        bootstrap = cluster.bootstrap if cluster else kafka.bootstrap  # type: ignore[union-attr]
        environ = {
            **fault_environment(cluster.proxied if cluster else bootstrap, name, replication=max(1, matrix.nodes)),
            "TAGSTREAM_BATCH_MAX_EVENTS": "16",
        }
        settings = load(environ | {"TAGSTREAM_BROKERS": bootstrap}, folder=ROOT).settings
        make_topics(settings)
        plan = Plan(
            model=matrix.model,
            seconds_per_batch=0.5,
            faults=matrix.faults,
            max_seconds=3 * HANG_SECONDS,
            patience_seconds=HANG_SECONDS,
            seed="conservation",
        )
        planted = varied(matrix.events, malformed=int(matrix.events * MALFORMED_SHARE), seed=name)
        processes = stack.enter_context(Processes(grace_seconds=0))
        stranger = Stranger(settings, name).answers(matrix.stranger)
        answers = mingled(answers_to(planted, matrix.answers, settings=settings, seed=name), stranger, seed=name)
        folder = tmp_path_factory.mktemp(name)
        report = run(plan, planted, environ=environ, folder=folder, processes=processes, cluster=cluster, answers=answers)
        return Done(matrix=matrix, report=report)


@pytest.mark.parametrize("done", WITH_THE_MODEL + WITH_THE_STUB, indirect=True)
def test_no_event_is_lost_under_faults(done: Done, publish_report: Callable[[object], None]) -> None:
    """Every invariant holds through every fault: each event has an outcome, no decision differs, no commit runs ahead."""
    report, faults = done.report, done.matrix.faults
    publish_report(report)

    assert report.verdict.broken == [], str(report)
    assert report.idle_faults == 0
    assert report.faults == Counter(faults), str(report)
    assert report.never_recovered == (), str(report)
    assert report.self_exits >= sum(fault in ANSWERED_BY_EXIT for fault in faults)
    assert report.verdict.duplicates <= MOST_DUPLICATES * report.inputs, str(report)


@pytest.mark.parametrize("done", WITH_THE_MODEL, indirect=True)
def test_a_requested_stop_is_orderly(done: Done) -> None:
    """A worker under load answers SIGTERM, once, twice, or to two workers at once, with exit code 0."""
    report = done.report

    assert report.stops, str(report)
    for stop in report.stops:
        assert stop.code == 0, str(report)


@pytest.mark.parametrize("done", WITH_THE_MODEL, indirect=True)
def test_the_drift_watch_is_part_of_it(done: Done) -> None:
    """The workers watch for drift during the faults: the titles change back and forth, and findings are published."""
    assert done.report.drift_findings > 0, str(done.report)

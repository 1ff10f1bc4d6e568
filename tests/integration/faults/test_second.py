"""A second model is asked while workers, its process, its endpoint and a broker are struck: the workers' outcomes stay what they are without it."""

from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from tagstream.stream.broker.processes import Processes
from tagstream.stream.settings.loading import load
from tests.faults.answers.planned import certifying
from tests.faults.cluster.brokers import StruckCluster
from tests.faults.cluster.topics import fault_environment, make_topics
from tests.faults.faults import Fault
from tests.faults.harness import run
from tests.faults.inputs import plant
from tests.faults.plan import Plan
from tests.faults.report import Report
from tests.faults.second.seconding import LABEL
from tests.faults.worker.fleet import ROOT
from tests.waiting import HANG_SECONDS

pytestmark = pytest.mark.broker

MALFORMED_SHARE = 0.01
# Nothing strikes when less than a few batches wait, and workers go on while a struck process begins again: three times the events that a
# quiet machine takes until the last strike. What is left then is hurried.
EVENTS = 8_000
# People answer so many of the items; the others are there to be settled.
ANSWERED_SHARE = 0.4
FEW = (Fault.SECOND_KILL, Fault.BROKER_KILL, Fault.KILL, Fault.SECOND_FREEZE)
ALL = (
    Fault.SECOND_KILL,
    Fault.KILL,
    Fault.BROKER_KILL,
    Fault.SECOND_FREEZE,
    Fault.KILL_AMONG_SENDS,
    Fault.ENDPOINT_DOWN,
    Fault.SECOND_KILL,
    Fault.RESET,
    Fault.KILL_BEFORE_COMMITTING,
    Fault.SECOND_KILL,
    Fault.COORDINATOR_KILL,
    Fault.SECOND_FREEZE,
)


def seconded(
    folder: Path, second: Sequence[str], faults: Sequence[Fault], *, events: int, nodes: int, seed: str = "second"
) -> Report:
    """Two workers and the process of a second model, on brokers of their own."""
    with StruckCluster(nodes=nodes) as cluster, Processes(grace_seconds=0) as processes:
        environ = {
            **fault_environment(cluster.proxied, "second", replication=nodes),
            "TAGSTREAM_BATCH_MAX_EVENTS": "16",
        }
        settings = load({**environ, "TAGSTREAM_BROKERS": cluster.bootstrap}, folder=ROOT).settings
        make_topics(settings)
        plan = Plan(
            seconds_per_batch=0.7,
            faults=faults,
            max_seconds=3 * HANG_SECONDS,
            patience_seconds=HANG_SECONDS,
            seed=seed,
            second=second,
        )
        planted = plant(events, malformed=int(events * MALFORMED_SHARE), seed=seed)
        answers = certifying(planted, ANSWERED_SHARE, LABEL, settings=settings, seed=seed)
        return run(plan, planted, environ=environ, folder=folder, processes=processes, cluster=cluster, answers=answers)


@pytest.mark.parametrize(
    ("faults", "events", "nodes"),
    [
        pytest.param(FEW, EVENTS, 1, id="few"),
        pytest.param(ALL, 20_000, 3, id="all", marks=pytest.mark.long),
    ],
)
def test_a_second_model_changes_no_outcome_of_a_worker_under_faults(
    faults: tuple[Fault, ...], events: int, nodes: int, tmp_path: Path, publish_report: Callable[[object], None]
) -> None:
    """No event is lost, each item has one opinion, each that settles one decision, and outcomes are as decided offline."""
    report = seconded(tmp_path, ["tests.faults.second.struck"], faults, events=events, nodes=nodes)
    publish_report(report)
    assert report.verdict.broken == [], str(report)
    assert report.verdict["I13"].holds
    assert report.faults == Counter(faults), str(report)
    assert report.never_recovered == (), str(report)


@pytest.mark.slow
def test_a_second_model_that_acts_first_is_caught(tmp_path: Path, publish_report: Callable[[object], None]) -> None:
    """The same harness sees decisions without opinions, and a fault of the second model's process is no fault of a worker."""
    report = seconded(
        tmp_path, ["tests.faults.second.bad", "acts-first"], (Fault.SECOND_KILL,) * 3, events=EVENTS, nodes=1, seed="acts-first"
    )
    publish_report(report)
    assert report.faults == Counter({Fault.SECOND_KILL: 3}), str(report)
    assert report.verdict.broken == ["I13"], str(report)

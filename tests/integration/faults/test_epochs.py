"""The model of three workers is changed while they, brokers and controllers are struck: each event's place says which one decided it."""

from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import pytest

from tagstream.stream.broker import Broker
from tagstream.stream.broker.processes import Processes
from tagstream.stream.settings.loading import load
from tests.faults.__main__ import in_turn, is_good
from tests.faults.cluster.brokers import StruckCluster
from tests.faults.cluster.topics import fault_environment, make_topics
from tests.faults.epochs.changing import Changed, with_bundles
from tests.faults.faults import OF_EPOCHS, Fault
from tests.faults.harness import run
from tests.faults.inputs import plant
from tests.faults.plan import Plan
from tests.faults.report import Report
from tests.faults.worker.fleet import ROOT
from tests.waiting import HANG_SECONDS

pytestmark = [pytest.mark.broker, pytest.mark.timeout(3600)]
EVENTS = 600
# The chance of a fault in the protocol to be seen depends on what is sent at a change: hence several runs with seeds of their own.
RUNS = 4
# On one broker, to two workers; and on brokers behind a network, to three.
FEW = (
    Fault.CONTROLLER_KILL,
    Fault.KILL_AMONG_SENDS,
    Fault.CONTROLLER_FREEZE,
    Fault.CONTROLLER_INTERRUPT,
    Fault.KILL_ALL,
    Fault.BUNDLE_HANGS,
)
ALL = tuple(in_turn(OF_EPOCHS, len(OF_EPOCHS), seed="epochs"))


def changes(environ: dict[str, str], bootstrap: str, folder: Path, plan: Plan, cluster: StruckCluster | None = None) -> Report:
    """A run that changes the model."""
    folder.mkdir(exist_ok=True)
    environ |= with_bundles(folder)
    make_topics(load({**environ, "TAGSTREAM_BROKERS": bootstrap}, folder=ROOT).settings)
    planted = plant(EVENTS, malformed=0, seed=plan.seed)
    with Processes(grace_seconds=0) as processes:
        return run(plan, planted, environ=environ, folder=folder, processes=processes, cluster=cluster)


@pytest.mark.parametrize(
    ("faults", "epochs", "nodes"),
    [
        pytest.param(FEW, 4, 0, id="few", marks=pytest.mark.faults),
        pytest.param(ALL, 8, 3, id="all", marks=pytest.mark.long),
    ],
)
def test_each_event_has_the_model_of_its_place_under_faults(
    faults: tuple[Fault, ...],
    epochs: int,
    nodes: int,
    tmp_path: Path,
    request: pytest.FixtureRequest,
    publish_report: Callable[[object], None],
) -> None:
    """None has another one, none has two, none is lost, no two decisions of one event differ; enough epochs have begun."""
    with ExitStack() as stack:
        cluster = stack.enter_context(StruckCluster(nodes=nodes)) if nodes else None
        bootstrap = cluster.bootstrap if cluster else request.getfixturevalue("kafka").bootstrap
        environ = fault_environment(cluster.proxied if cluster else bootstrap, "epochs", replication=max(1, nodes))
        plan = Plan(
            model="bundle",
            seconds_per_batch=0.2,
            faults=faults,
            workers=3 if nodes else 2,
            max_seconds=3 * HANG_SECONDS,
            patience_seconds=HANG_SECONDS,
            seed="epochs",
            epochs=epochs,
        )
        report = changes(environ, bootstrap, tmp_path, plan, cluster)
    publish_report(report)
    assert is_good(report, faults=len(faults), exactly_once=False), str(report)


@dataclass(frozen=True, slots=True, kw_only=True)
class KnownBad:
    """
    A worker or a controller that breaks the protocol.

    Attributes:
        worker: The worker to run.
        controller: The controller to run.
        faults: They strike beside.
        found: The kinds of what the judge finds (`Judged.found`), one of which is there.
    """

    worker: str = "tests.faults.worker"
    controller: str = "tests.faults.epochs.controller"
    faults: tuple[Fault, ...] = ()
    found: tuple[str, ...] = ("wrong",)

    def caught(self, changed: Changed) -> bool:
        """Whether the judge has seen it, and lost no event, which would be another fault."""
        found = changed.judged.found()
        return not found["lost"] and any(found[kind] for kind in self.found)


VARIANTS = "tests.faults.variants.epochs"
KNOWN_BAD = {
    "does_not_ask": KnownBad(worker=f"{VARIANTS}.does_not_ask"),
    "by_time": KnownBad(worker=f"{VARIANTS}.by_time"),
    "uncut": KnownBad(worker=f"{VARIANTS}.uncut"),
    "early_marks": KnownBad(controller=f"{VARIANTS}.early_marks"),
    "committed_marks": KnownBad(controller=f"{VARIANTS}.committed_marks"),
    # One that was stopped writes behind its successor.
    "unfenced": KnownBad(
        controller=f"{VARIANTS}.unfenced", faults=(Fault.CONTROLLER_FREEZE,) * 4, found=("misplaced", "wrong", "several")
    ),
}


# One of them in each run of `make faults`; by the others the judge is tried where there is time.
OFTEN = "by_time"


@pytest.mark.parametrize(
    "variant", [pytest.param(name, marks=pytest.mark.faults if name == OFTEN else pytest.mark.long) for name in KNOWN_BAD]
)
def test_what_breaks_the_protocol_is_caught(
    variant: str, kafka: Broker, tmp_path: Path, publish_report: Callable[[object], None]
) -> None:
    """The same harness and the same judge see a part of the protocol that a worker or a controller leaves out."""
    bad = KNOWN_BAD[variant]
    for number in range(RUNS):
        seed = f"{variant}-{number}"
        plan = Plan(
            module=bad.worker,
            controller=bad.controller,
            model="bundle",
            seconds_per_batch=0.1,
            faults=bad.faults,
            workers=2,
            max_seconds=HANG_SECONDS,
            patience_seconds=HANG_SECONDS,
            seed=seed,
            epochs=6,
            per_second=150.0,
        )
        report = changes(fault_environment(kafka.bootstrap, seed), kafka.bootstrap, tmp_path / str(number), plan)
        assert report.changed is not None
        if bad.caught(report.changed):
            break
    publish_report(report)
    assert bad.caught(report.changed), str(report)

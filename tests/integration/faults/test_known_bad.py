"""Proof that a lost event would be seen: known-bad agents under the same harness must be caught."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import pytest

from stream.broker import Broker
from stream.broker.processes import Processes
from stream.kafka import admin
from stream.settings.loading import load
from tests.faults.cluster.topics import fault_environment
from tests.faults.faults import Fault
from tests.faults.fleet import ROOT
from tests.faults.harness import run
from tests.faults.inputs import plant
from tests.faults.plan import Plan
from tests.faults.report import Report

pytestmark = [
    pytest.mark.broker,
    pytest.mark.timeout(600),
]


@dataclass(frozen=True, slots=True, kw_only=True)
class KnownBad:
    """
    A module of tests.faults.variants, what strikes it, and what must be seen of it.

    Attributes:
        faults: What strikes it, in this order.
        breaks: The invariants that it breaks.
        loses_for_good: It also commits beyond events that it has lost.
        patience_seconds: How long it may stall.
        max_seconds: How long a run may take.
    """

    faults: tuple[Fault, ...]
    breaks: frozenset[str]
    loses_for_good: bool = False
    patience_seconds: float = 30.0
    max_seconds: float = 150.0

    def caught(self, report: Report) -> bool:
        """Was all of that seen, and was it the faults that did it?"""
        struck = bool(report.faults) or not self.faults
        seen = self.breaks <= set(report.verdict.broken) and report.verdict.outcomes > 0
        return struck and seen and (report.verdict.lost_for_good > 0 or not self.loses_for_good)


# Where a fault strikes within a batch is chance, and what is wrong does not show at every place: so many runs, each with another seed.
RUNS = 3

KNOWN_BAD = {
    "take_unawaited": KnownBad(
        faults=(Fault.EXCEPTION, Fault.TERM, Fault.EXCEPTION), breaks=frozenset({"I1", "I4"}), loses_for_good=True
    ),
    "acknowledge_first": KnownBad(faults=(Fault.KILL,), breaks=frozenset({"I4"})),
    # Three times: an event whose record fails just before a rebalance may be decided again.
    "swallowed_failure": KnownBad(faults=(Fault.PRODUCE_FAILURE,) * 3, breaks=frozenset({"I1", "I4"})),
    "take_awaited": KnownBad(faults=(Fault.EXCEPTION, Fault.TERM), breaks=frozenset({"I1", "I4"})),
    "unawaited_send": KnownBad(faults=(Fault.PRODUCE_FAILURE,) * 3, breaks=frozenset({"I1", "I4"})),
    # Behind the lost batch the commits stand still. Whether its events come again (no I1) is for chance to say: when a worker stops.
    "noack_take": KnownBad(faults=(Fault.EXCEPTION,), breaks=frozenset({"I8"}), patience_seconds=8.0),
    # The malformed events are fault enough.
    # Its commits run ahead only where the worker lives long enough to make one.
    # It is started again and again, and comes a little further each time.
    "typed_topic": KnownBad(faults=(), breaks=frozenset({"I1"}), patience_seconds=8.0, max_seconds=60.0),
    # Its commits wait for the first that is not acknowledged, since they go by what was given out (stream/worker/consumer/committable.py).
    "concurrency": KnownBad(faults=(Fault.SLOW_MODEL, Fault.KILL), breaks=frozenset({"I5"})),
    "restarted_agent": KnownBad(faults=(Fault.EXCEPTION,), breaks=frozenset({"I8"}), patience_seconds=8.0),
}


@pytest.fixture(scope="module")
def bad_reports(kafka: Broker, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Report]:
    """The run that has caught a variant, else its last one; all variants at once: they mostly wait."""

    def first_catch(variant: str) -> Report:
        for number in range(RUNS):
            found = report(variant, f"{variant}-{number}")
            if KNOWN_BAD[variant].caught(found):
                break
        return found

    def report(variant: str, seed: str) -> Report:
        environ = {**fault_environment(kafka.bootstrap, seed), "TAGSTREAM_SHUTDOWN_TIMEOUT_SECONDS": "3"}
        admin.create(load(environ, folder=ROOT).settings)
        bad = KNOWN_BAD[variant]
        with Processes(grace_seconds=0) as processes:
            return run(
                Plan(
                    module=f"tests.faults.variants.{variant}",
                    seconds_per_batch=0.25,
                    faults=bad.faults,
                    patience_seconds=bad.patience_seconds,
                    max_seconds=bad.max_seconds,
                    seed=seed,
                ),
                plant(6_000, malformed=60, seed=seed),
                environ=environ,
                folder=tmp_path_factory.mktemp(seed),
                processes=processes,
            )

    with ThreadPoolExecutor(len(KNOWN_BAD)) as executor:
        return dict(zip(KNOWN_BAD, executor.map(first_catch, KNOWN_BAD), strict=True))


@pytest.mark.parametrize("variant", KNOWN_BAD)
def test_an_agent_that_loses_events_is_caught(
    variant: str, bad_reports: dict[str, Report], publish_report: Callable[[object], None]
) -> None:
    """With the agent replaced by a known-bad one the same run must fail, or it proves nothing of ours."""
    report = bad_reports[variant]
    publish_report(report)

    assert KNOWN_BAD[variant].caught(report), str(report)

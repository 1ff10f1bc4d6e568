"""Proof that a lost event would be seen: known-bad agents under the same harness must be caught."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import pytest

from stream import topics
from stream.broker import Broker
from stream.broker.processes import Processes
from stream.settings import load
from tests.faults.faults import Fault
from tests.faults.fleet import ROOT
from tests.faults.harness import Report, run
from tests.faults.inputs import plant
from tests.faults.onlooker import fault_environment
from tests.faults.plan import Plan

pytestmark = [
    pytest.mark.broker,
    pytest.mark.timeout(400),
    # kafka-python leaves a socket to the garbage collector for each connection that was refused.
    pytest.mark.filterwarnings("ignore:Exception ignored in. <socket:pytest.PytestUnraisableExceptionWarning"),
]


@dataclass(frozen=True, slots=True, kw_only=True)
class KnownBad:
    """A module of tests.faults.variants, what strikes it, the invariants that it must be seen to break, and how long it may stall."""

    faults: tuple[Fault, ...]
    breaks: frozenset[str]
    patience_seconds: float = 30.0
    max_seconds: float = 150.0


KNOWN_BAD = {
    "take_unawaited": KnownBad(faults=(Fault.EXCEPTION, Fault.TERM, Fault.EXCEPTION), breaks=frozenset({"I1", "I4"})),
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
    # Its commits wait for the first that is not acknowledged, since they go by what was given out (stream/given.py).
    "concurrency": KnownBad(faults=(Fault.SLOW_MODEL, Fault.KILL), breaks=frozenset({"I5"})),
    "restarted_agent": KnownBad(faults=(Fault.EXCEPTION,), breaks=frozenset({"I8"}), patience_seconds=8.0),
}


@pytest.fixture(scope="module")
def bad_reports(kafka: Broker, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Report]:
    """One run of every known-bad variant, all at once: they mostly wait."""

    def report(variant: str) -> Report:
        environ = {**fault_environment(kafka.bootstrap, variant), "TAGSTREAM_SHUTDOWN_TIMEOUT_SECONDS": "3"}
        topics.create(load(environ, folder=ROOT).settings)
        bad = KNOWN_BAD[variant]
        with Processes(grace_seconds=0) as processes:
            return run(
                Plan(
                    module=f"tests.faults.variants.{variant}",
                    seconds_per_batch=0.25,
                    faults=bad.faults,
                    patience_seconds=bad.patience_seconds,
                    max_seconds=bad.max_seconds,
                ),
                plant(6_000, malformed=60, seed=variant),
                environ=environ,
                folder=tmp_path_factory.mktemp(variant),
                processes=processes,
            )

    with ThreadPoolExecutor(len(KNOWN_BAD)) as executor:
        return dict(zip(KNOWN_BAD, executor.map(report, KNOWN_BAD), strict=True))


@pytest.mark.parametrize("variant", KNOWN_BAD)
def test_an_agent_that_loses_events_is_caught(
    variant: str, bad_reports: dict[str, Report], publish_report: Callable[[object], None]
) -> None:
    """With the agent replaced by a known-bad one the same run must fail, or it proves nothing of ours."""
    report = bad_reports[variant]
    publish_report(report)

    # One that loses what waits has nothing left for the next fault.
    assert report.faults or not KNOWN_BAD[variant].faults, str(report)
    assert report.verdict.outcomes > 0, str(report)
    assert set(report.verdict.broken) >= KNOWN_BAD[variant].breaks, str(report)


def test_the_naive_agent_loses_events_for_good(bad_reports: dict[str, Report]) -> None:
    """`stream.take` with unawaited sends: events are gone, while the offsets say that all is well."""
    verdict = bad_reports["take_unawaited"].verdict

    assert verdict["I1"].cases > 0
    assert verdict["I8"].holds

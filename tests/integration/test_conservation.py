"""Promise 1 on Apache Kafka: every event leaves by exactly one door, whatever happens to the workers. And proof that we would see it."""

from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import pytest

from stream import topics
from stream.broker import Broker
from stream.broker.processes import Processes
from stream.settings import load
from tests.faults.fleet import ROOT
from tests.faults.harness import Fault, Plan, Report, run
from tests.faults.inputs import plant
from tests.faults.onlooker import fresh_environment

pytestmark = [
    pytest.mark.broker,
    pytest.mark.timeout(400),
    # kafka-python leaves a socket to the garbage collector for each connection that was refused.
    pytest.mark.filterwarnings("ignore:Exception ignored in. <socket:pytest.PytestUnraisableExceptionWarning"),
]

EVENTS = 20_000
MALFORMED = 200
FAULTS = (
    Fault.JOIN,
    Fault.EXCEPTION,
    Fault.LEAVE,
    Fault.KILL,
    Fault.TERM,
    Fault.PRODUCE_FAILURE,
    Fault.KILL_AMONG_SENDS,
    Fault.TERM,
    Fault.EXCEPTION,
    Fault.KILL_BEFORE_ACKNOWLEDGING,
)
ANSWERED_BY_EXIT = {Fault.EXCEPTION, Fault.PRODUCE_FAILURE}
STOP_SECONDS = 10.0
# Per fault: what was acknowledged since the last commit (one second of it), and what was in hand in both workers.
MOST_DUPLICATES_A_FAULT = 500


def test_no_event_is_lost_under_faults(
    environ: dict[str, str], tmp_path: Path, processes: Processes, publish_report: Callable[[object], None]
) -> None:
    """The union of the three topics is exactly the input, no decision differs, and no commit runs ahead, through every fault."""
    report = run(
        Plan(seconds_per_batch=0.25, faults=FAULTS, max_seconds=300.0, seed="conservation"),
        plant(EVENTS, malformed=MALFORMED, seed="conservation"),
        environ=environ,
        folder=tmp_path,
        processes=processes,
    )
    publish_report(report)

    assert report.verdict.broken == [], str(report)
    assert report.idle_faults == 0
    assert report.faults == Counter(FAULTS), str(report)
    assert report.self_exits == sum(fault in ANSWERED_BY_EXIT for fault in FAULTS)
    assert report.verdict.duplicates <= MOST_DUPLICATES_A_FAULT * len(FAULTS)
    for stop in report.stops:
        assert stop.code == 0, str(report)
        assert stop.asked_seconds is not None
        assert stop.asked_seconds < STOP_SECONDS, str(report)


@dataclass(frozen=True, slots=True, kw_only=True)
class KnownBad:
    """A module of tests.faults.variants, what strikes it, the invariants that it must be seen to break, and how long it may stall."""

    faults: tuple[Fault, ...]
    breaks: frozenset[str]
    patience_seconds: float = 30.0


KNOWN_BAD = {
    "take_unawaited": KnownBad(faults=(Fault.EXCEPTION, Fault.TERM, Fault.EXCEPTION), breaks=frozenset({"I1", "I4"})),
    "acknowledge_first": KnownBad(faults=(Fault.KILL,), breaks=frozenset({"I4"})),
    "swallowed_failure": KnownBad(faults=(Fault.PRODUCE_FAILURE,), breaks=frozenset({"I1", "I4"})),
    "restarted_agent": KnownBad(faults=(Fault.EXCEPTION,), breaks=frozenset({"I8"}), patience_seconds=8.0),
}


@pytest.fixture(scope="module")
def bad_reports(kafka: Broker, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Report]:
    """One run of every known-bad variant, all at once: they mostly wait."""

    def report(variant: str) -> Report:
        environ = {**fresh_environment(kafka.bootstrap, variant), "TAGSTREAM_SHUTDOWN_TIMEOUT_SECONDS": "3"}
        topics.create(load(environ, folder=ROOT).settings)
        bad = KNOWN_BAD[variant]
        with Processes(grace_seconds=0) as processes:
            return run(
                Plan(
                    module=f"tests.faults.variants.{variant}",
                    seconds_per_batch=0.25,
                    faults=bad.faults,
                    patience_seconds=bad.patience_seconds,
                ),
                plant(3_000, malformed=30, seed=variant),
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

    assert report.faults == Counter(KNOWN_BAD[variant].faults), str(report)
    assert report.verdict.outcomes > 0, str(report)
    assert set(report.verdict.broken) >= KNOWN_BAD[variant].breaks, str(report)


def test_the_naive_agent_loses_events_for_good(bad_reports: dict[str, Report]) -> None:
    """`stream.take` with unawaited sends: events are gone, while the offsets say that all is well."""
    verdict = bad_reports["take_unawaited"].verdict

    assert verdict["I1"].cases > 0
    assert verdict["I8"].holds

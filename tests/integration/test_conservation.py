"""Promise 1 on Apache Kafka: every event leaves by exactly one door, whatever happens to the workers. And proof that we would see it."""

from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest

from stream.broker.processes import Processes
from tests.faults.harness import Fault, Plan, run
from tests.faults.inputs import plant

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


def test_the_naive_agent_loses_events_for_good(
    environ: dict[str, str], tmp_path: Path, processes: Processes, publish_report: Callable[[object], None]
) -> None:
    """The same test with `stream.take` and unawaited sends must fail: events are gone, and the offsets say that all is well."""
    report = run(
        Plan(
            module="tests.faults.variants.take_unawaited",
            seconds_per_batch=0.25,
            faults=(Fault.EXCEPTION, Fault.TERM, Fault.EXCEPTION),
            max_seconds=120.0,
        ),
        plant(4_000, malformed=40, seed="naive"),
        environ=environ,
        folder=tmp_path,
        processes=processes,
    )
    publish_report(report)

    assert report.verdict["I1"].cases > 0, str(report)
    assert report.verdict["I8"].holds, str(report)


@pytest.mark.parametrize(
    ("variant", "faults", "caught"),
    [
        ("acknowledge_first", (Fault.KILL,), {"I4"}),
        ("swallowed_failure", (Fault.PRODUCE_FAILURE,), {"I1", "I4"}),
        ("restarted_agent", (Fault.EXCEPTION,), {"I8"}),
    ],
)
def test_an_agent_that_loses_events_is_caught(
    variant: str,
    faults: tuple[Fault, ...],
    caught: set[str],
    environ: dict[str, str],
    tmp_path: Path,
    processes: Processes,
    publish_report: Callable[[object], None],
) -> None:
    """The same run with the agent replaced by one that is known to be bad: the checker must say so, or it proves nothing of ours."""
    report = run(
        Plan(
            module=f"tests.faults.variants.{variant}",
            seconds_per_batch=0.25,
            faults=faults,
            patience_seconds=8.0,
            max_seconds=120.0,
        ),
        plant(2_500, malformed=25, seed=variant),
        # One of them has lost an agent and cannot stop in order.
        environ={**environ, "TAGSTREAM_SHUTDOWN_TIMEOUT_SECONDS": "3"},
        folder=tmp_path,
        processes=processes,
    )
    publish_report(report)

    assert report.faults == Counter(faults), str(report)
    assert report.verdict.outcomes > 0, str(report)
    assert caught <= set(report.verdict.broken), str(report)

"""Known-bad agents under the fault harness must be caught, which proves that the harness would see a lost event."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from tagstream.stream.broker import Broker
from tagstream.stream.broker.processes import Processes
from tagstream.stream.settings.loading import load
from tests.faults.answers.planned import answers_to
from tests.faults.cluster.topics import fault_environment, make_topics
from tests.faults.faults import Fault
from tests.faults.harness import run
from tests.faults.plan import Plan
from tests.faults.report import Report
from tests.faults.upstream.variety import varied
from tests.faults.worker.fleet import ROOT

pytestmark = pytest.mark.broker


@dataclass(frozen=True, slots=True, kw_only=True)
class KnownBad:
    """
    A module of tests.faults.variants, the faults that strike it, and the invariants that it must break.

    Attributes:
        faults: The faults that strike it, in this order.
        breaks: The invariants that it breaks.
        alone: It breaks no other invariant.
        loses_for_good: It also commits beyond events that it has lost.
        patience_seconds: How long it may stall.
        max_seconds: How long a run may take.
        workers: How many run.
        events: How many they are given, 1 % of them malformed.
        answers: How many records of `reviewed` they are given.
    """

    faults: tuple[Fault, ...]
    breaks: frozenset[str]
    alone: bool = False
    loses_for_good: bool = False
    patience_seconds: float = 30.0
    max_seconds: float = 300.0
    workers: int = 2
    events: int = 6_000
    answers: int = 0

    def caught(self, report: Report) -> bool:
        """Whether all of that was seen, and the faults caused it."""
        struck = bool(report.faults) or not self.faults
        broken = set(report.verdict.broken)
        seen = (self.breaks == broken if self.alone else self.breaks <= broken) and report.verdict.outcomes > 0
        return struck and seen and (report.verdict.lost_for_good > 0 or not self.loses_for_good)


# One worker alone repeats no event, so that no other invariant sees the defect.
WRONG_DECISIONS = KnownBad(faults=(), breaks=frozenset({"I9"}), alone=True, workers=1, events=2_000)

# The place in a batch where a fault strikes is random, and not every place shows the defect: hence several runs and seeds.
RUNS = 6

KNOWN_BAD = {
    "take_unawaited": KnownBad(
        faults=(Fault.EXCEPTION, Fault.TERM, Fault.EXCEPTION), breaks=frozenset({"I1", "I4"}), loses_for_good=True
    ),
    "acknowledge_first": KnownBad(faults=(Fault.KILL,), breaks=frozenset({"I4"})),
    # Three times: an event whose record fails just before a rebalance may be decided again.
    "swallowed_failure": KnownBad(faults=(Fault.PRODUCE_FAILURE,) * 3, breaks=frozenset({"I1", "I4"})),
    "take_awaited": KnownBad(faults=(Fault.EXCEPTION, Fault.TERM), breaks=frozenset({"I1", "I4"})),
    "unawaited_send": KnownBad(faults=(Fault.PRODUCE_FAILURE,) * 3, breaks=frozenset({"I1", "I4"})),
    # Commits stand still behind the lost batch. I1 is left out, since the events come again if a worker happens to stop.
    "noack_take": KnownBad(faults=(Fault.EXCEPTION,), breaks=frozenset({"I8"}), patience_seconds=8.0),
    # The malformed events are the fault.
    # Its commits run ahead only where the worker lives long enough to make one.
    # It is started again and again, and comes a little further each time.
    "typed_topic": KnownBad(faults=(), breaks=frozenset({"I1"}), patience_seconds=8.0, max_seconds=60.0),
    # Its commits wait for the first unacknowledged event, since they follow the events given out (`Committable`).
    "concurrency": KnownBad(faults=(Fault.SLOW_MODEL, Fault.KILL), breaks=frozenset({"I5"})),
    "restarted_agent": KnownBad(faults=(Fault.EXCEPTION,), breaks=frozenset({"I8"}), patience_seconds=8.0),
    # No event is lost, doubled or late: without the offline decisions these three would pass.
    "decisions.swapped_neighbours": WRONG_DECISIONS,
    "decisions.dropped_headers": WRONG_DECISIONS,
    "decisions.old_model": WRONG_DECISIONS,
    # One decision an event is there, so nothing else misses the others.
    "decisions.first_answer_only": KnownBad(
        faults=(), breaks=frozenset({"I10"}), alone=True, workers=1, events=2_000, answers=500
    ),
}


# One of each family of invariants: no loss (I1), commits stay behind outcomes (I4), order (I5), an end without a rest (I8), the
# offline decisions (I9), answers (I10).
OF_EACH_FAMILY = {
    "unawaited_send",
    "acknowledge_first",
    "concurrency",
    "restarted_agent",
    "decisions.swapped_neighbours",
    "decisions.first_answer_only",
}
# It acknowledges before the broker has the outcome; the others are part of `make test-rest`.
PART_OF_MAKE_TEST = "acknowledge_first"


def marks(variant: str) -> tuple[pytest.MarkDecorator, ...]:
    """The mark of the target that runs a variant; the one of `make test` has none."""
    if variant == PART_OF_MAKE_TEST:
        return ()
    return (pytest.mark.slow if variant in OF_EACH_FAMILY else pytest.mark.faults,)


@pytest.mark.parametrize("variant", [pytest.param(variant, marks=marks(variant)) for variant in KNOWN_BAD])
def test_an_agent_that_loses_events_is_caught(
    variant: str, kafka: Broker, tmp_path: Path, publish_report: Callable[[object], None]
) -> None:
    """A known-bad agent under the same harness breaks the invariants that its defect is known to break."""
    for number in range(RUNS):
        report = run_of(variant, kafka, tmp_path / str(number), seed=f"{variant}-{number}")
        if KNOWN_BAD[variant].caught(report):
            break
    publish_report(report)

    assert KNOWN_BAD[variant].caught(report), str(report)


def run_of(variant: str, kafka: Broker, folder: Path, *, seed: str) -> Report:
    """Workers of the variant under its faults."""
    folder.mkdir()
    environ = {**fault_environment(kafka.bootstrap, seed), "TAGSTREAM_SHUTDOWN_TIMEOUT_SECONDS": "3"}
    settings = load(environ, folder=ROOT).settings
    make_topics(settings)
    bad = KNOWN_BAD[variant]
    plan = Plan(
        module=f"tests.faults.variants.{variant}",
        seconds_per_batch=0.25,
        faults=bad.faults,
        workers=bad.workers,
        patience_seconds=bad.patience_seconds,
        max_seconds=bad.max_seconds,
        seed=seed,
    )
    planted = varied(bad.events, malformed=bad.events // 100, seed=seed)
    with Processes(grace_seconds=0) as processes:
        answers = answers_to(planted, bad.answers, settings=settings, seed=seed)
        return run(plan, planted, environ=environ, folder=folder, processes=processes, answers=answers)

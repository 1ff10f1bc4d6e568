"""`tagstream second` is killed and stopped between its steps while items flow: nothing is lost, done twice, or done before its opinion can be read."""

import os
import random
import re
import signal
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from tagstream.stream.broker.processes import Process, Processes
from tagstream.stream.contract.event import Record
from tagstream.stream.review.store.records import unix_ms
from tagstream.stream.second.ledger import GOLD
from tagstream.stream.settings.settings import Settings
from tests.answering import answer, decided, reviewed
from tests.completions import Call, answering, says
from tests.faults.second.bad import FAULTS
from tests.faults.second.struck import POINT_VARIABLE, POINTS, WRITTEN
from tests.faults.second.watch import Watch
from tests.faults.verdict.opinions import wrong_at_the_end
from tests.faults.worker.fleet import ROOT, is_stopped, without_settings
from tests.integration.second.flow import send
from tests.waiting import until

pytestmark = pytest.mark.broker

# People answer the first batch, which proves the promise.
BATCH, PROMISE = 60, "0.7"
# Long enough that most of a batch is still to come when the process is armed.
ANSWER_SECONDS = 0.05
SECONDS = 120
KILL, STOP = signal.SIGUSR1, signal.SIGUSR2
# What becomes of the process of each round: a signal at a point; or SIGKILL at any moment after its start.
ANYWHERE = "anywhere"
Round = tuple[signal.Signals, str]
ROUNDS: tuple[Round, ...] = (
    *((KILL, point) for point in POINTS),
    (STOP, "before opinions"),
    (STOP, "within decisions"),
    (KILL, ANYWHERE),
    (KILL, ANYWHERE),
)
SEED = 49


def answers_later(call: Call) -> None:
    """A healthy endpoint, of which some calls are always on their way."""
    time.sleep(ANSWER_SECONDS)
    says("mlops")(call)


@dataclass(slots=True)
class Storm:
    """
    One run.

    Attributes:
        start: Starts a process that breaks at a point when it is armed.
        watch: Sees what it does.
        moments: Chooses when.
        gold: The items that were asked about again before the first strike.
        fenced: The processes that were stopped, and went on behind another one.
    """

    settings: Settings
    start: Callable[[str], Process]
    watch: Watch
    moments: random.Random
    gold: list[str] = field(default_factory=list)
    fenced: list[Process] = field(default_factory=list)
    _batches: int = 0

    def batch(self) -> list[Record]:
        """Send items."""
        now_ms, self._batches = unix_ms(), self._batches + 1
        records = [
            decided(b'{"id":"e-%d-%d","title":"maybe deployment of %d"}' % (self._batches, at, at), now_ms=now_ms - 1000 + at)
            for at in range(BATCH)
        ]
        send(self.settings, records)
        return records

    def seen(self, holds: Callable[[Watch], bool], what: str, process: Process | None = None) -> None:
        """Look until something holds of what was seen."""

        def look() -> bool:
            self.watch.look()
            return holds(self.watch)

        until(look, what, process=process, seconds=SECONDS)

    def prove(self) -> None:
        """Let the day's items be asked about again, and give the answers that prove the promise, before anything strikes."""
        process = self.begun(ANYWHERE)
        items = self.batch()
        self.seen(lambda watch: len(watch.opinions) >= BATCH + GOLD, "all are asked about, and some again", process)
        self.gold = self.watch.repeated
        process.kill()
        # Only now: some answers would prove the promise while other items still wait, and some of these would be settled.
        send(self.settings, [reviewed(one, answer(one, "mlops", now_ms=unix_ms())) for one in items])

    def begun(self, point: str) -> Process:
        """A process that has begun."""
        process = self.start(point)
        until(lambda: "second_begins" in process.output(), "the process begins", process=process, seconds=SECONDS)
        return process

    def strike(self, arm: signal.Signals, point: str) -> None:
        """Send items, and let a process break among them."""
        if point == ANYWHERE:
            process = self.start(point)
            self.batch()
            time.sleep(self.moments.uniform(0.0, 4.0))
            process.kill()
            return
        process = self.begun(point)
        before = len(self.watch.opinions)
        self.batch()
        some = self.moments.randint(1, BATCH // 3)
        self.seen(lambda watch: len(watch.opinions) >= before + some, "some are asked about", process)
        os.kill(process.pid, arm)
        if arm is KILL:
            until(lambda: not process.running(), f"it is killed {point}", state=process.output, seconds=SECONDS)
        else:
            until(lambda: is_stopped(process.pid), f"it stops {point}", process=process, seconds=SECONDS)
            self._go_on_behind_another(process)
        self.watch.look()

    def _go_on_behind_another(self, stopped: Process) -> None:
        after = self.begun(ANYWHERE)
        self.seen(lambda watch: not watch.without_opinion, "another process has asked about all", after)
        written = stopped.output().count(WRITTEN)
        os.kill(stopped.pid, signal.SIGCONT)
        until(
            lambda: not stopped.running() or stopped.output().count(WRITTEN) > written,
            "the stopped one has ended, or has written",
            seconds=SECONDS,
        )
        self.fenced.append(stopped)
        after.kill()

    def end(self) -> list[str]:
        """Let a last process do all that is left, and tell what is wrong."""
        last = self.begun(ANYWHERE)
        self.batch()
        self.seen(lambda watch: len(watch.items) == self._batches * BATCH and not watch.without_opinion, "all are asked", last)
        # Before it ends, a process acts on all that it has written.
        last.ask_to_end()
        assert last.wait(SECONDS), last.output()
        assert last.exit_code == 0, last.output()
        self.watch.look()
        found = self.watch
        return found.wrong + wrong_at_the_end(found.items, found.decisions, found.opinions, self.gold)


Storms = Callable[..., tuple[Storm, list[str]]]


@pytest.fixture
def storm(settings: Settings, environ: dict[str, str], processes: Processes, tmp_path: Path) -> Storms:
    """Runs `python -m PROGRAM` in these rounds, and tells what is wrong."""

    def run(*program: str, rounds: Sequence[Round]) -> tuple[Storm, list[str]]:
        with answering(answers_later) as endpoint:
            of_second = {"ENDPOINT": endpoint.url, "MODEL": "large", "PRECISION": PROMISE, "AUDIT": "0.2"}
            of_second |= {"REQUESTS_A_MINUTE": "60000", "CALLS_A_DAY": "100000"}
            env = without_settings(os.environ) | environ | {"PYTHONPATH": str(ROOT)}
            env |= {f"TAGSTREAM_SECOND__{name}": value for name, value in of_second.items()}
            words = [sys.executable, "-m", *program, "second", "--metrics-port", "0"]
            numbers = iter(range(1000))

            def start(point: str) -> Process:
                log = tmp_path / f"second-{next(numbers):02}.log"
                return processes.start(words, env=env | {POINT_VARIABLE: point}, log_file=log)

            found = Storm(settings, start, Watch(settings), random.Random(SEED))  # noqa: S311 - moments of a test
            found.prove()
            for arm, point in rounds:
                found.strike(arm, point)
            return found, found.end()

    return run


def test_a_process_killed_anywhere_loses_nothing_and_does_nothing_twice(storm: Storms) -> None:
    """Each item has one opinion, each opinion that settles has one decision, and no decision is there before its opinion."""
    found, wrong = storm("tests.faults.second.struck", rounds=random.Random(SEED).sample(ROUNDS, len(ROUNDS)))  # noqa: S311
    assert wrong == []
    assert len(found.gold) == GOLD
    # After people's answers all was settled, so that there was something to lose.
    assert len(found.watch.decisions) == (len(ROUNDS) + 1) * BATCH
    assert [one.wait(SECONDS) and one.exit_code for one in found.fenced] == [1, 1]
    assert all("another process writes" in one.output() for one in found.fenced)


# The step at which a strike lets each fault do harm, and a pattern of what is said then. Each process that forgets opinions asks about each
# item once, and about some twice: how many opinions an item has in the end depends on how far each process came.
FOUND: dict[str, tuple[Round, str]] = {
    "acts-first": ((KILL, "after decisions"), "second has no opinion that settles it"),
    "no-fencing": ((STOP, "before opinions"), "is settled by 2 opinions"),
    "forgets-to-act": ((KILL, "after opinions"), "is settled, and has 0 decisions"),
    "forgets-opinions": ((KILL, "after decisions"), "has [2-9] opinions"),
    "writes-twice": ((KILL, "after decisions"), "has 2 opinions"),
}


@pytest.mark.slow
@pytest.mark.parametrize("fault", FAULTS)
def test_each_known_fault_is_found(storm: Storms, fault: str) -> None:
    """One strike at the step where the fault does harm is enough to see it, and it is called by its name."""
    strike, pattern = FOUND[fault]
    _, wrong = storm("tests.faults.second.bad", fault, rounds=[strike])
    assert [one for one in wrong if re.search(pattern, one)], wrong

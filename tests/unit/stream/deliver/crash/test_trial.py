"""Trials in real processes: which ends count against an event, which count for nothing, and that no process outlives its worker."""

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import msgspec
import pytest

from tagstream.monitoring.vocabulary import Destination
from tagstream.stream.contract.event import Record
from tagstream.stream.contract.outcome import ModelRef, NeedsReview, Publication, Tagged
from tagstream.stream.decide.from_settings import pipeline_of
from tagstream.stream.decide.pipeline import Decider, Draw, Pipeline
from tagstream.stream.deliver.crash.trial import ChildTrials, Died, NotHeld, TrialRecipe
from tagstream.stream.settings.settings import Settings
from tests.faults.worker.poison import ABORT, DEVOUR, RAISE
from tests.faults.worker.stub import HANG, MODEL, OTHER_MODEL
from tests.replacing import replace
from tests.unit.stream.deliver.crash.breakable import BROKEN, EXIT, KILL, SEGFAULT, breakable, endless, refused
from tests.waiting import HANG_SECONDS, until

DRAW = Draw(rate=1.0)


def recipe(make: Callable[[Settings], Pipeline] = breakable, **knobs: object) -> TrialRecipe:
    """A recipe for this model."""
    return TrialRecipe(make=make, settings=Settings.model_validate(knobs), draw=DRAW, model=MODEL)


@pytest.fixture(scope="module")
def trials() -> Iterator[ChildTrials]:
    """Whose process ends with the tests, unless one of them ends it before."""
    held = ChildTrials(recipe())
    yield held
    held.end()


def event(title: str, offset: int = 0) -> Record:
    """An event with this title."""
    return Record(
        topic="content", partition=0, offset=offset, timestamp_ms=5, key=b"k", value=b'{"title":"%b"}' % title.encode()
    )


def always() -> bool:
    """Whether a trial is wanted: yes."""
    return True


def pid_of(held: ChildTrials) -> int:
    """The process of the trials."""
    assert held._child is not None
    return held._child.process.pid


def stopped(pid: int) -> bool:
    """Whether a process is gone, or all but gone."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] in "ZX"
    except (FileNotFoundError, ProcessLookupError):
        return True


def test_an_event_that_survives_has_the_outcome_that_the_worker_would_give_it(trials: ChildTrials) -> None:
    """One process decides event after event, with the worker's draw; a malformed one and one that raises become dead letters."""
    pipeline = breakable(Settings())
    pipeline.draw = DRAW
    pids = set()
    for one in (event("deployment"), event("a walk", 1), event(RAISE, 2), Record(key=None, value=b"not json")):
        found = trials.hold(one, always)
        assert isinstance(found, Publication)
        (alone,) = pipeline.publications([one])
        clock = b',"tagged_at":'
        assert (found.destination, found.key, found.headers, found.observation, found.outcome) == (
            alone.destination,
            alone.key,
            alone.headers,
            alone.observation,
            alone.outcome,
        )
        assert (found.value or b"").partition(clock)[0] == (alone.value or b"").partition(clock)[0]
        assert (found.audit is None) == (alone.audit is None)
        pids.add(pid_of(trials))
    assert len(pids) == 1


@pytest.mark.parametrize(
    ("word", "how"),
    [
        (ABORT, "signal SIGABRT"),
        (SEGFAULT, "signal SIGSEGV"),
        (EXIT, "exit code 7"),
        (DEVOUR, "more than 128 MiB of memory"),
    ],
)
def test_an_event_that_ends_the_process_by_itself_is_to_blame(trials: ChildTrials, word: str, how: str) -> None:
    """An abort, a fault, an exit and memory without end are the event's doing; the next event has a process of its own."""
    assert trials.hold(event(word), always) == Died(how)
    assert isinstance(trials.hold(event("deployment"), always), Publication)


def test_a_model_that_hangs_is_ended_at_its_bound_and_the_event_is_to_blame() -> None:
    """The bound is that of the worker's model."""
    held = ChildTrials(recipe(inference_timeout_seconds=0.5))
    assert isinstance(held.hold(event("deployment"), always), Publication)
    pid = pid_of(held)
    assert held.hold(event(HANG), always) == Died("no answer within 0.5 s (inference_timeout_seconds)")
    assert stopped(pid)


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGUSR1, signal.SIGALRM])
def test_a_process_that_is_ended_from_outside_blames_no_event(trials: ChildTrials, number: signal.Signals) -> None:
    """Signals that a person or a system sends count for nothing, also while the event is in the model."""
    assert isinstance(trials.hold(event("deployment"), always), Publication)
    pid = pid_of(trials)
    outsider = threading.Timer(0.3, os.kill, (pid, number))
    outsider.start()
    found = trials.hold(event(HANG), always)
    outsider.join()
    assert found == NotHeld(f"the trial's process was ended by signal {number.name}")
    assert isinstance(trials.hold(event("deployment"), always), Publication)


def test_an_idle_process_that_ends_as_an_event_comes_is_replaced(trials: ChildTrials, monkeypatch: pytest.MonkeyPatch) -> None:
    """It has not ended yet when the worker looks, and is gone when the event should reach it: a new process decides the event."""
    assert isinstance(trials.hold(event("deployment"), always), Publication)
    assert trials._child is not None
    idle = trials._child.process
    idle.kill()
    idle.wait(HANG_SECONDS)
    monkeypatch.setattr(idle, "poll", lambda: None)
    assert isinstance(trials.hold(event("deployment"), always), Publication)
    assert pid_of(trials) != idle.pid


def test_signals_that_stop_a_worker_do_not_end_a_trial(trials: ChildTrials) -> None:
    """Ctrl-C reaches both processes, and so does a service manager's SIGTERM; the worker ends its trials itself."""
    assert isinstance(trials.hold(event("deployment"), always), Publication)
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        os.kill(pid_of(trials), number)
    pid = pid_of(trials)
    assert isinstance(trials.hold(event("deployment"), always), Publication)
    assert pid_of(trials) == pid


def test_a_sigkill_blames_no_event_even_if_its_own_code_sends_it(trials: ChildTrials) -> None:
    """From outside nobody can tell who sent it, and an innocent event must not be given up."""
    assert trials.hold(event(KILL), always) == NotHeld("the trial's process was ended by signal SIGKILL")


def test_an_exception_of_the_machine_blames_no_event_and_tells_no_text(trials: ChildTrials) -> None:
    """An OSError is the machine's, in a trial as in the worker."""
    assert trials.hold(event(BROKEN), always) == NotHeld("the trial's process raised OSError")


@pytest.mark.parametrize(
    ("made", "why"),
    [
        (recipe(refused), "cannot load the model: FileNotFoundError: the bundle"),
        (recipe(endless), "was ended by signal SIGKILL"),
        (
            TrialRecipe(make=breakable, settings=Settings(), draw=None, model=OTHER_MODEL),
            "finds another model",
        ),
    ],
)
def test_a_process_that_cannot_have_the_workers_model_holds_no_trial(made: TrialRecipe, why: str) -> None:
    """The reason is said, and no event is blamed."""
    found = ChildTrials(made).hold(event(ABORT), always)
    assert isinstance(found, NotHeld)
    assert why in found.why


def test_a_process_that_cannot_be_started_holds_no_trial(monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine without a process to spare blames no event."""
    monkeypatch.setattr(sys, "executable", "/no/python")
    found = ChildTrials(recipe()).hold(event(ABORT), always)
    assert isinstance(found, NotHeld)
    assert "cannot be started" in found.why


def test_a_trial_that_is_not_wanted_any_more_is_over_at_once(trials: ChildTrials) -> None:
    """The process is ended, and nothing is said of the event."""
    assert isinstance(trials.hold(event("deployment"), always), Publication)
    pid = pid_of(trials)
    looks = iter([True, True, True])
    assert trials.hold(event(HANG), lambda: next(looks, False)) is None
    assert stopped(pid)


def test_a_process_ends_by_itself_when_no_event_comes(trials: ChildTrials) -> None:
    """Its memory is free again, and the next suspect has a new one."""
    assert isinstance(trials.hold(event("deployment"), always), Publication)
    pid = pid_of(trials)
    until(lambda: stopped(pid), "the idle process has ended")
    assert isinstance(trials.hold(event("deployment"), always), Publication)


PARENT = """
import sys
from tests.unit.stream.deliver.crash.test_trial import always, event, pid_of, recipe
from tagstream.stream.deliver.crash.trial import ChildTrials
from tests.faults.worker.stub import HANG
held = ChildTrials(recipe())
held.hold(event("deployment"), always)
print(pid_of(held), flush=True)
held.hold(event(HANG), always)
"""


def test_a_process_dies_with_its_worker_even_while_an_event_is_in_its_model() -> None:
    """After SIGKILL no process of the worker is left, however long the model would take."""
    with subprocess.Popen([sys.executable, "-c", PARENT], stdout=subprocess.PIPE, text=True) as worker:
        assert worker.stdout is not None
        pid = int(worker.stdout.readline())
        time.sleep(0.3)
        assert not stopped(pid)
        worker.kill()
        worker.wait(HANG_SECONDS)
        until(lambda: stopped(pid), "the process of the trial has died")


def test_a_process_is_the_first_that_the_kernel_ends_when_memory_runs_out(trials: ChildTrials) -> None:
    """The worker beside it stays."""
    assert isinstance(trials.hold(event("deployment"), always), Publication)
    assert Path(f"/proc/{pid_of(trials)}/oom_score_adj").read_text().strip() == "1000"


def test_the_bundle_of_the_settings_and_the_rules_are_tried_as_they_decide(tiny_bundle_folder: Path) -> None:
    """Every decider that a worker can have makes its way into the other process."""
    for settings in (Settings(bundle=tiny_bundle_folder), Settings(decider="rules")):
        pipeline = pipeline_of(settings)
        held = ChildTrials(TrialRecipe(make=pipeline_of, settings=settings, draw=None, model=pipeline.decider.model))
        found = held.hold(event("Detecting objects in images"), always)
        held.end()
        assert isinstance(found, Publication), found
        assert found.outcome == pipeline.publications([event("Detecting objects in images")])[0].outcome
        assert found.destination is not Destination.DLQ


def decider(model: ModelRef, stand_in: Decider | None = None) -> Decider:
    """One of this model."""
    return replace(breakable(Settings()).decider, model=model, stand_in=stand_in)


IN_EPOCH = msgspec.structs.replace(MODEL, epoch="3", arm="fallback")
CHALLENGER = decider(msgspec.structs.replace(MODEL, epoch="3", arm="challenger"), decider(IN_EPOCH))


def arm(found: object) -> str | None:
    """The arm of the decision in a trial's outcome."""
    assert isinstance(found, Publication), found
    assert isinstance(found.outcome, Tagged | NeedsReview)
    return found.outcome.decision.model.arm


def test_a_suspect_is_tried_by_what_decides_it() -> None:
    """An event that was only there when somebody ended a worker stays the challenger's; each later event has its own decider."""
    deciders = {0: CHALLENGER, 1: decider(IN_EPOCH), 2: CHALLENGER}
    distrusted: list[Record] = []
    held = ChildTrials(recipe(), decider_for=lambda one: deciders[one.offset], distrust=distrusted.append)
    found = [held.hold(event("deployment", at), always) for at in range(3)]
    held.end()
    assert [arm(one) for one in found] == ["challenger", "fallback", "challenger"]
    assert not distrusted


@pytest.mark.parametrize("word", [ABORT, HANG])
def test_a_challenger_that_ends_its_trial_gives_the_event_to_its_stand_in(word: str) -> None:
    """By a crash or without an answer: no death is counted for the event, and the next trial is the champion's, which may blame it."""
    now: list[Decider] = [CHALLENGER]

    def distrust(_: Record) -> None:
        assert CHALLENGER.stand_in is not None
        now[0] = CHALLENGER.stand_in

    held = ChildTrials(recipe(inference_timeout_seconds=1), decider_for=lambda _: now[0], distrust=distrust)
    first, second = held.hold(event(word), always), held.hold(event(word), always)
    held.end()
    assert isinstance(first, NotHeld)
    assert "and the champion does" in first.why
    assert isinstance(second, Died)


def test_a_challenger_that_cannot_be_tried_gives_the_event_to_its_stand_in() -> None:
    """Its bundle may have gone: in the worker's own model it could end one worker after the other."""
    missing = replace(CHALLENGER, model=msgspec.structs.replace(OTHER_MODEL, epoch="3", arm="challenger"))
    distrusted: list[Record] = []
    held = ChildTrials(recipe(), decider_for=lambda _: missing, distrust=distrusted.append)
    assert isinstance(held.hold(event("deployment"), always), NotHeld)
    assert distrusted == [event("deployment")]

"""Readiness is progress: an idle worker is ready; a stalled one, or one with a stopped event loop, is not."""

import threading

from hypothesis import given
from hypothesis import strategies as st

from tagstream.monitoring.health import STARTING, HealthVerdict, Progress, Readiness
from tests.fakes import Clock
from tests.waiting import HANG_SECONDS

STALL = 20.0


def started() -> tuple[Progress, Clock]:
    """A worker that has its partitions and nothing to do."""
    clock = Clock()
    progress = Progress(stall_seconds=STALL, monotonic=clock)
    progress.assigned(4)
    progress.ticked(lag=0)
    return progress, clock


def lives(progress: Progress, clock: Clock, seconds: int, *, lag: int) -> None:
    """Tick every second without any progress."""
    for _ in range(seconds):
        clock.now += 1
        progress.ticked(lag=lag)


def test_a_worker_without_partitions_is_not_ready() -> None:
    """A worker without an assignment is not ready."""
    progress = Progress(stall_seconds=STALL, monotonic=Clock())
    assert not progress.verdict().ready
    assert "partitions" in progress.verdict().why


def test_an_idle_worker_stays_ready() -> None:
    """A worker without events stays ready."""
    progress, clock = started()
    lives(progress, clock, 3600, lag=0)
    assert progress.verdict().ready
    assert progress.verdict().why == "4 partitions, 0 events wait"


def test_a_worker_whose_brokers_are_silent_is_not_ready_within_the_bound() -> None:
    """Without answers from the brokers a worker becomes not ready, because its lag is unknown."""
    progress, clock = started()
    for _ in range(20):
        clock.now += 1
        progress.ticked(lag=None)
    assert progress.verdict().ready
    clock.now += 1
    progress.ticked(lag=None)
    assert progress.verdict() == HealthVerdict(ready=False, why="the brokers have not answered for 21 s, so the lag is unknown")
    progress.ticked(lag=0)
    assert progress.verdict().ready


def test_a_worker_with_lag_that_does_not_move_is_not_ready_within_the_bound() -> None:
    """With lag and no progress a worker is ready up to the bound and not after it, and gives the lag and the time."""
    progress, clock = started()
    lives(progress, clock, 1, lag=7)
    lives(progress, clock, 20, lag=7)
    assert progress.verdict().ready
    lives(progress, clock, 1, lag=7)
    verdict = progress.verdict()
    assert not verdict.ready
    assert verdict.why == "7 events wait and none has moved for 21 s"


def test_a_batch_or_a_commit_makes_a_stalled_worker_ready_again() -> None:
    """A batch or a commit makes a stalled worker ready, even with lag."""
    progress, clock = started()
    lives(progress, clock, 60, lag=7)
    assert not progress.verdict().ready
    progress.moved()
    assert progress.verdict().ready
    lives(progress, clock, 19, lag=1_000_000)
    assert progress.verdict().ready


def test_a_wait_for_the_group_counts_neither_as_a_stall_nor_as_a_loop_that_has_stopped() -> None:
    """A worker that waits for its partitions says so however long it waits, and its clocks begin with the assignment."""
    clock = Clock()
    progress = Progress(stall_seconds=STALL, monotonic=clock)
    clock.now += 300
    assert progress.verdict() == HealthVerdict(ready=False, why=STARTING)
    progress.assigned(4)
    assert progress.verdict() == HealthVerdict(ready=True, why="4 partitions, the lag is not known yet")
    lives(progress, clock, 20, lag=7)
    assert progress.verdict() == HealthVerdict(ready=True, why="4 partitions, 7 events wait")


def test_an_unknown_lag_is_no_stall() -> None:
    """While the brokers are silent no old lag is asserted, and the silence does not count when they answer again."""
    progress, clock = started()
    lives(progress, clock, 10, lag=7)
    for _ in range(15):
        clock.now += 1
        progress.ticked(lag=None)
        assert progress.verdict() == HealthVerdict(
            ready=True, why="4 partitions, the brokers have not answered the last question, so the lag is unknown"
        )
    lives(progress, clock, 11, lag=7)
    assert progress.verdict() == HealthVerdict(ready=True, why="4 partitions, 7 events wait")
    lives(progress, clock, 1, lag=7)
    assert progress.verdict() == HealthVerdict(ready=False, why="7 events wait and none has moved for 21 s")
    clock.now += 6
    progress.ticked(lag=None)
    assert progress.verdict().why == "7 events wait and none has moved for 21 s, as of the brokers' last answer"


def test_answers_that_come_now_and_then_do_not_hide_a_stall() -> None:
    """A worker that stands still stays not ready if every second question has no answer."""
    progress, clock = started()
    for lag in [7, None] * 22:
        clock.now += 1
        progress.ticked(lag=lag)
    assert not progress.verdict().ready
    assert "7 events wait and none has moved for 21 s" in progress.verdict().why


def test_work_that_arrives_after_a_pause_does_not_fail_at_once() -> None:
    """After an idle time, new events get the full time before the worker counts as stalled."""
    progress, clock = started()
    progress.moved()
    lives(progress, clock, 3600, lag=0)
    lives(progress, clock, 1, lag=5)
    assert progress.verdict().ready
    lives(progress, clock, 20, lag=5)
    assert progress.verdict().ready
    lives(progress, clock, 1, lag=5)
    assert not progress.verdict().ready


def test_a_loop_that_has_stopped_is_not_ready_even_when_idle() -> None:
    """A worker whose event loop has stopped is not ready, even without lag."""
    progress, clock = started()
    clock.now += STALL
    assert progress.verdict().ready
    clock.now += 1
    verdict = progress.verdict()
    assert not verdict.ready
    assert verdict.why == "the event loop has not run for 21 s"


def test_a_stopping_worker_is_not_ready_whatever_else_holds() -> None:
    """A stopping worker is never ready."""
    progress, _ = started()
    progress.stopping()
    progress.moved()
    progress.assigned(4)
    assert not progress.verdict().ready
    assert progress.verdict().why == "the worker is stopping"


def test_new_partitions_start_the_clock_anew() -> None:
    """An assignment counts as progress, because its lag is from another worker."""
    progress, clock = started()
    lives(progress, clock, 60, lag=7)
    progress.assigned(2)
    assert progress.verdict().ready
    assert progress.verdict().why == "2 partitions, 7 events wait"


def test_a_worker_that_lost_all_partitions_to_others_is_ready() -> None:
    """A standby worker with an empty assignment is ready."""
    progress, clock = started()
    progress.assigned(0)
    lives(progress, clock, 100, lag=0)
    assert progress.verdict().ready


@given(st.lists(st.tuples(st.sampled_from(["tick", "idle", "move", "wait"]), st.floats(0, 19))))
def test_a_worker_that_ticks_and_moves_within_the_bound_is_never_unready(steps: list[tuple[str, float]]) -> None:
    """After any history, one tick and one batch make a worker ready."""
    progress, clock = started()
    for what, seconds in steps:
        clock.now += seconds
        if what == "move":
            progress.moved()
        elif what != "wait":
            progress.ticked(lag=0 if what == "idle" else 3)
    progress.ticked(lag=3)
    progress.moved()
    clock.now += 19
    assert progress.verdict().ready


def test_every_method_may_be_called_from_any_thread() -> None:
    """Concurrent calls raise no error, and the last call decides."""
    progress, _ = started()
    errors: list[BaseException] = []

    def hammer() -> None:
        try:
            for lag in range(500):
                progress.ticked(lag=lag % 2)
                progress.moved()
                progress.assigned(lag)
                assert progress.verdict().ready
        except BaseException as error:  # noqa: BLE001
            errors.append(error)

    threads = [threading.Thread(target=hammer) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(HANG_SECONDS)
    assert errors == []
    assert not any(thread.is_alive() for thread in threads)


def test_a_worker_that_waits_for_a_person_says_so_before_all_else() -> None:
    """A wait for a person comes before all other reasons until it ends."""
    progress = Progress(stall_seconds=20, monotonic=Clock())
    progress.refuse("the circuit breaker is open")
    assert progress.verdict() == HealthVerdict(ready=False, why="the circuit breaker is open")
    progress.assigned(1)
    progress.refuse(None)
    assert progress.verdict().ready


def test_a_worker_whose_answers_stand_still_is_not_ready_though_its_events_move() -> None:
    """Each topic has its own progress: a busy one would otherwise hide that nothing moves on the other."""
    (events, clock), (answers, other_clock) = started(), started()
    ready = Readiness({"content": events, "reviewed": answers})
    assert ready.verdict() == events.verdict()
    lives(answers, other_clock, 30, lag=2)
    assert ready.verdict() == HealthVerdict(ready=False, why="reviewed: 2 events wait and none has moved for 29 s")
    answers.moved()
    assert ready.verdict().ready
    lives(events, clock, 30, lag=7)
    assert ready.verdict() == events.verdict()
    assert not ready.verdict().ready


def test_the_first_topic_alone_speaks_for_the_process() -> None:
    """A worker without answers has the verdict that it always had, word for word."""
    progress, clock = started()
    for lag in (0, 5):
        assert Readiness({"content": progress}).verdict() == progress.verdict()
        lives(progress, clock, 30, lag=lag)

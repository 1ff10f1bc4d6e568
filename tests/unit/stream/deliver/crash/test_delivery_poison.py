"""Delivery with suspects, with a slow model, and with too many dead letters: the waits, and the batches that are not sent."""

import asyncio
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Self

import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from tagstream.monitoring.health import Progress
from tagstream.monitoring.observer import Observation
from tagstream.monitoring.vocabulary import Destination, Reason
from tagstream.stream.contract.event import Record
from tagstream.stream.contract.outcome import Publication
from tagstream.stream.deliver.crash.guard import Unguarded
from tagstream.stream.deliver.delivery import Delivery
from tagstream.stream.deliver.fatal import InferenceTimeoutError
from tagstream.stream.settings.settings import Settings
from tests.fakes import Clock, Death, Died, FakeBroker, FakeEngine, FakeStream, Gate, RecordingObserver
from tests.replacing import replace
from tests.unit.stream.deliver.delivering import decided, drive, quiet, until


class FakeGuard(Unguarded):
    """Implements `Guard`: suspects the given offsets, and notes whether an end was excused."""

    def __init__(self, *suspects: int) -> None:
        """`suspects` are offsets of partition 0."""
        self.suspected = set(suspects)
        self.excused = False
        self.holds = False
        self.trials: list[int] = []

    def suspects(self, topic: str, partition: int, offset: int) -> bool:  # noqa: ARG002
        """Whether the offset is one of them."""
        return partition == 0 and offset in self.suspected

    def tried(self, event: Record, wanted: Callable[[], bool]) -> bool:
        """Note the offset, and stay as long as `holds` says and the trial is wanted."""
        self.trials.append(event.offset)
        while self.holds and wanted() and not self.excused:
            time.sleep(0.001)
        return not self.holds

    def excuse(self) -> None:
        """Note the call."""
        self.excused = True

    def committed(self, offsets: Mapping[tuple[str, int], int]) -> None:
        """Do nothing."""

    def close(self) -> None:
        """Do nothing."""


class Model:
    """Implements `decide`: takes a fixed time, and notes which batches it decides at once."""

    def __init__(self, seconds: float = 0.0) -> None:
        """`seconds` is the time for a batch."""
        self.batches: list[list[int]] = []
        self.together: list[tuple[list[int], int]] = []
        self._seconds = seconds
        self._lock = threading.Lock()
        self._inside: list[list[int]] = []

    def __call__(self, events: Sequence[Record]) -> list[Publication]:
        """Decide."""
        batch = [event.offset for event in events]
        with self._lock:
            self.batches.append(batch)
            self._inside.append(batch)
            self.together += [(inside, len(self._inside)) for inside in self._inside]
        time.sleep(self._seconds)
        with self._lock:
            self._inside.remove(batch)
        return decided(events)


class Rig:
    """A running delivery."""

    def __init__(
        self,
        decide: Callable[[Sequence[Record]], list[Publication]],
        guard: FakeGuard | None = None,
        broker: FakeBroker | None = None,
        stop: Any = None,
        **knobs: Any,
    ) -> None:
        """Join the fakes."""
        self.stream, self.broker, self.death = FakeStream(), broker or FakeBroker(), Death()
        self.guard = guard or FakeGuard()
        self.delivery = Delivery(
            decide=decide,
            engine=FakeEngine(self.stream, self.broker),
            observer=RecordingObserver(),
            progress=Progress(stall_seconds=20, monotonic=Clock()),
            settings=Settings.model_validate({"batch_max_events": 4, "inference_threads": 2, **knobs}),
            guard=self.guard,
            stop=stop,
            fail=self.death,
        )

    async def __aenter__(self) -> Self:
        asyncio.get_running_loop().set_exception_handler(lambda _, __: None)
        self._run = asyncio.create_task(self.delivery.run(self.stream.events()))
        return self

    async def __aexit__(self, *_: object) -> None:
        self._run.cancel()
        try:
            await self._run
        except (asyncio.CancelledError, Died):
            return


def leap(seconds: float) -> None:
    """Move the event loop's clock ahead, so that a bound is reached without a wait."""
    loop = asyncio.get_running_loop()
    now = loop.time
    loop.time = lambda: now() + seconds  # type: ignore[method-assign]


@hypothesis_settings(max_examples=25, deadline=None)
@given(st.sets(st.integers(0, 29), max_size=8), st.integers(1, 3), st.integers(1, 7))
def test_suspects_are_alone_in_the_model_and_all_is_acknowledged_in_order(suspects: set[int], threads: int, limit: int) -> None:
    """A suspect has no other event beside it; its neighbours go in batches, and no event is lost, doubled or overtaken."""

    async def scenario() -> None:
        model = Model(0.001)
        async with Rig(model, FakeGuard(*suspects), inference_threads=threads, batch_max_events=limit) as rig:
            rig.stream.feed(*range(30))
            await until(lambda: len(rig.stream.acknowledged) == 30)
            assert rig.stream.acknowledged == rig.broker.sent == list(range(30))
            assert rig.death.causes == []
        for batch, at_once in model.together:
            if suspects & set(batch):
                assert (len(batch), at_once) == (1, 1)

    drive(scenario)


def test_a_suspect_is_tried_before_its_batch_begins_and_its_neighbours_are_not() -> None:
    """Each suspect is tried once, in order, with no other event in the model."""

    async def scenario() -> None:
        async with Rig(Model(), FakeGuard(3, 4, 9)) as rig:
            rig.stream.feed(*range(12))
            await until(lambda: len(rig.stream.acknowledged) == 12)
            assert rig.guard.trials == [3, 4, 9]

    drive(scenario)


def test_a_trial_is_given_up_when_partitions_go_and_its_event_is_handed_back() -> None:
    """The wait is short however long the trial would take; the event is tried again when it comes again."""

    async def scenario() -> None:
        guard = FakeGuard(2)
        guard.holds = True
        async with Rig(Model(), guard) as rig:
            rig.stream.feed(0, 1, 2, 3)
            await until(lambda: rig.stream.acknowledged == [0, 1] and guard.trials == [2])
            assert rig.delivery.inflight == 0
            await rig.delivery.hand_back()
            assert rig.delivery.holds() == set()
            guard.holds = False
            rig.delivery.take_again()
            rig.stream.feed(2, 3)
            await until(lambda: rig.stream.acknowledged == [0, 1, 2, 3])
            assert guard.trials == [2, 2]
            assert rig.death.causes == []

    drive(scenario)


def test_a_worker_that_ends_gives_a_trial_up_and_begins_nothing_until_it_hands_the_events_back() -> None:
    """A suspect that was not tried to its end does not get into the model of a worker that stops."""

    async def scenario() -> None:
        guard = FakeGuard(1)
        guard.holds = True
        model = Model()
        async with Rig(model, guard) as rig:
            rig.stream.feed(0, 1, 2)
            await until(lambda: guard.trials == [1])
            guard.excuse()
            await quiet()
            await rig.delivery.hand_back()
            await quiet()
            assert (model.batches, rig.stream.acknowledged, rig.delivery.holds()) == ([[0]], [0], set())

    drive(scenario)


def test_a_trial_is_given_up_when_the_delivery_ends() -> None:
    """The thread of the model does not stay behind with it."""
    earlier = set(threading.enumerate())

    async def scenario() -> None:
        guard = FakeGuard(0)
        guard.holds = True
        async with Rig(Model(), guard) as rig:
            rig.stream.feed(0)
            await until(lambda: guard.trials == [0])
        await until(lambda: not any(thread.name.startswith("inference") for thread in set(threading.enumerate()) - earlier))

    drive(scenario)


def test_a_suspect_does_not_wait_for_the_broker() -> None:
    """An event that waits for its confirmation is not in the model any more, so the next suspect begins."""

    async def scenario() -> None:
        async with Rig(Model(), FakeGuard(0, 1), FakeBroker(confirms=False)) as rig:
            rig.stream.feed(0, 1)
            await until(lambda: rig.broker.sent == [0, 1])

    drive(scenario)


def test_events_that_are_suspects_no_longer_go_with_their_neighbours() -> None:
    """When the guard drops its suspicions, because the worker ends, the rest of the batch is decided together."""

    async def scenario() -> None:
        guard = FakeGuard(*range(10))
        gate = Gate(decided, 0)
        async with Rig(gate, guard, batch_max_events=10) as rig:
            rig.stream.feed(*range(10))
            await until(lambda: gate.batches == [[0]])
            guard.suspected.clear()
            gate.open()
            await until(lambda: len(rig.stream.acknowledged) == 10)
            assert gate.batches[0] == [0]
            assert len(gate.batches) <= 3

    drive(scenario)


def test_the_wait_for_a_thread_is_not_the_models_time() -> None:
    """With two batches and one thread, the bound of the second batch counts from when it has the thread."""

    async def scenario() -> None:
        gate = Gate(decided, 0, 1)
        async with Rig(gate, inference_threads=1, batch_max_events=1, inference_timeout_seconds=20) as rig:
            rig.stream.feed(0, 1)
            for number in (0, 1):
                await until(lambda number=number: gate.batches[number:] == [[number]])  # type: ignore[misc]
                await quiet()
                leap(15)
                await quiet()
                assert rig.death.causes == []
                gate.open(number)
            await until(lambda: rig.stream.acknowledged == [0, 1])

    drive(scenario)


def test_a_model_that_hangs_ends_the_process_at_its_bound_though_another_batch_waits() -> None:
    """The bound of the batch in the model ends the process; the batch behind it does not prolong it."""

    async def scenario() -> None:
        gate = Gate(decided, 0)
        async with Rig(gate, inference_threads=1, batch_max_events=1, inference_timeout_seconds=20) as rig:
            rig.stream.feed(0, 1)
            await until(lambda: gate.batches == [[0]])
            await quiet()
            leap(15)
            await quiet()
            assert rig.death.causes == []
            leap(6)
            await until(lambda: bool(rig.death.causes))
            assert isinstance(rig.death.causes[0], InferenceTimeoutError)
            gate.open()

    drive(scenario)


@pytest.mark.parametrize("hangs", [True, False])
def test_only_a_model_that_hangs_is_blamed_on_events(hangs: bool) -> None:
    """A worker that ends itself for any other reason excuses its events in hand, so that none is suspected."""

    async def scenario() -> None:
        gate = Gate(decided, *([0] if hangs else []))
        knobs = {"inference_timeout_seconds" if hangs else "produce_timeout_seconds": 0.2}
        async with Rig(gate, broker=FakeBroker(confirms=False), **knobs) as rig:
            rig.stream.feed(0)
            await until(lambda: bool(rig.death.causes))
            assert isinstance(rig.death.causes[0], InferenceTimeoutError) == hangs
            assert rig.guard.excused != hangs
            gate.open()

    drive(scenario)


def dead(events: Sequence[Record]) -> list[Publication]:
    """A `decide` for which offsets from 100 on are dead letters."""
    seen = Observation(destination=Destination.DLQ, created_ms=0, rejection=Reason.INVALID_JSON)
    return [
        replace(publication, destination=Destination.DLQ, observation=seen) if event.offset >= 100 else publication
        for event, publication in zip(events, decided(events), strict=True)
    ]


def test_too_many_dead_letters_stop_the_worker_after_it_acknowledges_the_sent_events() -> None:
    """The batch that trips the breaker is not sent, nor any after it; the batch before it is acknowledged first."""

    async def scenario() -> None:
        stopped: list[tuple[str, list[int], list[int]]] = []

        async def stop(why: str) -> None:
            stopped.append((why, list(rig.broker.sent), list(rig.stream.acknowledged)))

        broker = FakeBroker()
        knobs = {"breaker_window_events": 100, "breaker_dead_letter_ratio": 0.25, "batch_max_events": 10}
        async with Rig(dead, broker=broker, stop=stop, **knobs) as rig:
            rig.stream.feed(*range(120))
            await until(lambda: len(rig.stream.acknowledged) == 120)
            broker.confirms = False
            rig.stream.feed(*range(120, 125))
            await until(lambda: 124 in broker.pending)
            rig.stream.feed(*range(125, 200))
            await quiet()
            assert stopped == []
            broker.confirm(*range(120, 125))
            await until(lambda: bool(rig.death.causes))
            await quiet()
            ((why, sent, acknowledged),) = stopped
            assert "of the last 100 events are dead letters" in why
            assert sent == acknowledged == broker.sent == rig.stream.acknowledged == list(range(125))

    drive(scenario)


def test_dead_letters_stop_no_worker_whose_breaker_is_off() -> None:
    """Without `stop`, or with the default limits, a worker goes on at any number of dead letters."""

    async def scenario() -> None:
        async def stop(why: str) -> None:
            raise AssertionError(why)

        for given_stop, knobs in ((None, {"breaker_dead_letter_ratio": 0.1}), (stop, {})):
            async with Rig(dead, stop=given_stop, breaker_window_events=100, **knobs) as rig:
                rig.stream.feed(*range(100, 300))
                await until(lambda: len(rig.stream.acknowledged) == 200 or bool(rig.death.causes))
                assert rig.death.causes == []

    drive(scenario)

"""The threads that a delivery starts with, and its end by cancellation or by the end of the stream."""

import asyncio
import threading

import pytest

from tests.fakes import FakeBroker, Gate
from tests.unit.stream.deliver.delivering import SECONDS, decided, drive, quiet, rig, until


def test_cancellation_before_the_confirmation_acknowledges_no_event() -> None:
    """When a worker is told to stop, unconfirmed events are read again later. This is not a failure."""

    async def scenario() -> None:
        async with rig(broker=FakeBroker(confirms=False), feed=[0, 1]) as it:
            await until(lambda: it.broker.sent == [0, 1])
            it.run.cancel()
            with pytest.raises(asyncio.CancelledError):
                await it.run
            assert it.delivery.inflight == 0
            for confirmation in it.broker.pending.values():
                if not confirmation.done():
                    confirmation.set_result(None)
            await quiet()
            assert it.stream.acknowledged == []
            assert it.death.causes == []

    drive(scenario)


def test_cancellation_at_the_moment_of_confirmation_acknowledges_all_or_no_events() -> None:
    """The cancellation and the confirmation fall into one turn of the event loop. The run acknowledges all events or none."""

    async def scenario() -> None:
        async with rig(broker=FakeBroker(confirms=False), feed=[0]) as it:
            await until(lambda: it.broker.sent == [0])
            it.broker.confirm(0)
            it.run.cancel()
            with pytest.raises(asyncio.CancelledError):
                await it.run
            await quiet()
            assert it.stream.acknowledged in ([], [0])
            assert it.death.causes == []
            assert it.delivery.inflight == 0

    drive(scenario)


def test_cancellation_does_not_wait_for_a_model_that_hangs() -> None:
    """The event loop is not blocked by the thread, so the bound of the shutdown holds."""

    async def scenario() -> None:
        gate = Gate(decided, 0)
        async with rig(decide=gate, feed=[0]) as it:
            await until(lambda: gate.batches == [[0]])
            # A timer thread opens the gate: an event loop that waits for the model could not.
            late = threading.Timer(SECONDS, gate.open)
            late.start()
            it.run.cancel()
            with pytest.raises(asyncio.CancelledError):
                await it.run
            assert late.is_alive()
            late.cancel()
            gate.open()
            await quiet()
            assert it.broker.sent == []
            assert it.stream.acknowledged == []

    drive(scenario)


def test_all_inference_threads_start_before_the_first_event() -> None:
    """The memory of the threads is allocated when the worker starts, not when its load first rises."""
    # Earlier tests may have left threads that have not ended yet.
    earlier = set(threading.enumerate())

    def inferring() -> int:
        return sum(thread.name.startswith("inference") for thread in set(threading.enumerate()) - earlier)

    async def scenario() -> None:
        async with rig(inference_threads=3) as it:
            await until(lambda: inferring() == 3)
            assert it.broker.sent == []

    drive(scenario)


def test_the_end_of_the_stream_ends_the_run() -> None:
    """Confirmed events are acknowledged, and no task is left running."""

    async def scenario() -> None:
        before = asyncio.all_tasks()
        async with rig(feed=[0, 1, 2]) as it:
            await until(lambda: it.stream.acknowledged == [0, 1, 2])
            it.stream.end()
            await it.run
            assert asyncio.all_tasks() == before
            assert it.death.causes == []

    drive(scenario)

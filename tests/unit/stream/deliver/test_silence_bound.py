"""The delivery waits for a broker that confirms slowly, and fails if the broker confirms nothing within the bound."""

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from tagstream.stream.contract.outcome import Publication
from tagstream.stream.deliver.delivery import Confirmations, SilenceBound
from tagstream.stream.deliver.fatal import DeliveryError
from tests.fakes import FakeBroker, FakeEvent, FakeMessage, Gate
from tests.unit.stream.deliver.delivering import decided, drive, rig, until

# The bound: so long that delays of some seconds on a busy machine do not matter.
SECONDS = 1000.0
# More than half of the bound.
LEAP = 700.0
# Ends a test that hangs, on the clock that is set forward. pytest's own timeout is on real time.
HANG_SECONDS = 100 * SECONDS


class Leaps:
    """The clock of an event loop. A test can set it forward."""

    def __init__(self, loop: Any, monkeypatch: pytest.MonkeyPatch) -> None:
        self._ahead = 0.0
        real: Callable[[], float] = loop.time
        monkeypatch.setattr(loop, "time", lambda: real() + self._ahead)

    async def forward(self, seconds: float) -> None:
        """Run all tasks that are due, set the clock forward, and run all tasks that are due then."""
        await self._due()
        self._ahead += seconds
        await self._due()

    @staticmethod
    async def _due() -> None:
        for _ in range(20):
            await asyncio.sleep(0)


@pytest.mark.parametrize("events", [pytest.param(4, id="one batch"), pytest.param(8, id="a batch behind another")])
def test_a_batch_may_take_longer_than_the_bound_while_records_are_confirmed(
    monkeypatch: pytest.MonkeyPatch, events: int
) -> None:
    """One record is confirmed each 700 s with a bound of 1,000 s. The worker goes on: a confirmation of one batch counts for the next."""

    async def scenario() -> None:
        leaps = Leaps(asyncio.get_running_loop(), monkeypatch)
        async with rig(broker=FakeBroker(confirms=False), feed=range(events), produce_timeout_seconds=SECONDS) as it:
            await until(lambda: len(it.broker.sent) == events)
            for offset in range(events):
                await leaps.forward(LEAP)
                it.broker.confirm(offset)
            await until(lambda: it.stream.acknowledged == list(range(events)) or bool(it.death.causes))
            assert it.death.causes == []

    drive(scenario, seconds=HANG_SECONDS)


def test_a_broker_that_falls_silent_ends_the_process(monkeypatch: pytest.MonkeyPatch) -> None:
    """Three of four records are confirmed, then no record for 1,400 s. The process ends, and the batch is not acknowledged."""

    async def scenario() -> None:
        leaps = Leaps(asyncio.get_running_loop(), monkeypatch)
        async with rig(broker=FakeBroker(confirms=False), feed=range(4), produce_timeout_seconds=SECONDS) as it:
            await until(lambda: len(it.broker.sent) == 4)
            for offset in range(3):
                await leaps.forward(LEAP)
                it.broker.confirm(offset)
            await leaps.forward(LEAP)
            assert it.death.causes == []
            await leaps.forward(LEAP)
            await until(lambda: bool(it.death.causes))
            assert isinstance(it.death.causes[0], DeliveryError)
            assert it.stream.acknowledged == []

    drive(scenario, seconds=HANG_SECONDS)


def test_a_confirmation_after_the_bound_has_passed_changes_nothing() -> None:
    """A late confirmation cannot prolong a block that has timed out."""

    async def late(silence: SilenceBound) -> None:
        async with silence.bound():
            try:
                await asyncio.Event().wait()
            finally:
                silence.confirmed()

    async def scenario() -> None:
        with pytest.raises(TimeoutError):
            await late(SilenceBound(0.01))

    drive(scenario)


@pytest.mark.parametrize("early", [0, 1, 2])
def test_a_batch_is_confirmed_once_its_last_record_is(early: int) -> None:
    """Some records may be confirmed while later records are still being sent."""

    async def scenario() -> None:
        futures = [asyncio.get_running_loop().create_future() for _ in range(4)]
        confirmations = Confirmations(SilenceBound(SECONDS))
        for number, future in enumerate(futures):
            confirmations.add(future)
            if number < early:
                future.set_result(None)
                await asyncio.sleep(0)
        waiting = asyncio.ensure_future(confirmations.all())
        for future in futures[early:]:
            await asyncio.sleep(0)
            assert not waiting.done()
            future.set_result(None)
        await waiting

    drive(scenario)


@pytest.mark.parametrize("waits", [False, True])
def test_one_record_that_fails_fails_its_batch_at_once(waits: bool) -> None:
    """The batch does not wait for its other records, which may never be confirmed."""

    async def scenario() -> None:
        first, second = (asyncio.get_running_loop().create_future() for _ in range(2))
        confirmations = Confirmations(SilenceBound(SECONDS))
        confirmations.add(first)
        confirmations.add(second)
        waiting = asyncio.ensure_future(confirmations.all())
        if waits:
            await asyncio.sleep(0)
        second.set_exception(ConnectionError("gone"))
        with pytest.raises(ConnectionError, match="gone"):
            await waiting

    drive(scenario)


def test_a_bound_that_has_passed_leaves_alone_what_is_not_confirmed() -> None:
    """The timeout does not cancel the confirmation, because another batch may wait for it."""

    async def scenario() -> None:
        silence = SilenceBound(0.01)
        future = asyncio.get_running_loop().create_future()
        confirmations = Confirmations(silence)
        confirmations.add(future)
        with pytest.raises(TimeoutError):
            async with silence.bound():
                await confirmations.all()
        assert not future.done()

    drive(scenario)


def test_large_events_go_to_the_broker_in_small_batches() -> None:
    """Events of 400 KB form batches of at most 12 events, which a connection of 500 KB/s sends in 10 s."""
    sizes: list[int] = []

    def decide(events: Any) -> list[Publication]:
        sizes.append(len(events))
        return decided(events)

    async def scenario() -> None:
        gate = Gate(decide, 0)
        async with rig(decide=gate, batch_max_events=64) as it:
            for offset in range(64):
                it.stream.coming.put_nowait(FakeEvent(FakeMessage(offset, value=b"v" * 400_000)))
            await until(lambda: it.stream.taken == 64)
            gate.open()
            await until(lambda: len(it.stream.acknowledged) == 64)

    drive(scenario)
    assert sum(sizes) == 64
    assert max(sizes) <= 11

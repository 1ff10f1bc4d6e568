"""A broker that confirms slowly is waited for; one that confirms nothing is not."""

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from stream.contract.publication import Publication
from stream.deliver.fatal import DeliveryError
from stream.deliver.patience import Patience
from tests.fakes import FakeBroker, FakeEvent, FakeMessage, Gate
from tests.unit.stream.deliver.delivering import decided, drive, rig, until

SECONDS = 10.0
# More than half of it.
LEAP = 7.0


class Leaps:
    """The clock of an event loop, which a test can set forward."""

    def __init__(self, loop: Any, monkeypatch: pytest.MonkeyPatch) -> None:
        self._ahead = 0.0
        real: Callable[[], float] = loop.time
        monkeypatch.setattr(loop, "time", lambda: real() + self._ahead)

    async def forward(self, seconds: float) -> None:
        """Set it forward, and let everything happen that is due."""
        self._ahead += seconds
        for _ in range(20):
            await asyncio.sleep(0)


def test_a_batch_may_take_longer_than_the_bound_while_records_are_confirmed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Four records, one each 7 s, with a bound of 10 s: 28 s for the batch, and the worker goes on."""

    async def scenario() -> None:
        leaps = Leaps(asyncio.get_running_loop(), monkeypatch)
        async with rig(broker=FakeBroker(confirms=False), feed=range(4), produce_timeout_seconds=SECONDS) as it:
            await until(lambda: len(it.broker.sent) == 4)
            for offset in range(4):
                await leaps.forward(LEAP)
                it.broker.confirm(offset)
            await until(lambda: it.stream.acknowledged == [0, 1, 2, 3] or bool(it.death.causes))
            assert it.death.causes == []

    drive(scenario)


def test_a_batch_that_waits_behind_another_is_not_given_up_while_that_one_is_confirmed(monkeypatch: pytest.MonkeyPatch) -> None:
    """The second batch shares the connection with the first: the confirmations of one are progress for both."""

    async def scenario() -> None:
        leaps = Leaps(asyncio.get_running_loop(), monkeypatch)
        async with rig(broker=FakeBroker(confirms=False), feed=range(8), produce_timeout_seconds=SECONDS) as it:
            await until(lambda: len(it.broker.sent) == 8)
            for offset in range(8):
                await leaps.forward(LEAP)
                it.broker.confirm(offset)
            await until(lambda: it.stream.acknowledged == list(range(8)) or bool(it.death.causes))
            assert it.death.causes == []

    drive(scenario)


def test_a_broker_that_falls_silent_ends_the_process(monkeypatch: pytest.MonkeyPatch) -> None:
    """Three of four records are confirmed, then none for 14 s: the process ends, and the batch is not acknowledged."""

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

    drive(scenario)


def test_a_confirmation_after_the_bound_has_passed_changes_nothing() -> None:
    """The block has timed out already and cannot be prolonged."""

    async def late(patience: Patience) -> None:
        async with patience.bound():
            try:
                await asyncio.Event().wait()
            finally:
                await patience.watched(asyncio.sleep(0))

    async def scenario() -> None:
        with pytest.raises(TimeoutError):
            await late(Patience(0.01))

    drive(scenario)


def test_large_events_go_to_the_broker_in_small_batches() -> None:
    """Of 64 events of 400 KB not more than 12 are a batch, which a connection of 500 KB/s takes in 10 s."""
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

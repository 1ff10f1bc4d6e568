"""The age of the oldest event in hand, and the partitions of the events in hand."""

import time

import pytest

from tests.fakes import FakeBroker, FakeEvent, FakeMessage
from tests.unit.stream.deliver.delivering import drive, quiet, rig, until

NOW = 1_764_000_000.0


def at(offset: int, timestamp: float | None) -> FakeEvent:
    """Return an event with this offset that was written at this time."""
    return FakeEvent(FakeMessage(offset, timestamp=timestamp))


def test_the_oldest_event_may_wait_or_be_under_way() -> None:
    """Any event counts from its taking until its acknowledgement, also if an earlier event is younger. Without events, the age is 0."""

    async def scenario() -> None:
        async with rig(broker=FakeBroker(confirms=False), inference_threads=1) as it:
            assert it.delivery.oldest_seconds(NOW) == 0.0
            assert it.delivery.holds() == set()
            it.stream.coming.put_nowait(at(0, NOW - 100))
            await until(lambda: it.broker.sent == [0])
            assert it.delivery.holds() == {("content", 0)}
            it.stream.coming.put_nowait(at(1, NOW - 300))
            it.stream.coming.put_nowait(at(2, NOW - 50))
            await until(lambda: it.stream.taken == 3)
            await quiet()
            assert it.delivery.oldest_seconds(NOW) == 300.0
            await until(lambda: it.broker.sent == [0, 1, 2])
            it.broker.confirm(0)
            await until(lambda: it.stream.acknowledged == [0])
            assert it.delivery.oldest_seconds(NOW) == 300.0
            it.broker.confirm(1, 2)
            await until(lambda: it.delivery.oldest_seconds(NOW) == 0.0)
            assert it.stream.acknowledged == [0, 1, 2]

    drive(scenario)


@pytest.mark.parametrize("timestamp", [None, 0.0, -0.001, -(2.0**62) / 1000, 1.0, 2.0**62])
def test_an_event_without_a_timestamp_that_can_be_true_counts_from_its_taking(timestamp: float | None) -> None:
    """An event with timestamp 0, for example, does not look half a century old and is not left out."""

    async def scenario() -> None:
        async with rig(broker=FakeBroker(confirms=False)) as it:
            it.stream.coming.put_nowait(at(0, timestamp))
            await until(lambda: it.broker.sent == [0])
            assert 0 < it.delivery.oldest_seconds(time.time() + 60) < 120

    drive(scenario)


def test_an_event_from_the_future_has_no_negative_age() -> None:
    """A timestamp ahead of our clock gives the age 0."""

    async def scenario() -> None:
        async with rig(broker=FakeBroker(confirms=False)) as it:
            it.stream.coming.put_nowait(at(0, NOW + 1_000.0))
            await until(lambda: it.broker.sent == [0])
            assert it.delivery.oldest_seconds(NOW) == 0.0

    drive(scenario)

"""A batch of events is held until the model that decides the events is known."""

import asyncio
import time
from collections.abc import Callable, Sequence
from typing import Any

from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from tagstream.stream.deliver.fatal import DeliveryError
from tests.unit.stream.deliver.delivering import drive, quiet, rig, until

WHY = "no controller marks the epoch"


class Door:
    """Admits events up to offset `last`. Later events wait until `last` is raised or they are given up."""

    def __init__(self, last: int = -1) -> None:
        self.last = last
        self.asked: list[list[int]] = []

    async def __call__(self, taken: Sequence[Any], given_up: Callable[[], bool]) -> None:
        """Wait until all of these events are admitted or given up."""
        offsets = [event.message.offset for event in taken]
        self.asked.append(offsets)
        while max(offsets) > self.last and not given_up():  # noqa: ASYNC110 - as a worker asks for more records
            await asyncio.sleep(0.001)


def test_events_that_are_held_begin_once_they_are_admitted() -> None:
    """No held event is decided, each batch asks for admission once, and events stay in order."""

    async def scenario() -> None:
        door = Door()
        async with rig(feed=range(10), admit=door) as it:
            await until(lambda: door.asked != [])
            await quiet()
            assert it.broker.sent == []
            assert it.delivery.inflight == 0
            door.last = 99
            await until(lambda: it.stream.acknowledged == list(range(10)))
            assert [offset for batch in door.asked for offset in batch] == list(range(10))

    drive(scenario)


@hypothesis_settings(max_examples=40, deadline=None)
@given(lasts=st.lists(st.integers(-1, 19), min_size=1, max_size=5), limit=st.integers(1, 5), threads=st.integers(1, 3))
def test_held_events_are_handed_back_when_their_partition_goes(lasts: list[int], limit: int, threads: int) -> None:
    """The group does not wait for held events. They are delivered once, later, and acknowledged in order."""
    events = 20

    async def scenario() -> None:
        door = Door()
        async with rig(feed=range(events), admit=door, batch_max_events=limit, inference_threads=threads) as it:
            for last in lasts:
                door.last = last
                await quiet()
                await it.delivery.hand_back()
                done = len(it.stream.acknowledged)
                assert it.stream.acknowledged == it.broker.sent == list(range(done))
                assert it.delivery.holds() == set()
                assert it.delivery.oldest_seconds(time.time()) == 0
                await until(it.stream.coming.empty)
                await quiet()
                it.delivery.take_again()
                it.stream.feed(*range(done, events))
            door.last = events
            await until(lambda: len(it.stream.acknowledged) == events)
            assert it.stream.acknowledged == it.broker.sent == list(range(events))
            assert it.death.causes == []

    drive(scenario)


def test_events_that_cannot_be_admitted_end_the_process() -> None:
    """No event is acknowledged, so all events are read again. No event is blamed."""

    async def refuses(_: Sequence[Any], __: Callable[[], bool]) -> None:
        raise DeliveryError(WHY)

    async def scenario() -> None:
        async with rig(feed=range(3), admit=refuses) as it:
            await until(lambda: it.death.causes != [])
            assert [str(cause) for cause in it.death.causes] == [WHY]
            assert it.stream.acknowledged == it.broker.sent == []

    drive(scenario)

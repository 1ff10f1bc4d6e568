"""Batches without a fixed delay, and a bound on the events that wait."""

import asyncio

from hypothesis import given
from hypothesis import strategies as st

from tagstream.stream.deliver.batch import Batcher
from tests.waiting import HANG_SECONDS


async def settled() -> None:
    """Let the other tasks run until they wait."""
    for _ in range(10):
        await asyncio.sleep(0)


@given(st.lists(st.integers()), st.integers(1, 7))
def test_batches_keep_every_event_in_order_within_the_limit(events: list[int], limit: int) -> None:
    """The concatenated batches are the events. No batch is empty or larger than the limit."""

    async def scenario() -> list[list[int]]:
        batcher: Batcher[int] = Batcher(limit=limit)
        filling = asyncio.create_task(put_all(batcher, events, [0] * len(events)))
        batches: list[list[int]] = []
        while sum(map(len, batches)) < len(events):
            batch, share = await batcher.next_batch()
            assert share == len(batch) / limit
            batches.append(batch)
        await filling
        return batches

    batches = asyncio.run(asyncio.wait_for(scenario(), HANG_SECONDS))
    assert [event for batch in batches for event in batch] == events
    assert all(1 <= len(batch) <= limit for batch in batches)


@given(st.lists(st.integers(0, 20), min_size=1), st.integers(1, 7), st.integers(1, 40))
def test_a_batch_has_at_most_one_event_more_than_its_bytes_allow(sizes: list[int], limit: int, most: int) -> None:
    """A batch without its last event is smaller than the bound. A single event of any size is a batch."""

    async def scenario() -> list[list[int]]:
        batcher: Batcher[int] = Batcher(limit=limit, batch_bytes=most)
        filling = asyncio.create_task(put_all(batcher, sizes, sizes))
        batches: list[list[int]] = []
        while sum(map(len, batches)) < len(sizes):
            batch, share = await batcher.next_batch()
            assert share == min(1, max(len(batch) / limit, sum(batch) / most))
            batches.append(batch)
        await filling
        return batches

    batches = asyncio.run(asyncio.wait_for(scenario(), HANG_SECONDS))
    assert [size for batch in batches for size in batch] == sizes
    assert all(sum(batch[:-1]) < most for batch in batches)


async def put_all(batcher: Batcher[int], events: list[int], sizes: list[int]) -> None:
    """Add the events one by one, and wait for room before each."""
    for event, size in zip(events, sizes, strict=True):
        await batcher.put(event, size)


def test_a_batch_takes_the_waiting_events_and_waits_for_no_more() -> None:
    """Two events are a batch although eight would fit."""

    async def scenario() -> list[str]:
        batcher: Batcher[str] = Batcher(limit=8)
        await batcher.put("a", 0)
        await batcher.put("b", 0)
        return (await batcher.next_batch())[0]

    assert asyncio.run(asyncio.wait_for(scenario(), HANG_SECONDS)) == ["a", "b"]


def test_clear_drops_the_queue_and_the_event_that_waits_for_room() -> None:
    """A `put` that waits for room returns False after `clear`. A later `put` adds its event."""

    async def scenario() -> None:
        batcher: Batcher[int] = Batcher(limit=2)
        assert await batcher.put(1, 0)
        assert await batcher.put(2, 0)
        third = asyncio.create_task(batcher.put(3, 0))
        await settled()
        assert batcher.clear() == 2
        assert not await third
        assert batcher.clear() == 0
        assert await batcher.put(4, 0)
        assert (await batcher.next_batch())[0] == [4]

    asyncio.run(asyncio.wait_for(scenario(), HANG_SECONDS))


def test_put_waits_while_the_queue_is_full() -> None:
    """The bound of the queue keeps a backlog in Kafka."""

    async def scenario() -> None:
        batcher: Batcher[int] = Batcher(limit=2)
        await batcher.put(1, 0)
        await batcher.put(2, 0)
        third = asyncio.create_task(batcher.put(3, 0))
        await settled()
        assert not third.done()
        assert (await batcher.next_batch())[0] == [1, 2]
        await third
        assert (await batcher.next_batch())[0] == [3]

    asyncio.run(asyncio.wait_for(scenario(), HANG_SECONDS))

"""Micro-batches without a linger: whatever has arrived, up to a limit. A queue of bounded size between Faust and the model.

A lone event is decided at once. While batches are under way the next one waits until it is worth the trip, half of the
limit, or until nothing is under way any more: under load batches fill themselves, and no time is set by hand. The bound keeps
a backlog in Kafka, where it is visible as lag.
"""

import asyncio
from collections.abc import Callable
from typing import Generic, TypeVar

T = TypeVar("T")

# The share of a full batch for which a trip through thread and broker is begun while others are under way.
WORTH_A_TRIP = 2


class Batcher(Generic[T]):
    """
    A queue that is filled one by one and emptied by batches, for one producer and one consumer on one event loop.

    >>> async def example():
    ...     batcher = Batcher(limit=2)
    ...     for event in "ab":
    ...         await batcher.put(event)
    ...     return await batcher.next_batch()
    >>> asyncio.run(example())
    ['a', 'b']
    """

    def __init__(self, *, limit: int) -> None:
        """`limit` is the most events in a batch, and the most that wait."""
        self._limit = limit
        self._worth = max(1, limit // WORTH_A_TRIP)
        self._queue: asyncio.Queue[T] = asyncio.Queue(maxsize=limit)
        self._changed = asyncio.Event()
        self._cleared = 0

    async def put(self, event: T) -> bool:
        """Add one event; waits while `limit` events wait. False: it was not added, since `clear` came in between."""
        cleared = self._cleared
        await self._queue.put(event)
        if cleared != self._cleared:
            # Alone in the queue, since nobody has run since it was put there.
            self._queue.get_nowait()
            return False
        if self._queue.qsize() >= self._worth:
            self._changed.set()
        return True

    def clear(self) -> int:
        """Drop what waits, and what waits to be added; how many events waited."""
        self._cleared += 1
        dropped = self._queue.qsize()
        while not self._queue.empty():
            self._queue.get_nowait()
        return dropped

    def idle(self) -> None:
        """Nothing is under way any more: whoever waits in `worth_a_trip` looks again."""
        self._changed.set()

    async def worth_a_trip(self, busy: Callable[[], bool]) -> None:
        """Wait while `busy()` and less than half of `limit` waits: a batch of one costs nearly what one of thirty does."""
        while busy() and self._queue.qsize() < self._worth:
            self._changed.clear()
            await self._changed.wait()

    async def next_batch(self) -> list[T]:
        """At least one event, at most `limit`, in the order in which they came. Waits for the first only."""
        batch = [await self._queue.get()]
        while len(batch) < self._limit and not self._queue.empty():
            batch.append(self._queue.get_nowait())
        return batch

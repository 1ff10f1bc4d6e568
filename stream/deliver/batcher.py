"""
Collects events into batches without a fixed delay; a bounded queue between Faust and the model.

A lone event is decided at once. While batches are under way, the next one waits until half a full batch has arrived or until no batch
is under way any more. So batches grow with the load, and no delay has to be tuned. The bound keeps a backlog in Kafka, where it shows
as lag.
"""

import asyncio
from collections.abc import Callable
from typing import Generic, TypeVar

T = TypeVar("T")

# A full batch divided by this is worth a trip through thread and broker while other batches are under way.
WORTH_A_TRIP = 2


class Batcher(Generic[T]):
    """
    A queue that is filled event by event and emptied in batches, by one producer and one consumer on one event loop.

    >>> async def example():
    ...     batcher = Batcher(limit=2)
    ...     for event in "ab":
    ...         await batcher.put(event)
    ...     return await batcher.next_batch()
    >>> asyncio.run(example())
    ['a', 'b']
    """

    def __init__(self, *, limit: int) -> None:
        """`limit` is the largest size of a batch, and of the queue."""
        self._limit = limit
        self._worth = max(1, limit // WORTH_A_TRIP)
        self._queue: asyncio.Queue[T] = asyncio.Queue(maxsize=limit)
        self._changed = asyncio.Event()
        self._cleared = 0

    async def put(self, event: T) -> bool:
        """Add one event; waits while the queue is full. Returns False if `clear` was called meanwhile, and then adds nothing."""
        cleared = self._cleared
        await self._queue.put(event)
        if cleared != self._cleared:
            # It is the only event in the queue, because no other task has run since it was added.
            self._queue.get_nowait()
            return False
        if self._queue.qsize() >= self._worth:
            self._changed.set()
        return True

    def clear(self) -> int:
        """Drop the events in the queue, and any that `put` still waits to add; returns how many were in the queue."""
        self._cleared += 1
        dropped = self._queue.qsize()
        while not self._queue.empty():
            self._queue.get_nowait()
        return dropped

    def idle(self) -> None:
        """Tell `worth_a_trip` that no batch is under way any more."""
        self._changed.set()

    async def worth_a_trip(self, busy: Callable[[], bool]) -> None:
        """Wait while `busy()` and less than half a batch is queued: a batch of one costs nearly as much as one of thirty."""
        while busy() and self._queue.qsize() < self._worth:
            self._changed.clear()
            await self._changed.wait()

    async def next_batch(self) -> list[T]:
        """The queued events, at least one and at most `limit`, in order of arrival. Waits for the first one only."""
        batch = [await self._queue.get()]
        while len(batch) < self._limit and not self._queue.empty():
            batch.append(self._queue.get_nowait())
        return batch

"""Micro-batches without waiting: whatever has arrived, up to a limit. A queue of bounded size between Faust and the model.

A lone event is decided at once; under load batches fill themselves while the previous ones are being decided. Nothing is held
back for company, so there is no linger to tune. The bound keeps a backlog in Kafka, where it is visible as lag.
"""

import asyncio
from typing import Generic, TypeVar

T = TypeVar("T")


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
        self._queue: asyncio.Queue[T] = asyncio.Queue(maxsize=limit)

    async def put(self, event: T) -> None:
        """Add one event; waits while `limit` events wait."""
        await self._queue.put(event)

    async def next_batch(self) -> list[T]:
        """At least one event, at most `limit`, in the order in which they came. Waits for the first only."""
        batch = [await self._queue.get()]
        while len(batch) < self._limit and not self._queue.empty():
            batch.append(self._queue.get_nowait())
        return batch

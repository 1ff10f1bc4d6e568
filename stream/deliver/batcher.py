"""
Collects events into batches without a fixed delay; a bounded queue between Faust and the model.

A batch is bounded in events, for the model, and in bytes, for the broker: a batch of 64 events of 400 KB takes a minute on a
connection of 500 KB/s.

The queue never waits for a fuller batch: whoever takes a batch gets what has arrived while the model was busy. So batches grow with the
load, and no delay has to be tuned. The bound keeps a backlog in Kafka, where it shows as lag.
"""

import asyncio
from collections.abc import Callable, Sequence
from typing import Generic, TypeVar

T = TypeVar("T")

# A batch of large events. The broker is sent several at once, and they are in memory several times: as events, outcomes and requests.
BATCH_BYTES = 4 * 1024 * 1024


class Batcher(Generic[T]):
    """
    A queue that is filled event by event and emptied in batches, by one consumer on the producers' event loop.

    Several producers may fill it as long as none of them calls `clear`.

    >>> async def example():
    ...     batcher = Batcher(limit=2, size=len)
    ...     for event in ("a", "b"):
    ...         await batcher.put(event)
    ...     return await batcher.next_batch()
    >>> asyncio.run(example())
    ['a', 'b']
    """

    def __init__(
        self, *, limit: int, size: Callable[[T], int], batch_bytes: int = BATCH_BYTES, waiting: int | None = None
    ) -> None:
        """
        Begin with an empty queue.

        Args:
            limit: The most events of a batch.
            size: The bytes of an event.
            batch_bytes: A batch gets no further event once it has so many bytes.
            waiting: The most events of the queue; `limit` unless given.
        """
        self._limit = limit
        self._size = size
        self._batch_bytes = batch_bytes
        self._queue: asyncio.Queue[T] = asyncio.Queue(maxsize=limit if waiting is None else waiting)
        self._cleared = 0

    async def put(self, event: T) -> bool:
        """Add one event; waits while the queue is full. Returns False if `clear` was called meanwhile, and then adds nothing."""
        cleared = self._cleared
        await self._queue.put(event)
        if cleared != self._cleared:
            # It is the only event in the queue, because no other task has run since it was added.
            self._queue.get_nowait()
            return False
        return True

    def clear(self) -> int:
        """Drop the events in the queue, and any that `put` still waits to add; returns how many were in the queue."""
        self._cleared += 1
        dropped = self._queue.qsize()
        while not self._queue.empty():
            self._queue.get_nowait()
        return dropped

    def share(self, events: Sequence[T]) -> float:
        """
        How much of a full batch these events are, by number or by bytes, whichever is more; 1 for a batch that its last event made too large.

        >>> batcher = Batcher(limit=4, size=len, batch_bytes=100)
        >>> batcher.share(["a", "b"]), batcher.share(["a" * 75]), batcher.share(["a" * 75, "a" * 75])
        (0.5, 0.75, 1.0)
        """
        return min(1.0, max(len(events) / self._limit, sum(map(self._size, events)) / self._batch_bytes))

    async def next_batch(self) -> list[T]:
        """The queued events in order of arrival, at least one and no more than the bounds allow. Waits for the first one only."""
        batch = [await self._queue.get()]
        size = self._size(batch[0])
        while size < self._batch_bytes and len(batch) < self._limit and not self._queue.empty():
            batch.append(self._queue.get_nowait())
            size += self._size(batch[-1])
        return batch

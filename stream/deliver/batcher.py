"""
Collects events into batches without a fixed delay; a bounded queue between Faust and the model.

A batch is bounded in events, for the model, and in bytes, for the broker: a batch of 64 events of 400 KB takes a minute on a
connection of 500 KB/s.

A lone event is decided at once. While batches are under way, the next one waits until half a full batch has arrived or until no batch
is under way any more. So batches grow with the load, and no delay has to be tuned. The bound keeps a backlog in Kafka, where it shows
as lag.
"""

import asyncio
from collections.abc import Callable
from typing import Generic, TypeVar

T = TypeVar("T")

# A batch of large events. The broker is sent several at once, and they are in memory several times: as events, outcomes and requests.
BATCH_BYTES = 4 * 1024 * 1024
# A full batch divided by this is worth a trip through thread and broker while other batches are under way.
WORTH_A_TRIP = 2


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
        self._worth = max(1, limit // WORTH_A_TRIP)
        self._queue: asyncio.Queue[T] = asyncio.Queue(maxsize=limit if waiting is None else waiting)
        self._queued_bytes = 0
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
        self._queued_bytes += self._size(event)
        if self._is_worth_a_trip():
            self._changed.set()
        return True

    def clear(self) -> int:
        """Drop the events in the queue, and any that `put` still waits to add; returns how many were in the queue."""
        self._cleared += 1
        dropped = self._queue.qsize()
        while not self._queue.empty():
            self._queue.get_nowait()
        self._queued_bytes = 0
        return dropped

    def idle(self) -> None:
        """Tell `worth_a_trip` that no batch is under way any more."""
        self._changed.set()

    async def worth_a_trip(self, busy: Callable[[], bool]) -> None:
        """Wait while `busy()` and less than half a batch is queued: a batch of one costs nearly as much as one of thirty."""
        while busy() and not self._is_worth_a_trip():
            self._changed.clear()
            await self._changed.wait()

    def _is_worth_a_trip(self) -> bool:
        return self._queue.qsize() >= self._worth or self._queued_bytes * WORTH_A_TRIP >= self._batch_bytes

    async def next_batch(self) -> list[T]:
        """The queued events in order of arrival, at least one and no more than the bounds allow. Waits for the first one only."""
        batch = [await self._queue.get()]
        size = self._size(batch[0])
        while size < self._batch_bytes and len(batch) < self._limit and not self._queue.empty():
            batch.append(self._queue.get_nowait())
            size += self._size(batch[-1])
        self._queued_bytes -= size
        return batch

"""
Batches of events: gathered without a fixed delay, then decided in threads of the model, each within a bound.

A batch is bounded in events, for the model, and in bytes, for the broker: a batch of 64 events of 400 KB takes a minute on a
connection of 500 KB/s.

The queue never waits for a fuller batch: a batch has the events that arrived while the model was busy. So batches grow with the load,
and no delay has to be tuned. The bound keeps a backlog in Kafka, where it shows as lag.
"""

import asyncio
import math
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Generic, TypeVar

from tagstream.stream.contract.event import Record
from tagstream.stream.contract.outcome import Publication
from tagstream.stream.deliver.fatal import DeliveryError, InferenceTimeoutError
from tagstream.stream.deliver.pace import Pace
from tagstream.stream.settings.settings import Settings

T = TypeVar("T")

# A batch of large events. The broker is sent several at once, and they are in memory several times: as events, outcomes and requests.
BATCH_BYTES = 4 * 1024 * 1024


class Batcher(Generic[T]):
    """
    A queue that is filled event by event and emptied in batches, by one consumer on the producers' event loop.

    Several producers may fill it as long as none of them calls `clear`.

    >>> async def example():
    ...     batcher = Batcher(limit=4, batch_bytes=100)
    ...     for event in ("a", "b" * 75):
    ...         await batcher.put(event, len(event))
    ...     return await batcher.next_batch()
    >>> events, share = asyncio.run(example())
    >>> len(events), share
    (2, 0.76)
    """

    def __init__(self, *, limit: int, batch_bytes: int = BATCH_BYTES) -> None:
        """
        Begin with an empty queue.

        Args:
            limit: The most events of a batch, and of the queue.
            batch_bytes: A batch gets no further event once it has this many bytes.
        """
        self._limit = limit
        self._batch_bytes = batch_bytes
        self._queue: asyncio.Queue[tuple[T, int]] = asyncio.Queue(maxsize=limit)
        self._cleared = 0

    async def put(self, event: T, size: int) -> bool:
        """
        Add an event of `size` bytes. Waits while the queue is full.

        Returns:
            False, and nothing is added, if `clear` was called during the wait.
        """
        cleared = self._cleared
        await self._queue.put((event, size))
        if cleared != self._cleared:
            # It is the only event in the queue, because no other task has run since it was added.
            self._queue.get_nowait()
            return False
        return True

    def put_at_once(self, event: T, size: int) -> bool:
        """Add an event of `size` bytes. Returns False, and adds nothing, if the queue is full."""
        if self._queue.full():
            return False
        self._queue.put_nowait((event, size))
        return True

    def clear(self) -> int:
        """Drop the events in the queue, and the events that `put` still waits to add. Returns the number of events in the queue."""
        self._cleared += 1
        dropped = self._queue.qsize()
        while not self._queue.empty():
            self._queue.get_nowait()
        return dropped

    async def next_batch(self) -> tuple[list[T], float]:
        """
        The queued events in order of arrival, at least one and no more than the bounds allow. Waits for the first one only.

        Returns:
            The events, and their size as a share of a full batch: by number or by bytes, whichever is more, and at most 1.
        """
        event, size = await self._queue.get()
        batch = [event]
        while size < self._batch_bytes and len(batch) < self._limit and not self._queue.empty():
            event, more = self._queue.get_nowait()
            batch.append(event)
            size += more
        return batch, min(1.0, max(len(batch) / self._limit, size / self._batch_bytes))


THREADS_START_SECONDS = 10.0


class Inference(Generic[T]):
    """A pool of threads that decides batches, of records or of what else `decide` takes."""

    def __init__(
        self, decide: Callable[[Sequence[T]], list[Publication]], settings: Settings, *, pace: Pace | None = None
    ) -> None:
        """
        Start the threads.

        Args:
            decide: Called with one batch, in one of the threads.
            settings: `inference_threads` batches are decided at once, each within `inference_timeout_seconds` once it has a thread.
            pace: Is told, on the event loop, how long each batch took.
        """
        self._decide = decide
        self._pace = pace or Pace()
        self._seconds = settings.inference_timeout_seconds
        self._executor = _started(settings.inference_threads)

    async def publications(self, batch: Sequence[T]) -> list[Publication]:
        """
        The publications of a batch, in order.

        Raises:
            InferenceTimeoutError: The model did not answer in time.
            DeliveryError: There are not as many publications as events.
            Exception: `decide` raised it.
        """
        seconds = self._seconds
        loop = asyncio.get_running_loop()
        begun: float | None = None
        took = had = 0.0
        timer: asyncio.TimerHandle

        def decide() -> list[Publication]:
            nonlocal begun, took, had
            # Until now this batch has waited for a thread. Other batches were in the model. The wait has a bound of its own.
            begun = loop.time()
            began, processor = time.perf_counter(), time.thread_time()
            decided = self._decide(batch)
            took, had = time.perf_counter() - began, time.thread_time() - processor
            return decided

        # The loop looks at `begun` once the bound would be over. A call from the thread would wake the loop for every batch.
        def look() -> None:
            nonlocal timer
            until = -math.inf if begun is None else begun + seconds
            if loop.time() < until:
                timer = loop.call_at(until, look)
            else:
                bound.reschedule(until)

        timer = loop.call_later(seconds, look)
        try:
            async with asyncio.timeout(None) as bound:
                publications = await loop.run_in_executor(self._executor, decide)
        except TimeoutError as error:
            if not bound.expired():
                # Of `decide` itself.
                raise
            msg = (
                f"the model did not answer for a batch of {len(batch)} events within {seconds:g} s (inference_timeout_seconds)"
            )
            raise InferenceTimeoutError(msg) from error
        finally:
            timer.cancel()
        self._pace.decided(took, had)
        if len(publications) != len(batch):
            msg = f"{len(batch)} events became {len(publications)} outcomes; every event must become exactly one"
            raise DeliveryError(msg)
        return publications

    async def in_model_thread(self, work: Callable[[], bool]) -> bool:
        """Run `work` in a thread of the model. `work` must bound its own time."""
        return await asyncio.get_running_loop().run_in_executor(self._executor, work)

    def stop(self) -> None:
        """Begin no more batches. Does not wait for the threads: the event loop would stand still, for ever if the model hangs."""
        self._executor.shutdown(wait=False, cancel_futures=True)


def record_of(message: Any) -> Record:
    """Our record of one Faust message."""
    return Record(
        topic=message.topic,
        partition=message.partition,
        offset=message.offset,
        timestamp_ms=round((message.timestamp or 0) * 1000),
        key=message.key,
        value=message.value,
        headers=tuple(message.headers or ()),
        budget=getattr(message, "budget", None),
    )


def _started(threads: int) -> ThreadPoolExecutor:
    """
    A pool whose threads all exist from the beginning.

    By default a pool starts a thread when no other is free. A worker would then need that thread's memory when its load first rises,
    perhaps after days.
    """
    executor = ThreadPoolExecutor(threads, thread_name_prefix="inference")
    all_started = threading.Barrier(threads)
    for _ in range(threads):
        # Each task waits for the others, so the pool starts a thread for each. The wait has a bound, in case a task is cancelled.
        executor.submit(all_started.wait, THREADS_START_SECONDS)
    return executor

"""Runs the model on batches in threads of its own, each batch within a bound."""

import asyncio
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from stream.contract.budget import Budget
from stream.contract.publication import Decide, Publication
from stream.contract.record import Record
from stream.deliver.fatal import DeliveryError, InferenceTimeoutError
from stream.settings.settings import Settings

THREADS_START_SECONDS = 10.0


class Inference:
    """A pool of threads that decides batches."""

    def __init__(self, decide: Decide, settings: Settings) -> None:
        """
        Start the threads.

        Args:
            decide: Called with one batch, in one of the threads.
            settings: `inference_threads` batches are decided at once, each within `inference_timeout_seconds` once it has a thread.
        """
        self._decide = decide
        self._seconds = settings.inference_timeout_seconds
        self._executor = _started(settings.inference_threads)

    async def decided(self, batch: Sequence[Any]) -> list[Publication]:
        """
        The publications of a batch of Faust events.

        Raises:
            InferenceTimeoutError: The model did not answer in time.
            DeliveryError: There are not as many publications as events.
        """
        return await self.publications([record_of(event.message) for event in batch])

    async def publications(self, records: Sequence[Record]) -> list[Publication]:
        """
        The publications of records, as `decided`.

        Raises:
            InferenceTimeoutError: The model did not answer in time.
            DeliveryError: There are not as many publications as records.
        """
        seconds = self._seconds
        loop = asyncio.get_running_loop()
        waits = True

        def begins() -> None:
            if waits and not bound.expired():
                bound.reschedule(loop.time() + seconds)

        def decide() -> list[Publication]:
            # Until now this batch has waited for a thread. Other batches were in the model then, and the wait has a bound of its own.
            loop.call_soon_threadsafe(begins)
            return self._decide(records)

        try:
            async with asyncio.timeout(seconds) as bound:
                try:
                    publications = await loop.run_in_executor(self._executor, decide)
                finally:
                    waits = False
        except TimeoutError as error:
            msg = f"the model did not answer for a batch of {len(records)} events within {seconds:g} s (inference_timeout_seconds)"
            raise InferenceTimeoutError(msg) from error
        if len(publications) != len(records):
            msg = f"{len(records)} events became {len(publications)} outcomes; every event must become exactly one"
            raise DeliveryError(msg)
        return publications

    async def aside(self, work: Callable[[], bool]) -> bool:
        """The result of something else that runs in a thread of the model, and bounds itself."""
        return await asyncio.get_running_loop().run_in_executor(self._executor, work)

    def stop(self) -> None:
        """Begin no more batches. Does not wait for a thread: the event loop would stand still, for ever if the model hangs."""
        self._executor.shutdown(wait=False, cancel_futures=True)


def record_of(message: Any) -> Record:
    """Our record of one Faust message."""
    checksum = getattr(message, "checksum", None)
    return Record(
        topic=message.topic,
        partition=message.partition,
        offset=message.offset,
        timestamp_ms=round((message.timestamp or 0) * 1000),
        key=message.key,
        value=message.value,
        headers=tuple(message.headers or ()),
        # Message format 2 has no checksums of records, so the reader of batches hands the budget over in this field.
        budget=checksum if isinstance(checksum, Budget) else None,
    )


def _started(threads: int) -> ThreadPoolExecutor:
    """
    A pool whose threads all exist from the beginning.

    By default a pool starts a thread when no other is free. A worker would then need that thread's memory when its load first rises,
    perhaps after days.
    """
    executor = ThreadPoolExecutor(threads, thread_name_prefix="inference")
    together = threading.Barrier(threads)
    for _ in range(threads):
        # Each waits for the others, so that none is free when the next is submitted; with a bound, should one be cancelled.
        executor.submit(together.wait, THREADS_START_SECONDS)
    return executor

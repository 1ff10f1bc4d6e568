"""
Micro-batches over requests: the rows of all requests go to the model together, as the events of a worker do.

Rows are counted, never requests: a request of a thousand rows waits and weighs as a thousand of one row. What does not fit into the
bounded queue, or would not be decided before its deadline at the present pace, is refused at once.
"""

import asyncio
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Protocol, Self

from stream.contract.publication import Publication
from stream.contract.record import Record, memory_bytes
from stream.deliver.batcher import Batcher
from stream.deliver.inference import Inference
from stream.serve.errors import BrokenError, BusyError, LateError
from stream.serve.pace import Pace
from stream.settings.settings import Settings

Decide = Callable[[Sequence[Record]], list[Publication]]
"""One publication for each record, in their order. Runs in several threads at once."""


class Counts(Protocol):
    """Is told of the queue. Called on the event loop."""

    def waiting(self, rows: int) -> None:
        """So many rows wait for the model now."""
        ...

    def batch(self, rows: int) -> None:
        """So many rows went to the model together."""
        ...


@dataclass(slots=True)
class _Row:
    record: Record
    found: asyncio.Future[Publication]


class Deciding:
    """
    The queue of rows and what empties it, for one event loop.

    Attributes:
        broken: Why nothing is decided any more; None while all is well. Then the process must end: a model that does not answer
            cannot be taken out of its thread.
    """

    def __init__(
        self,
        decide: Decide,
        settings: Settings,
        *,
        most_waiting: int,
        deadline_seconds: float,
        counts: Counts,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """
        Begin with an empty queue.

        Args:
            decide: The pipeline's `publications`.
            settings: Rows of a batch, threads, and the bound of one batch in the model.
            most_waiting: The most rows that wait for the model.
            deadline_seconds: The most that a request waits for its decisions.
            counts: Is told of the queue.
            clock: Gives seconds, for the pace of the model.
        """
        self._decide = decide
        self._settings = settings
        self._most_waiting = most_waiting
        self._deadline_seconds = deadline_seconds
        self._counts = counts
        self._clock = clock
        self._pace = Pace(threads=settings.inference_threads, least_rows=settings.batch_max_events)
        self._batcher: Batcher[_Row] = Batcher(limit=settings.batch_max_events, size=_size, waiting=most_waiting)
        self._running: set[asyncio.Task[None]] = set()
        self._queued: set[asyncio.Future[Publication]] = set()
        self._waiting = 0
        self.broken: BaseException | None = None

    async def __aenter__(self) -> Self:
        """Start the threads of the model."""
        self._inference = Inference(self._decide, self._settings)
        self._free = asyncio.Semaphore(self._settings.inference_threads)
        self._dispatcher = asyncio.create_task(self._dispatch())
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Decide no more; the threads are not waited for."""
        tasks = {self._dispatcher, *self._running}
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)
        self._inference.stop()

    async def decided(self, records: Sequence[Record]) -> list[Publication]:
        """
        The outcome of each row, in order.

        Raises:
            BusyError: The rows do not fit into the queue, or those before them will take longer than the deadline.
            LateError: They were not decided within the deadline.
            BrokenError: Nothing is decided any more.
        """
        if self.broken is not None:
            raise BrokenError
        wait_seconds = self._pace.wait_seconds(self._waiting)
        if self._waiting + len(records) > self._most_waiting or wait_seconds > self._deadline_seconds:
            raise BusyError(self._waiting, wait_seconds)
        loop = asyncio.get_running_loop()
        rows = [_Row(record, loop.create_future()) for record in records]
        self._wait(len(rows))
        self._queued.update(row.found for row in rows)
        for row in rows:
            # Never waits: there is room for all.
            await self._batcher.put(row)
        try:
            async with asyncio.timeout(self._deadline_seconds):
                return await asyncio.gather(*(row.found for row in rows))
        except TimeoutError as error:
            raise LateError(self._deadline_seconds) from error
        finally:
            # Rows that nobody waits for are not decided.
            for row in rows:
                row.found.cancel()

    async def _dispatch(self) -> None:
        while True:
            await self._free.acquire()
            taken = await self._batcher.next_batch()
            self._wait(-len(taken))
            self._queued.difference_update(row.found for row in taken)
            rows = [row for row in taken if not row.found.done()]
            if not rows:
                self._free.release()
                continue
            self._counts.batch(len(rows))
            task = asyncio.create_task(self._answer(rows))
            self._running.add(task)
            task.add_done_callback(self._ended)

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._running.discard(task)
        self._free.release()

    async def _answer(self, rows: Sequence[_Row]) -> None:
        begun = self._clock()
        try:
            publications = await self._inference.publications([row.record for row in rows])
            self._pace.took(self._clock() - begun, rows=len(rows))
        except Exception as error:  # noqa: BLE001 - whatever it is, the machine is broken: the owner ends the process with it
            self.broken = self.broken or error
            publications = []
            # A model that is broken would let those that wait for it wait in vain.
            for found in self._queued:
                if not found.done():
                    found.set_exception(BrokenError())
        for row, publication in zip(rows, publications, strict=False):
            if not row.found.done():
                row.found.set_result(publication)
        for row in rows:
            if not row.found.done():
                row.found.set_exception(BrokenError())

    def _wait(self, rows: int) -> None:
        self._waiting += rows
        self._counts.waiting(self._waiting)


def _size(row: _Row) -> int:
    return memory_bytes(row.record.key, row.record.value, row.record.headers)

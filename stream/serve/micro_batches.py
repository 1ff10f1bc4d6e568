"""
Micro-batches over requests: the rows of all requests go to the model together, as the events of a worker do.

Rows are counted, never requests: a request of a thousand rows waits and weighs as a thousand of one row. Rows that do not fit into the
bounded queue, or would not be decided before its deadline at the present pace, is refused at once.
"""

import asyncio
import time
from collections.abc import Callable, Sequence
from types import TracebackType
from typing import Protocol, Self

from tagstream.stream.contract.event import Record
from tagstream.stream.contract.outcome import Publication
from tagstream.stream.deliver.batch import Inference
from tagstream.stream.serve.errors import BusyError, LateError
from tagstream.stream.serve.row_queue import RowQueue, WaitingRow, answer
from tagstream.stream.settings.settings import Settings

# The estimate is that of about so many rows that were decided last. It is kept by rows: by batches, many small ones, whose rows are
# dear, would outweigh the large ones that a full queue becomes.
LAST_ROWS = 512

Decide = Callable[[Sequence[Record]], list[Publication]]
"""One publication for each record, in their order. Runs in several threads at once."""


class QueueCounts(Protocol):
    """Is told of the queue. Called on the event loop."""

    def waiting(self, rows: int) -> None:
        """So many rows wait for the model now."""
        ...


class QueueEstimate:
    """
    Estimates how long rows that wait will wait, in seconds. Before a full batch of rows the estimate is 0: nothing is refused on a guess.

    >>> pace = QueueEstimate(threads=2, least_rows=64)
    >>> pace.took(0.1, rows=1)
    >>> pace.wait_seconds(100)
    0.0
    >>> pace.took(6.4, rows=64)
    >>> pace.wait_seconds(100)
    5.0
    """

    def __init__(self, *, threads: int, least_rows: int) -> None:
        """
        Begin without an estimate.

        Args:
            threads: Batches in the model at once.
            least_rows: Fewer say nothing: the first batch of a burst may be one row, beside a thousand connections that begin.
        """
        self._threads = threads
        self._least_rows = least_rows
        self._seconds = self._rows = 0.0

    def took(self, seconds: float, *, rows: int) -> None:
        """A batch of so many rows was so long in the model."""
        kept = LAST_ROWS / (LAST_ROWS + rows)
        self._seconds = self._seconds * kept + seconds
        self._rows = self._rows * kept + rows

    def wait_seconds(self, rows: int) -> float:
        """The time in which so many rows are decided."""
        return self._seconds / self._rows / self._threads * rows if self._rows >= self._least_rows else 0.0


class MicroBatches:
    """The queue of rows before the model and what empties it, for one event loop."""

    def __init__(
        self,
        decide: Decide,
        settings: Settings,
        *,
        most_waiting: int,
        deadline_seconds: float,
        counts: QueueCounts,
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
        self._deadline_seconds = deadline_seconds
        self._counts = counts
        self._clock = clock
        self._pace = QueueEstimate(threads=settings.inference_threads, least_rows=settings.batch_max_events)
        self._queue: RowQueue[Publication] = RowQueue(
            most=most_waiting, at_once=settings.batch_max_events, changed=counts.waiting
        )
        self._running: set[asyncio.Task[None]] = set()

    @property
    def broken(self) -> BaseException | None:
        """
        Why nothing is decided any more; None while all is well.

        Then the process must end: a model that does not answer cannot be taken out of its thread.
        """
        return self._queue.broken

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
            BrokenError: The model does not decide any more.
        """
        waiting = self._queue.waiting
        wait_seconds = self._pace.wait_seconds(waiting)
        if not self._queue.has_room(len(records)) or wait_seconds > self._deadline_seconds:
            raise BusyError(waiting, wait_seconds)
        try:
            return await self._queue.found(records, seconds=self._deadline_seconds)
        except TimeoutError as error:
            raise LateError(self._deadline_seconds) from error

    async def _dispatch(self) -> None:
        while True:
            await self._free.acquire()
            rows = await self._queue.taken()
            if not rows:
                self._free.release()
                continue
            task = asyncio.create_task(self._answer(rows))
            self._running.add(task)
            task.add_done_callback(self._ended)

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._running.discard(task)
        self._free.release()

    async def _answer(self, rows: Sequence[WaitingRow[Publication]]) -> None:
        begun = self._clock()
        try:
            answer(rows, await self._inference.publications([row.record for row in rows]))
        except Exception as error:  # noqa: BLE001 - whatever it is, the machine is broken: the owner ends the process with it
            self._queue.end(rows, error)
        else:
            self._pace.took(self._clock() - begun, rows=len(rows))

"""
Micro-batches over requests: the rows of all requests go to the model together, as the events of a worker do.

Rows are counted, never requests: a request of a thousand rows waits and weighs as a thousand of one row. Rows that do not fit into the
bounded queue, or would not be decided before their deadline at the present pace, are refused at once.
"""

import asyncio
import time
from collections.abc import Callable, Sequence
from types import TracebackType
from typing import Protocol, Self

from tagstream.monitoring.observer import NullObserver, Observer
from tagstream.stream.contract.event import Record, memory_bytes
from tagstream.stream.contract.outcome import Decide, Publication
from tagstream.stream.deliver.batch import Inference
from tagstream.stream.gathering import Gathering
from tagstream.stream.serve.errors import BrokenError, BusyError, LateError
from tagstream.stream.settings.settings import Settings

# The estimate is that of about so many rows that were decided last. It is kept by rows: by batches, many small ones, whose rows are
# dear, would outweigh the large ones that a full queue becomes.
LAST_ROWS = 512


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
        observer: Observer | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """
        Begin with an empty queue.

        Args:
            decide: The pipeline's `publications`. Runs in several threads at once.
            settings: Rows of a batch, threads, and the bound of one batch in the model.
            most_waiting: The most rows that wait for the model.
            deadline_seconds: The most that a request waits for its decisions.
            counts: Is told of the queue.
            observer: Is told of each batch that was decided; None for no observer.
            clock: Gives seconds, for the pace of the model.
        """
        self._decide = decide
        self._settings = settings
        self._most_waiting = most_waiting
        self._deadline_seconds = deadline_seconds
        self._observer = NullObserver() if observer is None else observer
        self._clock = clock
        self._pace = QueueEstimate(threads=settings.inference_threads, least_rows=settings.batch_max_events)
        self._gathering: Gathering[Record, Publication] = Gathering(
            self._publications,
            slots=settings.inference_threads,
            at_once=settings.batch_max_events,
            size=lambda record: memory_bytes(record.key, record.value, record.headers),
            # Whatever it is, the machine is broken: the owner ends the process with it.
            fatal=BaseException,
            refusal=BrokenError,
            changed=counts.waiting,
        )

    @property
    def broken(self) -> BaseException | None:
        """
        Why nothing is decided any more; None while all is well.

        Then the process must end: a model that does not answer cannot be taken out of its thread.
        """
        return self._gathering.broken

    async def __aenter__(self) -> Self:
        """Start the threads of the model."""
        self._inference = Inference(self._decide, self._settings)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Decide no more; the threads are not waited for."""
        self._gathering.stop(BrokenError)
        self._inference.stop()

    async def decided(self, records: Sequence[Record]) -> list[Publication]:
        """
        The outcome of each row, in order.

        Raises:
            BusyError: The rows do not fit into the queue, or those before them will take longer than the deadline.
            LateError: They were not decided within the deadline.
            BrokenError: The model does not decide any more.
        """
        waiting = self._gathering.waiting
        wait_seconds = self._pace.wait_seconds(waiting)
        has_room = waiting + len(records) <= self._most_waiting
        if self.broken is None and (not has_room or wait_seconds > self._deadline_seconds):
            raise BusyError(waiting, wait_seconds)
        try:
            async with asyncio.timeout(self._deadline_seconds):
                return await self._gathering.found(records)
        except TimeoutError as error:
            raise LateError(self._deadline_seconds) from error

    async def _publications(self, records: Sequence[Record]) -> list[Publication]:
        begun = self._clock()
        publications = await self._inference.publications(records)
        self._pace.took(self._clock() - begun, rows=len(records))
        self._observer.published([publication.observation for publication in publications], int(time.time() * 1000))
        return publications

"""Rows of calls that wait at the same time, worked on together: a batch begins as soon as a slot is free, with the rows that wait by then."""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from typing import Generic, TypeVar

from tagstream.stream.deliver.batch import BATCH_BYTES

T = TypeVar("T")
R = TypeVar("R")


class Gathering(Generic[T, R]):
    """
    Gathers rows for one event loop. No batch waits for more rows, so a lone call goes at once and batches grow with the load.

    Attributes:
        broken: The failure after which no row is taken any more; None while all is well.
    """

    def __init__(
        self,
        work: Callable[[Sequence[T]], Awaitable[Sequence[R]]],
        *,
        slots: int,
        at_once: int,
        size: Callable[[T], int],
        fatal: type[BaseException],
        refusal: Callable[[], Exception],
        changed: Callable[[int], None] = lambda _waiting: None,
    ) -> None:
        """
        Begin without rows.

        Args:
            work: Gives one result for each row of a batch, in their order. It bounds its own time.
            slots: The most batches that are worked on at once.
            at_once: The most rows of a batch. A batch of `BATCH_BYTES` gets no further row either.
            size: Gives the bytes of a row.
            fatal: A failure of this type ends all. Any other one is for the rows of its batch alone.
            refusal: Makes the error for each call whose rows wait or are worked on at the end, and for each later call.
            changed: Is told how many rows wait now, on the event loop.
        """
        self.broken: BaseException | None = None
        self._work = work
        self._free = slots
        self._at_once = at_once
        self._size = size
        self._fatal = fatal
        self._refusal = refusal
        self._changed = changed
        # Rows with their bytes, and the futures of their results.
        self._waiting: deque[tuple[T, int, asyncio.Future[R]]] = deque()
        # The futures of the rows that are worked on.
        self._begun: set[asyncio.Future[R]] = set()
        self._running: set[asyncio.Task[None]] = set()
        # Makes the error of each later call, once no row is taken any more.
        self._ended_by: Callable[[], Exception] | None = None

    @property
    def waiting(self) -> int:
        """The number of rows that wait for a slot."""
        return len(self._waiting)

    async def found(self, rows: Sequence[T]) -> list[R]:
        """
        The result of each row, in order. Rows of a cancelled call that still wait are not worked on. Neither are those of a failed call, but
        for the batch that begins at the moment of the failure.

        Raises:
            BaseException: `size` raised it, the batch of one of the rows failed with it, or it is a refusal.
        """
        if self._ended_by is not None:
            raise self._ended_by()
        # First, so that a row without a size fails its own call alone.
        sizes = [self._size(row) for row in rows]
        loop = asyncio.get_running_loop()
        futures: list[asyncio.Future[R]] = [loop.create_future() for _ in rows]
        self._waiting.extend(zip(rows, sizes, futures, strict=True))
        self._changed(len(self._waiting))
        # Not at once: the calls of this turn of the event loop go together.
        loop.call_soon(self._begin)
        try:
            return await asyncio.gather(*futures)
        finally:
            for future in futures:
                future.cancel()

    def stop(self, refusal: Callable[[], Exception]) -> None:
        """Begin no more batches and give up those that have begun. `refusal` makes the error for each call that is not answered yet."""
        self._end(refusal)
        for task in self._running:
            task.cancel()

    def _begin(self) -> None:
        while self._free and self._waiting:
            if batch := self._taken():
                self._free -= 1
                # Here, and not in the task: a task that is cancelled before its first step has none.
                self._begun.update(future for _, future in batch)
                task = asyncio.create_task(self._run(batch))
                self._running.add(task)
                task.add_done_callback(partial(self._finish, batch))

    def _taken(self) -> list[tuple[T, asyncio.Future[R]]]:
        """The next rows that wait, without those whose calls were cancelled: perhaps none."""
        batch: list[tuple[T, asyncio.Future[R]]] = []
        size = 0
        while self._waiting and len(batch) < self._at_once and size < BATCH_BYTES:
            row, row_size, future = self._waiting.popleft()
            if not future.done():
                batch.append((row, future))
                size += row_size
        self._changed(len(self._waiting))
        return batch

    async def _run(self, batch: Sequence[tuple[T, asyncio.Future[R]]]) -> None:
        try:
            found = await self._work([row for row, _ in batch])
            # Here, since a number that differs must not leave a call waiting.
            answered = list(zip(batch, found, strict=True))
        except BaseException as failure:
            error = failure
            if isinstance(failure, asyncio.CancelledError):
                if _is_cancelled():
                    raise
                # Set on a future, it would look like a cancellation of the call.
                error = RuntimeError("the work of a batch was cancelled by another than its gathering")
            if isinstance(error, self._fatal):
                self.broken = self.broken or error
                self._end(self._refusal)
            for _, future in batch:
                if not future.done():
                    future.set_exception(error)
        else:
            for (_, future), result in answered:
                if not future.done():
                    future.set_result(result)

    def _finish(self, batch: Sequence[tuple[T, asyncio.Future[R]]], task: asyncio.Task[None]) -> None:
        self._running.discard(task)
        self._begun.difference_update(future for _, future in batch)
        self._free += 1
        self._begin()

    def _end(self, refusal: Callable[[], Exception]) -> None:
        """Take no row any more, and refuse those that are not answered yet."""
        self._ended_by = refusal
        for future in [*self._begun, *(future for _, _, future in self._waiting)]:
            if not future.done():
                future.set_exception(refusal())
        self._waiting.clear()
        self._changed(0)


def _is_cancelled() -> bool:
    """True if the task that runs is being cancelled; False if a `CancelledError` comes from what it waited for."""
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0

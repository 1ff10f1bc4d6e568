"""Rows of requests that wait to be taken in batches: for the model, and for the broker. Rows are counted, never requests."""

import asyncio
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

from tagstream.stream.contract.event import Record, memory_bytes
from tagstream.stream.deliver.batch import Batcher
from tagstream.stream.serve.errors import BrokenError

T = TypeVar("T")


@dataclass(slots=True)
class WaitingRow(Generic[T]):
    """A record of a request, and what the request waits for: it is cancelled when the request has given up."""

    record: Record
    found: asyncio.Future[T]


class RowQueue(Generic[T]):
    """
    A bounded queue, for one event loop.

    Attributes:
        waiting: Rows in the queue.
        broken: Why no row is taken any more; None while all is well. Then the process must end.
    """

    def __init__(self, *, most: int, at_once: int, changed: Callable[[int], None] = lambda _waiting: None) -> None:
        """
        Begin with an empty queue.

        Args:
            most: The most rows that wait.
            at_once: The most that are taken together.
            changed: Is told how many rows wait now.
        """
        self.waiting = 0
        self.broken: BaseException | None = None
        self._most = most
        self._changed = changed
        self._batcher: Batcher[WaitingRow[T]] = Batcher(limit=at_once, waiting=most)
        self._queued: set[asyncio.Future[T]] = set()

    def has_room(self, rows: int) -> bool:
        """
        Whether so many rows more may wait.

        Raises:
            BrokenError: No row is taken any more.
        """
        if self.broken is not None:
            raise BrokenError
        return self.waiting + rows <= self._most

    async def found(self, records: Sequence[Record], *, seconds: float) -> list[T]:
        """
        What is found for each record, in order. There must be room for all of them.

        Raises:
            TimeoutError: Something was not there after so many seconds.
            BrokenError: No row is taken any more.
        """
        loop = asyncio.get_running_loop()
        rows = [WaitingRow[T](record, loop.create_future()) for record in records]
        self._wait(len(rows))
        self._queued.update(row.found for row in rows)
        for row in rows:
            # Never waits: there is room for all.
            record = row.record
            await self._batcher.put(row, memory_bytes(record.key, record.value, record.headers))
        try:
            async with asyncio.timeout(seconds):
                return await asyncio.gather(*(row.found for row in rows))
        finally:
            for row in rows:
                row.found.cancel()

    async def taken(self) -> list[WaitingRow[T]]:
        """The next rows, without those whose requests have given up: perhaps none."""
        rows, _ = await self._batcher.next_batch()
        self._wait(-len(rows))
        self._queued.difference_update(row.found for row in rows)
        return [row for row in rows if not row.found.done()]

    def end(self, rows: Iterable[WaitingRow[T]], error: BaseException) -> None:
        """Take no row any more, because of this error: these rows and those that wait are answered by `BrokenError`."""
        self.broken = self.broken or error
        for found in [*(row.found for row in rows), *self._queued]:
            if not found.done():
                found.set_exception(BrokenError())

    def _wait(self, rows: int) -> None:
        self.waiting += rows
        self._changed(self.waiting)


def answer(rows: Sequence[WaitingRow[T]], found: Sequence[T]) -> None:
    """Give each row what was found for it, in order."""
    for row, one in zip(rows, found, strict=True):
        if not row.found.done():
            row.found.set_result(one)

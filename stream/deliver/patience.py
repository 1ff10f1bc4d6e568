"""Bounds the wait for a broker that confirms no record."""

import asyncio
from collections.abc import AsyncIterator, Awaitable
from contextlib import asynccontextmanager
from typing import Any


class Patience:
    """
    A bound on the time without any confirmation, for several batches at once.

    A broker that confirms one record after the other is slow, for example by a quota, and not silent. A bound on a whole batch would
    end the worker at the same batch again and again.
    """

    def __init__(self, seconds: float) -> None:
        """`seconds`: so long may all batches together get no confirmation."""
        self._seconds = seconds
        self._bounds: set[asyncio.Timeout] = set()

    @asynccontextmanager
    async def bound(self) -> AsyncIterator[None]:
        """
        Bound the block.

        Raises:
            TimeoutError: So many seconds have passed since the block began, and since the last confirmation of any batch.
        """
        async with asyncio.timeout(self._seconds) as bound:
            self._bounds.add(bound)
            try:
                yield
            finally:
                self._bounds.discard(bound)

    def watched(self, confirmation: Awaitable[Any]) -> asyncio.Future[Any]:
        """The confirmation of a record, as a future that begins the time anew when it comes."""
        future = asyncio.ensure_future(confirmation)
        future.add_done_callback(self._confirmed)
        return future

    def _confirmed(self, _: asyncio.Future[Any]) -> None:
        until = asyncio.get_running_loop().time() + self._seconds
        for bound in self._bounds:
            if not bound.expired():
                bound.reschedule(until)

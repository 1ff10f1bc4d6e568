"""Bounds the wait for a broker that confirms no record."""

import asyncio
import math
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
        # By the clock of the event loop.
        self._confirmed = -math.inf

    @asynccontextmanager
    async def bound(self) -> AsyncIterator[None]:
        """
        Bound the block.

        Raises:
            TimeoutError: So many seconds have passed since the block began, and since the last confirmation of any batch.
        """
        loop = asyncio.get_running_loop()
        began = loop.time()
        timer: asyncio.TimerHandle | None = None

        # A confirmation only notes its time, because there is one for each event. The bound looks at that time once it would be over.
        def look() -> None:
            nonlocal timer
            until = max(began, self._confirmed) + self._seconds
            if loop.time() < until:
                timer = loop.call_at(until, look)
            else:
                bound.reschedule(until)

        async with asyncio.timeout(None) as bound:
            look()
            try:
                yield
            finally:
                if timer is not None:
                    timer.cancel()

    def confirmed(self) -> None:
        """The broker has confirmed a record: the time begins anew."""
        self._confirmed = asyncio.get_running_loop().time()


class Confirmations:
    """
    The confirmations of one batch, with one callback for each.

    As `asyncio.gather` of them, which makes a callback of its own besides the one that begins the time anew.
    """

    def __init__(self, patience: Patience) -> None:
        """`patience` is told of each."""
        self._patience = patience
        self._waiting: set[asyncio.Future[Any]] = set()
        self._error: BaseException | None = None
        # Made once all are added: until then, those so far may be there while others are still to be sent.
        self._over: asyncio.Future[None] | None = None

    def add(self, confirmation: Awaitable[Any]) -> None:
        """Wait for this one too."""
        future = asyncio.ensure_future(confirmation)
        self._waiting.add(future)
        future.add_done_callback(self._done)

    async def all(self) -> None:
        """
        Return when each is there.

        Raises:
            Exception: That of the first which failed.
        """
        if self._waiting and self._error is None:
            self._over = asyncio.get_running_loop().create_future()
        try:
            if self._over is not None:
                await self._over
        except asyncio.CancelledError:
            for future in self._waiting:
                future.cancel()
            raise
        if self._error is not None:
            raise self._error

    def _done(self, future: asyncio.Future[Any]) -> None:
        self._patience.confirmed()
        self._waiting.discard(future)
        error = asyncio.CancelledError() if future.cancelled() else future.exception()
        self._error = self._error or error
        if self._over is not None and not self._over.done() and (error is not None or not self._waiting):
            self._over.set_result(None)

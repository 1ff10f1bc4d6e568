"""Calls that wait at the same time, decided together: a batch begins as soon as a thread is free, with what waits by then."""

import asyncio
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Generic, TypeVar

from tagstream.stream.contract.outcome import Publication

T = TypeVar("T")


class ModelTimeoutError(TimeoutError):
    """
    The model did not answer in time, and its thread cannot be taken out of it: nothing more is decided.

    End the process by `os._exit`, since any other exit waits for the thread.
    """


class Gathering(Generic[T]):
    """Gathers for one event loop. Nothing waits for a fuller batch, so that a lone call goes at once and batches grow with the load."""

    def __init__(
        self, decide: Callable[[Sequence[T]], list[Publication]], *, threads: int, at_once: int, seconds: float
    ) -> None:
        """
        Begin with nothing.

        Args:
            decide: Gives one publication for each of a batch, in their order; runs in several threads at once.
            threads: Batches that are decided at once.
            at_once: The most of one batch.
            seconds: A batch takes no longer, or nothing is decided any more.
        """
        self._decide = decide
        self._free = threads
        self._at_once = at_once
        self._seconds = seconds
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix="tagger")
        self._waiting: deque[tuple[T, asyncio.Future[Publication]]] = deque()
        # Of those whose batch is in the model.
        self._in_model: set[asyncio.Future[Publication]] = set()
        self._running: set[asyncio.Task[None]] = set()
        self._ended_by: Exception | None = None

    async def found(self, asked: Sequence[T]) -> list[Publication]:
        """
        What is decided, in the order of what was asked.

        Raises:
            ModelTimeoutError: A batch took too long, this one or one before.
            RuntimeError: It was stopped.
            Exception: The batch of one of them raised it.
        """
        if self._ended_by is not None:
            raise type(self._ended_by)(*self._ended_by.args)
        loop = asyncio.get_running_loop()
        futures: list[asyncio.Future[Publication]] = [loop.create_future() for _ in asked]
        self._waiting.extend(zip(asked, futures, strict=True))
        self._begin()
        results = await asyncio.gather(*futures, return_exceptions=True)
        decided: list[Publication] = []
        for result in results:
            if isinstance(result, BaseException):
                raise result
            decided.append(result)
        return decided

    def stop(self) -> None:
        """Begin no more batches; whoever still waits is told that nothing is decided. A thread of the model is not waited for."""
        self._pool.shutdown(wait=False, cancel_futures=True)
        self._refuse(RuntimeError("the tagger was closed while this waited for the model"))
        for task in self._running:
            task.cancel()

    def _begin(self) -> None:
        while self._free and (batch := self._taken()):
            self._free -= 1
            # Before the task has run: one that is cancelled as it stands there never does.
            self._in_model.update(future for _, future in batch)
            task = asyncio.create_task(self._run(batch))
            self._running.add(task)
            task.add_done_callback(partial(self._ended, batch))

    def _taken(self) -> list[tuple[T, asyncio.Future[Publication]]]:
        """The next that wait, without those whose callers have given up."""
        batch: list[tuple[T, asyncio.Future[Publication]]] = []
        while self._waiting and len(batch) < self._at_once:
            asked, future = self._waiting.popleft()
            if not future.done():
                batch.append((asked, future))
        return batch

    async def _run(self, batch: Sequence[tuple[T, asyncio.Future[Publication]]]) -> None:
        futures = [future for _, future in batch]
        loop = asyncio.get_running_loop()
        bound = asyncio.timeout(self._seconds)
        try:
            async with bound:
                found = await loop.run_in_executor(self._pool, self._decide, [asked for asked, _ in batch])
            # Here, since a number that differs must not leave somebody waiting.
            answered = list(zip(futures, found, strict=True))
        except Exception as error:  # noqa: BLE001 - whatever it is, it is for those who wait
            if bound.expired():
                msg = f"the model did not answer within {self._seconds:g} s (inference_timeout_seconds). Next: end the process, by os._exit"
                self._refuse(ModelTimeoutError(msg))
            for future in futures:
                if not future.done():
                    future.set_exception(error)
        else:
            for future, publication in answered:
                if not future.done():
                    future.set_result(publication)

    def _ended(self, batch: Sequence[tuple[T, asyncio.Future[Publication]]], task: asyncio.Task[None]) -> None:
        self._running.discard(task)
        self._in_model.difference_update(future for _, future in batch)
        if self._ended_by is None:
            self._free += 1
            self._begin()

    def _refuse(self, why: Exception) -> None:
        """Tell all that wait, and all that will ask, that nothing is decided any more."""
        self._ended_by = why
        for future in [*self._in_model, *(future for _, future in self._waiting)]:
            if not future.done():
                future.set_exception(type(why)(*why.args))
        self._waiting.clear()

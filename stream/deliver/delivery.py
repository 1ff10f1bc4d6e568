"""From an event to its acknowledgement, without loss: decide, send, wait for the broker, only then acknowledge, in order.

Owns the promise of conservation. What it relies on, and why nothing else is allowed, is in docs/decisions/0002-delivery.md:

- the stream is `noack()`: Faust acknowledges nothing by itself;
- an outcome counts when its produce future has resolved, not when it was queued;
- acknowledgements follow offset order, since Faust commits over some gaps;
- whatever is unexpected ends the process at once, without a commit: Faust acknowledges on a graceful stop, and has no way to
  hand an event back within a process.

Several batches are under way at once, so that the model works while the broker confirms; a batch sends only after the one
before it has sent, and acknowledges only after the one before it has acknowledged.

When partitions are taken away, or the worker stops, what is under way is finished and what has not begun is handed back: dropped
without an acknowledgement, so that it is read again by whoever has its partition then.
"""

import asyncio
import contextlib
import threading
import time
from collections import deque
from collections.abc import Awaitable, Callable, Iterator, Sequence
from concurrent.futures import Executor, ThreadPoolExecutor
from typing import Any, NoReturn, Protocol

from monitoring.health import Progress
from monitoring.observer import Observer
from stream.contract.outcomes import Publication
from stream.contract.record import Record
from stream.deliver.batcher import Batcher
from stream.deliver.breaker import Breaker
from stream.deliver.crash_guard import Guard, Unguarded
from stream.deliver.fatal import DeliveryError, InferenceTimeoutError, die
from stream.deliver.redelivered import Taken
from stream.settings.settings import Settings

THREADS_START_SECONDS = 10.0

Decide = Callable[[Sequence[Record]], list[Publication]]
# Two awaits: the first has queued the record, the second has the broker's word for it.
Send = Callable[[Publication], Awaitable[Awaitable[Any]]]
# Commits outcomes together with the offsets of their events, and says which of them were not committed before.
Transact = Callable[[Sequence[Any], Sequence[Publication]], Awaitable[list[Publication]]]


class Stream(Protocol):
    """The part of a Faust stream that is used here."""

    def events(self) -> Any:
        """The events, one by one."""
        ...

    async def ack(self, event: Any) -> bool:
        """Mark the event as done."""
        ...


class _Turn:
    """How far one batch has come."""

    def __init__(self) -> None:
        self.decided = asyncio.Event()
        self.sent = asyncio.Event()
        self.acknowledged = asyncio.Event()

    @classmethod
    def over(cls) -> "_Turn":
        turn = cls()
        turn.decided.set()
        turn.sent.set()
        turn.acknowledged.set()
        return turn


class Delivery:
    """Reads one stream and delivers its events. `run` is the whole body of the agent."""

    def __init__(
        self,
        *,
        decide: Decide,
        send: Send,
        observer: Observer,
        progress: Progress,
        settings: Settings,
        guard: Guard | None = None,
        stop: Callable[[str], Awaitable[None]] | None = None,
        transact: Transact | None = None,
        fail: Callable[[BaseException], NoReturn] = die,
    ) -> None:
        """
        Join the parts.

        Args:
            decide: One publication an event, in order; runs in a thread.
            send: Hands one publication to the producer.
            observer: Told of batches, stages and outcomes.
            progress: Told of every batch that was acknowledged.
            settings: Batch size, threads and bounds.
            guard: Knows which events killed a worker; None: nobody does.
            stop: Ends the process for the reason given, once all that was sent is acknowledged; None: never.
            transact: Delivers a batch, events and publications, instead of `send`: exactly once.
            fail: What ends the process.
        """
        self._transact = transact
        self._guard = guard or Unguarded()
        self._decide = self._guard.guarded(decide)
        self._stop = stop
        self._breaker = Breaker(
            window=settings.breaker_window_events,
            dead_letter_ratio=settings.breaker_dead_letter_ratio,
            model_failure_ratio=settings.breaker_model_failure_ratio,
        )
        self._send = send
        self._observer = observer
        self._progress = progress
        self._settings = settings
        self._fail = fail
        # Events whose batch has begun and is not over.
        self.inflight = 0
        self._nothing_under_way = asyncio.Event()
        self._nothing_under_way.set()
        self._handing_back = False
        self._batcher: Batcher[Any] = Batcher(limit=settings.batch_max_events)
        # By topic and partition, the offset behind the last event that was acknowledged.
        self.acknowledged: dict[tuple[str, int], int] = {}
        self._taken = Taken()
        # When each event in hand was written, and where, in the order of taking, which is the order of acknowledging.
        self._in_hand: deque[tuple[float, tuple[str, int]]] = deque()

    @property
    def bound_seconds(self) -> float:
        """What is under way is over within so long, or has ended the process."""
        # A batch waits for a thread, and for those before it to be sent.
        batches = self._settings.inference_threads + 1
        return batches * (self._settings.inference_timeout_seconds + self._settings.produce_timeout_seconds)

    def oldest_seconds(self, now: float) -> float:
        """The age, at `now` in Unix seconds, of the oldest event that was taken and is not yet acknowledged; 0 if none is."""
        return max(0.0, now - min(written for written, _ in self._in_hand)) if self._in_hand else 0.0

    def holds(self) -> set[tuple[str, int]]:
        """Topic and partition of all that was taken and is neither acknowledged nor handed back."""
        return {place for _, place in self._in_hand}

    async def hand_back(self) -> None:
        """
        Begin no batch any more, and return when none is under way: all that was begun is acknowledged then.

        What was taken and not begun is dropped. Nothing is taken until `take_again`: an event behind dropped ones would be
        acknowledged before them. Bounded by the bounds of model and broker, which end the process.
        """
        self._handing_back = True
        self._drop(self._batcher.clear())
        await self._nothing_under_way.wait()

    def take_again(self) -> None:
        """Partitions are assigned, and will be read from their commits."""
        self._handing_back = False

    def _drop(self, count: int) -> None:
        """The last that were taken are no longer in hand."""
        for _ in range(count):
            self._in_hand.pop()

    async def run(self, stream: Stream) -> None:
        """Deliver until the stream ends or is cancelled; what is then unacknowledged will be read again."""
        # Of an earlier run nothing is left.
        self._batcher.clear()
        self._in_hand.clear()
        self.inflight = 0
        self._nothing_under_way.set()
        with self._fatal():
            executor = _started(self._settings.inference_threads)
        dispatcher = asyncio.create_task(self._dispatch(stream, executor))
        try:
            async for event in stream.events():
                if self._handing_back:
                    continue
                # A record may come without a time of its own; it has waited since it was taken, at least.
                written = event.message.timestamp or 0
                place = (event.message.topic, event.message.partition)
                self._in_hand.append((written if written > 0 else time.time(), place))
                if not await self._batcher.put(event):
                    self._drop(1)
        # An agent that raises makes Faust stop gracefully, which commits.
        except Exception as error:  # noqa: BLE001
            self._die(error)
        finally:
            dispatcher.cancel()
            await asyncio.wait({dispatcher})
            # Waiting for a thread would stop the event loop for as long as the model takes, for ever if it hangs.
            executor.shutdown(wait=False, cancel_futures=True)

    async def _dispatch(self, stream: Stream, executor: Executor) -> None:
        # One batch in each thread, and one whose outcomes the broker is confirming.
        free = asyncio.Semaphore(self._settings.inference_threads + 1)
        before = _Turn.over()
        running: set[asyncio.Task[None]] = set()
        deciding: list[_Turn] = []
        try:
            with self._fatal():
                while True:
                    await free.acquire()
                    await self._batcher.worth_a_trip(lambda: bool(running))
                    taken = await self._batcher.next_batch()
                    while True:
                        batch, rest, alone = self._next_part(taken)
                        deciding = [other for other in deciding if not other.decided.is_set()]
                        for other in deciding if alone else ():
                            await other.decided.wait()
                        if self._handing_back:
                            self._drop(len(taken))
                            free.release()
                            break
                        turn = _Turn()
                        deciding.append(turn)
                        self._begun(len(batch))
                        task = asyncio.create_task(self._deliver(stream, batch, executor, before, turn))
                        running.add(task)
                        task.add_done_callback(lambda done: self._ended(done, running))
                        task.add_done_callback(lambda _: free.release())
                        before = turn
                        if alone:
                            await turn.decided.wait()
                        if not rest:
                            break
                        taken = rest
                        await free.acquire()
        finally:
            for task in running:
                task.cancel()
            await asyncio.gather(*running, return_exceptions=True)

    def _next_part(self, taken: list[Any]) -> tuple[list[Any], list[Any], bool]:
        """What to decide next, what is left, and whether it must be alone: all of it if nobody in it is a suspect."""
        suspected = [self._guard.suspects(event.message.partition, event.message.offset) for event in taken]
        if suspected[0]:
            return taken[:1], taken[1:], True
        size = suspected.index(True) if True in suspected else len(taken)
        return taken[:size], taken[size:], False

    def _ended(self, task: asyncio.Task[None], running: set[asyncio.Task[None]]) -> None:
        running.discard(task)
        if not running:
            self._batcher.idle()

    def _begun(self, count: int) -> None:
        self.inflight += count
        self._nothing_under_way.clear()

    def _over(self, count: int) -> None:
        for _ in range(count):
            self._in_hand.popleft()
        self.inflight -= count
        if not self.inflight:
            self._nothing_under_way.set()

    @contextlib.contextmanager
    def _fatal(self) -> Iterator[None]:
        """Whatever is raised inside is a broken machine, whatever its type, and ends the process; nothing more is acknowledged."""
        try:
            yield
        except GeneratorExit:
            raise
        except asyncio.CancelledError as error:
            task = asyncio.current_task()
            if task is not None and task.cancelling():
                raise
            # Nobody cancelled this task: something that it waited for was. Taken for a stop, it would be a hang in silence.
            broken = DeliveryError("something that a batch waited for was cancelled, though the worker was not told to stop")
            broken.__cause__ = error
            self._die(broken)
        except BaseException as error:  # noqa: BLE001
            self._die(error)

    def broken(self, error: DeliveryError) -> NoReturn:
        """Something around the delivery is broken: end the process, and no event is to blame."""
        self._die(error)

    def _die(self, error: BaseException) -> NoReturn:
        if not isinstance(error, InferenceTimeoutError):
            self._guard.excuse()
        self._fail(error)

    async def _deliver(self, stream: Stream, batch: Sequence[Any], executor: Executor, before: _Turn, turn: _Turn) -> None:
        try:
            with self._fatal():
                self._observer.received(len(batch))
                self._observer.redelivered(
                    self._taken.again((event.message.partition, event.message.offset) for event in batch)
                )
                publications = await self._decided(batch, executor)
                turn.decided.set()
                started = time.perf_counter()
                sent = await self._confirmed(batch, publications, before, turn)
                self._observer.stage("publish", time.perf_counter() - started)
                await before.acknowledged.wait()
                for event in batch:
                    await stream.ack(event)
                    self.acknowledged[event.message.topic, event.message.partition] = event.message.offset + 1
                turn.acknowledged.set()
                self._progress.moved()
                self._observer.published([publication.observation for publication in sent], int(time.time() * 1000))
        finally:
            self._over(len(batch))

    async def _decided(self, batch: Sequence[Any], executor: Executor) -> list[Publication]:
        seconds = self._settings.inference_timeout_seconds
        raw = [raw_event(event.message) for event in batch]
        loop = asyncio.get_running_loop()
        waits = True

        def begins() -> None:
            if waits and not bound.expired():
                bound.reschedule(loop.time() + seconds)

        def decide() -> list[Publication]:
            # The wait for a thread is others' time in the model, and has a bound of its own.
            loop.call_soon_threadsafe(begins)
            return self._decide(raw)

        try:
            async with asyncio.timeout(seconds) as bound:
                try:
                    publications = await loop.run_in_executor(executor, decide)
                finally:
                    waits = False
        except TimeoutError as error:
            msg = (
                f"the model did not answer for a batch of {len(batch)} events within {seconds:g} s (inference_timeout_seconds)"
            )
            raise InferenceTimeoutError(msg) from error
        if len(publications) != len(batch):
            msg = f"{len(batch)} events became {len(publications)} outcomes; every event must become exactly one"
            raise DeliveryError(msg)
        return publications

    async def _confirmed(
        self, batch: Sequence[Any], publications: Sequence[Publication], before: _Turn, turn: _Turn
    ) -> Sequence[Publication]:
        """What was sent: without transactions all of it."""
        await before.sent.wait()
        why = None if self._stop is None else self._breaker.trips([publication.observation for publication in publications])
        if why is not None and self._stop is not None:
            # Neither this batch nor a later one is sent: they wait for their turn, which does not come.
            await before.acknowledged.wait()
            await self._stop(why)
            msg = f"the circuit breaker opened: {why}"
            raise DeliveryError(msg)
        seconds = self._settings.produce_timeout_seconds
        try:
            async with asyncio.timeout(seconds):
                if self._transact is not None:
                    # What is sent is committed: the next batch sends only then.
                    sent = await self._transact([event.message for event in batch], publications)
                    turn.sent.set()
                    return sent
                confirmations = [await self._send(publication) for publication in publications]
                turn.sent.set()
                await asyncio.gather(*confirmations)
                return publications
        except TimeoutError as error:
            msg = f"the broker did not confirm {len(publications)} outcomes within {seconds:g} s (produce_timeout_seconds)"
            raise DeliveryError(msg) from error


def _started(threads: int) -> ThreadPoolExecutor:
    """
    A pool whose threads are all there from the beginning.

    By itself it starts one when no other is free: a worker would take that thread's memory whenever its load first asked for it,
    perhaps after days.
    """
    executor = ThreadPoolExecutor(threads, thread_name_prefix="inference")
    together = threading.Barrier(threads)
    for _ in range(threads):
        # Each waits for the others, so that none is free when the next one is asked for; no longer, should one be cancelled.
        executor.submit(together.wait, THREADS_START_SECONDS)
    return executor


def raw_event(message: Any) -> Record:
    """Our record of one Faust message."""
    return Record(
        topic=message.topic,
        partition=message.partition,
        offset=message.offset,
        timestamp_ms=round((message.timestamp or 0) * 1000),
        key=message.key,
        value=message.value,
        headers=tuple(message.headers or ()),
    )

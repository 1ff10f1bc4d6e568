"""
Delivers events without loss: decide, send, wait for the broker's confirmation, then acknowledge, in offset order.

This file holds the promise of conservation. docs/decisions/0002-delivery.md gives the reasons for what it relies on:

- The stream is `noack()`: Faust acknowledges nothing by itself.
- An outcome counts when its produce future has resolved, not when it was queued.
- Acknowledgements follow offset order, since Faust commits over some gaps.
- Anything unexpected ends the process at once, without a commit: Faust acknowledges on a graceful stop, and cannot hand an event
  back within a process.

Several batches are under way at once, so that the model works while the broker confirms. A batch sends only after the batch before it
has sent, and acknowledges only after the batch before it has acknowledged.

When partitions are revoked or the worker stops, batches that have begun are finished. Events whose batch has not begun are handed back:
dropped without an acknowledgement, so that the next owner of their partition reads them again.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, NoReturn, Protocol

from monitoring.health import Progress
from monitoring.observer import Observer
from stream.contract.publication import Decide, Publication
from stream.contract.record import memory_bytes
from stream.deliver.batcher import Batcher
from stream.deliver.breaker import Breaker
from stream.deliver.crash.guard import Guard, Unguarded
from stream.deliver.fatal import DeliveryError, InferenceTimeoutError, die, fatal
from stream.deliver.inference import Inference, record_of
from stream.deliver.patience import Confirmations, Patience
from stream.deliver.redelivered import Taken
from stream.deliver.unacknowledged import Unacknowledged
from stream.deliver.under_way import Turn, UnderWay
from stream.settings.settings import Settings
from stream.terminal.text import counted

Send = Callable[[Publication], Awaitable[Awaitable[Any]]]
"""Two awaits: after the first the record is queued, after the second the broker has confirmed it."""
Transact = Callable[[Sequence[Any], Sequence[Publication]], Awaitable[list[Publication]]]
"""Commits outcomes in one transaction with the offsets of their events; returns the outcomes that were not committed before."""


class Stream(Protocol):
    """The part of a Faust stream that is used here."""

    def events(self) -> Any:
        """The events, one by one."""
        ...

    async def ack(self, event: Any) -> bool:
        """Mark the event as done."""
        ...


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
            decide: Returns one publication for each event, in order; runs in a thread.
            send: Hands one publication to the producer.
            observer: Is told of batches, stages and outcomes.
            progress: Is told of every batch that was acknowledged.
            settings: Batch size, threads and bounds.
            guard: Knows which events to try before they are decided; None for no such knowledge. `decide` is guarded by it.
            stop: Ends the process for the given reason, after all that was sent is acknowledged; None to switch the breaker off.
            transact: Delivers a batch, its events and publications, instead of `send`: exactly once.
            fail: Ends the process.
        """
        self._transact = transact
        self._guard = guard or Unguarded()
        self._decide = decide
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
        self._handing_back = asyncio.Event()
        self._no_trial = asyncio.Event()
        self._no_trial.set()
        self._batcher: Batcher[Any] = Batcher(limit=settings.batch_max_events, size=_size)
        self._patience = Patience(settings.produce_timeout_seconds)
        # By topic and partition, the offset after the last event that was acknowledged.
        self.acknowledged: dict[tuple[str, int], int] = {}
        self._taken = Taken()
        self._unacknowledged = Unacknowledged()

    @property
    def inflight(self) -> int:
        """The number of events whose batch has begun and is not over."""
        return self._unacknowledged.under_way

    @property
    def bound_seconds(self) -> float:
        """A batch that has begun is over within so long, or the process has ended, unless the broker confirms slowly."""
        # A batch waits for the batches before it to be sent, and with exactly once for a thread.
        batches = self._settings.inference_threads + 1
        return batches * (self._settings.inference_timeout_seconds + self._settings.produce_timeout_seconds)

    def oldest_seconds(self, now: float) -> float:
        """The age, at `now` in Unix seconds, of the oldest event that was taken and is not acknowledged; 0 if there is none."""
        return self._unacknowledged.oldest_seconds(now)

    def holds(self) -> set[tuple[str, int]]:
        """Topic and partition of each event that was taken and is neither acknowledged nor handed back."""
        return self._unacknowledged.places()

    async def hand_back(self) -> None:
        """
        Begin no more batches, and return when every batch that has begun is acknowledged.

        A suspect's trial is given up. Events whose batch has not begun are dropped. No event is taken until `take_again`: one after dropped ones would be acknowledged
        before them. The bounds of model and broker, which end the process, bound this wait too.
        """
        self._handing_back.set()
        self._unacknowledged.drop(self._batcher.clear())
        await self._no_trial.wait()
        await self._unacknowledged.wait_until_nothing_is_under_way()

    def take_again(self) -> None:
        """Take events again: partitions are assigned, and will be read from their commits."""
        self._handing_back.clear()

    def broken(self, error: DeliveryError) -> NoReturn:
        """End the process for an error outside the delivery, for which no event is to blame."""
        self._die(error)

    async def run(self, stream: Stream) -> None:
        """Deliver until the stream ends or this is cancelled; events that are not acknowledged then will be read again."""
        # An earlier run may have left events behind; they come again.
        self._batcher.clear()
        self._unacknowledged.clear()
        with fatal(self._die):
            inference = Inference(self._decide, self._settings)
        dispatcher = asyncio.create_task(self._dispatch(stream, inference))
        try:
            async for event in stream.events():
                if self._handing_back.is_set():
                    continue
                self._unacknowledged.take(event.message)
                if not await self._batcher.put(event):
                    self._unacknowledged.drop(1)
        # If the agent raised, Faust would stop gracefully, which commits.
        except Exception as error:  # noqa: BLE001
            self._die(error)
        finally:
            dispatcher.cancel()
            await asyncio.wait({dispatcher})
            inference.stop()

    async def _dispatch(self, stream: Stream, inference: Inference) -> None:
        under_way = UnderWay(threads=self._settings.inference_threads)
        try:
            with fatal(self._die):
                while True:
                    await self._room(under_way)
                    await self._begin(stream, await self._batcher.next_batch(), inference, under_way)
        finally:
            for task in under_way.running:
                task.cancel()
            await asyncio.gather(*under_way.running, return_exceptions=True)

    async def _room(self, under_way: UnderWay) -> None:
        await under_way.room(transacted=self._transact is not None)

    async def _begin(self, stream: Stream, taken: list[Any], inference: Inference, under_way: UnderWay) -> None:
        """Begin what was taken as one batch, or as several if suspects are among it. There is room for the first."""
        while taken:
            batch, rest, alone = self._next_part(taken)
            if alone:
                await under_way.all_decided()
                await self._try(batch[0], inference)
            if self._handing_back.is_set():
                self._unacknowledged.drop(len(taken))
                return
            turn = Turn(self._batcher.share(batch))
            self._unacknowledged.begin(len(batch))
            task = asyncio.create_task(self._deliver(stream, batch, inference, under_way, under_way.before, turn))
            under_way.running[task] = turn
            task.add_done_callback(lambda done: self._ended(done, under_way))
            under_way.before = turn
            if alone:
                await turn.decided.wait()
            taken = rest
            if taken:
                await self._room(under_way)

    async def _try(self, event: Any, inference: Inference) -> None:
        """Let the guard try a suspect before its batch begins. A trial that is given up leaves it to be handed back."""
        wanted = True
        self._no_trial.clear()
        try:
            record = record_of(event.message)
            handing_back = self._handing_back
            if not await inference.aside(lambda: self._guard.tried(record, lambda: wanted and not handing_back.is_set())):
                await handing_back.wait()
        finally:
            wanted = False
            self._no_trial.set()

    def _next_part(self, taken: list[Any]) -> tuple[list[Any], list[Any], bool]:
        """The next batch, the events after it, and whether it must be alone in the model: a suspect is, all others go together."""
        suspected = [self._guard.suspects(event.message.partition, event.message.offset) for event in taken]
        if suspected[0]:
            return taken[:1], taken[1:], True
        size = suspected.index(True) if True in suspected else len(taken)
        return taken[:size], taken[size:], False

    def _ended(self, task: asyncio.Task[None], under_way: UnderWay) -> None:
        del under_way.running[task]
        under_way.changed()

    async def _deliver(
        self, stream: Stream, batch: Sequence[Any], inference: Inference, under_way: UnderWay, before: Turn, turn: Turn
    ) -> None:
        try:
            with fatal(self._die):
                self._observer.received(len(batch))
                self._observer.redelivered(
                    self._taken.again((event.message.partition, event.message.offset) for event in batch)
                )
                publications = await inference.decided(batch)
                turn.decided.set()
                under_way.changed()
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
            self._unacknowledged.end(len(batch))

    async def _confirmed(
        self, batch: Sequence[Any], publications: Sequence[Publication], before: Turn, turn: Turn
    ) -> Sequence[Publication]:
        """Send the publications and wait for the broker; returns those that were sent, which without transactions is all of them."""
        await before.sent.wait()
        await self._stop_if_tripped(publications, before)
        try:
            async with self._patience.bound():
                if self._transact is not None:
                    # Sending commits here, so the next batch may send only after this.
                    sent = await self._transact([event.message for event in batch], publications)
                    turn.sent.set()
                    return sent
                confirmations = Confirmations(self._patience)
                for publication in publications:
                    confirmations.add(await self._send(publication))
                turn.sent.set()
                await confirmations.all()
                return publications
        except TimeoutError as error:
            seconds = self._settings.produce_timeout_seconds
            msg = f"the broker did not confirm {counted(len(publications), 'outcome')} within {seconds:g} s (produce_timeout_seconds)"
            raise DeliveryError(msg) from error

    async def _stop_if_tripped(self, publications: Sequence[Publication], before: Turn) -> None:
        """If the circuit breaker opens, neither this batch nor a later one is sent: `sent` is never set, and the process ends."""
        if self._stop is None:
            return
        why = self._breaker.trips([publication.observation for publication in publications])
        if why is None:
            return
        await before.acknowledged.wait()
        await self._stop(why)
        msg = f"the circuit breaker opened: {why}"
        raise DeliveryError(msg)

    def _die(self, error: BaseException) -> NoReturn:
        if not isinstance(error, InferenceTimeoutError):
            self._guard.excuse()
        self._fail(error)


def _size(event: Any) -> int:
    message = event.message
    return memory_bytes(message.key, message.value, message.headers)

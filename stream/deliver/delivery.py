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

`Delivery` delivers one topic, and `Deliveries` joins the deliveries of one worker. The classes above `Delivery` hold its state: how long
the broker may be silent (`SilenceBound`, `Confirmations`), which events were read before (`Taken`), which events are not acknowledged
(`Unacknowledged`), and how far each batch has come (`Turn`, `UnderWay`).
"""

import asyncio
import math
import time
from collections import Counter, deque
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, NoReturn

from tagstream.monitoring.health import Progress
from tagstream.monitoring.observer import NO_TOPICS, Observer
from tagstream.monitoring.record_time import can_be_true
from tagstream.stream.contract.event import Record, memory_bytes
from tagstream.stream.contract.outcome import Decide, Publication
from tagstream.stream.deliver.batch import Batcher, Inference, record_of
from tagstream.stream.deliver.breaker import Breaker
from tagstream.stream.deliver.crash.guard import Guard, Unguarded
from tagstream.stream.deliver.engine import Engine
from tagstream.stream.deliver.fatal import DeliveryError, InferenceTimeoutError, die, fatal
from tagstream.stream.deliver.pace import Pace
from tagstream.stream.settings.settings import Settings
from tagstream.stream.terminal.text import counted


class SilenceBound:
    """
    A bound on the time without any confirmation, for several batches at once.

    A broker that confirms one record after the other is slow, for example because of a quota, and not silent. A bound on a whole batch
    would end the worker at the same batch again and again.
    """

    def __init__(self, seconds: float) -> None:
        """Allow `seconds` without a confirmation of any batch."""
        self._seconds = seconds
        # By the clock of the event loop.
        self._confirmed = -math.inf

    def bound(self) -> "Bounded":
        """
        A bound on a block, for `async with`.

        The block raises TimeoutError once `seconds` have passed both since it began and since the last confirmation of any batch.
        """
        return Bounded(self)

    @property
    def over_at(self) -> float:
        """The last confirmation plus `seconds`, by the clock of the event loop."""
        return self._confirmed + self._seconds

    @property
    def seconds(self) -> float:
        """The longest time without a confirmation of any batch."""
        return self._seconds

    def confirmed(self) -> None:
        """The broker has confirmed a record: the bound counts from now."""
        self._confirmed = asyncio.get_running_loop().time()


class Bounded:
    """
    The bound of `SilenceBound` on one block.

    It is a class and not a generator: in a small batch, a generator costs each event as much as sending the event.
    """

    def __init__(self, silence: SilenceBound) -> None:
        """The time counts from the start of the block."""
        self._silence = silence
        self._began = 0.0
        self._timeout = asyncio.timeout(None)
        self._timer: asyncio.TimerHandle | None = None

    async def __aenter__(self) -> None:
        self._began = asyncio.get_running_loop().time()
        await self._timeout.__aenter__()
        self._look()

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._timer is not None:
            self._timer.cancel()
        # Raises TimeoutError if the bound has passed.
        await self._timeout.__aexit__(kind, error, trace)

    # A confirmation only notes its time, because each event has one. The timer looks at that time when it fires.
    def _look(self) -> None:
        loop = asyncio.get_running_loop()
        until = max(self._began + self._silence.seconds, self._silence.over_at)
        if loop.time() < until:
            self._timer = loop.call_at(until, self._look)
        else:
            self._timeout.reschedule(until)


class Confirmations:
    """
    The confirmations of one batch, with one callback for each.

    It replaces `asyncio.gather`, which would add a second callback to each confirmation, and would cancel the confirmations when it is
    cancelled. Several batches may wait for the same confirmation.
    """

    def __init__(self, silence: SilenceBound) -> None:
        """Each confirmation is reported to `silence`."""
        self._silence = silence
        self._waiting: set[asyncio.Future[Any]] = set()
        self._error: BaseException | None = None
        # Made once all confirmations are added: before that, the first ones may arrive while others are still to be sent.
        self._over: asyncio.Future[None] | None = None

    def add(self, confirmation: Awaitable[Any]) -> None:
        """Let `all` wait for this confirmation too."""
        future = asyncio.ensure_future(confirmation)
        # All records of one producer batch share one confirmation.
        if future not in self._waiting:
            self._waiting.add(future)
            future.add_done_callback(self._done)

    async def all(self) -> None:
        """
        Wait for every confirmation that was added.

        Raises:
            Exception: The error of the first confirmation that failed.
        """
        if self._waiting and self._error is None:
            self._over = asyncio.get_running_loop().create_future()
        if self._over is not None:
            await self._over
        if self._error is not None:
            raise self._error

    def _done(self, future: asyncio.Future[Any]) -> None:
        self._silence.confirmed()
        self._waiting.discard(future)
        error = asyncio.CancelledError() if future.cancelled() else future.exception()
        self._error = self._error or error
        if self._over is not None and not self._over.done() and (error is not None or not self._waiting):
            self._over.set_result(None)


class Taken:
    """
    The highest offset taken from each partition.

    >>> taken = Taken()
    >>> taken.again([("a", 0, 5), ("a", 0, 6), ("a", 1, 5), ("b", 0, 5)]), taken.again([("a", 0, 6), ("a", 0, 7)])
    (0, 1)
    """

    def __init__(self) -> None:
        """No event has been taken yet."""
        self._highest: dict[tuple[str, int], int] = {}

    def again(self, places: Iterable[tuple[str, int, int]]) -> int:
        """Note that these events (topic, partition and offset) are taken. Returns the number of events that were taken before."""
        repeated = 0
        for topic, partition, offset in places:
            if offset <= self._highest.get((topic, partition), -1):
                repeated += 1
            else:
                self._highest[topic, partition] = offset
        return repeated


class Unacknowledged:
    """Events in the order in which they were taken, which is also the order of acknowledgement. Not thread-safe."""

    def __init__(self) -> None:
        """There are no events."""
        # The time at which each event was written (Unix seconds), with its topic and partition.
        self._events: deque[tuple[float, tuple[str, int]]] = deque()
        # Events whose batch has begun and is not over.
        self.under_way = 0
        self._nothing_under_way = asyncio.Event()
        self._nothing_under_way.set()

    def clear(self) -> None:
        """Forget all events."""
        self._events.clear()
        self.under_way = 0
        self._nothing_under_way.set()

    def take(self, message: Any) -> None:
        """Add an event. If the record has no timestamp, or an impossible one, the event's age counts from now."""
        written, now = message.timestamp or 0.0, time.time()
        known = can_be_true(written * 1000, now * 1000)
        self._events.append((written if known else now, (message.topic, message.partition)))

    def drop(self, count: int) -> None:
        """Forget the last `count` events: their batch has not begun, and they will be read again."""
        for _ in range(count):
            self._events.pop()

    def begin(self, count: int) -> None:
        """The batch of the next `count` events begins."""
        self.under_way += count
        self._nothing_under_way.clear()

    def end(self, count: int) -> None:
        """The batch of the first `count` events is over."""
        for _ in range(count):
            self._events.popleft()
        self.under_way -= count
        if not self.under_way:
            self._nothing_under_way.set()

    async def wait_until_nothing_is_under_way(self) -> None:
        """Wait until every batch that has begun is over."""
        await self._nothing_under_way.wait()

    def oldest_seconds(self, now: float) -> float:
        """The age of the oldest event at `now`, in Unix seconds; 0 if there is none."""
        return max(0.0, now - min(written for written, _ in self._events)) if self._events else 0.0

    def places(self) -> set[tuple[str, int]]:
        """Topic and partition of the events."""
        return {place for _, place in self._events}


class Turn:
    """
    How far one batch has come. The batch after it waits for these events, so that batches send and acknowledge in order.

    Attributes:
        share: The batch's size as a share of a full batch, in events or in bytes; at most 1. A part of a batch counts as the whole batch.
    """

    def __init__(self, share: float) -> None:
        """The batch is not decided yet."""
        self.share = share
        self.decided = asyncio.Event()
        self.sent = asyncio.Event()
        self.acknowledged = asyncio.Event()

    @classmethod
    def over(cls) -> "Turn":
        """A finished turn, for which the first batch need not wait."""
        turn = cls(0)
        turn.decided.set()
        turn.sent.set()
        turn.acknowledged.set()
        return turn


@dataclass(slots=True, kw_only=True)
class UnderWay:
    """
    The batches that have begun and are not over.

    Attributes:
        threads: The most batches that are decided at once.
        before: The turn of the last batch that has begun.
        running: The tasks of the batches, in their order, with their turns.
    """

    threads: int
    before: Turn = field(default_factory=Turn.over)
    running: dict[asyncio.Task[None], Turn] = field(default_factory=dict)
    _changed: asyncio.Event = field(default_factory=asyncio.Event)

    def changed(self) -> None:
        """A batch was decided or is over: `room` checks again."""
        self._changed.set()

    async def room(self, *, transacted: bool) -> None:
        """
        Wait until another batch may begin: a thread is free, and the batches under way add up to at most `threads` full batches.

        Args:
            transacted: Each batch is a transaction, and a transaction costs the same for any size. A batch then begins when at most
                `threads` batches of any size are under way, whether or not a thread is free. So few small transactions wait at the broker.
        """
        while len(self.running) > self.threads if transacted else self._full():
            self._changed.clear()
            await self._changed.wait()

    def _full(self) -> bool:
        turns = self.running.values()
        return len(self._undecided()) >= self.threads or sum(turn.share for turn in turns) > self.threads

    def _undecided(self) -> list[Turn]:
        return [turn for turn in self.running.values() if not turn.decided.is_set()]

    async def all_decided(self) -> None:
        """Wait until every batch is decided, so that the model is free."""
        for turn in self._undecided():
            await turn.decided.wait()


Admit = Callable[[Sequence[Any], Callable[[], bool]], Awaitable[None]]
"""Waits until these fetched events may begin. Returns early when the second argument gives True: their partitions are being revoked."""


class Delivery:
    """Delivers the events of one subscription by an engine. `run` is what the subscription calls."""

    def __init__(
        self,
        *,
        decide: Decide,
        engine: Engine,
        observer: Observer,
        progress: Progress,
        settings: Settings,
        guard: Guard | None = None,
        stop: Callable[[str], Awaitable[None]] | None = None,
        admit: Admit | None = None,
        pace: Pace | None = None,
        fail: Callable[[BaseException], NoReturn] = die,
    ) -> None:
        """
        Join the parts.

        Args:
            decide: Returns one publication for each event, in order; runs in a thread.
            engine: Sends and acknowledges, or commits both in transactions.
            observer: Is told of batches, stages and outcomes.
            progress: Is told of every batch that was acknowledged.
            settings: Batch size, threads and bounds.
            guard: Knows which events to try before they are decided; None to try no event.
            stop: Ends the process for the given reason, after all that was sent is acknowledged; None to switch the breaker off.
            admit: Holds events until it is known which model decides them; None if one model decides all events.
            pace: Is told how long each batch took in its thread.
            fail: Ends the process.
        """
        self._engine = engine
        self._admit = admit
        self._pace = pace
        self._guard = guard or Unguarded()
        self._decide = decide
        self._stop = stop
        self._breaker = Breaker(
            window=settings.breaker_window_events,
            dead_letter_ratio=settings.breaker_dead_letter_ratio,
            model_failure_ratio=settings.breaker_model_failure_ratio,
        )
        self._observer = observer
        self._progress = progress
        self._settings = settings
        self._fail = fail
        self._handing_back = asyncio.Event()
        # Cleared while events have left the batcher and their batch has not begun: they are being admitted, or one is being tried.
        self._none_held = asyncio.Event()
        self._none_held.set()
        self._batcher: Batcher[Any] = Batcher(limit=settings.batch_max_events)
        self._silence = SilenceBound(settings.produce_timeout_seconds)
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
        """The time in which a batch that has begun is over, or the process has ended. A broker that confirms slowly may exceed it."""
        # A batch waits until the batches before it are sent. In transactions it may also wait for a thread.
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

        A suspect's trial is given up. Events whose batch has not begun are dropped. No event is taken until `take_again`: an event after
        the dropped ones would be acknowledged before them. The bounds of model and broker, which end the process, bound this wait too.
        """
        self._handing_back.set()
        self._unacknowledged.drop(self._batcher.clear())
        await self._none_held.wait()
        await self._unacknowledged.wait_until_nothing_is_under_way()

    def take_again(self) -> None:
        """Take events again: partitions are assigned, and will be read from their commits."""
        self._handing_back.clear()

    def broken(self, error: DeliveryError) -> NoReturn:
        """End the process for an error outside the delivery, for which no event is to blame."""
        self._die(error)

    async def run(self, events: AsyncIterator[Any]) -> None:
        """Deliver until the events end or this is cancelled; events that are not acknowledged then will be read again."""
        # An earlier run may have left events behind; they will be read again.
        self._batcher.clear()
        self._unacknowledged.clear()
        with fatal(self._die):
            inference = Inference(self._decide, self._settings, pace=self._pace)
        dispatcher = asyncio.create_task(self._dispatch(inference))
        try:
            async for event in events:
                if self._handing_back.is_set():
                    continue
                message = event.message
                self._unacknowledged.take(message)
                size = memory_bytes(message.key, message.value, message.headers)
                if not self._batcher.put_at_once(event, size) and not await self._batcher.put(event, size):
                    self._unacknowledged.drop(1)
        # If the agent raised, Faust would stop gracefully, which commits.
        except Exception as error:  # noqa: BLE001
            self._die(error)
        finally:
            dispatcher.cancel()
            await asyncio.wait({dispatcher})
            inference.stop()

    async def _dispatch(self, inference: Inference[Record]) -> None:
        under_way = UnderWay(threads=self._settings.inference_threads)
        try:
            with fatal(self._die):
                while True:
                    await self._room(under_way)
                    taken, share = await self._batcher.next_batch()
                    await self._begin(taken, share, inference, under_way)
        finally:
            for task in under_way.running:
                task.cancel()
            await asyncio.gather(*under_way.running, return_exceptions=True)

    async def _room(self, under_way: UnderWay) -> None:
        await under_way.room(transacted=self._engine.transacts)

    async def _begin(self, taken: list[Any], share: float, inference: Inference[Record], under_way: UnderWay) -> None:
        """
        Begin one batch from the events taken; several if suspects are among them, because a suspect is a batch of its own.

        Each of these batches counts as `share`. The caller has waited for the room of the first.
        """
        if self._admit is not None:
            self._none_held.clear()
            try:
                await self._admit(taken, self._handing_back.is_set)
            finally:
                self._none_held.set()
            if self._handing_back.is_set():
                self._unacknowledged.drop(len(taken))
                return
        while taken:
            batch, rest, alone = self._next_part(taken)
            if alone:
                await under_way.all_decided()
                await self._try(batch[0], inference)
            if self._handing_back.is_set():
                self._unacknowledged.drop(len(taken))
                return
            turn = Turn(share)
            self._unacknowledged.begin(len(batch))
            task = asyncio.create_task(self._deliver(batch, inference, under_way, under_way.before, turn))
            under_way.running[task] = turn
            task.add_done_callback(lambda done: self._ended(done, under_way))
            under_way.before = turn
            if alone:
                await turn.decided.wait()
            taken = rest
            if taken:
                await self._room(under_way)

    async def _try(self, event: Any, inference: Inference[Record]) -> None:
        """Let the guard try a suspect before its batch begins. If the trial is given up, the event waits to be handed back."""
        is_trying = True
        self._none_held.clear()
        try:
            record = record_of(event.message)
            handing_back = self._handing_back
            if not await inference.in_model_thread(
                lambda: self._guard.tried(record, lambda: is_trying and not handing_back.is_set())
            ):
                await handing_back.wait()
        finally:
            is_trying = False
            self._none_held.set()

    def _next_part(self, taken: list[Any]) -> tuple[list[Any], list[Any], bool]:
        """The next batch, the events after it, and whether the batch must be alone in the model, which is true for a suspect."""
        suspected = [self._guard.suspects(*_place(event)) for event in taken]
        if suspected[0]:
            return taken[:1], taken[1:], True
        size = suspected.index(True) if True in suspected else len(taken)
        return taken[:size], taken[size:], False

    def _ended(self, task: asyncio.Task[None], under_way: UnderWay) -> None:
        del under_way.running[task]
        under_way.changed()

    async def _deliver(
        self, batch: Sequence[Any], inference: Inference[Record], under_way: UnderWay, before: Turn, turn: Turn
    ) -> None:
        try:
            with fatal(self._die):
                messages = [event.message for event in batch]
                repeated = self._taken.again(map(_place, batch))
                topics = Counter(event.message.topic for event in batch) if self._settings.contents else NO_TOPICS
                self._observer.received(len(batch), repeated, topics)
                publications = await inference.publications([record_of(message) for message in messages])
                turn.decided.set()
                under_way.changed()
                started = time.perf_counter()
                sent = await self._confirmed(batch, publications, before, turn)
                self._observer.stage("publish", time.perf_counter() - started)
                await before.acknowledged.wait()
                self._engine.ack(batch)
                self.acknowledged |= {(message.topic, message.partition): message.offset + 1 for message in messages}
                turn.acknowledged.set()
                self._progress.moved()
                self._observer.published([publication.observation for publication in sent], int(time.time() * 1000))
        finally:
            self._unacknowledged.end(len(batch))

    async def _confirmed(
        self, batch: Sequence[Any], publications: Sequence[Publication], before: Turn, turn: Turn
    ) -> Sequence[Publication]:
        """Send the publications and wait for the broker. Returns the publications that were sent: without transactions, all of them."""
        await before.sent.wait()
        await self._stop_if_tripped(publications, before)
        try:
            async with self._silence.bound():
                if self._engine.transacts:
                    # Sending commits here, so the next batch may send only after this.
                    sent = await self._engine.transact([event.message for event in batch], publications)
                    turn.sent.set()
                    return sent
                confirmations = Confirmations(self._silence)
                for publication in publications:
                    confirmations.add(await self._engine.send(publication))
                turn.sent.set()
                await confirmations.all()
                return publications
        except TimeoutError as error:
            seconds = self._settings.produce_timeout_seconds
            msg = f"the broker did not confirm {counted(len(publications), 'outcome')} within {seconds:g} s (produce_timeout_seconds)"
            raise DeliveryError(msg) from error

    async def _stop_if_tripped(self, publications: Sequence[Publication], before: Turn) -> None:
        """If the circuit breaker opens, end the process. `sent` is never set then, so neither this batch nor a later one is sent."""
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


def _place(event: Any) -> tuple[str, int, int]:
    message = event.message
    return message.topic, message.partition, message.offset


class Deliveries:
    """
    Several deliveries that begin and end together. Each keeps its own order, batches and bounds.

    Attributes:
        content: The delivery of events.
        answers: The delivery of reviewers' answers; None if the worker takes no answers.
    """

    def __init__(self, content: Delivery, answers: Delivery | None = None) -> None:
        """Join them."""
        self.content = content
        self.answers = answers
        self._all = [content] if answers is None else [content, answers]

    @property
    def acknowledged(self) -> dict[tuple[str, int], int]:
        """By topic and partition, the offset after the last record that was acknowledged."""
        return {place: offset for one in self._all for place, offset in one.acknowledged.items()}

    @property
    def inflight(self) -> int:
        """The number of events, answers left out, whose batch has begun and is not over."""
        return self.content.inflight

    def oldest_seconds(self, now: float) -> float:
        """The age, at `now` in Unix seconds, of the oldest event that was taken and is not acknowledged; 0 if there is none."""
        return self.content.oldest_seconds(now)

    @property
    def bound_seconds(self) -> float:
        """The largest `Delivery.bound_seconds`: the deliveries run side by side."""
        return max(one.bound_seconds for one in self._all)

    def holds(self) -> set[tuple[str, int]]:
        """Topic and partition of each record that was taken and is neither acknowledged nor handed back."""
        return {place for one in self._all for place in one.holds()}

    async def hand_back(self) -> None:
        """Begin no more batches of any topic, and return when all batches that have begun are acknowledged."""
        await asyncio.gather(*(one.hand_back() for one in self._all))

    def take_again(self) -> None:
        """Take records again: partitions are assigned, and will be read from their commits."""
        for one in self._all:
            one.take_again()

    def broken(self, error: DeliveryError) -> NoReturn:
        """End the process for an error outside the deliveries, for which no event is to blame."""
        self.content.broken(error)

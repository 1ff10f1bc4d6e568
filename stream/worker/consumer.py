"""Faust's consumer, changed so that no event is lost, no partition holds up the others, and a standstill is noticed."""

import asyncio
import time
from collections import defaultdict, deque
from collections.abc import AsyncIterator, Container, Coroutine, Generator, Iterable, Iterator, Mapping, Sequence
from functools import cached_property
from typing import Any, NoReturn, cast

import faust.transport.drivers.aiokafka as driver
from aiokafka.errors import ConsumerStoppedError, IllegalStateError, KafkaError
from faust.events import Event
from faust.exceptions import ConsumerNotStarted
from faust.tables.recovery import RebalanceAgain
from faust.types import TP
from faust.types.transports import SchedulingStrategyT
from faust.types.tuples import ack_lock
from mode.services import WaitResults
from mode.utils.futures import notify

from tagstream.stream.contract.event import memory_bytes
from tagstream.stream.deliver.fatal import DeliveryError, die
from tagstream.stream.worker.inner_consumer import InnerConsumer

# Shorter than a request's timeout (30 s or more): after a seek that long, Faust believes that it is stopping, and never reads again.
SEEK_SECONDS = 20.0
# aiokafka retries a commit without end. The group waits no longer than this for a member to give up partitions (`faust_app.py`).
COMMIT_SECONDS = 60.0
# Longer than the bounds of model, producer and commit, each of which ends the process first.
GIVING_UP_SECONDS = 60.0
# A record is lost if later records have been acknowledged for this long: acknowledgements come in order.
LOST_SECONDS = 10.0
# Reading pauses while this many bytes are not acknowledged. Faust bounds only the number of events: 4,096 of 700 KB are 2.9 GB.
HELD_BYTES = 32 * 1024 * 1024
# `HANDED` stands for a record that is in its agent's queue already, and `AT_ONCE` for the result of waiting for it.
HANDED = object()
AT_ONCE = WaitResults([], [], stopped=False)


class Committable:
    """
    The offsets of one partition that were handed out and may not be committed yet, in order.

    A partition may be committed up to the first record that was handed out and is not acknowledged.

    Offsets that are never handed out (transaction markers, records removed by compaction or retention) do not hold up a commit and cost
    nothing. Faust instead appends each of these offsets to its list of acknowledged offsets. Ten million of them, after an outage longer
    than the retention, need more memory than a worker has.

    >>> committable = Committable()
    >>> for offset in (0, 4, 5, 9_000_000):
    ...     committable.hand_out(offset)
    >>> committable.advance({0, 4, 9_000_000}, None), committable.advance({5, 9_000_000}, 5)
    (5, 9000001)

    Attributes:
        unacknowledged_bytes: The size of all records that were handed out and are not acknowledged.
    """

    def __init__(self) -> None:
        """No record is handed out yet."""
        self._open: deque[int] = deque()
        self._sizes: dict[int, int] = {}
        self.unacknowledged_bytes = 0

    def __len__(self) -> int:
        return len(self._open)

    @property
    def first_open(self) -> int | None:
        """The first offset that was handed out and may not be committed yet; None if there is none."""
        return self._open[0] if self._open else None

    def missing(self, first: int, offsets: Sequence[int]) -> int | None:
        """
        The first open offset, from `first` to the last of `offsets`, that is not among `offsets`; None if there is none.

        >>> committable = Committable()
        >>> for offset in (3, 4, 9, 12):
        ...     committable.hand_out(offset)
        >>> committable.missing(4, [9]), committable.missing(4, [4, 9]), committable.missing(4, [4, 12])
        (4, None, 9)
        """
        here = set(offsets)
        for offset in self._open:
            if offset >= offsets[-1]:
                break
            if offset >= first and offset not in here:
                return offset
        return None

    def hand_out(self, offset: int, size: int = 0) -> None:
        """
        Note that a record of `size` bytes is handed out.

        If the record was handed out before, the reader has gone back to it, and will get all later records again.
        """
        while self._open and self._open[-1] >= offset:
            self.acknowledge(self._open.pop())
        self._open.append(offset)
        self._sizes[offset] = size
        self.unacknowledged_bytes += size

    def acknowledge(self, offset: int) -> None:
        """
        Note that a record is acknowledged. It stays open until `advance` has passed it.

        >>> committable = Committable()
        >>> committable.hand_out(7, 100)
        >>> committable.acknowledge(7)
        >>> committable.unacknowledged_bytes, committable.first_open
        (0, 7)
        """
        self.unacknowledged_bytes -= self._sizes.pop(offset, 0)

    def advance(self, acknowledged: Container[int], committed: int | None) -> int | None:
        """
        Forget the acknowledged offsets at the front, up to the first offset that is not acknowledged.

        Args:
            acknowledged: The acknowledged offsets.
            committed: The group's offset. Records before it are done, even if another member has done them.

        Returns:
            The offset to commit: the last acknowledged offset that was forgotten, plus one; None if no such offset was forgotten.
        """
        behind = None
        while self._open:
            offset = self._open[0]
            if offset in acknowledged:
                behind = offset + 1
            elif committed is None or offset >= committed:
                break
            self.acknowledge(self._open.popleft())
        return behind


class Stepped:
    """
    A coroutine that is run at once, up to the first future that it waits for.

    Faust makes four tasks for each record that it hands to an agent, although the coroutine only waits if the agent's queue is full.
    Awaiting this object resumes the coroutine. The coroutine must not depend on its task before it first waits.

    >>> async def double(number):
    ...     return 2 * number
    >>> Stepped(double(2)).result
    4

    Attributes:
        is_done: The coroutine has returned.
        result: Its result, once it has.
    """

    def __init__(self, coroutine: Coroutine[Any, Any, Any]) -> None:
        """Run the coroutine to its first wait. An exception of the coroutine is raised here."""
        self._coroutine = coroutine
        self._waits_for: Any = None
        self.is_done = False
        self.result: Any = None
        try:
            self._waits_for = coroutine.send(None)
        except StopIteration as returned:
            self.is_done, self.result = True, returned.value

    def __await__(self) -> Generator[Any, Any, Any]:
        while not self.is_done:
            try:
                answer = yield self._waits_for
            # Any exception that is thrown in, a cancellation above all, belongs to the coroutine.
            except BaseException as error:  # noqa: BLE001
                self._step(self._coroutine.throw, error)
            else:
                self._step(self._coroutine.send, answer)
        return self.result

    def _step(self, step: Any, argument: Any) -> None:
        try:
            self._waits_for = step(argument)
        except StopIteration as returned:
            self.is_done, self.result = True, returned.value


class Consumer(driver.Consumer):  # type: ignore[misc]
    """
    Faust's consumer. It commits by the records that it has handed out, and remembers gaps between them, to count expired events.

    Attributes:
        resumed_at: The offset at which each partition was taken up.
        skipped: By partition, the widest gap between two records: the first offset in the gap, and the first offset after it.
    """

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self.resumed_at: dict[TP, int] = {}
        self.skipped: dict[TP, tuple[int, int]] = {}
        self._committable: defaultdict[TP, Committable] = defaultdict(Committable)
        self._acknowledged = asyncio.Event()
        # True between a revocation and the next assignment; and the number of revocations so far.
        self._between = False
        self._revocations = 0
        # The time at which the current revocation began; None outside a revocation.
        self._giving_up: float | None = None
        # Faust's task that reads. It also seeks, after the flow was stopped.
        self._reader: asyncio.Task[Any] | None = None
        self._conductor: Any = self.callback
        self.callback: Any = self._hand_over
        # By partition, the record at which commits stand while later records are acknowledged, and since when.
        self._passed_over: dict[TP, tuple[int, float]] = {}

    # Faust's own properties look their values up at each call.
    @cached_property
    def _topics(self) -> Any:
        return self.app.topics

    @cached_property
    def _flow(self) -> Any:
        return self.app.flow_control

    def _to_message(self, tp: TP, record: Any) -> Any:
        """Faust's message of a record, with the batch's budget of dead letters if there is one."""
        message = super()._to_message(tp, record)
        message.budget = getattr(record, "budget", None)
        return message

    async def getmany(self, timeout: float) -> AsyncIterator[tuple[TP, Any]]:  # noqa: ASYNC109 - Faust's name for it
        """
        Yield records, once there is room (`_room`), and note each record that Faust will not drop as read before.

        This is Faust's loop written out, without the figures of Faust's monitor, which Faust sets for each record.
        """
        self._reader = asyncio.current_task()
        await self._room()
        records, active = await self._wait_next_records(timeout)
        if records is None or self.should_stop:
            return
        if not self.flow_active:
            try:
                await self.perform_seek()
            # Faust, too, only logs the error. The next assignment seeks again, and a seek that fails then ends the process (`perform_seek`).
            except Exception as error:  # noqa: BLE001
                self.log.warning("no seek while nothing is read: %s", type(error).__name__)
            return
        generation = self.app.consumer_generation_id
        for tp, record in self.scheduler.iterate(records):
            if not self.flow_active or self.app.consumer_generation_id != generation:
                return
            if active is None or tp in active or tp in self._buffered_partitions:
                message = self._to_message(tp, record)
                read = self._read_offset[tp]
                if read is None or message.offset >= read:
                    self._committable[tp].hand_out(message.offset, memory_bytes(message.key, message.value, message.headers))
                yield tp, message

    def _hand_over(self, message: Any) -> Any:
        """Put the record into its agent's queue and return `HANDED`, if Faust would not wait; else return Faust's coroutine, which waits."""
        conductor = self._topics
        channels = conductor._tp_index.get(message.tp, ())  # noqa: SLF001
        if (
            len(channels) != 1
            or message.tp not in conductor._tp_to_callback  # noqa: SLF001
            or conductor._tp_to_callback_lock.locked()  # noqa: SLF001
            or not self._flow.is_active()
        ):
            return self._conductor(message)
        (channel,) = channels
        queue = channel.queue
        if not getattr(channel.schema, "takes_bytes", False) or queue.qsize() >= queue.pressure_high_size:
            # Faust decodes the record, or stops fetching the partition until the queue has room.
            return self._conductor(message)
        # No other code has the message yet, so Faust's lock is not needed.
        message.refcount += 1
        queue.force_put_nowait(Event(self.app, message.key, message.value, message.headers, message))
        return HANDED

    async def wait_first(self, *waited: Any, timeout: Any = None) -> Any:  # noqa: ASYNC109 - Faust's name for it
        """Overrides Faust's method: no tasks are made if the first coroutine, which hands a record to its agent, need not wait."""
        first, *others = waited
        if first is HANDED:
            for other in others:
                other.close()
            return AT_ONCE
        if not asyncio.iscoroutine(first):
            return await super().wait_first(*waited, timeout=timeout)
        try:
            stepped = Stepped(first)
        except BaseException:
            for other in others:
                other.close()
            raise
        if not stepped.is_done:
            return await super().wait_first(stepped, *others, timeout=timeout)
        for other in others:
            other.close()
        return WaitResults([first], [stepped.result], stopped=False)

    async def sleep(self, n: Any) -> None:
        """Overrides Faust's method: a sleep of 0 s, which Faust takes before each poll, makes no tasks for a stop to end."""
        if n:
            await super().sleep(n)
        else:
            await asyncio.sleep(0)

    @property
    def held_bytes(self) -> int:
        """The size of all records that were handed out and are not acknowledged."""
        return sum(committable.unacknowledged_bytes for committable in self._committable.values())

    async def _room(self) -> None:
        """Wait while `HELD_BYTES` are not acknowledged. A revocation or a stop ends the wait."""
        while self.held_bytes >= HELD_BYTES and self.flow_active and not self.should_stop:
            self._acknowledged.clear()
            await self.wait_first(self._acknowledged, self.suspend_flow)

    def ack(self, message: Any) -> bool:
        """Acknowledge as Faust does, which makes room for further records."""
        if message.tp in self._committable:
            self._committable[message.tp].acknowledge(message.offset)
        self._acknowledged.set()
        return cast("bool", super().ack(message))

    def ack_all(self, messages: Sequence[Any]) -> None:
        """Acknowledge each message in order as Faust does, but take Faust's lock once, and not twice for each record."""
        acking, unacked = self._topics._acking_topics, self._unacked_messages  # noqa: SLF001
        with ack_lock:
            for message in messages:
                if message.acked:
                    continue
                message.refcount = max(message.refcount - 1, 0)
                if message.refcount:
                    continue
                tp, offset = message.tp, message.offset
                message.acked = True
                if tp in self._committable:
                    self._committable[tp].acknowledge(offset)
                committed = self._committed_offset[tp]
                if message.topic in acking and (committed is None or offset >= committed):
                    index = self._acked_index[tp]
                    if offset not in index:
                        # Faust tracks only the first event of several.
                        if unacked.data:
                            unacked.discard(message)
                        index.add(offset)
                        self._acked[tp].append(offset)
                        self._n_acked += 1
            notify(self._waiting_for_ack)
        self._acknowledged.set()

    def lost(self, tp: TP, after: int | None, offsets: Sequence[int]) -> int | None:
        """
        Look for a record that was handed out and is missing from a batch.

        Args:
            tp: The partition of the batch.
            after: The first offset to look at; None for the first record that is open.
            offsets: The offsets of the batch, in order.

        Returns:
            The first missing offset below the last of `offsets`; None if no record is missing.
        """
        return self._committable[tp].missing(after or 0, offsets) if tp in self._committable else None

    def standstill(self) -> str | None:
        """
        Why no record will be read any more, although nothing has crashed; None while records can be read.

        aiokafka keeps the error that ended one of its routines and raises it from its public methods, which Faust does not call.
        """
        inner = self._thread._consumer  # noqa: SLF001
        if inner is None or self.should_stop or inner._coordinator is None:  # noqa: SLF001
            return None
        coordinator, fetcher = inner._coordinator, inner._fetcher  # noqa: SLF001
        pending = coordinator._pending_exception  # noqa: SLF001
        if pending is not None:
            return f"the group's coordinator said {type(pending).__name__}: {pending}"
        if self._giving_up is not None and time.monotonic() - self._giving_up > self._most_giving_up_seconds():
            return "partitions that are taken away could not be given up"
        ended = {"group": coordinator._coordination_task, "fetches": fetcher._fetch_task}  # noqa: SLF001
        return next((f"the routine of the {name} has ended" for name, task in ended.items() if task.done()), None)

    @property
    def member_id(self) -> str:
        """This worker's member id, which each join may change; empty outside the group."""
        inner = self._thread._consumer  # noqa: SLF001
        coordinator = None if inner is None else inner._coordinator  # noqa: SLF001
        return "" if coordinator is None else str(getattr(coordinator, "member_id", "") or "")

    def _most_giving_up_seconds(self) -> float:
        bounds = 0.0 if self.app.delivery is None else self.app.delivery.bound_seconds
        return COMMIT_SECONDS + bounds + GIVING_UP_SECONDS

    def handed_out(self, tp: TP) -> int:
        """The number of records of a partition that were handed out and may not be committed yet, acknowledged or not."""
        return len(self._committable[tp]) if tp in self._committable else 0

    async def _add_gap(self, tp: TP, offset_from: int, offset_to: int) -> None:
        """
        Remember the widest gap. Commits do not need gaps, because they follow the records that were handed out.

        Faust adds all offsets of a gap to the acknowledged offsets. It overlooks a gap after offset 0, and commits then stand still there.
        """
        before = self.skipped.get(tp, (0, 0))
        if offset_to - offset_from > before[1] - before[0]:
            self.skipped[tp] = (offset_from, offset_to)

    def _new_offset(self, tp: TP) -> int | None:
        """The offset to commit, found by the records that were handed out and not by counting offsets; None if it has not moved."""
        acknowledged: set[int] = self._acked_index[tp]
        behind = self._committable[tp].advance(acknowledged, self._committed_offset[tp])
        self._look_for_a_lost_one(tp, acknowledged)
        if behind is not None:
            acknowledged.difference_update([offset for offset in acknowledged if offset < behind])
            self._acked[tp][:] = acknowledged
        return behind

    def _filter_committable_offsets(self, tps: Iterable[TP]) -> dict[TP, int]:
        """
        The offsets to commit.

        If an epoch has begun since a partition's last commit, the committed offset is committed again: the commit carries the epoch, which
        the group must remember even if no event comes.
        """
        found: dict[TP, int] = super()._filter_committable_offsets(tps)
        memory = self.app.group_memory
        if memory is not None and not self._between:
            committed = {tp: self._committed_offset[tp] for tp in memory.lacking(self.assignment())}
            found = {tp: offset for tp, offset in committed.items() if offset} | found
        return found

    def _look_for_a_lost_one(self, tp: TP, acknowledged: set[int]) -> None:
        """
        End the process if a record was handed out and never reached the agent; the next process reads it.

        Faust can drop queued records if a rebalance begins while Faust still seeks for the previous rebalance. The partition's commits
        would stand at such a record, unnoticed, while later records are decided.
        """
        first = self._committable[tp].first_open
        if self.app.delivery is None or first is None or first in acknowledged or max(acknowledged, default=-1) < first:
            self._passed_over.pop(tp, None)
            return
        stands_at, since = self._passed_over.get(tp, (None, 0.0))
        if stands_at != first:
            self._passed_over[tp] = (first, time.monotonic())
        elif time.monotonic() - since > LOST_SECONDS:
            self.app.delivery.broken(
                DeliveryError(f"{tp.topic}/{tp.partition}: offset {first} was taken and never delivered, and later ones were")
            )

    async def wait_empty(self) -> None:
        """
        Finish the batches under way and commit them; called before partitions are revoked, and before a stop.

        Faust waits until agents have processed all events that they have taken, and collects garbage at each acknowledgement. If events
        are decided one at a time, this takes half a minute, while the group waits. This method begins no new batch, and hands back the
        events whose batch has not begun.
        """
        delivery = self.app.delivery
        if delivery is None:
            await super().wait_empty()
            return
        if not self.should_stop:
            await delivery.hand_back()
        # Two steps: during a commit, a request for another commit only waits for the first.
        await self.maybe_wait_for_commit_to_finish()
        await self.commit_and_end_transactions()

    async def on_partitions_revoked(self, revoked: set[TP]) -> None:
        """Commit everything, then do as Faust does: Faust begins by forgetting the acknowledgements."""
        self._between = True
        self._revocations += 1
        self._giving_up = time.monotonic()
        try:
            if self.app.delivery is not None:
                self.stop_flow()
                await self.wait_empty()
            # If a partition comes back, another member may have worked on it, and these notes would be out of date.
            for notes in (self._committable, self.skipped, self._passed_over):
                for tp in revoked:
                    notes.pop(tp, None)
            await super().on_partitions_revoked(revoked)
        finally:
            self._giving_up = None

    async def on_partitions_assigned(self, assigned: set[TP], generation_id: int = 0) -> None:
        """Let the delivery take events again, then do as Faust does. A worker that stops takes no more events."""
        if self.app.delivery is not None and not self.app.should_stop:
            self.app.delivery.take_again()
        self._between = False
        await super().on_partitions_assigned(assigned, generation_id)

    async def _commit(self, offsets: Mapping[TP, int]) -> bool:
        """Commit as Faust does, within a bound: a commit that never ends would block the stream, and then a rebalance."""
        try:
            async with asyncio.timeout(COMMIT_SECONDS):
                return cast("bool", await super()._commit(offsets))
        except TimeoutError:
            self._end(f"the group's coordinator has not taken a commit within {COMMIT_SECONDS:g} s")

    def _new_consumer_thread(self) -> InnerConsumer:
        return InnerConsumer(self, loop=self.loop, beacon=self.beacon)

    def resume_flow(self) -> None:
        """Resume as Faust does, but not between a revocation and the next assignment: Faust would drop the records that it reads then."""
        if not self._between:
            super().resume_flow()

    async def perform_seek(self) -> None:
        """
        Seek to the committed offsets after an assignment. If the seek fails or takes too long, the process ends.

        Raises:
            RebalanceAgain: Partitions were revoked during the seek; the caller must not let records flow before the next seek.
        """
        revocations = self._revocations
        try:
            async with asyncio.timeout(SEEK_SECONDS):
                if not self._between:
                    await super().perform_seek()
        except TimeoutError:
            self._cannot_seek(f"the brokers did not say within {SEEK_SECONDS:g} s")
        # The consumer has ended or holds no partitions any more: the next owner seeks for itself.
        except (IllegalStateError, ConsumerStoppedError, ConsumerNotStarted):
            raise
        # Faust seeks in two places. In one of them it would log any error and read on from the current offset.
        except Exception as error:  # noqa: BLE001
            self._cannot_seek(f"{type(error).__name__}: {error}")
        if self._between or revocations != self._revocations:
            if asyncio.current_task() is self._reader:
                # The reader only waits for the flow now; an exception would be logged at every rebalance.
                return
            msg = "partitions are taken away; the next assignment seeks"
            raise RebalanceAgain(msg)
        assigned = self.assignment()
        self.resumed_at.update({tp: offset for tp, offset in self._committed_offset.items() if offset and tp in assigned})

    def _cannot_seek(self, why: str) -> NoReturn:
        self._end(f"where the group has committed cannot be known: {why}")

    def _end(self, why: str) -> NoReturn:
        error = DeliveryError(why)
        if self.app.delivery is not None:
            self.app.delivery.broken(error)
        die(error)


class PartitionByPartition(SchedulingStrategyT):  # type: ignore[misc]
    """
    Keeps the records of a partition together, so that a batch needs one or two transactions, and not one for each partition.

    >>> list(PartitionByPartition().iterate({TP("content", 0): ["a", "b"], TP("content", 1): ["c"]}))[1:]
    [(TP(topic='content', partition=0), 'b'), (TP(topic='content', partition=1), 'c')]
    """

    def iterate(self, records: Mapping[TP, Any]) -> Iterator[tuple[TP, Any]]:
        """The records of each partition, one partition after the other."""
        return ((tp, record) for tp, taken in records.items() for record in taken)


class TransactedConsumer(Consumer):
    """Fences the previous owners of its partitions before it reads them. It commits no offsets: the transactions commit them."""

    async def on_partitions_assigned(self, assigned: set[TP], generation_id: int = 0) -> None:
        """Fence the previous owners, then do as Faust does: Faust seeks to the offsets that are committed after the fencing."""
        try:
            # A worker that stops reads no more records, and need not fence the previous owners.
            if not self.app.should_stop:
                await self.app.transactions.hold(assigned)
        except Exception as error:  # noqa: BLE001 - Faust would stop gracefully, and go on until that is done
            die(error)
        await super().on_partitions_assigned(assigned, generation_id)

    async def _commit(self, offsets: Mapping[TP, int]) -> bool:
        """
        Report success, so that Faust clears its notes: under exactly once an acknowledged event is already committed.

        If an epoch has begun since the last transaction, the same offset is committed once more, with the new epoch.
        """
        try:
            await self.app.transactions.remember(offsets)
        except (KafkaError, TimeoutError) as error:
            self._end(f"the epoch could not be committed: {type(error).__name__}: {error}")
        self._thread.tp_last_committed_at.update(dict.fromkeys(offsets, time.monotonic()))
        return True

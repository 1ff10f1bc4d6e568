"""Faust's consumer, as it must be for nothing to be lost, to stand still in silence, or to be held up by one partition."""

import asyncio
import time
from collections import defaultdict
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator, Mapping, Sequence
from typing import Any, NoReturn, TypeVar, cast

import faust.transport.drivers.aiokafka as driver
from aiokafka.consumer.fetcher import FetchResult, OffsetResetStrategy
from aiokafka.consumer.group_coordinator import GroupCoordinator
from aiokafka.errors import (
    CommitFailedError,
    ConsumerStoppedError,
    GroupCoordinatorNotAvailableError,
    IllegalStateError,
    NotCoordinatorForGroupError,
    UnknownTopicOrPartitionError,
    for_code,
)
from aiokafka.protocol.commit import OffsetFetchRequest
from faust.exceptions import ConsumerNotStarted
from faust.tables.recovery import RebalanceAgain
from faust.types import TP
from faust.types.transports import SchedulingStrategyT

from stream.deliver.delivery import DeliveryError, die
from stream.worker.committable import Given

T = TypeVar("T")

# Faust takes a seek that lasts as long as a request may (30 s and more) for a stop, and never reads again.
SEEK_SECONDS = 20.0
# aiokafka asks again for as long as it takes. A group does not wait longer for a member that gives up partitions (app.py).
COMMIT_SECONDS = 60.0
# A coordinator may not know yet of a partition that was just added.
UNKNOWN_SECONDS = 5.0
# Beyond the bounds of model, producer and commit, which end the process before.
GIVING_UP_SECONDS = 60.0
# Acknowledgements come in order; nothing makes them that late.
LOST_SECONDS = 10.0
LEAST_RECORDS = 64


class Coordinator(GroupCoordinator):  # type: ignore[misc]
    """
    Hears when the broker says that it cannot tell a group's offsets, and when what is to be committed is gone.

    aiokafka reads what is said of each partition, and then there is none: a coordinator that has just taken over and still loads would
    make every partition one that was never committed, and the whole log be decided again.

    A commit for a topic that was deleted it repeats for ever: the partitions could not be given up meanwhile, and once the topic was
    made anew the offset of the old log would be committed in the new one, whose events below it nobody would read.
    """

    _unknown_since: float | None = None

    async def _do_commit_offsets(self, assignment: Any, offsets: Any) -> None:
        since, self._unknown_since = self._unknown_since, None
        try:
            await super()._do_commit_offsets(assignment, offsets)
        except UnknownTopicOrPartitionError as error:
            now = time.monotonic()
            self._unknown_since = since or now
            if now - self._unknown_since < UNKNOWN_SECONDS:
                raise
            partitions = ", ".join(f"{tp.topic}/{tp.partition}" for tp in sorted(offsets))
            msg = (
                f"of {partitions} one does not exist any more, so that nothing of it can be committed. Next: `tagstream doctor`"
            )
            raise CommitFailedError(msg) from error

    async def _send_req(self, request: Any) -> Any:
        answer = await super()._send_req(request)
        code = getattr(answer, "error_code", 0) if isinstance(request, OffsetFetchRequest) else 0
        if code:
            kind = for_code(code)
            if kind in {GroupCoordinatorNotAvailableError, NotCoordinatorForGroupError}:
                self.coordinator_dead()
            raise kind(self.group_id)
        return answer


class ConsumerThread(driver.AIOKafkaConsumerThread):  # type: ignore[misc]
    """Of a transactional producer only what it has committed is an event; Faust reads it all outside its exactly-once mode."""

    def _create_worker_consumer(self, transport: Any) -> Any:
        consumer = super()._create_worker_consumer(transport)
        # Read when the consumer starts. Faust has no setting for it.
        consumer._isolation_level = "read_committed"  # noqa: SLF001
        return consumer

    async def seek_to_committed(self) -> Mapping[TP, int]:
        """
        Also back to the beginning of what was never committed; in one question, and without a wait for a new position.

        During a rebalance Faust drops records that it has already taken from aiokafka, and relies on this to read them again. But
        aiokafka only seeks where there is a commit: without one its position stays behind the dropped records, and the partition
        stands still with its events unread until the worker is restarted. It also asks of each partition by itself, and its
        `seek_to_beginning` waits for the leaders of all.
        """
        return cast("Mapping[TP, int]", await self.call_thread(self._seek_to_committed))

    async def _seek_to_committed(self) -> Mapping[TP, int | None]:
        consumer = self._ensure_consumer()
        fetcher = consumer._fetcher  # noqa: SLF001
        assignment = consumer._subscription.subscription.assignment  # noqa: SLF001
        if assignment is None:
            msg = "nothing was assigned yet"
            raise IllegalStateError(msg)
        commits = await consumer._coordinator.fetch_committed_offsets(sorted(assignment.tps))  # noqa: SLF001
        if consumer._subscription.subscription.assignment is not assignment:  # noqa: SLF001
            # What is new in it was not asked for, and would look never committed. Its own seek comes.
            msg = "a rebalance came in between"
            raise IllegalStateError(msg)
        found = {tp: commits[tp].offset if tp in commits else None for tp in assignment.tps}
        for tp, offset in found.items():
            if offset:
                fetcher.seek_to(tp, offset)
            else:
                assignment.state_value(tp).await_reset(OffsetResetStrategy.EARLIEST)
                fetcher._records.pop(tp, None)  # noqa: SLF001
        fetcher._notify(fetcher._wait_consume_future)  # noqa: SLF001
        return found

    async def _fetch_records(
        self,
        consumer: Any,
        active_partitions: set[TP],
        timeout: float | None = None,  # noqa: ASYNC109 - Faust's name for it
        max_records: int | None = None,
    ) -> Mapping[TP, Any]:
        """
        As Faust, and of each partition that has some the same share.

        aiokafka gives out all that it has fetched of one partition, a megabyte, before it turns to the next: behind a backlog the
        partitions of a dead worker would wait for minutes although they have an owner.
        """
        fetcher = consumer._fetcher  # noqa: SLF001
        found = {tp: fetched for tp, fetched in fetcher._records.items() if tp in active_partitions}  # noqa: SLF001
        if (
            max_records is None
            or len(found) < 2  # noqa: PLR2004
            or not self.consumer.flow_active
            or consumer._closed  # noqa: SLF001
            or fetcher._closed  # noqa: SLF001
            or fetcher._subscriptions.reassignment_in_progress  # noqa: SLF001
            # Among them an error: aiokafka says when it is to be raised.
            or not all(isinstance(fetched, FetchResult) for fetched in found.values())
        ):
            # Whoever has to wait gets the first that comes, and of that no more than if all came at once; but then a trip must be worth it.
            most = max_records and min(max_records, max(LEAST_RECORDS, -(-max_records // max(1, len(active_partitions)))))
            return cast("Mapping[TP, Any]", await super()._fetch_records(consumer, active_partitions, timeout, most))
        share = max(LEAST_RECORDS, -(-max_records // len(found)))
        # Nothing is awaited in here: what is taken is of this assignment.
        taken: dict[TP, Any] = {}
        with fetcher._subscriptions.fetch_context():  # noqa: SLF001
            for tp, fetched in found.items():
                if max_records <= 0:
                    break
                records = fetched.getall(min(share, max_records))
                max_records -= len(records)
                if records:
                    taken[tp] = records
                if fetched.has_more():
                    # Behind those whose turn is next.
                    fetcher._records.move_to_end(tp)  # noqa: SLF001
                else:
                    del fetcher._records[tp]  # noqa: SLF001
                    fetcher._notify(fetcher._wait_consume_future)  # noqa: SLF001
        return taken

    def verify_event_path(self, now: float, tp: TP) -> None:
        """
        Nothing: `Consumer.standstill` and the position say what stands still.

        Faust counts from the start of the process: five minutes after it, each partition that has just been assigned was an error.
        """

    async def beside(self, ask: Callable[..., Coroutine[Any, Any, T]], *arguments: Any) -> T:
        """
        Ask in the consumer's thread, beside its queue; whoever waits no longer takes the question back.

        Two calls at a time come out of that queue, fetches and commits too, and one that nobody waits for any more stays: two questions
        to a broker that does not answer would hold up all partitions of the others.

        Raises:
            ConsumerNotStarted: The thread has ended.
        """
        question = ask(*arguments)
        try:
            answer = asyncio.run_coroutine_threadsafe(question, self.thread_loop)
        except RuntimeError as error:
            question.close()
            msg = "the consumer's thread has ended"
            raise ConsumerNotStarted(msg) from error
        return await asyncio.wrap_future(answer)


class Consumer(driver.Consumer):  # type: ignore[misc]
    """
    Knows what it gave out, and remembers what it did not get, for whoever wants to know what had expired.

    Attributes:
        resumed_at: Where partitions were taken up.
        skipped: Of each partition the widest gap between two records: the first offset in it, and the one behind it.
    """

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self.resumed_at: dict[TP, int] = {}
        self.skipped: dict[TP, tuple[int, int]] = {}
        self._given: defaultdict[TP, Given] = defaultdict(Given)
        # From the moment at which partitions go until others, or the same, are ours; and how often they went.
        self._between = False
        self._revocations = 0
        # Since when partitions are being given up.
        self._giving_up: float | None = None
        # Who reads, and seeks where the flow was stopped meanwhile.
        self._reader: asyncio.Task[Any] | None = None
        # The record at which a partition stands while later ones are acknowledged, and since when.
        self._passed_over: dict[TP, tuple[int, float]] = {}

    async def getmany(self, timeout: float) -> AsyncIterator[tuple[TP, Any]]:  # noqa: ASYNC109 - Faust's name for it
        """As Faust; each record that Faust will not drop for having been read is noted."""
        self._reader = asyncio.current_task()
        async for tp, message in super().getmany(timeout):
            read = self._read_offset[tp]
            if read is None or message.offset >= read:
                self._given[tp].out(message.offset)
            yield tp, message

    def lost(self, tp: TP, after: int | None, offsets: Sequence[int]) -> int | None:
        """The first record from offset `after` to the last of `offsets` that was given out and is not among them; None if there is none."""
        return self._given[tp].missing(after or 0, offsets) if tp in self._given else None

    def standstill(self) -> str | None:
        """
        Why nothing will be read any more although nothing has crashed; None where that is not so.

        aiokafka keeps what ends its routines for whoever asks by its public methods next. Faust does not use those.
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

    def _most_giving_up_seconds(self) -> float:
        bounds = 0.0 if self.app.delivery is None else self.app.delivery.bound_seconds
        return COMMIT_SECONDS + bounds + GIVING_UP_SECONDS

    def given_out(self, tp: TP) -> int:
        """So many records of a partition were given out and are not committable yet."""
        return len(self._given[tp]) if tp in self._given else 0

    async def _add_gap(self, tp: TP, offset_from: int, offset_to: int) -> None:
        """To commits, what was never given out is no gap; and Faust sees none behind offset 0, so that commits stood still there."""
        before = self.skipped.get(tp, (0, 0))
        if offset_to - offset_from > before[1] - before[0]:
            self.skipped[tp] = (offset_from, offset_to)

    def _new_offset(self, tp: TP) -> int | None:
        """Up to where this partition may be committed, by what was given out and not by counting offsets."""
        acknowledged: set[int] = self._acked_index[tp]
        behind = self._given[tp].done(acknowledged, self._committed_offset[tp])
        self._look_for_a_lost_one(tp, acknowledged)
        if behind is not None:
            acknowledged.difference_update([offset for offset in acknowledged if offset < behind])
            self._acked[tp][:] = acknowledged
        return behind

    def _look_for_a_lost_one(self, tp: TP, acknowledged: set[int]) -> None:
        """
        A record that was given out and never reached the agent: its partition would stand at it, in silence, while all else goes on.

        Faust can drop what it has queued, in a rebalance that comes while it still seeks for the one before. The next process reads it.
        """
        first = self._given[tp].first
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
        Finish what is under way and commit it; before partitions go, and before a stop.

        Faust waits for all that agents have taken, and collects garbage for each acknowledgement: half a minute, while the group
        waits, for events that are decided one at a time. Ours begins nothing more, and hands back what has not begun.
        """
        delivery = self.app.delivery
        if delivery is None:
            await super().wait_empty()
            return
        if not self.should_stop:
            await delivery.hand_back()
        # Whoever commits while another commit is under way only waits for that.
        await self.maybe_wait_for_commit_to_finish()
        await self.commit_and_end_transactions()

    async def on_partitions_revoked(self, revoked: set[TP]) -> None:
        """As Faust, once all is committed: the first that Faust does here is to forget what was acknowledged."""
        self._between = True
        self._revocations += 1
        self._giving_up = time.monotonic()
        try:
            if self.app.delivery is not None:
                self.stop_flow()
                await self.wait_empty()
            # Whoever has them next knows nothing of this, and if that is us, it was long ago.
            for notes in (self._given, self.skipped, self._passed_over):
                for tp in revoked:
                    notes.pop(tp, None)
            await super().on_partitions_revoked(revoked)
        finally:
            self._giving_up = None

    async def on_partitions_assigned(self, assigned: set[TP], generation_id: int = 0) -> None:
        """As Faust; what was handed back will be read again where it is still ours. A worker that stops takes nothing more."""
        if self.app.delivery is not None and not self.app.should_stop:
            self.app.delivery.take_again()
        self._between = False
        await super().on_partitions_assigned(assigned, generation_id)

    async def _commit(self, offsets: Mapping[TP, int]) -> bool:
        """As Faust, in time, or the process ends: a commit that never ends would hold up the stream, and then a rebalance."""
        try:
            async with asyncio.timeout(COMMIT_SECONDS):
                return cast("bool", await super()._commit(offsets))
        except TimeoutError:
            self._end(f"the group's coordinator has not taken a commit within {COMMIT_SECONDS:g} s")

    def _new_consumer_thread(self) -> ConsumerThread:
        return ConsumerThread(self, loop=self.loop, beacon=self.beacon)

    def resume_flow(self) -> None:
        """As Faust, but not while partitions go: what it would read now it would drop."""
        if not self._between:
            super().resume_flow()

    async def perform_seek(self) -> None:
        """
        As Faust, after every assignment; in time, or the process ends.

        Raises:
            RebalanceAgain: The partitions are taken away, and whoever has asked would let records flow now, before the next seek.
        """
        revocations = self._revocations
        try:
            async with asyncio.timeout(SEEK_SECONDS):
                if not self._between:
                    await super().perform_seek()
        except TimeoutError:
            self._cannot_seek(f"the brokers did not say within {SEEK_SECONDS:g} s")
        # The consumer has ended, or has nothing any more: who is next seeks for itself.
        except (IllegalStateError, ConsumerStoppedError, ConsumerNotStarted):
            raise
        # Faust logs whatever this is in one of the two places where it seeks, and goes on from where it is.
        except Exception as error:  # noqa: BLE001
            self._cannot_seek(f"{type(error).__name__}: {error}")
        if self._between or revocations != self._revocations:
            if asyncio.current_task() is self._reader:
                # It only waits for the flow now; Faust would log an exception at every rebalance.
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


class OneAfterTheOther(SchedulingStrategyT):  # type: ignore[misc]
    """
    For exactly once: what was taken of a partition comes together, so that a batch is one transaction or two and not one of each.

    >>> list(OneAfterTheOther().iterate({TP("content", 0): ["a", "b"], TP("content", 1): ["c"]}))[1:]
    [(TP(topic='content', partition=0), 'b'), (TP(topic='content', partition=1), 'c')]
    """

    def iterate(self, records: Mapping[TP, Any]) -> Iterator[tuple[TP, Any]]:
        """The records of each partition, one partition after the other."""
        return ((tp, record) for tp, taken in records.items() for record in taken)


class TransactedConsumer(Consumer):
    """Takes partitions over before anything of them is read, and commits nothing: the offsets are in the transactions."""

    async def on_partitions_assigned(self, assigned: set[TP], generation_id: int = 0) -> None:
        """Fence whoever had them; then as Faust, which seeks to the offsets as they are after that."""
        try:
            # A worker that stops reads nothing more, and need not fence whoever will.
            if not self.app.should_stop:
                await self.app.transactions.hold(assigned)
        except Exception as error:  # noqa: BLE001 - Faust would stop gracefully, and go on for as long as that takes
            die(error)
        await super().on_partitions_assigned(assigned, generation_id)

    async def _commit(self, offsets: Mapping[TP, int]) -> bool:
        """Acknowledged is committed here. Faust clears its notes and believes to have done it."""
        self._thread.tp_last_committed_at.update(dict.fromkeys(offsets, time.monotonic()))
        return True

"""
aiokafka's consumer inside Faust's: how it seeks after a rebalance, shares fetches among partitions, and asks for offsets.

`InnerConsumer` replaces Faust's consumer thread and runs on the worker's event loop. `Coordinator` replaces aiokafka's member of the
group. `offsets_of` asks the brokers for the offsets that `PositionReporter` reports.
"""

import asyncio
import math
import time
from collections import defaultdict
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Any, cast

import faust.transport.drivers.aiokafka as driver
from aiokafka.conn import AIOKafkaProtocol
from aiokafka.consumer.fetcher import READ_UNCOMMITTED, Fetcher, FetchResult, OffsetResetStrategy
from aiokafka.consumer.group_coordinator import GroupCoordinator
from aiokafka.errors import (
    CommitFailedError,
    GroupCoordinatorNotAvailableError,
    IllegalStateError,
    NotCoordinatorForGroupError,
    UnknownMemberIdError,
    UnknownTopicOrPartitionError,
    for_code,
)
from aiokafka.protocol.commit import OffsetCommitRequest, OffsetFetchRequest
from aiokafka.protocol.offset import OffsetRequest
from aiokafka.structs import OffsetAndMetadata, TopicPartition
from faust.types import TP

from tagstream.stream.deliver.pace import Pace
from tagstream.stream.kafka.batches.poll import Poll, polling
from tagstream.stream.kafka.group_memory import GroupMemory

LEAST_RECORDS = 64
# The brokers answer a fetch of an idle topic after 1.5 s.
FRESH_SECONDS = 3.0
# A coordinator may not know yet of a partition that was just added.
UNKNOWN_SECONDS = 5.0
READ_BYTES = 64 * 1024
# The replica id that a consumer sends; a follower of a partition sends its own id there.
CONSUMER = -1


class Coordinator(GroupCoordinator):  # type: ignore[misc]
    """
    Raises an error in three cases that aiokafka misses: the broker cannot tell the group's offsets, a partition to commit no longer exists,
    or this worker is not a member of the group when it commits.

    aiokafka reads the answer to an offset request partition by partition, and misses the error of the whole answer, which lists no
    partitions. While a new coordinator still loads, every partition would look as if it had never been committed, and the whole log would
    be decided again.

    aiokafka repeats a commit for a deleted topic for ever. Meanwhile the partitions could not be revoked. Once the topic was made anew, the
    offset of the old log would be committed in the new log, and the events below that offset would never be read.

    After the group has removed it, aiokafka commits without a generation, like a program outside any group. A broker refuses such a commit
    while the group has members, and accepts it once the last member has left. A worker that was frozen would then set back the offsets that
    other workers have committed.
    """

    # The worker's memory, set when the worker seeks: every commit carries it.
    memory: GroupMemory | None = None
    _unknown_since: float | None = None

    async def _do_commit_offsets(self, assignment: Any, offsets: Any) -> None:
        if self.generation == OffsetCommitRequest.DEFAULT_GENERATION_ID:
            raise UnknownMemberIdError(self.group_id)
        metadata = "" if self.memory is None else self.memory.metadata
        offsets = {tp: OffsetAndMetadata(commit.offset, metadata) for tp, commit in offsets.items()}
        since, self._unknown_since = self._unknown_since, None
        try:
            await super()._do_commit_offsets(assignment, offsets)
        except UnknownTopicOrPartitionError as error:
            now = time.monotonic()
            self._unknown_since = since or now
            if now - self._unknown_since < UNKNOWN_SECONDS:
                raise
            partitions = ", ".join(f"{tp.topic}/{tp.partition}" for tp in sorted(offsets))
            msg = f"one of the partitions {partitions} does not exist any more, so its offsets cannot be committed. Next: `tagstream doctor`"
            raise CommitFailedError(msg) from error
        if self.memory is not None:
            self.memory.noted(offsets, metadata)

    async def _send_req(self, request: Any) -> Any:
        answer = await super()._send_req(request)
        code = getattr(answer, "error_code", 0) if isinstance(request, OffsetFetchRequest) else 0
        if code:
            kind = for_code(code)
            if kind in {GroupCoordinatorNotAvailableError, NotCoordinatorForGroupError}:
                self.coordinator_dead()
            raise kind(self.group_id)
        return answer


@dataclass(slots=True, kw_only=True)
class Offsets:
    """
    The brokers' answer.

    Attributes:
        ends: The last stable offset, up to which records may be read, of each partition that has a leader.
        high: The high watermark, the end of the log, of each partition that has a leader; read before `ends`.
        begins: The first offset that is still in the log, of each partition in `unknown` that has a leader.
        found: Of each partition that is still assigned, the group's offset (None before the first commit), and the offset up to which
            records were fetched (None if it is not known).
    """

    ends: Mapping[TP, int] = field(default_factory=dict)
    high: Mapping[TP, int] = field(default_factory=dict)
    begins: Mapping[TP, int] = field(default_factory=dict)
    found: dict[TP, tuple[int | None, int | None]] = field(default_factory=dict)


class PacedFetcher(Fetcher):  # type: ignore[misc]
    """aiokafka's fetcher, which waits for `Pace.seconds` between two fetches to one broker."""

    # The worker's pace, set when the worker seeks, which is before its first fetch.
    pace: Pace | None = None

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self._sent: dict[Any, float] = {}

    def _get_actions_per_node(self, assignment: Any) -> Any:
        fetches, resets, seconds, *rest = super()._get_actions_per_node(assignment)
        if self.pace is not None and fetches:
            now, pause = time.monotonic(), self.pace.seconds
            waits = {node: wait for node, _ in fetches if (wait := self._sent.get(node, -math.inf) + pause - now) > 0}
            fetches = [(node, request) for node, request in fetches if node not in waits]
            self._sent.update((node, now) for node, _ in fetches)
            # After these seconds aiokafka looks again, and makes the requests anew.
            seconds = min([seconds, *waits.values()])
        return fetches, resets, seconds, *rest


class OwnBuffer(AIOKafkaProtocol, asyncio.BufferedProtocol):  # type: ignore[misc]
    """
    aiokafka's side of a connection, which reads into one buffer for its whole life.

    Otherwise asyncio allocates 256 KiB for each read, and frees all but the few bytes that came. With a worker's allocator settings
    (`allocator.py`), each of these allocations costs system calls and new pages.
    """

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self._buffer = memoryview(bytearray(READ_BYTES))

    def get_buffer(self, sizehint: int) -> memoryview:  # noqa: ARG002 - asyncio's name; a hint
        """The buffer for the next bytes."""
        return self._buffer

    def buffer_updated(self, nbytes: int) -> None:
        """`nbytes` have arrived in the buffer."""
        self.data_received(self._buffer[:nbytes])


class OnThisLoop:
    """Takes the place of the thread that Faust starts for its consumer: a task of the loop that starts it."""

    def __init__(self, service: Any) -> None:
        """`service` is Faust's service, with its caller's loop as its thread's loop."""
        self._service = service
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Start the task."""
        self._task = asyncio.get_running_loop().create_task(self._service._serve())  # noqa: SLF001
        self._task.add_done_callback(self._ended)

    def stop(self) -> None:
        """Return at once: Faust calls this when the service has shut down."""

    def _ended(self, task: asyncio.Task[None]) -> None:
        # The service reports an exception that has crashed it. A stop must not wait for ever for a service that failed while it shut down.
        if not task.cancelled():
            task.exception()
        self._service.set_shutdown()


class InnerConsumer(driver.AIOKafkaConsumerThread):  # type: ignore[misc]
    """
    Reads only committed records of transactions, which Faust does only in its own exactly-once mode, and runs on the worker's loop.

    Faust runs its consumer in a thread with a loop of its own, so that heartbeats go out while agents keep the app's loop busy. Our agents
    keep no loop busy, and with two loops each record would wake both loops twice.
    """

    Worker = OnThisLoop

    def __init__(self, consumer: Any, *, loop: asyncio.AbstractEventLoop, **options: Any) -> None:
        super().__init__(consumer, loop=loop, thread_loop=loop, **options)

    async def _gather_remaining_tasks(self) -> None:
        """Do nothing: Faust would cancel all tasks of its thread's loop here, and this loop is the worker's loop."""

    async def getmany(self, active_partitions: set[TP] | None, timeout: float) -> Mapping[TP, Any]:  # noqa: ASYNC109
        """Fetch as Faust does, without Faust's queue of calls to another thread."""
        consumer = self._ensure_consumer()
        most = consumer._max_poll_records  # noqa: SLF001
        return await self._fetch_records(consumer, active_partitions or set(), timeout=timeout, max_records=most)

    def _create_worker_consumer(self, transport: Any) -> Any:
        consumer = super()._create_worker_consumer(transport)
        # Faust has no setting for the isolation level; aiokafka reads it when the consumer starts.
        consumer._isolation_level = "read_committed"  # noqa: SLF001
        return consumer

    async def seek_to_committed(self) -> Mapping[TP, int]:
        """
        Seek to each partition's committed offset, or to its beginning if it has no commit.

        During a rebalance Faust drops records that it has already taken from aiokafka, and relies on this seek to read them again. But
        aiokafka seeks only in partitions with a commit. In a partition without a commit its position stays after the dropped records, and
        these events stay unread until the worker is restarted. aiokafka would also ask for each commit by itself, and its
        `seek_to_beginning` waits for the leaders of all partitions. This method sends one request and waits for no new position. The
        request asks for the partitions of other workers too, because all commits together tell when the group began.

        Returns:
            The committed offset of each partition; None if it has no commit.
        """
        return cast("Mapping[TP, int]", await self.call_thread(self._seek_to_committed))

    async def _seek_to_committed(self) -> Mapping[TP, int | None]:
        consumer = self._ensure_consumer()
        fetcher = consumer._fetcher  # noqa: SLF001
        assignment = consumer._subscription.subscription.assignment  # noqa: SLF001
        if assignment is None:
            msg = "no partitions were assigned yet"
            raise IllegalStateError(msg)
        commits = await consumer._coordinator.fetch_committed_offsets(sorted(_whole_topics(consumer, assignment.tps)))  # noqa: SLF001
        if consumer._subscription.subscription.assignment is not assignment:  # noqa: SLF001
            # The request did not name the partitions of a new assignment: they would look as if they had never been committed. The new
            # assignment seeks again.
            msg = "a rebalance came in between"
            raise IllegalStateError(msg)
        fetcher.pace = self.consumer.app.pace
        if (memory := self.consumer.app.group_memory) is not None:
            memory.learn({tp: commit.metadata for tp, commit in commits.items()}, now=time.time())
            consumer._coordinator.memory = memory  # noqa: SLF001
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
        Hand out fetched records, the same share of each partition that has records.

        aiokafka hands out all records that it has fetched from one partition, up to a megabyte, before it turns to the next partition.
        While one partition has a backlog, the partitions that a dead worker left would wait for minutes although they have a new owner.
        """
        fetcher = consumer._fetcher  # noqa: SLF001
        found = {tp: fetched for tp, fetched in fetcher._records.items() if tp in active_partitions}  # noqa: SLF001
        with polling() as poll:
            if (
                max_records is None
                or len(found) < 2  # noqa: PLR2004
                or not self.consumer.flow_active
                or consumer._closed  # noqa: SLF001
                or fetcher._closed  # noqa: SLF001
                or fetcher._subscriptions.reassignment_in_progress  # noqa: SLF001
                # A partition may hold an error instead of records; aiokafka decides when to raise it.
                or not all(isinstance(fetched, FetchResult) for fetched in found.values())
            ):
                # Take at most a share from the first partition that answers, but enough records to be worth the call.
                most = max_records and min(max_records, max(LEAST_RECORDS, -(-max_records // max(1, len(active_partitions)))))
                return cast("Mapping[TP, Any]", await super()._fetch_records(consumer, active_partitions, timeout, most))
            return _shares(fetcher, found, max_records, poll)

    def verify_event_path(self, now: float, tp: TP) -> None:
        """
        Do nothing: `Consumer.standstill` and `PositionReporter` report a partition that stands still.

        Faust counts from the start of the process. After five minutes it would report each newly assigned partition as an error.
        """


def _whole_topics(consumer: Any, assigned: Collection[Any]) -> set[Any]:
    """All partitions of each topic that has an assigned partition."""
    cluster = consumer._client.cluster  # noqa: SLF001
    topics = {tp.topic for tp in assigned}
    others = {TopicPartition(topic, number) for topic in topics for number in cluster.partitions_for_topic(topic) or ()}
    return {*assigned, *others}


def _shares(fetcher: Any, found: Mapping[TP, Any], max_records: int, poll: Poll) -> dict[TP, Any]:
    """
    At most `max_records` of the fetched records, the same share of each partition, until the poll is over.

    Awaits nothing, so the assignment cannot change.
    """
    share = max(LEAST_RECORDS, -(-max_records // len(found)))
    taken: dict[TP, Any] = {}
    with fetcher._subscriptions.fetch_context():  # noqa: SLF001
        for tp, fetched in found.items():
            if max_records <= 0 or poll.is_over:
                break
            records = fetched.getall(min(share, max_records))
            max_records -= len(records)
            if records:
                taken[tp] = records
            if fetched.has_more():
                # Move the partition to the end of the order, so that the other partitions come first next time.
                fetcher._records.move_to_end(tp)  # noqa: SLF001
            else:
                del fetcher._records[tp]  # noqa: SLF001
                fetcher._notify(fetcher._wait_consume_future)  # noqa: SLF001
    return taken


async def offsets_of(consumer: InnerConsumer, assigned: list[TP], unknown: list[TP]) -> Offsets:
    """
    Ask for the offsets of the assigned partitions, and for the beginnings of the partitions in `unknown`.

    If no partition is assigned, ask only whether a broker answers.

    Args:
        consumer: The worker's consumer.
        assigned: The partitions of this worker.
        unknown: The assigned partitions whose beginning is not known.

    Raises:
        ConnectionError: No broker answers.
        KafkaError: A broker refused the request.
        ConsumerNotStarted: The consumer has not started.
    """
    inner = consumer._ensure_consumer()  # noqa: SLF001
    if not assigned:
        if not await inner._client.force_metadata_update():  # noqa: SLF001
            msg = "no broker answers"
            raise ConnectionError(msg)
        return Offsets()
    cluster = inner._client.cluster  # noqa: SLF001
    # A partition without a leader has no known end, and aiokafka would repeat the question for all partitions until it has one.
    led = [tp for tp in assigned if cluster.leader_for_partition(tp) not in {None, -1}]
    # One request: aiokafka's own `committed` asks for each partition by itself, which takes over a second for two hundred partitions.
    commits = await inner._coordinator.fetch_committed_offsets(assigned)  # noqa: SLF001
    asked = [tp for tp in unknown if tp in led]
    begins = await inner.beginning_offsets(asked) if asked else {}
    # Ask for the ends after the commits: an end that is older than the commit would look like a log that has lost its end.
    told = {tp: by_fetch for tp in led if (by_fetch := _told_by_fetch(inner, tp)) is not None}
    silent = [tp for tp in led if tp not in told]
    high = {tp: high for tp, (high, _) in told.items()} | (await _high_watermarks(inner, silent) if silent else {})
    ends = {tp: end for tp, (_, end) in told.items()} | (await consumer._highwaters(silent) if silent else {})  # noqa: SLF001
    # A rebalance may have revoked some partitions meanwhile.
    held = [tp for tp in assigned if tp in inner.assignment()]
    return Offsets(
        ends=ends,
        high=high,
        begins=begins,
        found={tp: (commits[tp].offset if tp in commits else None, _fetched(inner, tp)) for tp in held},
    )


async def _high_watermarks(inner: Any, partitions: list[TP]) -> dict[TP, int]:
    """The ends of the logs, uncommitted records included. aiokafka itself asks only with the consumer's isolation level."""
    asked: defaultdict[int, defaultdict[str, list[tuple[int, int]]]] = defaultdict(lambda: defaultdict(list))
    for tp in partitions:
        asked[inner._client.cluster.leader_for_partition(tp)][tp.topic].append((tp.partition, OffsetResetStrategy.LATEST))  # noqa: SLF001
    requests = [
        inner._client.send(node, OffsetRequest(CONSUMER, READ_UNCOMMITTED, list(topics.items())))  # noqa: SLF001
        for node, topics in asked.items()
    ]
    # A partition with an error is left out: the next request, for the last stable offset, gets the same error and raises it.
    return {
        TP(topic, partition): offset
        for answer in await asyncio.gather(*requests)
        for topic, answers in answer.topics
        for partition, error, *_, offset in answers
        if not error
    }


def _told_by_fetch(inner: Any, tp: TP) -> tuple[int, int] | None:
    """
    A partition's high watermark and last stable offset from the last answer to a fetch; None if the answer is older than `FRESH_SECONDS`.

    Every answer to a fetch has both offsets, even without records. None, too, if a rebalance has revoked the partition meanwhile.
    """
    if tp not in inner.assignment():
        return None
    state = inner._subscription.subscription.assignment.state_value(tp)  # noqa: SLF001
    if state is None or state.highwater is None or state.lso is None or state.timestamp is None:
        return None
    return (state.highwater, state.lso) if 0 <= time.time() - state.timestamp / 1000 < FRESH_SECONDS else None


def _fetched(inner: Any, tp: TP) -> int | None:
    """The offset up to which records were fetched; None if it is not known. aiokafka's own `position` would wait for a leader."""
    state = inner._subscription.subscription.assignment.state_value(tp)  # noqa: SLF001
    return state.position if state is not None and state.has_valid_position else None

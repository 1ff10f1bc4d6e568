"""The thread in which Faust runs aiokafka's consumer: how it seeks after a rebalance, and how it shares fetches among partitions."""

import asyncio
import time
from collections.abc import Callable, Collection, Coroutine, Mapping
from typing import Any, TypeVar, cast

import faust.transport.drivers.aiokafka as driver
from aiokafka.consumer.fetcher import FetchResult, OffsetResetStrategy
from aiokafka.errors import IllegalStateError
from aiokafka.structs import TopicPartition
from faust.exceptions import ConsumerNotStarted
from faust.types import TP

from stream.kafka.batches.poll import BoundedFetchResult, Poll

T = TypeVar("T")

LEAST_RECORDS = 64


class ConsumerThread(driver.AIOKafkaConsumerThread):  # type: ignore[misc]
    """Reads only what a transactional producer has committed; Faust does so in its own exactly-once mode alone."""

    def _create_worker_consumer(self, transport: Any) -> Any:
        consumer = super()._create_worker_consumer(transport)
        # Faust has no setting for it; aiokafka reads it when the consumer starts.
        consumer._isolation_level = "read_committed"  # noqa: SLF001
        return consumer

    async def seek_to_committed(self) -> Mapping[TP, int]:
        """
        Seek to the commits, and to the beginning where there is none.

        During a rebalance Faust drops records that it has already taken from aiokafka, and relies on this seek to read them again. But
        aiokafka seeks only where there is a commit. Without one its position stays after the dropped records, and the partition's
        events stay unread until the worker is restarted. aiokafka would also ask for each commit by itself, and its
        `seek_to_beginning` waits for the leaders of all partitions; this sends one request and waits for no new position. The request
        asks for the partitions of other workers too, because all commits together tell when the group began.

        Returns:
            The commit of each partition; None where there is none.
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
            # A new partition in it was not asked for and would look as if it had never been committed. The new assignment seeks itself.
            msg = "a rebalance came in between"
            raise IllegalStateError(msg)
        if (start := self.consumer.app.group_start) is not None:
            start.learn([commit.metadata for commit in commits.values()], now=time.time())
            consumer._coordinator.commit_metadata = start.metadata  # noqa: SLF001
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
        As Faust does, but with the same share for each partition that has records.

        aiokafka hands out all that it has fetched of one partition, up to a megabyte, before it turns to the next. While one partition
        has a backlog, those of a dead worker would wait for minutes although they have a new owner.
        """
        BoundedFetchResult.poll = poll = Poll()
        fetcher = consumer._fetcher  # noqa: SLF001
        found = {tp: fetched for tp, fetched in fetcher._records.items() if tp in active_partitions}  # noqa: SLF001
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
            # Take no more of the first partition that answers than its share, but enough to be worth the call.
            most = max_records and min(max_records, max(LEAST_RECORDS, -(-max_records // max(1, len(active_partitions)))))
            return cast("Mapping[TP, Any]", await super()._fetch_records(consumer, active_partitions, timeout, most))
        return _shares(fetcher, found, max_records, poll)

    def verify_event_path(self, now: float, tp: TP) -> None:
        """
        Do nothing: `Consumer.standstill` and the position report a partition that stands still.

        Faust counts from the start of the process: after five minutes it would report each newly assigned partition as an error.
        """

    async def beside(self, ask: Callable[..., Coroutine[Any, Any, T]], *arguments: Any) -> T:
        """
        Run a question in the consumer's thread, beside its queue; cancelling the caller cancels the question.

        The queue runs two calls at a time, fetches and commits among them, and does not drop a call whose caller is gone. Two questions
        to a broker that does not answer would block the partitions of all other brokers.

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


def _whole_topics(consumer: Any, assigned: Collection[Any]) -> set[Any]:
    """All partitions of the topics of which some are assigned."""
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
                # To the end of the order, so that the other partitions come first next time.
                fetcher._records.move_to_end(tp)  # noqa: SLF001
            else:
                del fetcher._records[tp]  # noqa: SLF001
                fetcher._notify(fetcher._wait_consume_future)  # noqa: SLF001
    return taken

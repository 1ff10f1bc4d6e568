"""
Reads `content` as a worker does: a range of a partition without a group, or without end as a member of a group. aiokafka.

No batch of a producer can stop the reader, and only a bounded part of a batch is in memory (`tagstream.stream.kafka.batches`).
"""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Iterable

from aiokafka import AIOKafkaConsumer
from aiokafka.errors import CommitFailedError, IllegalStateError, KafkaError
from aiokafka.structs import TopicPartition

from tagstream.stream.contract.event import Record
from tagstream.stream.kafka.admission import admitted
from tagstream.stream.kafka.batches import records
from tagstream.stream.kafka.errors import translated, unreachable
from tagstream.stream.kafka.reading.reader import record_of
from tagstream.stream.logs import logger
from tagstream.stream.settings.settings import Settings

POLL_MS, POLL_RECORDS = 500, 256
# A member whose batch takes longer than this leaves its group, and the batch's events are read again.
MOST_POLL_SECONDS = 600

log = logger("tagstream.content")


class ContentRange:
    """Reads ranges of the topic `content`, in no group."""

    def __init__(self, consumer: AIOKafkaConsumer, settings: Settings) -> None:
        """`content_range` makes the consumer."""
        self._consumer = consumer
        self._settings = settings

    async def read(self, partition: int, first: int, last: int) -> AsyncIterator[tuple[list[Record], int]]:
        """
        Batches of a partition's records from offset `first` up to but not including `last`, each with the offset after the batch.

        Raises:
            BrokerUnreachableError: Records are outstanding, and the broker sends none for `startup_timeout_seconds`.
        """
        if first >= last:
            return
        place = TopicPartition(self._settings.topics.content, partition)
        with translated(self._settings):
            self._consumer.assign([place])
            self._consumer.seek(place, first)
        position, moved = first, time.monotonic()
        # The last offset of a partition may belong to a transaction marker and not to a record.
        while position < last:
            with translated(self._settings):
                polled = await self._consumer.getmany(place, timeout_ms=POLL_MS, max_records=POLL_RECORDS)
                before, position = position, min(last, await self._consumer.position(place))
            found = [record_of(one) for one in polled.get(place, ()) if one.offset < last]
            if position > before:
                yield found, position
                # The caller's own time between two batches does not count.
                moved = time.monotonic()
            elif time.monotonic() - moved > self._settings.startup_timeout_seconds:
                raise unreachable(self._settings, TimeoutError(f"partition {partition} stands at {position} of {last}"))


class ContentMember:
    """A member of a group, which reads the topics of events and commits only by `commit`."""

    def __init__(self, consumer: AIOKafkaConsumer, settings: Settings) -> None:
        """`content_member` makes the consumer."""
        self._consumer = consumer
        self._settings = settings

    @property
    def is_assigned(self) -> bool:
        """True if this member holds partitions."""
        return bool(self._consumer.assignment())

    async def next(self) -> list[Record]:
        """
        The next records, at most `POLL_RECORDS`; an empty list if no record comes within `POLL_MS`.

        Raises:
            BrokerUnreachableError: The client has given up.
        """
        with translated(self._settings):
            polled = await self._consumer.getmany(timeout_ms=POLL_MS, max_records=POLL_RECORDS)
        return [record_of(one) for part in polled.values() for one in part]

    async def commit(self, done: Iterable[Record]) -> bool:
        """
        Commit that these records, and all before them, are done.

        Returns:
            False if another member holds some of their partitions by now; that member reads the records again.
        """
        offsets: dict[TopicPartition, int] = {}
        for record in done:
            place = TopicPartition(record.topic, record.partition)
            offsets[place] = max(offsets.get(place, 0), record.offset + 1)
        held = {place: offset for place, offset in offsets.items() if place in self._consumer.assignment()}
        if not held:
            return not offsets
        try:
            await self._consumer.commit(held)
        except (CommitFailedError, IllegalStateError) as error:
            log.warning("commit_refused", why=type(error).__name__, consequence="another member reads these events again")
            return False
        except KafkaError as error:
            raise unreachable(self._settings, error) from error
        return len(held) == len(offsets)


@contextlib.asynccontextmanager
async def content_range(settings: Settings) -> AsyncIterator[ContentRange]:
    """
    Read ranges of `content`, which must exist.

    Raises:
        BrokerUnreachableError: No broker answered in time, or a broker refused us.
    """
    async with _consumer(settings) as consumer:
        yield ContentRange(consumer, settings)


@contextlib.asynccontextmanager
async def content_member(settings: Settings, group: str, *, from_beginning: bool) -> AsyncIterator[ContentMember]:
    """
    Read `content`, which must exist, as a member of a group.

    Args:
        settings: Brokers, topic and bounds.
        group: The group's name.
        from_beginning: True to begin with the oldest event of a partition without a commit; False to begin after its newest event.

    Raises:
        BrokerUnreachableError: No broker answered in time, or a broker refused us.
    """
    reset = "earliest" if from_beginning else "latest"
    async with _consumer(settings, *settings.content_topics, group=group, reset=reset) as consumer:
        yield ContentMember(consumer, settings)


@contextlib.asynccontextmanager
async def _consumer(
    settings: Settings, *topics: str, group: str | None = None, reset: str = "earliest"
) -> AsyncIterator[AIOKafkaConsumer]:
    options, seconds = admitted(settings)
    records.install(settings)
    made = AIOKafkaConsumer(
        *topics,
        **options,
        group_id=group,
        auto_offset_reset=reset,
        session_timeout_ms=int(settings.session_timeout_seconds * 1000),
        client_id="tagstream-content",
        enable_auto_commit=False,
        isolation_level="read_committed",
        max_poll_interval_ms=MOST_POLL_SECONDS * 1000,
    )
    try:
        with translated(settings, (KafkaError, OSError, TimeoutError)):
            async with asyncio.timeout(seconds):
                await made.start()
                # Let the client's tasks begin: a task that is stopped before it has begun raises its cancellation to us.
                await asyncio.sleep(0)
        yield made
    finally:
        await made.stop()

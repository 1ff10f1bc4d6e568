"""Reads the topic `rollout` on Kafka from its first record on, and makes the topics of a rollout."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Mapping, Sequence

from aiokafka import AIOKafkaConsumer
from aiokafka.errors import (
    ClusterAuthorizationFailedError,
    ConsumerStoppedError,
    KafkaError,
    KafkaTimeoutError,
    TopicAuthorizationFailedError,
    UnknownTopicOrPartitionError,
)
from aiokafka.structs import TopicPartition
from kafka.admin import KafkaAdminClient
from kafka.errors import (
    BrokerResponseError,
    TopicAlreadyExistsError,
)

from tagstream.stream.contract.rollout_records import (
    RolloutRecord,
    RolloutRecordError,
    read_rollout,
)
from tagstream.stream.kafka.admin import admin
from tagstream.stream.kafka.credentials import client_options
from tagstream.stream.kafka.errors import (
    NotAuthorizedError,
    TopicsRefusedError,
    summary_of,
    translated,
    unreachable,
)
from tagstream.stream.kafka.group_memory import remembered_epoch
from tagstream.stream.kafka.reading.reader import record_of
from tagstream.stream.kafka.rights import Operation, Resource, Right, missing
from tagstream.stream.logs import logger
from tagstream.stream.rollout.epochs import Epochs
from tagstream.stream.rollout.presence import WAY_BACK, lost
from tagstream.stream.settings.settings import Settings

# The pause between two looks at the position. The position moves past a transaction's marker without a record, and the client cannot wait
# for that.
LOOK_SECONDS = 0.02
POLL_MS = 1_000
# A record is a few kilobytes; a mark of each partition takes about a hundred bytes.
MOST_BYTES = 4_000_000
METADATA_MS = 15_000
GONE = (KafkaError, ConsumerStoppedError, TimeoutError)
OPTIONS_OF_WORKERS = {"cleanup.policy": "compact"}
log = logger("tagstream.rollout")


Taken = Callable[[RolloutRecord, int, bool], None]
"""Called with each record that was read, its offset, and whether it counts."""


class RolloutReader:
    """
    Reads `rollout` from its beginning, in a task of its own. For one event loop.

    Attributes:
        epochs: The epochs of the records that were read; this object grows.
        skipped: The number of skipped records, which are not records of a rollout.
    """

    def __init__(self, settings: Settings, consumer: AIOKafkaConsumer, asking: AIOKafkaConsumer, taken: Taken) -> None:
        """See `rollout_reader`."""
        self._asking = asking
        self.epochs = Epochs()
        self.skipped = 0
        self._settings = settings
        self._consumer = consumer
        self._taken = taken
        self._place = TopicPartition(settings.rollout.topic, 0)
        self._more = asyncio.Event()
        self._uncounted: set[int] = set()
        self._written_ms: dict[int, int] = {}
        self._reading = asyncio.create_task(self._read(), name="rollout")

    async def end(self) -> int:
        """
        Ask the leader for the offset after the last committed record.

        Raises:
            BrokerUnreachableError: The leader did not answer within `startup_timeout_seconds`.
        """
        try:
            async with asyncio.timeout(self._settings.startup_timeout_seconds):
                found = await self._asking.end_offsets([self._place])
        except GONE as error:
            raise unreachable(self._settings, error) from error
        return int(found[self._place])

    async def read_to(self, end: int) -> Epochs:
        """
        Wait until every record before this offset has been read, and return the epochs.

        Raises:
            RolloutRecordError: This version cannot read a record.
            BrokerUnreachableError: The records did not come within `startup_timeout_seconds`.
        """
        at = 0
        try:
            async with asyncio.timeout(self._settings.startup_timeout_seconds):
                while (at := await self._consumer.position(self._place)) < end:
                    await self._look()
            # The position also passes a record that cannot be read.
            self.check()
        except TimeoutError as error:
            stuck = KafkaTimeoutError(f"the topic {self._place.topic} is read to offset {at} of {end}")
            raise unreachable(self._settings, stuck) from error
        except GONE as error:
            raise unreachable(self._settings, error) from error
        return self.epochs

    async def wait_for_more(self) -> None:
        """
        Wait until a record is read, at most `LOOK_SECONDS`.

        Raises:
            RolloutRecordError: This version cannot read a record.
            BrokerUnreachableError: The reader has ended.
        """
        try:
            await self._look()
        except GONE as error:
            raise unreachable(self._settings, error) from error

    def follow(self, taken: Taken) -> None:
        """Call `taken` too with each record that is read from now on."""
        before = self._taken

        def both(record: RolloutRecord, offset: int, counts: bool) -> None:  # noqa: FBT001 - as `Taken`
            before(record, offset, counts)
            taken(record, offset, counts)

        self._taken = both

    def counts(self, offset: int) -> bool:
        """Return True if the record at this offset counts. The record must have been read."""
        return offset not in self._uncounted

    def written_ms(self, offset: int) -> int:
        """
        Return when the record at this offset was written, Unix milliseconds. The record must have been read.

        The time is by the broker's clock, or by the writer's clock in a topic with CreateTime.
        """
        return self._written_ms[offset]

    def check(self) -> None:
        """
        Require that the topic is still being read.

        Raises:
            RolloutRecordError: The topic has a record that this version cannot read.
            KafkaError: The client gave up.
            ConsumerStoppedError: The reader was stopped.
        """
        if self._reading.cancelled():
            raise ConsumerStoppedError
        if self._reading.done():
            self._reading.result()

    async def _look(self) -> None:
        self.check()
        self._more.clear()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(LOOK_SECONDS):
                await self._more.wait()

    async def _read(self) -> None:
        while True:
            foreign: list[int] = []
            for found in (await self._consumer.getmany(self._place, timeout_ms=POLL_MS)).get(self._place, ()):
                record = read_rollout(record_of(found))
                if record is None:
                    foreign.append(found.offset)
                    continue
                self._written_ms[found.offset] = found.timestamp
                counts = self.epochs.take(record)
                if not counts:
                    self._uncounted.add(found.offset)
                self._taken(record, found.offset, counts)
            if foreign:
                self._say_skipped(foreign)
            self._more.set()

    def _say_skipped(self, offsets: Sequence[int]) -> None:
        self.skipped += len(offsets)
        log.warning(
            "rollout_records_skipped",
            topic=self._place.topic,
            records=len(offsets),
            first_offset=offsets[0],
            why="no version of tagstream has written them: another program writes to the topic",
            consequence="none; whoever may write there may also choose the model",
            next="take WRITE on the topic from everyone but the controller",
        )

    async def stop(self) -> None:
        """Stop reading."""
        self._reading.cancel()
        await asyncio.wait({self._reading})


@contextlib.asynccontextmanager
async def rollout_reader(settings: Settings, taken: Taken = lambda *_: None) -> AsyncIterator[RolloutReader]:
    """
    Read the topic, which must exist.

    Args:
        settings: Brokers, topic and bounds.
        taken: Called with each record, in the event loop.

    Raises:
        RolloutRecordError: Records are missing at the beginning or the end, or this version cannot read one of them.
        BrokerUnreachableError: No broker answered.
    """
    # A broker answers the requests of a connection in order, and answers a fetch that waits for new records only after half a second. So a
    # second connection asks for the end.
    consumer, asking = _consumer(settings), _consumer(settings)
    try:
        with translated(settings, (KafkaError, OSError)):
            await asyncio.gather(consumer.start(), asking.start())
        consumer.assign([TopicPartition(settings.rollout.topic, 0)])
        await consumer.seek_to_beginning()
        await _check_beginning(settings, asking)
        # Read before the end is asked for: the group commits an epoch only after the epoch's records exist.
        remembered = await asyncio.to_thread(_remembered, settings)
        reader = RolloutReader(settings, consumer, asking, taken)
        try:
            newest = (await reader.read_to(await reader.end())).newest
            if newest < remembered:
                raise lost(
                    settings,
                    remembered,
                    f"has no records of it: it was made again, or its end was lost (newest epoch {newest})",
                )
            yield reader
        finally:
            await reader.stop()
    finally:
        # A client that is stopped while it waits for a retry raises its own cancellation. That would hide the error that ends this.
        await asyncio.gather(consumer.stop(), asking.stop(), return_exceptions=True)


def _remembered(settings: Settings) -> int:
    with admin(settings) as client:
        return remembered_epoch(settings, client)


async def _check_beginning(settings: Settings, asking: AIOKafkaConsumer) -> None:
    """
    Require that the topic still has its first records.

    Raises:
        RolloutRecordError: The first records were removed.
        BrokerUnreachableError: No broker answered.
    """
    place = TopicPartition(settings.rollout.topic, 0)
    with translated(settings, (KafkaError, OSError)):
        first = (await asking.beginning_offsets([place]))[place]
    if first:
        msg = (
            f"the topic {settings.rollout.topic} begins at offset {first}: its first records were removed, and with them what models decided. "
            f"Next: {WAY_BACK}; and keep it for ever (retention.ms and retention.bytes -1, cleanup.policy delete)."
        )
        raise RolloutRecordError(msg)


def _consumer(settings: Settings) -> AIOKafkaConsumer:
    return AIOKafkaConsumer(
        **client_options(settings),
        client_id="tagstream-rollout",
        group_id=None,
        enable_auto_commit=False,
        auto_offset_reset="earliest",
        # A fenced controller's plan does not count: its transaction never committed.
        isolation_level="read_committed",
        metadata_max_age_ms=METADATA_MS,
    )


def make_workers_topic(settings: Settings) -> None:
    """
    Make the workers' topic if it does not exist: the topic `rollout` may have been restored from a copy without it.

    Raises:
        NotAuthorizedError: This user may not make the topic.
        TopicsRefusedError: The brokers refuse to make the topic.
        BrokerUnreachableError: No broker answered.
    """
    name = settings.rollout.workers_topic
    with admin(settings) as client:
        if client.describe_topics([name])[0]["error_code"] == UnknownTopicOrPartitionError.errno:
            make_topic(settings, client, name, OPTIONS_OF_WORKERS)


def make_topic(settings: Settings, client: KafkaAdminClient, name: str, configs: Mapping[str, str]) -> None:
    """
    Make a topic of one partition with these options. An existing topic is not changed.

    Raises:
        NotAuthorizedError: This user may not make the topic.
        TopicsRefusedError: The brokers refuse to make the topic.
    """
    options = {"num_partitions": 1, "replication_factor": settings.topic_replication, "configs": configs}
    try:
        with contextlib.suppress(TopicAlreadyExistsError):
            client.create_topics({name: options}, wait_for_metadata=True)
    except BrokerResponseError as error:
        if error.errno in {TopicAuthorizationFailedError.errno, ClusterAuthorizationFailedError.errno}:
            right = Right(resource=Resource.TOPIC, name=name, operations=(Operation.CREATE,))
            msg = f"{missing(settings, right, ())} Or it makes the topic itself, with the options of docs/rollout.md."
            raise NotAuthorizedError(msg) from error
        msg = f"the cluster at {settings.brokers} did not make the topic {name}: {summary_of(error)}. Next: `tagstream doctor`, and the brokers' log."
        raise TopicsRefusedError(msg) from error

"""
Exactly once: outcomes and the offset after their events are committed in one transaction, by one producer for each assigned partition.

One argument shows that this is safe. The transaction coordinator accepts only the newest producer of each transactional id, and each id
belongs to one partition of `content`. A worker that takes over a partition

1. starts the producer of its id, which fences the previous owner for good and commits or rolls back its open transaction;
2. then reads the group's offset, waiting until no transaction can still move it;
3. sends no outcome of an event before that offset.

So of all workers that believe that they hold a partition, only one can commit, and it goes on where the last commit ended. Neither Faust's
notes nor its seeks can break this, nor an event that Faust hands over twice. A fenced worker ends itself.
"""

import asyncio
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from aiokafka import AIOKafkaProducer
from aiokafka.errors import IllegalOperation
from aiokafka.structs import TopicPartition
from kafka import KafkaConsumer
from kafka import TopicPartition as PlainTopicPartition

from tagstream.stream.contract.outcome import Publication
from tagstream.stream.kafka.credentials import client_options
from tagstream.stream.kafka.group_memory import GroupMemory
from tagstream.stream.kafka.partitioner import Partitioner
from tagstream.stream.kafka.rights import transactional_prefix
from tagstream.stream.logs import logger
from tagstream.stream.settings.settings import Settings

MAX_BATCH_BYTES = 131_072
MAX_REQUEST_BYTES = 4 * 1024 * 1024
METADATA_MAX_AGE_MS = 15_000
STOP_SECONDS = 5.0
log = logger("tagstream.transactions")


class TransactionsUnavailableError(Exception):
    """The settings ask for transactions that the broker or other settings do not allow."""

    exit_code = 2


def no_transactions(settings: Settings, *, idempotent: bool) -> TransactionsUnavailableError | None:
    """The error if the settings ask for exactly once and the producers are not idempotent; otherwise None."""
    if settings.delivery != "exactly_once" or idempotent:
        return None
    return TransactionsUnavailableError(
        "delivery is exactly_once, which needs transactions and so producer ids: the broker has none, or idempotent_producer "
        "is off. Next: use Apache Kafka with idempotent_producer auto, or set TAGSTREAM_DELIVERY=at_least_once."
    )


Lost = Callable[[TopicPartition, int | None, Sequence[int]], int | None]


class NotHeldError(Exception):
    """The worker was asked to deliver an event of a partition that it does not hold."""


class LostError(Exception):
    """An event was taken and never delivered, and the worker was asked to deliver a later event of its partition."""


class TakenOverError(Exception):
    """Another worker or the broker ended the transaction that this worker was filling."""


class PartitionProducer(AIOKafkaProducer):  # type: ignore[misc]
    """The producer of one partition. It has a name of its own so that a fault run can replace it with one that breaks."""


class EventPlace(NamedTuple):
    """The place of an event in `content`."""

    topic: str
    partition: int
    offset: int


@dataclass(slots=True, kw_only=True)
class _Held:
    """An assigned partition. `first` is the first offset that is not committed yet; None before the first commit."""

    producer: Any
    first: int | None
    busy: asyncio.Lock = field(default_factory=asyncio.Lock)


class Transactions:
    """The producers of the partitions that this worker holds. Not thread-safe."""

    def __init__(self, settings: Settings, lost: Lost = lambda *_: None, memory: GroupMemory | None = None) -> None:
        """
        No partition is held yet.

        Args:
            settings: Topics, group and bounds.
            lost: Called with a partition, an offset and a batch's offsets. Returns the first offset, from the given offset to the last
                of the batch, whose record was taken and is not in the batch; None if there is no such record.
            memory: The group's memory, which commits carry; None for no memory.
        """
        self._settings = settings
        self._memory = memory or GroupMemory()
        self._lost = lost
        self._names = settings.topic_names
        self._held: dict[TopicPartition, _Held] = {}

    async def hold(self, assigned: Iterable[Any]) -> None:
        """
        Take over newly assigned partitions, and release those that are not assigned any more.

        A partition that stays keeps its producer. If another worker held the partition in between, that producer is fenced.

        Raises:
            TimeoutError: The brokers did not answer within `startup_timeout_seconds`.
            KafkaError: The brokers refused.
        """
        partitions = {TopicPartition(tp.topic, tp.partition) for tp in assigned}
        gone = [self._held.pop(partition) for partition in sorted(self._held.keys() - partitions)]
        await asyncio.gather(*(_stop(held.producer) for held in gone))
        new = sorted(partitions - self._held.keys())
        async with asyncio.timeout(self._settings.startup_timeout_seconds):
            producers = await asyncio.gather(*(self._started(partition) for partition in new))
            # Only now: before the fencing, the previous owner could still have committed.
            firsts = await asyncio.to_thread(self._committed, new) if new else []
        for partition, producer, first in zip(new, producers, firsts, strict=True):
            self._held[partition] = _Held(producer=producer, first=first)
        log.info("partitions_held", held=sorted(partition.partition for partition in self._held), taken_over=len(new))

    async def deliver(self, sources: Sequence[EventPlace], publications: Sequence[Publication]) -> list[Publication]:
        """
        Commit outcomes with the offsets after their events, in one transaction for each partition, all at the same time.

        Args:
            sources: The places of the events, in offset order within a partition.
            publications: Their outcomes, in the same order.

        Returns:
            The publications that were sent. The publications of events that were committed before are left out.

        Raises:
            NotHeldError: An event belongs to a partition that is not held.
            LostError: An event before the last of these was taken, and is not among them.
            TakenOverError: The transaction ended while it was being filled.
            KafkaError: Another worker has taken the partition over (`ProducerFenced`), or the brokers refused.
        """
        parts: defaultdict[TopicPartition, list[tuple[int, Publication]]] = defaultdict(list)
        for source, publication in zip(sources, publications, strict=True):
            parts[TopicPartition(source.topic, source.partition)].append((source.offset, publication))
        sent = await asyncio.gather(*(self._deliver(partition, part) for partition, part in parts.items()))
        return [publication for part in sent for publication in part]

    async def _deliver(self, partition: TopicPartition, part: Sequence[tuple[int, Publication]]) -> list[Publication]:
        held = self._held.get(partition)
        if held is None:
            msg = (
                f"an event of {partition.topic}/{partition.partition} was decided, but this worker does not hold that partition"
            )
            raise NotHeldError(msg)
        first = held.first
        fresh = [publication for offset, publication in part if first is None or offset >= first]
        if not fresh:
            return []
        after = part[-1][0] + 1
        missing = self._lost(partition, first, [offset for offset, _ in part])
        if missing is not None:
            # Once a later offset is committed, the missing event would never be read again.
            msg = f"{partition.topic}/{partition.partition}: offset {missing} was taken and never delivered, but a later one was to be"
            raise LostError(msg)
        async with held.busy:
            await self._transact(partition, held, fresh, after)
        return fresh

    async def remember(self, partitions: Iterable[Any]) -> None:
        """
        Commit an offset again if it was committed under an earlier epoch, so that the group remembers the present epoch.

        Raises:
            KafkaError: Another worker has taken the partition over, or the brokers refused.
            TimeoutError: The brokers did not answer within `produce_timeout_seconds`.
        """
        for partition in self._memory.lacking({TopicPartition(tp.topic, tp.partition) for tp in partitions}):
            held = self._held.get(partition)
            if held is not None and held.first is not None:
                async with held.busy, asyncio.timeout(self._settings.produce_timeout_seconds):
                    await self._transact(partition, held, (), held.first)

    async def _transact(self, partition: TopicPartition, held: _Held, publications: Sequence[Publication], after: int) -> None:
        """Commit publications and an offset in one transaction."""
        metadata = self._memory.metadata
        await held.producer.begin_transaction()
        confirmations: list[Any] = []
        try:
            for publication in publications:
                for topic, value in publication.records:
                    confirmation = await held.producer.send(
                        self._names[topic],
                        value=value,
                        key=publication.key,
                        headers=list(publication.headers),
                    )
                    confirmations.append(confirmation)
        except IllegalOperation as error:
            # The records already sent fail with the cause.
            await asyncio.gather(*confirmations)
            msg = (
                f"the transaction of {partition.topic}/{partition.partition} was ended: another worker has taken the partition over "
                "(ProducerFenced), or the broker refused it"
            )
            raise TakenOverError(msg) from error
        # Every confirmation is awaited: the commit waits for the records but does not raise if one of them was refused.
        await asyncio.gather(
            *confirmations,
            held.producer.send_offsets_to_transaction({partition: (after, metadata)}, self._settings.group),
        )
        await held.producer.commit_transaction()
        held.first = after
        self._memory.noted([partition], metadata)

    async def _started(self, partition: TopicPartition) -> Any:
        options = client_options(self._settings)
        producer = PartitionProducer(
            **options,
            client_id=f"tagstream-{partition.topic}-{partition.partition}",
            transactional_id=f"{transactional_prefix(self._settings.group, partition.topic)}{partition.partition}",
            # As long as a worker waits for a transaction before it ends itself: an open transaction blocks readers.
            transaction_timeout_ms=int(self._settings.produce_timeout_seconds * 1000),
            acks="all",
            request_timeout_ms=int(self._settings.produce_timeout_seconds * 1000),
            metadata_max_age_ms=METADATA_MAX_AGE_MS,
            partitioner=Partitioner(),
            max_batch_size=MAX_BATCH_BYTES,
            max_request_size=MAX_REQUEST_BYTES,
        )
        try:
            await producer.start()
        except BaseException:
            await producer.client.close()
            raise
        return producer

    def _committed(self, partitions: Sequence[TopicPartition]) -> list[int | None]:
        """The group's offsets, by kafka-python: aiokafka cannot ask for offsets that no open transaction will move."""
        timeout_ms = int(self._settings.startup_timeout_seconds * 1000)
        options = client_options(self._settings)
        consumer = KafkaConsumer(
            **options,
            client_id="tagstream-offsets",
            group_id=self._settings.group,
            enable_auto_commit=False,
            isolation_level="read_committed",
            bootstrap_timeout_ms=timeout_ms,
        )
        try:
            return [
                consumer.committed(PlainTopicPartition(partition.topic, partition.partition), timeout_ms=timeout_ms)
                for partition in partitions
            ]
        finally:
            consumer.close()


async def _stop(producer: Any) -> None:
    try:
        async with asyncio.timeout(STOP_SECONDS):
            await producer.stop()
    except TimeoutError:
        log.warning(
            "producer_not_stopped", seconds=STOP_SECONDS, consequence="none: the new owner of the partition has fenced it"
        )

"""The producers of a fault run: each run of records goes in its codec and its transaction, one run after the other. aiokafka."""

import asyncio
import itertools
from collections.abc import Sequence
from contextlib import AsyncExitStack

from aiokafka import AIOKafkaProducer

from tagstream.stream.kafka import admin
from tagstream.stream.settings.settings import Settings
from tests.faults.inputs import Input, Planted, Transaction
from tests.waiting import answered

# The longest that a broker allows by default. It aborts a transaction that is open for longer.
OPEN_SECONDS = 900
# A future for each of a million records would be more than the records.
AT_ONCE = 5_000


def send_varied(settings: Settings, planted: Sequence[Planted]) -> list[Input]:
    """
    Send the records in order, evenly over the partitions; those of a hung transaction all to partition 0.

    Returns:
        All records with their places, in the order of sending, those of transactions that are not committed too.

    Raises:
        KafkaError: A record was refused.
    """
    partitions = answered(lambda: admin.partitions(settings), settings.brokers)[settings.topics.content]
    return asyncio.run(_sent(settings, planted, partitions))


def end_hung(settings: Settings) -> None:
    """Fence the producer that left its transaction open; the broker aborts that, and readers get the events behind it."""

    async def fence() -> None:
        producer = _producer(settings, None, Transaction.HUNG)
        await producer.start()
        await producer.stop()

    asyncio.run(fence())


async def _sent(settings: Settings, planted: Sequence[Planted], partitions: int) -> list[Input]:
    inputs: list[Input] = []
    producers: dict[tuple[str | None, Transaction | None], AIOKafkaProducer] = {}
    async with AsyncExitStack() as stack:
        for way, run in itertools.groupby(planted, key=lambda one: (one.codec, one.transaction)):
            if way not in producers:
                producers[way] = await stack.enter_async_context(_producer(settings, *way))
            records = list(run)
            for start in range(0, len(records), AT_ONCE):
                inputs += await _sent_together(
                    settings, producers[way], records[start : start + AT_ONCE], len(inputs), partitions
                )
    return inputs


async def _sent_together(
    settings: Settings, producer: AIOKafkaProducer, records: Sequence[Planted], first: int, partitions: int
) -> list[Input]:
    transaction = records[0].transaction
    if transaction is not None:
        await producer.begin_transaction()
    confirmations = [
        await producer.send(
            settings.topics.content,
            key=one.key,
            value=one.value,
            headers=list(one.headers),
            partition=0 if transaction is Transaction.HUNG else number % partitions,
        )
        for number, one in enumerate(records, first)
    ]
    places = await asyncio.gather(*confirmations)
    if transaction is Transaction.COMMITTED:
        await producer.commit_transaction()
    elif transaction is Transaction.ABORTED:
        await producer.abort_transaction()
    return [
        Input(planted=one, partition=place.partition, offset=place.offset) for one, place in zip(records, places, strict=True)
    ]


def _producer(settings: Settings, codec: str | None, transaction: Transaction | None) -> AIOKafkaProducer:
    name = None if transaction is None else f"{settings.group}-upstream-{transaction.value}-{codec}"
    return AIOKafkaProducer(
        bootstrap_servers=settings.broker_list,
        acks="all",
        enable_idempotence=True,
        compression_type=codec,
        linger_ms=5,
        transactional_id=name,
        transaction_timeout_ms=OPEN_SECONDS * 1000,
    )

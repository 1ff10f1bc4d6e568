"""
A FastStream application that tags a topic: python examples/library/faststream_app.py

BROKERS, CONTENT and GROUP name brokers, topic and group. The topics of the decisions are settings of tagstream, such as
TAGSTREAM_TOPICS__TAGGED.
"""

import asyncio
import logging
import os
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import replace

from aiokafka import AIOKafkaProducer, ConsumerRecord
from faststream import AckPolicy, ContextRepo, FastStream
from faststream.kafka import KafkaBroker, KafkaMessage

from tagstream import AsyncTagger, Record

BROKERS = os.environ.get("BROKERS", "127.0.0.1:9092").split(",")
broker = KafkaBroker(BROKERS)
log = logging.getLogger(__name__)


@asynccontextmanager
async def lifespan(context: ContextRepo) -> AsyncIterator[None]:
    """Open one tagger and one producer. FastStream's producer only takes text headers, each name once, and adds headers."""
    async with AsyncTagger() as tagger, AIOKafkaProducer(bootstrap_servers=BROKERS, acks="all") as producer:
        context.set_global("tagger", tagger)
        context.set_global("producer", producer)
        yield


app = FastStream(broker, lifespan=lifespan)


async def as_they_came(messages: tuple[ConsumerRecord, ...], parse: Callable[..., Awaitable[KafkaMessage]]) -> KafkaMessage:
    """Pass the raw records on: FastStream decodes headers as UTF-8, and other bytes in a header would stop the program."""
    message = await parse(tuple(replace(one, headers=(), value=b"") for one in messages))
    message.raw_message = messages
    return message


async def not_read(message: KafkaMessage) -> None:
    """Decode no body: the tagger does, and says why a body is not an event."""


@broker.subscriber(
    os.environ.get("CONTENT", "content"),
    group_id=os.environ.get("GROUP", "my-faststream-app"),
    auto_offset_reset="earliest",
    ack_policy=AckPolicy.MANUAL,
    batch=True,
    max_records=64,
    parser=as_they_came,
    decoder=not_read,
)
async def tag(message: KafkaMessage) -> None:
    """Tag up to 64 events at a time, and acknowledge them after the broker has confirmed every record."""
    try:
        await publish(message.raw_message)
    except Exception:
        # The acknowledgement of the next batch would cover this batch. So the program ends; after a restart it begins with this batch.
        log.exception("a batch was not published")
        os._exit(1)
    await message.ack()


async def publish(messages: tuple[ConsumerRecord, ...]) -> None:
    """Decide, send, and wait for the broker."""
    tagger: AsyncTagger = app.context.get("tagger")
    producer: AIOKafkaProducer = app.context.get("producer")
    results = await tagger.decide(
        Record(
            topic=one.topic,
            partition=one.partition,
            offset=one.offset,
            timestamp_ms=one.timestamp,
            key=one.key,
            value=one.value,
            headers=tuple(one.headers),
        )
        for one in messages
    )
    sent = [
        await producer.send(record.topic, record.value, record.key, headers=list(record.headers))
        for result in results
        for record in result.records
    ]
    await asyncio.gather(*sent)


if __name__ == "__main__":
    asyncio.run(app.run())

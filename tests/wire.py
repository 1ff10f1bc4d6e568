"""Record batches as no well-meaning client makes them, and how to hand them to a broker."""

import asyncio
import struct
from collections.abc import Sequence
from typing import Any

from aiokafka.client import AIOKafkaClient
from aiokafka.protocol.produce import ProduceRequest
from aiokafka.record.default_records import _DefaultRecordBatchBuilderPy
from aiokafka.structs import TopicPartition

from tagstream.stream.kafka.credentials import client_options
from tagstream.stream.settings.settings import Settings

GZIP = 1
MAX_BATCH_BYTES = 1 << 30
ANSWER_SECONDS = 600
Row = tuple[bytes | None, bytes | None, Sequence[tuple[str, bytes | None]]]


class BadName(str):
    """The name of a header that is not UTF-8, as a client that is not ours may write it."""

    __slots__ = ()

    def encode(self, *_: Any) -> bytes:
        """Its bytes."""
        return b"bad-\xff\xfe"


def batch_of(rows: Sequence[Row], *, codec: int = 0, base_offset: int = 0) -> bytes:
    """One batch with these records, as a producer makes it and a broker numbers it."""
    # The one in Python takes every name; the one in C would be as good for all others.
    builder = _DefaultRecordBatchBuilderPy(2, codec, 0, -1, -1, -1, MAX_BATCH_BYTES)
    for number, (key, value, headers) in enumerate(rows):
        assert builder.append(number, 1_700_000_000_000 + number, key, value, list(headers)) is not None
    return struct.pack(">q", base_offset) + bytes(builder.build())[8:]


def produce(settings: Settings, topic: str, partition: int, batch: bytes) -> int:
    """Hand one batch to the leader of a partition, as it is; the broker's error code."""
    return asyncio.run(_produce(settings, topic, partition, batch))


async def _produce(settings: Settings, topic: str, partition: int, batch: bytes) -> int:
    client = AIOKafkaClient(**client_options(settings), client_id="tests-wire")
    try:
        async with asyncio.timeout(ANSWER_SECONDS):
            await client.bootstrap()
            await client.set_topics([topic])
            leader = client.cluster.leader_for_partition(TopicPartition(topic, partition))
            answer = await client.send(leader, ProduceRequest(None, -1, 30_000, [(topic, [(partition, batch)])]))
            return int(answer.topics[0][1][0][1])
    finally:
        await client.close()

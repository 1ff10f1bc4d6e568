"""Writes the topic `rollout`, in transactions of one transactional id. A new writer with that id fences the writer before."""

import asyncio
import time
from collections.abc import Sequence
from typing import Any

from aiokafka import AIOKafkaProducer
from aiokafka.errors import KafkaError, ProducerFenced

from tagstream.stream.contract.rollout_records import RolloutRecord, write_rollout
from tagstream.stream.kafka.credentials import client_options
from tagstream.stream.kafka.errors import unreachable
from tagstream.stream.rollout.controller import FencedError
from tagstream.stream.rollout.epochs import Epochs
from tagstream.stream.rollout.topic import METADATA_MS, MOST_BYTES, RolloutReader
from tagstream.stream.settings.settings import Settings

# The type of a timestamp that the broker set.
APPENDED = 1


class RolloutWriter:
    """
    The topic `rollout` for its only writer (`tagstream.stream.rollout.controller.RolloutTopic`).

    Attributes:
        ahead_seconds: How far this machine's clock was ahead of the broker's clock at the last record; negative if it was behind, 0 if the
            topic does not have the broker's time.
    """

    def __init__(self, settings: Settings, reader: RolloutReader) -> None:
        """Keep the reader, which reads the records back."""
        self._settings = settings
        self._reader = reader
        self._producer: AIOKafkaProducer | None = None
        self.ahead_seconds = 0.0

    async def fence(self) -> None:
        """Start the producer with the group's transactional id, which fences the producer before."""
        asyncio.get_running_loop().set_exception_handler(_say_all_but_fencing)
        settings = self._settings
        timeout_ms = int(settings.produce_timeout_seconds * 1000)
        producer = AIOKafkaProducer(
            **client_options(settings),
            client_id="tagstream-controller",
            transactional_id=settings.rollout.topic,
            transaction_timeout_ms=timeout_ms,
            request_timeout_ms=timeout_ms,
            max_request_size=MOST_BYTES,
            metadata_max_age_ms=METADATA_MS,
        )
        self._producer = producer
        try:
            async with asyncio.timeout(settings.startup_timeout_seconds):
                await producer.start()
        except (KafkaError, OSError, TimeoutError) as error:
            raise unreachable(settings, error) from error

    async def read_to_end(self) -> Epochs:
        """See the protocol."""
        return await self._reader.read_to(await self._reader.end())

    async def append(self, record: RolloutRecord) -> int:
        """See the protocol."""
        (offset,) = await self._in_a_transaction([(self._settings.rollout.topic, None, write_rollout(record))])
        return offset

    async def _in_a_transaction(self, records: Sequence[tuple[str, bytes | None, bytes | None]]) -> list[int]:
        """Write records (topic, key, value) in one transaction, and return their offsets."""
        assert self._producer is not None, "a controller fences first"
        try:
            async with asyncio.timeout(self._settings.produce_timeout_seconds):
                await self._producer.begin_transaction()
                queued = [await self._producer.send(topic, key=key, value=value, partition=0) for topic, key, value in records]
                sent = [await one for one in queued]
                await self._producer.commit_transaction()
        except ProducerFenced as error:
            raise FencedError from error
        except (KafkaError, TimeoutError) as error:
            raise unreachable(self._settings, error) from error
        for one in sent:
            if one.timestamp_type == APPENDED:
                self.ahead_seconds = time.time() - one.timestamp / 1000
        return [int(one.offset) for one in sent]

    async def forget(self, keys: Sequence[bytes]) -> None:
        """
        Remove these keys from the workers' topic.

        Raises:
            FencedError: Another controller has begun.
            BrokerUnreachableError: No broker answered.
        """
        topic = self._settings.rollout.workers_topic
        await self._in_a_transaction([(topic, key, None) for key in keys])

    async def read_past(self, offset: int) -> tuple[Epochs, bool]:
        """See the protocol."""
        epochs = await self._reader.read_to(offset + 1)
        return epochs, self._reader.counts(offset)

    async def stop(self) -> None:
        """Stop the producer."""
        if self._producer is not None:
            await self._producer.stop()


def _say_all_but_fencing(loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
    """Suppress tracebacks of a fenced producer: `FencedError` reports it, and aiokafka leaves two futures that callers cannot await."""
    if not isinstance(context.get("exception"), ProducerFenced):
        loop.default_exception_handler(context)

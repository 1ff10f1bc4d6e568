"""Plain Kafka clients for the tools: a producer that counts what the broker took, and a reader without a group. kafka-python."""

import contextlib
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from kafka import KafkaConsumer, KafkaProducer, TopicPartition
from kafka.errors import KafkaError

from stream.settings import Settings
from stream.topics import admitted, unreachable

FLUSH_SECONDS = 30


class SendError(Exception):
    """The broker did not take a record: the message says how many it took and why it stopped."""

    exit_code = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """One record to send or that was read. `timestamp_ms` is Unix milliseconds, `offset` is -1 before sending."""

    topic: str
    key: bytes | None
    value: bytes | None
    headers: tuple[tuple[str, bytes], ...] = ()
    partition: int = -1
    offset: int = -1
    timestamp_ms: int = 0


class Sender:
    """Sends and keeps count; `acknowledged` is what the broker has confirmed."""

    def __init__(self, producer: KafkaProducer) -> None:
        """Wrap a producer."""
        self._producer = producer
        self._error: BaseException | None = None
        self.acknowledged = 0

    def send(self, topic: str, *, key: bytes | None, value: bytes | None) -> None:
        """
        Queue one record.

        Raises:
            SendError: An earlier record, or this one, was refused.
        """
        self._raise()
        try:
            self._producer.send(topic, key=key, value=value).add_callback(self._confirmed).add_errback(self._failed)
        except (KafkaError, AssertionError, ValueError) as error:
            self._error = error
        self._raise()

    def flush(self) -> None:
        """
        Wait until the broker has confirmed everything.

        Raises:
            SendError: Something was refused, or the broker did not confirm in time.
        """
        try:
            self._producer.flush(timeout=FLUSH_SECONDS)
        except KafkaError as error:
            self._error = self._error or error
        self._raise()

    def _confirmed(self, _: Any) -> None:
        self.acknowledged += 1

    def _failed(self, error: BaseException) -> None:
        self._error = self._error or error

    def _raise(self) -> None:
        if self._error is not None:
            msg = (
                f"the broker confirmed {self.acknowledged} records and refused the next: {type(self._error).__name__}: "
                f"{str(self._error)[:200]}. Next: `tagstream doctor`; then send the rest again: the same ids give the same decisions."
            )
            raise SendError(msg) from self._error


@contextlib.contextmanager
def sender(settings: Settings) -> Iterator[Sender]:
    """
    A producer that waits for all replicas.

    Raises:
        BrokerUnreachableError: No broker answered in time, or one refused us.
    """
    options, seconds = admitted(settings)
    timeout_ms = int(seconds * 1000)
    try:
        producer = KafkaProducer(
            **options,
            client_id="tagstream-send",
            acks="all",
            enable_idempotence=False,
            linger_ms=5,
            max_block_ms=timeout_ms,
            bootstrap_timeout_ms=timeout_ms,
            max_request_size=4 * 1024 * 1024,
        )
    except (KafkaError, OSError, ValueError) as error:
        raise unreachable(settings, error) from error
    try:
        yield Sender(producer)
    finally:
        producer.close(timeout=FLUSH_SECONDS)


@contextlib.contextmanager
def _consumer(settings: Settings) -> Iterator[KafkaConsumer]:
    options, seconds = admitted(settings)
    timeout_ms = int(seconds * 1000)
    try:
        consumer = KafkaConsumer(
            **options,
            client_id="tagstream-read",
            group_id=None,
            enable_auto_commit=False,
            auto_offset_reset="earliest",
            bootstrap_timeout_ms=timeout_ms,
            fetch_max_wait_ms=100,
        )
    except (KafkaError, OSError, ValueError) as error:
        raise unreachable(settings, error) from error
    try:
        yield consumer
    finally:
        consumer.close()


def read(settings: Settings, topics: Sequence[str], *, from_beginning: bool) -> Iterator[list[Record]]:
    """
    Batches of records of some topics, in no consumer group, for as long as it is asked; empty lists while nothing comes.

    Args:
        settings: Where the brokers are.
        topics: Names of topics that exist.
        from_beginning: Start at the oldest record, else after the newest.

    Raises:
        BrokerUnreachableError: No broker answered in time, or one refused us.
    """
    with _consumer(settings) as consumer:
        assigned = [
            TopicPartition(topic, partition)
            for topic in topics
            for partition in sorted(consumer.partitions_for_topic(topic) or ())
        ]
        consumer.assign(assigned)
        if from_beginning:
            consumer.seek_to_beginning(*assigned)
        else:
            consumer.seek_to_end(*assigned)
            for partition in assigned:
                consumer.position(partition)
        while True:
            polled = consumer.poll(timeout_ms=200, max_records=1000)
            yield [_record(found) for records in polled.values() for found in records]


def _record(found: Any) -> Record:
    return Record(
        topic=found.topic,
        key=found.key,
        value=found.value,
        headers=tuple(found.headers or ()),
        partition=found.partition,
        offset=found.offset,
        timestamp_ms=found.timestamp,
    )


def pace(values: Iterable[Any], per_second: float | None) -> Iterator[Any]:
    """The values at a steady rate (events/s), or as fast as they are taken."""
    started = time.monotonic()
    for number, value in enumerate(values):
        if per_second:
            time.sleep(max(0.0, started + number / per_second - time.monotonic()))
        yield value

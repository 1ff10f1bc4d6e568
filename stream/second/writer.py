"""
Writes `second`, and the decisions that follow from it on `tagged`, in transactions of one transactional id.

A new writer with that id fences the writer before: from then on nobody else can write. So one process gives opinions, and whoever reads
`second` to its end after the fencing knows all of them.
"""

import contextlib
from collections.abc import Iterator, Mapping, Sequence

from kafka import KafkaConsumer, KafkaProducer, TopicPartition
from kafka.errors import (
    InvalidProducerEpochError,
    KafkaError,
    ProducerFencedError,
    TransactionalIdAuthorizationFailedError,
    UnsupportedVersionError,
)
from kafka.structs import OffsetAndMetadata

from tagstream.stream.contract.event import Record
from tagstream.stream.kafka.admission import admitted
from tagstream.stream.kafka.errors import CONNECT_FAILURES, translated, unreachable
from tagstream.stream.kafka.producer import MAX_REQUEST_BYTES, REQUEST_SECONDS
from tagstream.stream.kafka.reading.reader import Place
from tagstream.stream.kafka.rights import second_group
from tagstream.stream.second.adviser import SecondError
from tagstream.stream.settings.settings import Settings

FENCED = (ProducerFencedError, InvalidProducerEpochError)


class SecondFencedError(Exception):
    """Another process gives the opinions now."""

    exit_code = 1

    def __init__(self) -> None:
        """Write the message."""
        super().__init__(
            "another `tagstream second` of this group has begun, and gives the opinions from now on; nothing is lost. Next: run one of them."
        )


class SecondWriter:
    """The only writer of `second`. Every method ends within the bounds of the settings."""

    def __init__(self, settings: Settings, producer: KafkaProducer) -> None:
        """See `second_writer`."""
        self._settings = settings
        self._producer = producer
        self._group = second_group(settings)

    def write(self, records: Sequence[Record], after: Mapping[Place, int] | None = None) -> None:
        """
        Write records in one transaction: all of them or none.

        Args:
            records: Topic, key, value and headers of each.
            after: By partition of `second`, the offset up to which the decisions that follow from opinions are on `tagged`.

        Raises:
            SecondFencedError: Another process writes now.
            BrokerUnreachableError: The brokers did not confirm; nothing was written.
        """
        producer = self._producer
        try:
            producer.begin_transaction()
            sent = [
                producer.send(one.topic, key=one.key, value=one.value, headers=list(one.headers) or None) for one in records
            ]
            if after:
                offsets = {TopicPartition(*place): OffsetAndMetadata(offset, "", -1) for place, offset in after.items()}
                producer.send_offsets_to_transaction(offsets, self._group)
            for one in sent:
                one.get(timeout=self._settings.produce_timeout_seconds)
            producer.commit_transaction()
        except FENCED as error:
            raise SecondFencedError from error
        except KafkaError as error:
            raise unreachable(self._settings, error) from error

    def acted(self, places: Sequence[Place]) -> dict[Place, int]:
        """
        Return, by partition of `second`, the offset up to which an earlier process has published what follows; 0 if there was none.

        Raises:
            BrokerUnreachableError: The brokers did not answer.
        """
        options, seconds = admitted(self._settings)
        timeout_ms = int(seconds * 1000)
        with translated(self._settings, CONNECT_FAILURES):
            consumer = KafkaConsumer(
                **options,
                client_id="tagstream-second",
                group_id=self._group,
                enable_auto_commit=False,
                bootstrap_timeout_ms=timeout_ms,
            )
            try:
                return {place: consumer.committed(TopicPartition(*place), timeout_ms=timeout_ms) or 0 for place in places}
            finally:
                consumer.close()


@contextlib.contextmanager
def second_writer(settings: Settings) -> Iterator[SecondWriter]:
    """
    The writer of `second`, after it has fenced the writer before.

    Raises:
        BrokerUnreachableError: No broker answered in time, or a broker refused us.
        SecondError: The brokers have no transactions, or this user may not use the transactional id.
    """
    options, seconds = admitted(settings)
    timeout_ms = int(seconds * 1000)
    with translated(settings, CONNECT_FAILURES):
        producer = KafkaProducer(
            **options,
            client_id="tagstream-second",
            transactional_id=second_group(settings),
            transaction_timeout_ms=int(settings.produce_timeout_seconds * 1000),
            acks="all",
            delivery_timeout_ms=int(settings.produce_timeout_seconds * 1000),
            request_timeout_ms=min(REQUEST_SECONDS, int(settings.produce_timeout_seconds)) * 1000,
            max_block_ms=timeout_ms,
            bootstrap_timeout_ms=timeout_ms,
            max_request_size=MAX_REQUEST_BYTES,
        )
    try:
        try:
            producer.init_transactions()
        except UnsupportedVersionError as error:
            msg = "a second model needs transactions, and the brokers have none. Next: use Apache Kafka."
            raise SecondError(msg) from error
        except TransactionalIdAuthorizationFailedError as error:
            msg = (
                f"this user may not use the transactional id {second_group(settings)}. Next: `tagstream doctor --role second` prints "
                "the missing right."
            )
            raise SecondError(msg) from error
        except KafkaError as error:
            raise unreachable(settings, error) from error
        yield SecondWriter(settings, producer)
    finally:
        with contextlib.suppress(KafkaError):
            producer.close(timeout=settings.produce_timeout_seconds)

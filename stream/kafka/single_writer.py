"""
A writer of which a name has one at a time: it writes in transactions of one transactional id.

A new writer with that id fences the writer before: from then on nobody else can write under the name. So who fences first and then reads a topic
to its end knows all records that were ever written to it under the name.
"""

import contextlib
import threading
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Future

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
from tagstream.stream.settings.settings import Settings

# A transaction sends, adds offsets, and commits: each may take as long as the settings allow.
CALLS = 3
FENCED = (ProducerFencedError, InvalidProducerEpochError)


def is_fenced(error: KafkaError) -> bool:
    """
    Whether a producer's error says that another writer has its transactional id.

    The first call that hears it raises one of `FENCED`. If it is the sender's thread that hears it, the next call raises a plain KafkaError that names it.

    >>> is_fenced(ProducerFencedError()), is_fenced(KafkaError("in an error state", ProducerFencedError())), is_fenced(KafkaError("no answer"))
    (True, True, False)
    """
    return isinstance(error, FENCED) or any(kind.__name__ in str(error) for kind in FENCED)


class WriterFencedError(Exception):
    """Another process writes under this name now."""

    exit_code = 1


class WriterRefusedError(Exception):
    """There can be no such writer: the message says why, and the next step."""

    exit_code = 2


class SingleWriter:
    """The only writer of its name. Every method ends within the bounds of the settings."""

    def __init__(self, settings: Settings, producer: KafkaProducer, name: str) -> None:
        """See `single_writer`."""
        self._settings = settings
        self._producer = producer
        self._name = name

    def write(self, records: Sequence[Record], after: Mapping[Place, int] | None = None) -> None:
        """
        Write records in one transaction: all of them or none.

        Args:
            records: Topic, key, value and headers of each.
            after: By partition of a topic that is read, the offset up to which what follows from its records is written.

        Raises:
            WriterFencedError: Another process writes under this name now.
            BrokerUnreachableError: The brokers did not confirm in time. Who fences this writer and then reads knows whether the brokers have written.
        """
        done = Future[None]()

        def run() -> None:
            try:
                self._transaction(records, after)
            except BaseException as error:  # noqa: BLE001 - raised where it is waited for
                done.set_exception(error)
            else:
                done.set_result(None)

        # kafka-python waits without a bound for offsets and commits: seen for ever after the kill of a broker. A daemon ends with the process.
        threading.Thread(target=run, name="single-writer", daemon=True).start()
        try:
            done.result(timeout=CALLS * self._settings.produce_timeout_seconds)
        except TimeoutError as error:
            raise unreachable(self._settings, error) from error

    def _transaction(self, records: Sequence[Record], after: Mapping[Place, int] | None) -> None:
        producer = self._producer
        try:
            producer.begin_transaction()
            sent = [
                producer.send(one.topic, key=one.key, value=one.value, headers=list(one.headers) or None) for one in records
            ]
            if after:
                offsets = {TopicPartition(*place): OffsetAndMetadata(offset, "", -1) for place, offset in after.items()}
                producer.send_offsets_to_transaction(offsets, self._name)
            for one in sent:
                one.get(timeout=self._settings.produce_timeout_seconds)
            producer.commit_transaction()
        except KafkaError as error:
            if is_fenced(error):
                msg = f"another process writes as {self._name} now, and this one can no longer write; nothing is lost. Next: run one of them."
                raise WriterFencedError(msg) from error
            raise unreachable(self._settings, error) from error

    def acted(self, places: Sequence[Place]) -> dict[Place, int]:
        """
        Return, by partition, the last offset of `write` that was committed under this name; 0 if there was none.

        Raises:
            BrokerUnreachableError: The brokers did not answer.
        """
        options, seconds = admitted(self._settings)
        timeout_ms = int(seconds * 1000)
        with translated(self._settings, CONNECT_FAILURES):
            consumer = KafkaConsumer(
                **options,
                client_id="tagstream-single-writer",
                group_id=self._name,
                enable_auto_commit=False,
                bootstrap_timeout_ms=timeout_ms,
            )
            try:
                return {place: consumer.committed(TopicPartition(*place), timeout_ms=timeout_ms) or 0 for place in places}
            finally:
                consumer.close()


@contextlib.contextmanager
def single_writer(settings: Settings, name: str) -> Iterator[SingleWriter]:
    """
    The writer of this name, after it has fenced the writer before.

    Args:
        settings: Brokers and bounds.
        name: The transactional id, and the consumer group that keeps offsets.

    Raises:
        BrokerUnreachableError: No broker answered in time, or a broker refused us.
        WriterRefusedError: The brokers have no transactions, or this user may not use the transactional id.
    """
    options, seconds = admitted(settings)
    timeout_ms = int(seconds * 1000)
    with translated(settings, CONNECT_FAILURES):
        producer = KafkaProducer(
            **options,
            client_id="tagstream-single-writer",
            transactional_id=name,
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
            msg = "the brokers have no transactions, by which one process writes at a time. Next: use Apache Kafka."
            raise WriterRefusedError(msg) from error
        except TransactionalIdAuthorizationFailedError as error:
            msg = f"this user may not WRITE under the transactional id {name}. Next: `tagstream doctor --acls USER --role ROLE` prints the rights."
            raise WriterRefusedError(msg) from error
        except KafkaError as error:
            raise unreachable(settings, error) from error
        yield SingleWriter(settings, producer, name)
    finally:
        with contextlib.suppress(KafkaError):
            producer.close(timeout=settings.produce_timeout_seconds)

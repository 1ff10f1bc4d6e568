"""The harness's own eyes and hands on the broker: fresh topics, the ledger of inputs, positions, and all that was written."""

import time
import uuid
from collections.abc import Sequence
from typing import Self

from kafka import KafkaConsumer, KafkaProducer, TopicPartition
from kafka.admin import KafkaAdminClient
from kafka.errors import InvalidPartitionsError, KafkaError

from stream.kafka import admin, clients
from stream.settings.security import client_options
from stream.settings.settings import Settings
from tests.faults.checker import Door, Sample
from tests.faults.inputs import Input, Planted

CONFIRM_SECONDS = 60
# The workers' watchdogs in fault runs: above a model that is slow and a network that is silent, as faults.py has them.
INFERENCE_TIMEOUT_SECONDS = 10.0
PRODUCE_TIMEOUT_SECONDS = 12.0
COORDINATOR_SECONDS = 30.0
RETRY_SECONDS = 0.1
AT_ONCE = 20_000
# A broker that is down must not keep the harness from looking for long.
LOOK_TIMEOUT_MS = 3_000
LOOK_SECONDS = 5.0
BACKOFF_MS = 500


def fresh_environment(bootstrap: str, test: str, *, partitions: int = 6) -> dict[str, str]:
    """TAGSTREAM_* for a worker on topics and in a group that nobody else has, named after the test."""
    name = f"{test[:60]}-{uuid.uuid4().hex[:8]}"
    kinds = ("content", "tagged", "review", "dlq", "reviewed", "reports", "shadow", "drift")
    return {
        "TAGSTREAM_BROKERS": bootstrap,
        "TAGSTREAM_GROUP": name,
        "TAGSTREAM_METRICS_PORT": "0",
        "TAGSTREAM_LOG_FORMAT": "json",
        "TAGSTREAM_BATCH_MAX_EVENTS": "32",
        "TAGSTREAM_INFERENCE_THREADS": "2",
        "TAGSTREAM_SESSION_TIMEOUT_SECONDS": "6",
        "TAGSTREAM_TOPIC_PARTITIONS": str(partitions),
        **{f"TAGSTREAM_TOPICS__{kind.upper()}": f"{name}.{kind}" for kind in kinds},
    }


def fault_environment(bootstrap: str, test: str, *, partitions: int = 6, replication: int = 1) -> dict[str, str]:
    """The same with watchdogs that bark within seconds, for workers on whom faults are to strike."""
    return {
        **fresh_environment(bootstrap, test, partitions=partitions),
        "TAGSTREAM_TOPIC_REPLICATION": str(replication),
        "TAGSTREAM_INFERENCE_TIMEOUT_SECONDS": str(INFERENCE_TIMEOUT_SECONDS),
        "TAGSTREAM_PRODUCE_TIMEOUT_SECONDS": str(PRODUCE_TIMEOUT_SECONDS),
    }


def doors(settings: Settings) -> dict[Door, str]:
    """The topic behind each door."""
    return {Door.TAGGED: settings.topics.tagged, Door.REVIEW: settings.topics.review, Door.DLQ: settings.topics.dlq}


def send(settings: Settings, planted: Sequence[Planted]) -> list[Input]:
    """
    Send the records in order, evenly over the partitions, and keep a ledger of what the broker has acknowledged.

    Raises:
        KafkaError: A record was refused.
    """
    return send_to(settings, planted, range(admin.partitions(settings)[settings.topics.content]))


def send_to(settings: Settings, planted: Sequence[Planted], partitions: Sequence[int]) -> list[Input]:
    """
    The same, to these partitions in turn.

    Raises:
        KafkaError: A record was refused.
    """
    producer = KafkaProducer(**client_options(settings), acks="all", linger_ms=20)
    confirmed: list[Input] = []
    try:
        # A part at a time: a future for each of a million records would be more than the records.
        for start in range(0, len(planted), AT_ONCE):
            part = planted[start : start + AT_ONCE]
            futures = [
                producer.send(
                    settings.topics.content,
                    key=one.key,
                    value=one.value,
                    headers=list(one.headers),
                    partition=partitions[number % len(partitions)],
                )
                for number, one in enumerate(part, start)
            ]
            producer.flush(timeout=CONFIRM_SECONDS)
            for one, future in zip(part, futures, strict=True):
                metadata = future.get(timeout=CONFIRM_SECONDS)
                confirmed.append(Input(planted=one, partition=metadata.partition, offset=metadata.offset))
    finally:
        producer.close(timeout=CONFIRM_SECONDS)
    return confirmed


class Onlooker:
    """Reads positions without being a member of the group. Use as a context manager, from one thread."""

    def __init__(self, settings: Settings) -> None:
        """Connect."""
        self._settings = settings
        self._consumer = KafkaConsumer(
            **client_options(settings),
            group_id=None,
            enable_auto_commit=False,
            metadata_max_age_ms=LOOK_TIMEOUT_MS,
            request_timeout_ms=LOOK_TIMEOUT_MS,
            reconnect_backoff_max_ms=BACKOFF_MS,
        )
        self._admin: KafkaAdminClient | None = None
        self._started = time.monotonic()
        # The first group of a fresh broker makes the broker create its offsets topic.
        self._patience = COORDINATOR_SECONDS
        self._content = self._partitions(settings.topics.content)
        self._doors = {
            partition: (door, partition.partition)
            for door, topic in doors(settings).items()
            for partition in self._partitions(topic)
        }

    def _ready_admin(self) -> KafkaAdminClient:
        if self._admin is None:
            settings = self._settings
            self._admin = KafkaAdminClient(
                **client_options(settings),
                bootstrap_timeout_ms=LOOK_TIMEOUT_MS,
                request_timeout_ms=LOOK_TIMEOUT_MS,
                reconnect_backoff_max_ms=BACKOFF_MS,
            )
        return self._admin

    def _close_admin(self) -> None:
        if self._admin is not None:
            self._admin.close()
            self._admin = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._consumer.close()
        self._close_admin()

    def _partitions(self, topic: str) -> list[TopicPartition]:
        return [TopicPartition(topic, partition) for partition in sorted(self._consumer.partitions_for_topic(topic) or ())]

    def sample(self, earlier_seconds: float = 0.0) -> Sample:
        """
        Look once: first at the commits, then at the outcomes, so that what is committed must be among the written.

        Args:
            earlier_seconds: How long the run had gone on before this process.

        Raises:
            KafkaError: No broker that knows has answered in time.
        """
        committed = self.committed()
        written = self._consumer.end_offsets(list(self._doors), timeout_ms=LOOK_TIMEOUT_MS)
        return Sample(
            at_seconds=earlier_seconds + time.monotonic() - self._started,
            committed=committed,
            written={self._doors[partition]: end for partition, end in written.items()},
        )

    def committed(self) -> dict[int, int]:
        """The group's offset by partition of `content`."""
        patience, self._patience = self._patience, LOOK_SECONDS
        deadline = time.monotonic() + patience
        while True:
            try:
                found = self._ready_admin().list_group_offsets({self._settings.group: None})[self._settings.group]
            except KafkaError:
                if time.monotonic() > deadline:
                    raise
                time.sleep(RETRY_SECONDS)
                # A client keeps its first answer to who coordinates the group for as long as it lives.
                self._close_admin()
            else:
                topic = self._settings.topics.content
                return {place.partition: offset.offset for place, offset in found.items() if place.topic == topic}

    def ends(self) -> dict[int, int]:
        """The ends of `content` by partition."""
        return {partition.partition: end for partition, end in self._consumer.end_offsets(self._content).items()}

    def add_partition(self) -> int:
        """Add one partition to `content` and give its number when its leader is known."""
        name = self._settings.topics.content
        added = len(self._content)
        deadline = time.monotonic() + COORDINATOR_SECONDS
        while True:
            try:
                self._ready_admin().create_partitions({name: added + 1})
            except InvalidPartitionsError:
                # An answer that was lost: it is there.
                break
            except KafkaError:
                if time.monotonic() > deadline:
                    raise
                self._close_admin()
            else:
                break
        while added not in (self._consumer.partitions_for_topic(name) or ()):
            if time.monotonic() > deadline:
                msg = f"partition {added} of {name} was not seen within {COORDINATOR_SECONDS:g} s"
                raise TimeoutError(msg)
            self._consumer.topics()
            time.sleep(RETRY_SECONDS)
        self._content = self._partitions(name)
        return added

    def outcomes(self) -> dict[Door, list[clients.Record]]:
        """
        Every record behind every door up to now, in the order of each partition; of a transaction only what it has committed.

        Raises:
            BrokerUnreachableError: The records could not be read to the ends of the logs.
        """
        found: dict[Door, list[clients.Record]] = {}
        for door, topic in doors(self._settings).items():
            with clients.log_of(self._settings, topic) as log:
                found[door] = list(log.read(log.starts(), log.ends()))
        return found

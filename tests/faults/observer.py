"""Reads a group's commits and its workers' outcomes without being a member of the group."""

import contextlib
import time
from collections.abc import Callable, Mapping
from typing import Any, Self, TypeVar

import stamina
from kafka import KafkaConsumer, TopicPartition
from kafka.admin import KafkaAdminClient
from kafka.errors import InvalidPartitionsError, KafkaError

from tagstream.monitoring.vocabulary import Destination
from tagstream.stream.contract.event import Record
from tagstream.stream.kafka.credentials import client_options
from tagstream.stream.kafka.reading.log import log_of
from tagstream.stream.settings.settings import Settings
from tests.faults.cluster.topics import destinations
from tests.faults.verdict.evidence import Sample
from tests.waiting import answered, until

COORDINATOR_SECONDS = 30.0
RETRY_SECONDS = 0.1
# A broker that is down must not keep the harness from looking for long.
LOOK_TIMEOUT_MS = 3_000
LOOK_SECONDS = 5.0
BACKOFF_MS = 500
T = TypeVar("T")


class TopicObserver:
    """Reads positions without being a member of the group; `settings` name it. Use as a context manager, from one thread."""

    def __init__(self, settings: Settings) -> None:
        """Connect."""
        self.settings = settings
        self._consumer = self._answered(
            lambda: KafkaConsumer(
                **client_options(settings),
                group_id=None,
                enable_auto_commit=False,
                metadata_max_age_ms=LOOK_TIMEOUT_MS,
                request_timeout_ms=LOOK_TIMEOUT_MS,
                reconnect_backoff_max_ms=BACKOFF_MS,
            )
        )
        self._admin: KafkaAdminClient | None = None
        self._started = time.monotonic()
        # The first group of a fresh broker makes the broker create its offsets topic.
        self._patience = COORDINATOR_SECONDS
        self._content = self._partitions(settings.topics.content)
        self._destinations = {
            partition: (destination, partition.partition)
            for destination, topic in destinations(settings).items()
            for partition in self._partitions(topic)
        }

    def _ready_admin(self) -> KafkaAdminClient:
        if self._admin is None:
            settings = self.settings
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

    def _answered(self, ask: Callable[[], T]) -> T:
        return answered(ask, self.settings.brokers)

    def _partitions(self, topic: str) -> list[TopicPartition]:
        numbers = self._answered(lambda: self._consumer.partitions_for_topic(topic))
        return [TopicPartition(topic, partition) for partition in sorted(numbers or ())]

    def sample(self, earlier_seconds: float = 0.0) -> Sample:
        """
        Look once: first at the commits, then at the outcomes, so that every committed event must have a written outcome.

        Args:
            earlier_seconds: How long the run had gone on before this process.

        Raises:
            KafkaError: No broker that knows has answered in time.
        """
        offsets = self._offsets()
        written = self._consumer.end_offsets(list(self._destinations), timeout_ms=LOOK_TIMEOUT_MS)
        return Sample(
            at_seconds=earlier_seconds + time.monotonic() - self._started,
            committed=self._of(self.settings.topics.content, offsets),
            written={self._destinations[partition]: end for partition, end in written.items()},
            answered=self._of(self.settings.topics.reviewed, offsets),
        )

    def committed(self) -> dict[int, int]:
        """The group's offset by partition of `content`."""
        return self._of(self.settings.topics.content, self._answered(self._offsets))

    @staticmethod
    def _of(topic: str, offsets: Mapping[TopicPartition, int]) -> dict[int, int]:
        return {place.partition: offset for place, offset in offsets.items() if place.topic == topic}

    def _offsets(self) -> dict[TopicPartition, int]:
        patience, self._patience = self._patience, LOOK_SECONDS
        found: dict[TopicPartition, Any] = {}
        for attempt in stamina.retry_context(
            on=KafkaError, attempts=None, timeout=patience, wait_initial=RETRY_SECONDS, wait_max=1
        ):
            with attempt:
                try:
                    found = self._ready_admin().list_group_offsets({self.settings.group: None})[self.settings.group]
                except KafkaError:
                    # A client keeps its first answer to who coordinates the group for as long as it lives.
                    self._close_admin()
                    raise
        return {place: offset.offset for place, offset in found.items()}

    def ends(self) -> dict[int, int]:
        """The ends of `content` by partition."""
        return self._ends(self._content)

    def answers_ends(self) -> dict[int, int]:
        """The ends of `reviewed` by partition."""
        return self._ends(self._partitions(self.settings.topics.reviewed))

    def _ends(self, partitions: list[TopicPartition]) -> dict[int, int]:
        ends = self._answered(lambda: self._consumer.end_offsets(partitions))
        return {partition.partition: end for partition, end in ends.items()}

    def add_partition(self) -> int:
        """Add one partition to `content` and give its number when its leader is known."""
        name = self.settings.topics.content
        added = len(self._content)

        def create() -> None:
            try:
                # An answer may have been lost: then the partition is there.
                with contextlib.suppress(InvalidPartitionsError):
                    self._ready_admin().create_partitions({name: added + 1})
            except KafkaError:
                self._close_admin()
                raise

        def is_known() -> bool:
            # Asking for all topics renews the client's metadata of this one.
            self._consumer.topics()
            return added in (self._consumer.partitions_for_topic(name) or ())

        self._answered(create)
        until(is_known, f"partition {added} of {name} is known")
        self._content = self._partitions(name)
        return added

    def outcomes(self) -> dict[Destination, list[Record]]:
        """
        Every record of the outcome topics up to now, in the order of each partition; of transactions the committed ones.

        Raises:
            SilentBrokerError: The records could not be read to the ends of the logs.
        """
        found: dict[Destination, list[Record]] = {}
        for destination, topic in destinations(self.settings).items():
            found[destination] = self.records(topic)
        return found

    def records(self, topic: str) -> list[Record]:
        """Every committed record of a topic up to now."""
        return self._answered(lambda: self._all_of(topic))

    def audits(self) -> list[Record]:
        """Every record of `audit` up to now."""
        return self.records(self.settings.topics.audit)

    def drift_findings(self) -> int:
        """How many findings of the drift watches are published."""
        return len(self.records(self.settings.topics.drift))

    def _all_of(self, topic: str) -> list[Record]:
        with log_of(self.settings, topic) as log:
            return list(log.read())

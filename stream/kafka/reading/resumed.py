"""Reads topics on from offsets that the caller keeps, in no consumer group. kafka-python."""

import contextlib
from collections.abc import Collection, Iterator, Mapping

from kafka import KafkaConsumer, TopicPartition

from tagstream.stream.contract.event import Record
from tagstream.stream.kafka.errors import translated
from tagstream.stream.kafka.reading.reader import POLL_MS, consumer, record_of
from tagstream.stream.settings.settings import Settings

POLL_RECORDS = 500

Place = tuple[str, int]
"""Topic and partition."""


class Resumed:
    """
    Some topics, read on. All methods raise `BrokerUnreachableError` if the brokers do not answer within `startup_timeout_seconds`.

    Attributes:
        positions: The next offset of every partition.
    """

    def __init__(self, client: KafkaConsumer, settings: Settings, topics: Collection[str]) -> None:
        """
        Read nothing before `begin`.

        Args:
            client: In no group.
            settings: Has the bound of every wait.
            topics: Names of topics that exist.
        """
        self._client = client
        self._settings = settings
        self._topics = sorted(topics)
        self._timeout_ms = int(settings.startup_timeout_seconds * 1000)
        self._reading: set[Place] = set()
        self.positions: dict[Place, int] = {}

    def partitions(self) -> list[Place]:
        """The partitions of the topics now: some may have been added."""
        with translated(self._settings):
            return [
                (topic, number) for topic in self._topics for number in sorted(self._client.partitions_for_topic(topic) or ())
            ]

    def ends(self) -> dict[Place, int]:
        """The offset that the next record will get, by partition."""
        return self._offsets(self._client.end_offsets)

    def starts(self) -> dict[Place, int]:
        """The oldest offset that is still there, by partition."""
        return self._offsets(self._client.beginning_offsets)

    def since(self, topic: str, moment_ms: int) -> dict[Place, int]:
        """The offset of the first record at or after a moment (Unix milliseconds), by partition; without one, none."""
        moments = {TopicPartition(*place): moment_ms for place in self.partitions() if place[0] == topic}
        with translated(self._settings):
            found = self._client.offsets_for_times(moments, timeout_ms=self._timeout_ms)
        return {(place.topic, place.partition): at.offset for place, at in found.items() if at is not None}

    def begin(self, positions: Mapping[Place, int]) -> None:
        """Read on from these offsets."""
        self.positions = dict(positions)
        self._reading = set()

    def poll(self, topics: Collection[str]) -> list[Record]:
        """The records that have come on these topics, after `POLL_MS` at most; the others stand still."""
        places = {place for place in self.positions if place[0] in topics}
        with translated(self._settings):
            if places != self._reading:
                self._client.assign([TopicPartition(*place) for place in sorted(places)])
                for place in sorted(places):
                    self._client.seek(TopicPartition(*place), self.positions[place])
                self._reading = places
            polled = self._client.poll(timeout_ms=POLL_MS, max_records=POLL_RECORDS)
            for place in places:
                # Not the records' own offsets: the last of a partition may be a transaction marker, which no record has.
                at = self._client.position(TopicPartition(*place), timeout_ms=POLL_MS)
                self.positions[place] = self.positions[place] if at is None else at
        return [record_of(found) for records in polled.values() for found in records]

    def _offsets(self, ask: object) -> dict[Place, int]:
        assigned = [TopicPartition(*place) for place in self.partitions()]
        with translated(self._settings):
            found = ask(assigned, timeout_ms=self._timeout_ms)  # type: ignore[operator]
        return {(place.topic, place.partition): offset for place, offset in found.items()}


@contextlib.contextmanager
def resumed(settings: Settings, topics: Collection[str]) -> Iterator[Resumed]:
    """
    Topics that exist, read by a consumer of its own that is in no group and sees committed records alone.

    Raises:
        BrokerUnreachableError: No broker answered in time, or one refused us.
    """
    with consumer(settings) as client:
        yield Resumed(client, settings, topics)

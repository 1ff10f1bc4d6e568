"""Reads topics from offsets that the caller keeps, in no consumer group. kafka-python."""

import contextlib
import time
from collections.abc import Callable, Collection, Iterator, Mapping
from typing import Any

from kafka import KafkaConsumer, TopicPartition
from kafka.errors import KafkaTimeoutError

from tagstream.stream.contract.event import Record
from tagstream.stream.kafka.admission import admitted
from tagstream.stream.kafka.errors import CONNECT_FAILURES, translated, unreachable
from tagstream.stream.settings.settings import Settings

POLL_MS, POLL_RECORDS = 200, 500
PARTITION_BYTES = 1_048_576

Place = tuple[str, int]
"""Topic and partition."""


@contextlib.contextmanager
def consumer(
    settings: Settings, *, partition_bytes: int = PARTITION_BYTES, isolation_level: str = "read_committed"
) -> Iterator[KafkaConsumer]:
    """
    A consumer in no group, which sees only committed records by default.

    Args:
        settings: Brokers and bounds.
        partition_bytes: The approximate bytes of a partition in one answer.
        isolation_level: `read_uncommitted` also shows the records of open and of aborted transactions.

    Raises:
        BrokerUnreachableError: No broker answered in time, or a broker refused us.
    """
    options, seconds = admitted(settings)
    timeout_ms = int(seconds * 1000)
    with translated(settings, CONNECT_FAILURES):
        made = KafkaConsumer(
            **options,
            client_id="tagstream-read",
            group_id=None,
            enable_auto_commit=False,
            auto_offset_reset="earliest",
            # A record of an aborted transaction does not count as an outcome (docs/exactly-once.md).
            isolation_level=isolation_level,
            bootstrap_timeout_ms=timeout_ms,
            fetch_max_wait_ms=100,
            max_partition_fetch_bytes=partition_bytes,
        )
    try:
        yield made
    finally:
        made.close()


class Reader:
    """
    Reads some topics. All methods raise `BrokerUnreachableError` if the brokers do not answer within `startup_timeout_seconds`.

    Attributes:
        positions: The next offset of every partition.
        moved: The next offset of the partitions that the last poll has moved.
    """

    def __init__(self, client: KafkaConsumer, settings: Settings, topics: Collection[str]) -> None:
        """
        Nothing is read before `begin`.

        Args:
            client: A consumer in no group.
            settings: Has the bound of every wait.
            topics: Names of topics that exist.
        """
        self._client = client
        self._settings = settings
        self._topics = sorted(topics)
        self._seconds = settings.startup_timeout_seconds
        self._assigned: set[Place] = set()
        self.positions: dict[Place, int] = {}
        self.moved: dict[Place, int] = {}

    def partitions(self) -> list[Place]:
        """The present partitions of the topics: partitions may have been added."""
        with translated(self._settings):
            return [
                (topic, number) for topic in self._topics for number in sorted(self._client.partitions_for_topic(topic) or ())
            ]

    def starts(self, places: Collection[Place] | None = None, *, seconds: float | None = None) -> dict[Place, int]:
        """By partition, the oldest offset that is still there. Asks for `places` or all partitions, and waits `seconds` or the default."""
        return self._offsets(self._client.beginning_offsets, places, seconds)

    def ends(self, places: Collection[Place] | None = None, *, seconds: float | None = None) -> dict[Place, int]:
        """By partition, the offset that the next record will get. Arguments as for `starts`."""
        return self._offsets(self._client.end_offsets, places, seconds)

    def first_since(self, places: Collection[Place], moment_ms: int) -> dict[Place, tuple[int, int]]:
        """By partition, offset and time of the first record at or after a moment (Unix milliseconds), if there is such a record."""
        moments = dict.fromkeys((TopicPartition(*place) for place in places), moment_ms)
        with translated(self._settings):
            found = self._client.offsets_for_times(moments, timeout_ms=int(self._seconds * 1000))
        return {(at.topic, at.partition): (first.offset, first.timestamp) for at, first in found.items() if first is not None}

    def begin(self, positions: Mapping[Place, int]) -> None:
        """Let the next `poll` read from these offsets."""
        self.positions = dict(positions)
        self._assigned = set()

    def outstanding(self, ends: Mapping[Place, int]) -> dict[Place, int]:
        """By partition, the number of offsets to read before these ends; partitions without such offsets are left out."""
        return {place: end - at for place, end in ends.items() if (at := self.positions.get(place, end)) < end}

    def poll(self, places: Collection[Place] | None = None) -> list[Record]:
        """The next records of these partitions (None: of all), after twice `POLL_MS` at most. The other partitions stand still."""
        reading = self.positions.keys() & set(self.positions if places is None else places)
        moved: dict[Place, int] = {}
        with translated(self._settings):
            if reading != self._assigned:
                # Assigned and not paused: after a pause, kafka-python 3.0.12 may lose records that it had fetched.
                self._client.assign([TopicPartition(*place) for place in sorted(reading)])
                for place in sorted(reading):
                    self._client.seek(TopicPartition(*place), self.positions[place])
                self._assigned = reading
            polled = self._client.poll(timeout_ms=POLL_MS, max_records=POLL_RECORDS)
            # One bound for all partitions: a partition without a leader may delay the positions of the others.
            until = time.monotonic() + POLL_MS / 1000
            for place in reading:
                # The client's position and not the records' offsets: the last offset of a partition may belong to a transaction marker.
                left_ms = max(1, int(1000 * (until - time.monotonic())))
                at = self._client.position(TopicPartition(*place), timeout_ms=left_ms)
                if at is not None and at != self.positions[place]:
                    moved[place] = at
        self.positions |= moved
        self.moved = moved
        return [record_of(found) for records in polled.values() for found in records]

    def read_to(self, ends: Mapping[Place, int]) -> Iterator[list[Record]]:
        """
        Yield each poll's records of these partitions, perhaps none, until the partitions are read to `ends`. The last poll may read beyond.

        Raises:
            BrokerUnreachableError: Records are outstanding, and the brokers do not send them.
        """
        moved = time.monotonic()
        while left := self.outstanding(ends):
            yield self.poll(ends)
            if left.keys() & self.moved.keys():
                # The caller's own time between two polls does not count.
                moved = time.monotonic()
            elif time.monotonic() - moved > self._seconds:
                topic, number = place = min(left)
                stuck = KafkaTimeoutError(f"{topic} {number} stands at {self.positions[place]} of {ends[place]}")
                raise unreachable(self._settings, stuck)

    def _offsets(
        self, ask: Callable[..., Mapping[Any, int]], places: Collection[Place] | None, seconds: float | None
    ) -> dict[Place, int]:
        asked = [TopicPartition(*place) for place in (self.partitions() if places is None else places)]
        with translated(self._settings):
            found = ask(asked, timeout_ms=int((seconds or self._seconds) * 1000))
        return {(at.topic, at.partition): offset for at, offset in found.items()}


@contextlib.contextmanager
def reader_of(settings: Settings, topics: Collection[str]) -> Iterator[Reader]:
    """
    A reader of topics that exist, with a consumer of its own that is in no group and sees only committed records.

    Raises:
        BrokerUnreachableError: No broker answered in time, or a broker refused us.
    """
    with consumer(settings) as client:
        yield Reader(client, settings, topics)


def record_of(found: Any) -> Record:
    """Our record of a record of kafka-python or aiokafka; with `budget` if the fetch bounds the dead letters of its batch."""
    return Record(
        topic=found.topic,
        partition=found.partition,
        offset=found.offset,
        # A record of an old format has no timestamp: None, or -1.
        timestamp_ms=max(0, found.timestamp or 0),
        key=found.key,
        value=found.value,
        headers=tuple(found.headers or ()),
        budget=getattr(found, "budget", None),
    )

"""A consumer group and its topic, seen from outside: members, offsets, and since when events wait."""

import math
import time
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from kafka import KafkaConsumer, TopicPartition
from kafka.admin import OffsetSpec
from kafka.errors import (
    CoordinatorLoadInProgressError,
    CoordinatorNotAvailableError,
    GroupAuthorizationFailedError,
    NotCoordinatorError,
    RetriableError,
    TopicAuthorizationFailedError,
    UnknownBrokerIdError,
)

from tagstream.monitoring.record_time import can_be_true
from tagstream.stream.kafka.admin import admin, describe
from tagstream.stream.kafka.errors import NotAuthorizedError, translated
from tagstream.stream.kafka.reading.log import Log
from tagstream.stream.kafka.reading.reader import consumer
from tagstream.stream.kafka.rights import Operation, Resource, Right, missing
from tagstream.stream.settings.settings import Settings

POLL_MS = 200
# A partition whose records do not come within this time has no known times.
READ_SECONDS = 5.0
# The number of offsets to read before the commit, to find the last committed event among markers of transactions.
BEFORE_COMMIT = 10
# Enough for a few events of each partition: a broker sends at least one batch.
PARTITION_BYTES = 65_536
COORDINATOR_TRIES, COORDINATOR_SECONDS = 5, 0.5
LEADER_SECONDS = 0.2


@dataclass(frozen=True, slots=True, kw_only=True)
class Member:
    """A member of the group. `partitions` are the topic's partitions that the member holds."""

    client: str
    host: str
    partitions: tuple[int, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class PartitionStanding:
    """
    A group's place in one partition. Times are the producers' timestamps in Unix milliseconds.

    Attributes:
        partition: The partition's number.
        begin: The first offset that is still in the log.
        committed: The group's offset; None before the first commit.
        end: The last stable offset, up to which records may be read.
        high: The end of the log.
        oldest_ms: When the first waiting event was written; None if no event waits, or the time is not known.
        last_ms: When the last committed event was written; None if the event is not in the log any more, or the time is not known.
        open_since_ms: When the first record of the oldest open transaction was written; None if no transaction is open, or the time is
            not known.
        drained: True if the log was read to its end without an event: only markers of transactions follow the commit.
    """

    partition: int
    begin: int
    committed: int | None
    end: int
    high: int = 0
    oldest_ms: int | None = None
    last_ms: int | None = None
    open_since_ms: int | None = None
    drained: bool = False

    @property
    def next(self) -> int:
        """The first offset that a worker would read now: a group without a commit begins at the first event."""
        return max(self.begin, self.committed or 0)

    @property
    def waiting(self) -> int:
        """
        The number of events between the commit and the end, markers of transactions included.

        >>> PartitionStanding(partition=0, begin=3, committed=None, end=10).waiting
        7
        >>> PartitionStanding(partition=0, begin=0, committed=9, end=10, drained=True).waiting
        0
        """
        return 0 if self.drained else max(0, self.end - self.next)

    @property
    def behind(self) -> int:
        """The number of events behind an open transaction, which no consumer of committed records may read; markers included."""
        return max(0, self.high - self.end)


@dataclass(frozen=True, slots=True, kw_only=True)
class GroupStanding:
    """A group and its topic. `state` is the coordinator's word: Stable, Empty, PreparingRebalance and so on."""

    group: str
    topic: str
    state: str
    members: tuple[Member, ...]
    places: tuple[PartitionStanding, ...]

    @property
    def waiting(self) -> int:
        """The number of events that wait in all partitions."""
        return sum(place.waiting for place in self.places)

    @property
    def has_committed(self) -> bool:
        """True if the group has an offset in any partition."""
        return any(place.committed is not None for place in self.places)

    @property
    def held(self) -> int:
        """The number of the topic's partitions that a member holds."""
        return len({number for member in self.members for number in member.partitions})

    @property
    def deserted(self) -> bool:
        """True if the group has no member, or is stable and no member holds a partition."""
        return not self.members or (self.state == "Stable" and not self.held)

    def oldest_ms(self, now_ms: float) -> int | None:
        """When the oldest waiting event was written, Unix milliseconds; None if no plausible timestamp is known."""
        return min(_known((place.oldest_ms for place in self.places), now_ms), default=None)

    def last_ms(self, now_ms: float) -> int | None:
        """When the newest committed event was written, Unix milliseconds; None if no plausible timestamp is known."""
        return max(_known((place.last_ms for place in self.places), now_ms), default=None)


def without_a_commit(before: GroupStanding, after: GroupStanding, written_before_ms: float) -> tuple[Member, ...]:
    """
    The members that held the same partitions at both looks and committed in none of them, though old events wait there.

    Kafka counts a dead member until its session ends. A worker that catches up also has old events, but it commits.

    Args:
        before: The first look.
        after: A later look.
        written_before_ms: Events that were written before this moment (Unix milliseconds) are old.
    """
    committed = {place.partition: place.committed for place in before.places}
    places = {place.partition: place for place in after.places}

    def stands_still(member: Member) -> bool:
        held = [places[number] for number in member.partitions if number in places]
        old = any(
            place.waiting and moment < written_before_ms for place in held for moment in _known([place.oldest_ms], math.inf)
        )
        return old and all(place.committed == committed.get(place.partition) for place in held)

    return tuple(member for member in after.members if member in before.members and stands_still(member))


def _known(moments: Iterable[int | None], now_ms: float) -> list[int]:
    return [moment for moment in moments if moment is not None and can_be_true(moment, now_ms)]


def look(settings: Settings) -> GroupStanding:
    """
    The place of the settings' group in the topic `content`, which must exist.

    Kafka does not tell the time of a commit, so the last committed event is read instead.

    Raises:
        BrokerUnreachableError: No broker answered, or one refused us.
        NotAuthorizedError: The user may not DESCRIBE the group, or not READ the topic.
    """
    topic = settings.topics.content
    state, members, committed = _group(settings, topic)
    try:
        with (
            consumer(settings, partition_bytes=PARTITION_BYTES) as client,
            consumer(settings, partition_bytes=PARTITION_BYTES, isolation_level="read_uncommitted") as uncommitted,
            translated(settings),
        ):
            highs = Log(uncommitted, settings, topic).ends()
            places = _places(Log(client, settings, topic), committed, highs)
            _read(client, topic, places)
            _read_behind(uncommitted, topic, places)
    except TopicAuthorizationFailedError as error:
        right = Right(resource=Resource.TOPIC, name=topic, operations=(Operation.READ,))
        raise NotAuthorizedError(missing(settings, right, ())) from error
    return GroupStanding(group=settings.group, topic=topic, state=state, members=members, places=tuple(places.values()))


def decided_without_a_commit(settings: Settings, topics_of_events: Sequence[str] = ()) -> int:
    """
    The number of outcomes on `tagged`, `review` and the dead letters' topic, if the group has no commit on a topic of events.

    It is 0 if the group has a commit, or if there are neither events nor answers on their topics, as beside an application that decides by
    a model of its own. Otherwise another group made the outcomes, or this group was deleted, or Kafka has forgotten its offsets because it
    was empty for too long.

    Args:
        settings: Brokers, group and topics.
        topics_of_events: All topics of events that the group reads; by default the settings' topics.

    Raises:
        BrokerUnreachableError: No broker answered, or one refused us.
        NotAuthorizedError: The user may not DESCRIBE the group.
    """
    topics, of_events = settings.topics, topics_of_events or settings.content_topics
    if any(_group(settings, topic)[2] for topic in of_events):
        return 0
    # Requested by an admin client: a consumer's request may create a topic, and first waits in vain for the topic's leaders.
    read = {*of_events, topics.reviewed}
    there = describe(settings, [topics.tagged, topics.review, topics.dlq, *read])
    asked = [TopicPartition(topic, number) for topic, found in there.items() for number in range(found.partitions or 0)]
    found = Counter[bool]()
    for at, length in _lengths(settings, asked).items():
        found[at.topic in read] += length
    return found[False] if found[True] else 0


def _lengths(settings: Settings, partitions: Sequence[TopicPartition]) -> dict[TopicPartition, int]:
    """The number of offsets in each partition's log. Waits up to `startup_timeout_seconds` for a partition without a leader."""
    until = time.monotonic() + settings.startup_timeout_seconds
    while True:
        # A new client for each try: a client knows only the brokers that were up when it was made.
        with admin(settings) as client:
            try:
                begins, ends = (
                    client.list_partition_offsets(dict.fromkeys(partitions, spec), isolation_level="read_committed")
                    for spec in (OffsetSpec.EARLIEST, OffsetSpec.LATEST)
                )
                return {at: ends[at].offset - begins[at].offset for at in partitions}
            # UnknownBrokerIdError: the leader is down, or the partition has no leader (-1).
            except (RetriableError, UnknownBrokerIdError):
                if time.monotonic() > until:
                    raise
        time.sleep(LEADER_SECONDS)


def _group(settings: Settings, topic: str) -> tuple[str, tuple[Member, ...], Mapping[int, int]]:
    """State and members of the group, and its offsets by partition."""
    until, tries_left = time.monotonic() + settings.startup_timeout_seconds, COORDINATOR_TRIES
    with admin(settings) as client:
        while True:
            tries_left -= 1
            try:
                found = client.list_group_offsets([settings.group])[settings.group]
                described = client.describe_groups([settings.group])[settings.group]
                break
            except GroupAuthorizationFailedError as error:
                right = Right(resource=Resource.GROUP, name=settings.group, operations=(Operation.DESCRIBE,))
                raise NotAuthorizedError(missing(settings, right, ())) from error
            except CoordinatorNotAvailableError:
                if tries_left <= 0:
                    # A cluster makes its offsets topic for its first group: until then no group has members or offsets.
                    return "Dead", (), {}
            except (CoordinatorLoadInProgressError, NotCoordinatorError):
                # The coordinator is being found, which takes time on a new or busy broker.
                if tries_left <= 0 and time.monotonic() > until:
                    raise
            time.sleep(COORDINATOR_SECONDS)
    members = tuple(_member(one, topic) for one in described["members"])
    offsets = {at.partition: one.offset for at, one in found.items() if at.topic == topic and one.offset >= 0}
    return described["group_state"], members, offsets


def _member(found: Mapping[str, Any], topic: str) -> Member:
    assignment = found["member_assignment"]
    shared = assignment["assigned_partitions"] if isinstance(assignment, dict) else ()
    held = sorted(number for one in shared if one["topic"] == topic for number in one["partitions"])
    return Member(client=found["client_id"], host=found["client_host"].removeprefix("/"), partitions=tuple(held))


def _places(log: Log, committed: Mapping[int, int], highs: Mapping[int, int]) -> dict[int, PartitionStanding]:
    begins = log.starts()
    return {
        number: PartitionStanding(
            partition=number,
            begin=begins[number],
            committed=committed.get(number),
            end=end,
            # The high watermark was read before the ends, so it may lie before an end.
            high=max(end, highs.get(number, 0)),
        )
        for number, end in sorted(log.ends().items())
    }


def _read(client: KafkaConsumer, topic: str, places: dict[int, PartitionStanding]) -> None:
    """Read around each commit, and put the times of the events before and after it into `places`."""
    unread = {TopicPartition(topic, number) for number, place in places.items() if place.begin < place.end}
    client.assign(sorted(unread))
    for at in unread:
        place = places[at.partition]
        client.seek(at, max(place.begin, min(place.next, place.end) - BEFORE_COMMIT))
    deadline = time.monotonic() + READ_SECONDS
    while unread and time.monotonic() < deadline:
        for at, records in client.poll(timeout_ms=POLL_MS).items():
            for record in records:
                places[at.partition] = _with(places[at.partition], record.offset, record.timestamp)
        for at in sorted(unread):
            place, position = places[at.partition], client.position(at, timeout_ms=POLL_MS)
            at_end = position is not None and position >= place.end
            if at_end or place.oldest_ms is not None:
                places[at.partition] = replace(place, drained=at_end and place.oldest_ms is None)
                unread.discard(at)
                client.pause(at)


def _read_behind(client: KafkaConsumer, topic: str, places: dict[int, PartitionStanding]) -> None:
    """Read the first record of each oldest open transaction, at the last stable offset, and put its time into `places`."""
    unread = {TopicPartition(topic, number) for number, place in places.items() if place.behind}
    client.assign(sorted(unread))
    for at in unread:
        client.seek(at, places[at.partition].end)
    deadline = time.monotonic() + READ_SECONDS
    while unread and time.monotonic() < deadline:
        for at, records in client.poll(timeout_ms=POLL_MS).items():
            places[at.partition] = replace(places[at.partition], open_since_ms=records[0].timestamp)
            unread.discard(at)
            client.pause(at)


def _with(place: PartitionStanding, offset: int, written_ms: int) -> PartitionStanding:
    """`place` with the time of a record that was read. Records come in the order of offsets."""
    if offset < place.next:
        return replace(place, last_ms=written_ms)
    if place.oldest_ms is None and offset < place.end:
        return replace(place, oldest_ms=written_ms)
    return place

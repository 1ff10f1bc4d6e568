"""Asks the brokers where a group stands; joins no group and commits nothing. kafka-python."""

import time
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from kafka import KafkaConsumer, TopicPartition
from kafka.errors import (
    CoordinatorLoadInProgressError,
    CoordinatorNotAvailableError,
    GroupAuthorizationFailedError,
    NotCoordinatorError,
    TopicAuthorizationFailedError,
)

from stream.kafka.admin import admin, describe
from stream.kafka.errors import NotAuthorizedError, translated
from stream.kafka.group.standing import Member, Place, Standing
from stream.kafka.reading.reader import consumer
from stream.kafka.rights import Operation, Resource, Right, missing
from stream.settings.settings import Settings

POLL_MS = 200
# A partition whose records do not come within this time has no known times.
READ_SECONDS = 5.0
# So many offsets before the commit are read, for the last committed event: markers of transactions are among them.
BEFORE_COMMIT = 10
# Enough for a few events of each partition: a broker sends at least one batch.
PARTITION_BYTES = 65_536
COORDINATOR_TRIES, COORDINATOR_SECONDS = 5, 0.5


def look(settings: Settings) -> Standing:
    """
    Where the settings' group stands in the topic `content`, which must exist.

    Kafka keeps the time of a commit to itself, so the last committed event is read instead.

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
            highs = _ends(uncommitted, topic, settings)
            places = _places(client, topic, committed, settings, highs)
            _read(client, topic, places)
            _read_behind(uncommitted, topic, places)
    except TopicAuthorizationFailedError as error:
        right = Right(resource=Resource.TOPIC, name=topic, operations=(Operation.READ,))
        raise NotAuthorizedError(missing(settings, right, ())) from error
    return Standing(group=settings.group, topic=topic, state=state, members=members, places=tuple(places.values()))


def decided_without_a_commit(settings: Settings) -> int:
    """
    The number of outcomes on `tagged`, `review` and the dead letters' topic, though the group has never committed on `content`.

    0 if it has. Another group made them, or this one was deleted, or was empty for so long that Kafka has forgotten its offsets.

    Raises:
        BrokerUnreachableError: No broker answered, or one refused us.
        NotAuthorizedError: The user may not DESCRIBE the group.
    """
    topics = settings.topics
    _, _, committed = _group(settings, topics.content)
    if committed:
        return 0
    timeout_ms = int(settings.startup_timeout_seconds * 1000)
    # Asked of the administrators' protocol: a consumer that asks for a topic may make it.
    there = describe(settings, [topics.tagged, topics.review, topics.dlq])
    asked = [TopicPartition(topic, number) for topic, found in there.items() for number in range(found.partitions or 0)]
    with consumer(settings) as client, translated(settings):
        begins = client.beginning_offsets(asked, timeout_ms=timeout_ms)
        ends = client.end_offsets(asked, timeout_ms=timeout_ms)
    return sum(ends[at] - begins[at] for at in asked)


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
                # The coordinator is being found: a broker that is new, or a busy one, takes its time.
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


def _ends(client: KafkaConsumer, topic: str, settings: Settings) -> dict[int, int]:
    """The end of each partition that this client may read."""
    asked = [TopicPartition(topic, number) for number in client.partitions_for_topic(topic) or ()]
    ends = client.end_offsets(asked, timeout_ms=int(settings.startup_timeout_seconds * 1000))
    return {at.partition: end for at, end in ends.items()}


def _places(
    client: KafkaConsumer, topic: str, committed: Mapping[int, int], settings: Settings, highs: Mapping[int, int]
) -> dict[int, Place]:
    timeout_ms = int(settings.startup_timeout_seconds * 1000)
    asked = [TopicPartition(topic, number) for number in sorted(client.partitions_for_topic(topic) or ())]
    begins = client.beginning_offsets(asked, timeout_ms=timeout_ms)
    ends = client.end_offsets(asked, timeout_ms=timeout_ms)
    return {
        at.partition: Place(
            partition=at.partition,
            begin=begins[at],
            committed=committed.get(at.partition),
            end=ends[at],
            # Asked for before the ends, so it may lie before one.
            high=max(ends[at], highs.get(at.partition, 0)),
        )
        for at in asked
    }


def _read(client: KafkaConsumer, topic: str, places: dict[int, Place]) -> None:
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


def _read_behind(client: KafkaConsumer, topic: str, places: dict[int, Place]) -> None:
    """Read the first record behind each last stable offset, which began the oldest open transaction, and put its time into `places`."""
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


def _with(place: Place, offset: int, written_ms: int) -> Place:
    """The partition after one of its records was read, in the order of offsets."""
    if offset < place.next:
        return replace(place, last_ms=written_ms)
    if place.oldest_ms is None and offset < place.end:
        return replace(place, oldest_ms=written_ms)
    return place

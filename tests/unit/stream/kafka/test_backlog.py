"""What lies in several partitions comes by its time, whatever a fetch brings first, and nobody waits for a silent one for ever."""

from collections.abc import Iterator, Sequence
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from kafka import TopicPartition
from kafka.errors import KafkaTimeoutError

from stream.contract.record import Record
from stream.kafka import clients
from stream.kafka.backlog import Backlog
from tests.fakes import Clock


def record(partition: int, offset: int, timestamp_ms: int) -> Record:
    """One that lies there."""
    return Record(topic="t", key=None, value=b"", partition=partition, offset=offset, timestamp_ms=timestamp_ms)


@given(st.lists(st.lists(st.integers(0, 50), max_size=20), min_size=1, max_size=4), st.integers(1, 7))
def test_all_come_by_time_and_each_partition_in_its_order(times: Sequence[Sequence[int]], share: int) -> None:
    """Where times grow within a partition; of no partition more is held than one fetch brought."""
    lying = [[record(number, at, time) for at, time in enumerate(sorted(of))] for number, of in enumerate(times)]
    backlog: Backlog[Record] = Backlog(("t", number) for number in range(len(times)))
    came: list[Record] = []
    read = 0
    while not backlog.over:
        for topic, number in backlog.wanting:
            brought, lying[number] = lying[number][:share], lying[number][share:]
            read += len(brought)
            backlog.add(brought) if brought else backlog.end((topic, number))
        assert read - len(came) <= share * len(times)
        came += backlog.take()
    assert len(came) == sum(map(len, times))
    assert came == sorted(came, key=lambda one: (one.timestamp_ms, one.partition, one.offset))


@given(st.lists(st.integers(0, 9), max_size=20))
def test_a_partition_keeps_its_order_whatever_its_times_say(times: Sequence[int]) -> None:
    """A producer's clock is its own."""
    backlog: Backlog[Record] = Backlog([("t", 0), ("t", 1)])
    backlog.add(record(0, offset, time) for offset, time in enumerate(times))
    backlog.add([record(1, 0, 5)])
    for number in (0, 1):
        backlog.end(("t", number))
    came = backlog.take()
    assert [one.offset for one in came if one.partition == 0] == list(range(len(times)))
    assert len(came) == len(times) + 1


class Consumer:
    """Of kafka-python's what is used here; a fetch brings one partition's records, and one partition is silent."""

    def __init__(self, clock: Clock, lying: dict[int, list[int]], silent: int | None = None) -> None:
        """`lying`: the times in each partition; a poll that brings nothing takes its time."""
        self.clock, self.lying, self.silent = clock, lying, silent
        self.at: dict[TopicPartition, int] = {}

    def beginning_offsets(self, partitions: Sequence[TopicPartition], *, timeout_ms: int) -> dict[TopicPartition, int]:
        """Where they begin."""
        if self.silent == -1:
            raise KafkaTimeoutError(timeout_ms)
        return dict.fromkeys(partitions, 0)

    def end_offsets(self, partitions: Sequence[TopicPartition], **_: int) -> dict[TopicPartition, int]:
        """Where they end."""
        return {one: len(self.lying[one.partition]) for one in partitions}

    def assignment(self) -> set[TopicPartition]:
        """Those that are asked."""
        return set(self.at)

    def assign(self, partitions: Sequence[TopicPartition]) -> None:
        """Ask these and no others; where a new one begins is not known."""
        self.at = {one: self.at.get(one, -1) for one in partitions}

    def seek(self, partition: TopicPartition, offset: int) -> None:
        """Go on from there."""
        self.at[partition] = offset

    def position(self, partition: TopicPartition, **_: int) -> int | None:
        """None where nobody answers."""
        return None if partition.partition == self.silent else self.at[partition]

    def poll(self, *, timeout_ms: int, max_records: int) -> dict[Any, list[Any]]:
        """The first that has something."""
        for partition, first in self.at.items():
            number = partition.partition
            found = self.lying[number][first : first + max_records]
            if found and number != self.silent:
                self.at[partition] += len(found)
                new = [
                    SimpleNamespace(
                        topic="t", partition=number, offset=first + at, timestamp=time, key=None, value=b"", headers=()
                    )
                    for at, time in enumerate(found)
                ]
                return {partition: new}
        self.clock.now += timeout_ms / 1000
        return {}


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    """The reader's."""
    found = Clock()
    monkeypatch.setattr("stream.kafka.clients.time.monotonic", found)
    return found


def backlog_of(consumer: Consumer) -> Iterator[list[Record]]:
    """What is read of all its partitions."""
    return clients._backlog(consumer, [TopicPartition("t", number) for number in consumer.lying])


def test_the_first_thousand_are_of_all_partitions(clock: Clock) -> None:
    """Though a fetch brings them one partition after the other; afterwards all are asked again, from where they are."""
    consumer = Consumer(clock, {number: list(range(number, 18_000, 6)) for number in range(6)})
    came = [one for batch in backlog_of(consumer) for one in batch]
    assert [one.timestamp_ms for one in came] == list(range(18_000))
    assert {one.partition for one in came[:1000]} == set(range(6))
    assert set(consumer.at.values()) == {3000}
    assert len(consumer.at) == 6


def test_a_partition_that_brings_nothing_does_not_keep_the_others(clock: Clock) -> None:
    """After a while they come without it; nobody is told meanwhile that nothing came."""
    began = clock.now
    consumer = Consumer(clock, {0: [1, 2], 1: [3], 2: [2]}, silent=1)
    batches = list(backlog_of(consumer))
    assert [one.timestamp_ms for batch in batches for one in batch] == [1, 2, 2]
    assert all(batches)
    assert clock.now - began < clients.PATIENCE_SECONDS + 1
    assert [consumer.at[one] for one in sorted(consumer.at)] == [2, 0, 1]


def test_where_nobody_says_where_a_partition_ends_the_order_is_given_up(clock: Clock) -> None:
    """The rest reads as it comes."""
    assert list(backlog_of(Consumer(clock, {0: [1]}, silent=-1))) == []

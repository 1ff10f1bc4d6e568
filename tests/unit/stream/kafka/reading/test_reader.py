"""Reading topics by time over all partitions, and to an end, without waiting for a silent partition for ever."""

from collections.abc import Iterator, Sequence
from types import SimpleNamespace
from typing import Any

import pytest
from kafka import TopicPartition
from kafka.errors import KafkaTimeoutError

from tagstream.stream.contract.event import Record
from tagstream.stream.kafka.errors import BrokerSilentError
from tagstream.stream.kafka.reading.log import Log
from tagstream.stream.kafka.reading.reader import Reader
from tagstream.stream.kafka.reading.tail import NO_PROGRESS_SECONDS, backlog_by_time
from tagstream.stream.settings.settings import Settings
from tests.fakes import Clock

BOUND = Settings(startup_timeout_seconds=30)


class Consumer:
    """The part of kafka-python's consumer that is used: a poll brings one partition's records; one partition may be silent."""

    def __init__(self, clock: Clock, times: dict[int, list[int]], silent: int | None = None) -> None:
        """`times` of the records of each partition; an empty poll takes its whole timeout."""
        self.clock, self.times, self.silent = clock, times, silent
        self.at: dict[TopicPartition, int] = {}

    def beginning_offsets(self, partitions: Sequence[TopicPartition], *, timeout_ms: int) -> dict[TopicPartition, int]:
        """All begin at 0; partition -1 stands for brokers that do not answer."""
        if self.silent == -1:
            raise KafkaTimeoutError(timeout_ms)
        return dict.fromkeys(partitions, 0)

    def end_offsets(self, partitions: Sequence[TopicPartition], **_: int) -> dict[TopicPartition, int]:
        """One behind the last record."""
        return {one: len(self.times[one.partition]) for one in partitions}

    def partitions_for_topic(self, topic: str) -> set[int]:
        """Of the one topic."""
        assert topic == "t"
        return set(self.times)

    def assign(self, partitions: Sequence[TopicPartition]) -> None:
        """Poll these; the position of a new one is unknown."""
        self.at = {one: self.at.get(one, -1) for one in partitions}

    def seek(self, partition: TopicPartition, offset: int) -> None:
        """Continue at this offset."""
        self.at[partition] = offset

    def position(self, partition: TopicPartition, **_: int) -> int | None:
        """None if the partition is silent."""
        return None if partition.partition == self.silent else self.at[partition]

    def poll(self, *, timeout_ms: int, max_records: int) -> dict[Any, list[Any]]:
        """The records of the first partition that has some."""
        for partition, first in self.at.items():
            number = partition.partition
            found = self.times[number][first : first + max_records]
            if found and number != self.silent:
                self.at[partition] += len(found)
                new = [
                    SimpleNamespace(
                        topic="t", partition=number, offset=first + at, timestamp=moment, key=None, value=b"", headers=()
                    )
                    for at, moment in enumerate(found)
                ]
                return {partition: new}
        self.clock.now += timeout_ms / 1000
        return {}


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    """The clock of the reader."""
    found = Clock()
    monkeypatch.setattr("tagstream.stream.kafka.reading.reader.time.monotonic", found)
    return found


def records_of(reader: Reader) -> Iterator[list[Record]]:
    """All batches of all its partitions, none of them empty."""
    for batch in backlog_by_time(reader):
        assert batch
        yield batch


def test_the_first_thousand_records_come_from_all_partitions(clock: Clock) -> None:
    """A fetch brings one partition after the other; records come by time all the same, and all partitions are polled afterwards."""
    consumer = Consumer(clock, {number: list(range(number, 18_000, 6)) for number in range(6)})
    reader = Reader(consumer, BOUND, ["t"])
    came = [one for batch in records_of(reader) for one in batch]
    assert [one.timestamp_ms for one in came] == list(range(18_000))
    assert {one.partition for one in came[:1000]} == set(range(6))
    assert reader.poll() == []
    assert consumer.at == {TopicPartition("t", number): 3000 for number in range(6)}


def test_a_silent_partition_does_not_hold_up_the_others(clock: Clock) -> None:
    """After `NO_PROGRESS_SECONDS` the others come without it, and no empty batch is given meanwhile."""
    began = clock.now
    reader = Reader(Consumer(clock, {0: [1, 2], 1: [3], 2: [2]}, silent=1), BOUND, ["t"])
    assert [one.timestamp_ms for batch in records_of(reader) for one in batch] == [1, 2, 2]
    assert clock.now - began < NO_PROGRESS_SECONDS + 1
    assert reader.positions == {("t", 0): 2, ("t", 1): 0, ("t", 2): 1}


def test_without_end_offsets_the_order_is_given_up(clock: Clock) -> None:
    """No backlog is given: the caller reads the records as they come, from the oldest on."""
    reader = Reader(Consumer(clock, {0: [5, 1]}, silent=-1), BOUND, ["t"])
    assert list(records_of(reader)) == []
    assert [one.timestamp_ms for one in reader.poll()] == [5, 1]
    assert reader.moved == {("t", 0): 2}


def test_a_log_ends_before_the_offset_that_was_given(clock: Clock) -> None:
    """One poll brings more than was asked for; a partition without a first offset is not read."""
    log = Log(Consumer(clock, {0: list(range(9)), 1: [3], 2: [4]}), BOUND, "t")
    assert [(one.partition, one.offset) for one in log.read({0: 2, 2: 0}, {0: 4, 1: 1, 2: 1})] == [(0, 2), (0, 3), (2, 0)]
    assert [(one.partition, one.offset) for one in log.read()] == [*((0, at) for at in range(9)), (1, 0), (2, 0)]


def test_a_log_whose_records_do_not_come_is_an_error(clock: Clock) -> None:
    """After `startup_timeout_seconds` without progress: what was read before is given, and the error says where it stands."""
    read, began = Log(Consumer(clock, {0: [1], 1: [3]}, silent=1), BOUND, "t").read(), clock.now
    assert next(read).partition == 0
    with pytest.raises(BrokerSilentError, match="t 1 stands at 0 of 1"):
        next(read)
    assert 30 <= clock.now - began < 31

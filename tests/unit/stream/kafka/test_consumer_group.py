"""Reading around the commits of a group: events before and after, markers of transactions, and brokers that do not send."""

from types import SimpleNamespace
from typing import Any

import pytest
from kafka import TopicPartition

from tagstream.stream.kafka import consumer_group
from tagstream.stream.kafka.consumer_group import PartitionStanding
from tests.fakes import Clock

MARKER = None


class Consumer:
    """The part of kafka-python's consumer that is used: one partition whose log is a list of times, `MARKER` where no record is."""

    def __init__(self, clock: Clock, log: list[int | None], *, silent: bool = False) -> None:
        """A poll brings two offsets and takes a second; a silent one brings nothing."""
        self.clock, self.log, self.silent = clock, log, silent
        self.at = -1
        self.paused = False

    def assign(self, partitions: list[TopicPartition]) -> None:
        """There is one."""
        self.partition = partitions[0] if partitions else None

    def seek(self, _: TopicPartition, offset: int) -> None:
        """Go on at this offset."""
        self.at = offset

    def position(self, _: TopicPartition, *, timeout_ms: int) -> int | None:
        """None while the broker is silent."""
        return None if self.silent or not timeout_ms else self.at

    def pause(self, _: TopicPartition) -> None:
        """It is not polled any more."""
        self.paused = True

    def poll(self, *, timeout_ms: int) -> dict[Any, list[Any]]:
        """The records among the next two offsets."""
        self.clock.now += max(1, timeout_ms // 1000)
        assert not self.paused
        if self.silent:
            return {}
        first, self.at = self.at, min(self.at + 2, len(self.log))
        return {
            self.partition: [
                SimpleNamespace(offset=offset, timestamp=self.log[offset])
                for offset in range(first, self.at)
                if self.log[offset] is not MARKER
            ]
        }


def read(
    monkeypatch: pytest.MonkeyPatch, log: list[int | None], *, committed: int | None, silent: bool = False
) -> PartitionStanding:
    """The partition 0 after its log was read."""
    clock = Clock()
    monkeypatch.setattr(consumer_group, "time", SimpleNamespace(monotonic=clock))
    places = {0: PartitionStanding(partition=0, begin=0, committed=committed, end=len(log))}
    consumer_group._read(Consumer(clock, log, silent=silent), "content", places)  # type: ignore[arg-type]
    return places[0]


def test_the_events_before_and_after_the_commit_are_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """The last committed one and the first that waits, whatever lies around them."""
    found = read(monkeypatch, [10, 11, 12, MARKER, 14, 15, 16], committed=4)
    assert (found.last_ms, found.oldest_ms, found.waiting) == (12, 14, 3)


def test_markers_of_transactions_are_no_events_that_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    """A worker is done though its commit lies before the end: only markers follow."""
    found = read(monkeypatch, [10, 11, 12, MARKER, MARKER], committed=3)
    assert (found.last_ms, found.oldest_ms, found.waiting) == (12, None, 0)


def test_a_group_without_a_commit_begins_at_the_first_event(monkeypatch: pytest.MonkeyPatch) -> None:
    """All events wait, and none was committed."""
    found = read(monkeypatch, [10, 11, 12], committed=None)
    assert (found.last_ms, found.oldest_ms, found.waiting) == (None, 10, 3)


def test_a_broker_that_sends_no_record_leaves_the_times_open(monkeypatch: pytest.MonkeyPatch) -> None:
    """The lag is known by the offsets alone, and the look ends."""
    found = read(monkeypatch, [10, 11, 12], committed=1, silent=True)
    assert (found.last_ms, found.oldest_ms, found.waiting) == (None, None, 2)


def test_a_log_that_ends_before_the_commit_has_no_event_that_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    """A topic that was made anew: the look ends, and the lag is not negative."""
    found = read(monkeypatch, [10, 11], committed=50)
    assert (found.oldest_ms, found.waiting) == (None, 0)

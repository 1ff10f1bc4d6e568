"""Records of several partitions come out in the order of time, and each partition keeps its own order."""

from collections.abc import Sequence

from hypothesis import given
from hypothesis import strategies as st

from tagstream.stream.contract.event import Record
from tagstream.stream.kafka.reading.tail import Backlog


def record(partition: int, offset: int, timestamp_ms: int) -> Record:
    """A record at this place."""
    return Record(topic="t", key=None, value=b"", partition=partition, offset=offset, timestamp_ms=timestamp_ms)


@given(st.lists(st.lists(st.integers(0, 50), max_size=20), min_size=1, max_size=4), st.integers(1, 7))
def test_records_are_taken_by_time_and_partitions_keep_their_order(times: Sequence[Sequence[int]], share: int) -> None:
    """With times that grow within each partition, all records are sorted, and at most one fetch of each partition is held."""
    left = [[record(number, at, time) for at, time in enumerate(sorted(of))] for number, of in enumerate(times)]
    backlog = Backlog(("t", number) for number in range(len(times)))
    taken: list[Record] = []
    read = 0
    while not backlog.finished:
        for topic, number in backlog.awaited:
            brought, left[number] = left[number][:share], left[number][share:]
            read += len(brought)
            backlog.add(brought) if brought else backlog.end((topic, number))
        assert read - len(taken) <= share * len(times)
        taken += backlog.take()
    assert len(taken) == sum(map(len, times))
    assert taken == sorted(taken, key=lambda one: (one.timestamp_ms, one.partition, one.offset))


@given(st.lists(st.integers(0, 9), max_size=20))
def test_a_partition_keeps_its_order_whatever_its_times_say(times: Sequence[int]) -> None:
    """A producer's clock may go backwards: its records are not reordered."""
    backlog = Backlog([("t", 0), ("t", 1)])
    backlog.add(record(0, offset, time) for offset, time in enumerate(times))
    backlog.add([record(1, 0, 5)])
    for number in (0, 1):
        backlog.end(("t", number))
    taken = backlog.take()
    assert [one.offset for one in taken if one.partition == 0] == list(range(len(times)))
    assert len(taken) == len(times) + 1

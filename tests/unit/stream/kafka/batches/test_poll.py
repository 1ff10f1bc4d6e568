"""A poll takes a bounded part of the fetched records, in order, and the next polls take the rest."""

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tagstream.stream.contract.event import memory_bytes
from tagstream.stream.kafka.batches import poll
from tagstream.stream.kafka.batches.poll import POLL_BYTES, POLL_SECONDS, BoundedFetchResult, polling
from tests.fakes import Clock

KIB = 1024
# Sizes of records in KiB, up to more than a whole poll.
SIZES = st.lists(st.sampled_from([0, 1, 100, 700, 1_500, 5_000]), max_size=30)


class Assignment:
    """Stands in for aiokafka's notes on one partition: active, not paused, and at the position of the reader."""

    active = True
    paused = False

    def __init__(self) -> None:
        """Begin at the first record."""
        self.position = 0

    def state_value(self, _: object) -> "Assignment":
        """The notes."""
        return self

    def consumed_to(self, position: int) -> None:
        """Move."""
        self.position = position


class Fetched:
    """Stands in for aiokafka's `PartitionRecords`: an iterator that knows the position of its next record."""

    def __init__(self, records: Sequence[Any]) -> None:
        """Begin before the first."""
        self._records = iter(records)
        self.next_fetch_offset = 0

    def __iter__(self) -> Iterator[Any]:
        return self

    def __next__(self) -> Any:
        record = next(self._records)
        self.next_fetch_offset = record.offset + 1
        return record


def fetched(sizes: Sequence[int], each: Callable[[], None] = lambda: None) -> BoundedFetchResult:
    """The records of one partition with values of so many KiB; `each` is called as each is read."""

    def read() -> Iterator[Any]:
        for offset, size in enumerate(sizes):
            each()
            yield SimpleNamespace(offset=offset, key=None, value=bytes(size * KIB), headers=())

    return BoundedFetchResult("content-0", assignment=Assignment(), partition_records=Fetched(read()), backoff=0)  # type: ignore[arg-type]


def size_of(records: Sequence[Any]) -> int:
    """The bytes of records."""
    return sum(memory_bytes(one.key, one.value, one.headers) for one in records)


@pytest.fixture(autouse=True)
def _without_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let no time pass."""
    monkeypatch.setattr(poll.time, "monotonic", Clock())


@given(partitions=st.lists(SIZES, min_size=1, max_size=5), most=st.integers(1, 40))
def test_polls_take_all_records_once_in_order_and_each_no_more_than_one_record_too_many(
    partitions: list[list[int]], most: int
) -> None:
    """For any sizes: a poll of all partitions, without its last record, has fewer bytes than the bound, and records are never lost."""
    waiting = {number: fetched(sizes) for number, sizes in enumerate(partitions)}
    taken: dict[int, list[int]] = {number: [] for number in waiting}
    while waiting:
        together: list[Any] = []
        before = len(waiting)
        with polling():
            for number, result in list(waiting.items()):
                records = result.getall(most)
                assert len(records) <= most
                together += records
                taken[number] += [one.offset for one in records]
                if not result.has_more():
                    del waiting[number]
        assert size_of(together[:-1]) < POLL_BYTES
        assert together or len(waiting) < before
    assert taken == {number: list(range(len(sizes))) for number, sizes in enumerate(partitions)}


def test_a_call_outside_of_a_poll_is_bounded_by_itself() -> None:
    """Consumers other than the worker's do not begin polls; each of their calls takes a poll's bytes."""
    result = fetched([1_500] * 7)
    assert [len(result.getall()) for _ in range(3)] == [3, 3, 1]


def test_a_poll_ends_with_the_record_at_which_its_time_is_over(monkeypatch: pytest.MonkeyPatch) -> None:
    """Records that take long to inflate share one bound over all partitions, which begins with the first of them."""
    clock = Clock()
    monkeypatch.setattr(poll.time, "monotonic", clock)

    def slowly() -> None:
        clock.now += 0.4 * POLL_SECONDS

    first, second = fetched([1] * 5, slowly), fetched([1] * 5, slowly)
    with polling():
        clock.now += 100
        assert len(first.getall()) == 3
        assert second.getall() == []
        assert second.has_more()
    with polling():
        assert [one.offset for one in second.getall()] == [0, 1, 2]


def test_a_poll_that_is_over_is_over_for_its_own_task_alone() -> None:
    """The reader of another topic in this process, in a thread or a task of its own, takes its records during the poll and after it."""
    spent = fetched([5_000] * 2)
    with polling(), ThreadPoolExecutor(1) as beside:
        assert len(spent.getall()) == 1
        assert spent.getall() == []
        assert len(beside.submit(fetched([1] * 3).getall).result()) == 3
    assert len(fetched([1] * 3).getall()) == 3


def test_headers_count() -> None:
    """A million empty headers are 128 MB in memory, and end a poll."""
    record = SimpleNamespace(offset=0, key=None, value=None, headers=[("", None)] * 40_000)
    result = BoundedFetchResult("content-0", assignment=Assignment(), partition_records=Fetched([record] * 2), backoff=0)  # type: ignore[arg-type]
    assert len(result.getall()) == 1

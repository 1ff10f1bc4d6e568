"""Rows of calls are worked on together: each call gets the results of its own rows or an error, whatever the batches were."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, TypeVar

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tagstream.stream.deliver.batch import BATCH_BYTES
from tagstream.stream.gathering import Gathering
from tests.waiting import HANG_SECONDS

BAD = 13
T = TypeVar("T")


class EndError(Exception):
    """Ends all."""


class RefusedError(Exception):
    """Is told to all at the end."""


class PanicError(BaseException):
    """No `Exception`: an extension module may raise such."""


class Work:
    """Ten times each number once it is let go; notes the batches and the most of them at once. `raises` is for a batch with `BAD` in it."""

    def __init__(self, raises: BaseException | None = None) -> None:
        self.batches: list[list[int]] = []
        self.go = asyncio.Event()
        self.at_once = self.most_at_once = 0
        self._raises = raises

    async def __call__(self, batch: Sequence[int]) -> list[int]:
        """The results of a batch."""
        self.batches.append(list(batch))
        self.at_once += 1
        self.most_at_once = max(self.most_at_once, self.at_once)
        try:
            await self.go.wait()
        finally:
            self.at_once -= 1
        if self._raises is not None and BAD in batch:
            raise self._raises
        return [10 * number for number in batch]


def gathering(work: Callable[[Sequence[int]], Awaitable[Sequence[int]]], **parts: Any) -> Gathering[int, int]:
    """One slot for four rows, unless it is said."""
    parts = {"slots": 1, "at_once": 4, "size": lambda _: 1, "fatal": EndError, "refusal": RefusedError, **parts}
    return Gathering(work, **parts)


def run(scenario: Callable[[], Awaitable[T]]) -> T:
    """The result of a scenario, or an error where it hangs."""
    return asyncio.run(asyncio.wait_for(scenario(), HANG_SECONDS))


async def turns() -> None:
    """Let all go on until each of them waits for something."""
    for _ in range(10):
        await asyncio.sleep(0)


async def calls(gathered: Gathering[int, int], *rows: list[int]) -> list[asyncio.Task[list[int]]]:
    """Calls that have begun, one after the other."""
    made = []
    for some in rows:
        made.append(asyncio.create_task(gathered.found(some)))
        await turns()
    return made


def test_what_waits_while_a_batch_is_worked_on_goes_together() -> None:
    """The first call goes alone and at once; those behind it fill batches in order; a call that was cancelled takes no place."""

    async def scenario() -> tuple[list[Any], list[list[int]], list[int]]:
        work, told = Work(), list[int]()
        gathered = gathering(work, changed=told.append)
        made = await calls(gathered, *([number] for number in range(8)))
        assert gathered.waiting == 7
        made[2].cancel()
        work.go.set()
        return await asyncio.gather(*made, return_exceptions=True), work.batches, told

    found, batches, told = run(scenario)
    assert isinstance(found.pop(2), asyncio.CancelledError)
    assert found == [[0], [10], [30], [40], [50], [60], [70]]
    assert batches == [[0], [1, 3, 4, 5], [6, 7]]
    # A row of a cancelled call waits until it is taken.
    assert told == [1, 0, 1, 2, 3, 4, 5, 6, 7, 2, 0]


def test_calls_of_one_turn_of_the_event_loop_go_together() -> None:
    """A thousand requests that are read at once are no batch of one row and others."""

    async def scenario() -> list[list[int]]:
        work = Work()
        work.go.set()
        gathered = gathering(work)
        await asyncio.gather(gathered.found([1]), gathered.found([2, 3]), gathered.found([4, 5, 6]))
        return work.batches

    assert run(scenario) == [[1, 2, 3, 4], [5, 6]]


def test_a_call_that_is_cancelled_while_its_batch_is_worked_on_takes_nothing_from_the_others() -> None:
    """Those of the same batch get their results."""

    async def scenario() -> list[Any]:
        work = Work()
        made = [asyncio.create_task(one) for one in map(gathering(work).found, ([1], [2]))]
        await turns()
        made[0].cancel()
        await turns()
        work.go.set()
        assert work.batches == [[1, 2]]
        return await asyncio.gather(*made, return_exceptions=True)

    cancelled, found = run(scenario)
    assert isinstance(cancelled, asyncio.CancelledError)
    assert found == [20]


def test_no_more_batches_than_slots_are_worked_on_at_once() -> None:
    """And all slots are used."""

    async def scenario() -> int:
        work = Work()
        gathered = gathering(work, slots=2, at_once=1)
        made = await calls(gathered, [1, 2, 3, 4, 5])
        assert (work.batches, gathered.waiting) == ([[1], [2]], 3)
        work.go.set()
        assert await made[0] == [10, 20, 30, 40, 50]
        return work.most_at_once

    assert run(scenario) == 2


def test_a_batch_is_bounded_in_bytes() -> None:
    """It gets no further row once it has enough; a row that is larger than the bound goes all the same."""

    async def scenario() -> list[list[int]]:
        work = Work()
        work.go.set()
        rows = [BATCH_BYTES - 1, 1, 1, 2 * BATCH_BYTES, 1]
        assert await gathering(work, size=lambda row: row).found(rows) == [10 * row for row in rows]
        return work.batches

    assert run(scenario) == [[BATCH_BYTES - 1, 1], [1, 2 * BATCH_BYTES], [1]]


@pytest.mark.parametrize("error", [MemoryError("no more"), PanicError()])
def test_a_failure_that_is_not_fatal_is_the_error_of_the_calls_in_the_batch_alone(error: BaseException) -> None:
    """The next batch is worked on."""

    async def scenario() -> list[Any]:
        work = Work(raises=error)
        gathered = gathering(work, at_once=2)
        made = await calls(gathered, [1, BAD], [2])
        work.go.set()
        found = await asyncio.gather(*made, return_exceptions=True)
        assert gathered.broken is None
        return found

    assert run(scenario) == [error, [20]]


def test_a_batch_with_too_few_results_leaves_no_call_waiting() -> None:
    """Each of its calls gets the error."""

    async def none(_: Sequence[int]) -> list[int]:
        return []

    async def scenario() -> list[Any]:
        gathered = gathering(none)
        return await asyncio.gather(gathered.found([1]), gathered.found([2]), return_exceptions=True)

    assert [type(error) for error in run(scenario)] == [ValueError, ValueError]


def test_a_fatal_failure_is_told_to_all_at_once() -> None:
    """To the calls of its batch, of a batch that is still worked on, of the rows that wait, and to each later one. No batch begins any more."""
    broken = EndError()

    async def scenario() -> list[Any]:
        told = list[int]()

        async def work(batch: Sequence[int]) -> list[int]:
            batches.append(list(batch))
            if batch == [BAD]:
                await fail.wait()
                raise broken
            await asyncio.Event().wait()
            return []

        batches: list[list[int]] = []
        fail = asyncio.Event()
        gathered = gathering(work, slots=2, at_once=1, changed=told.append)
        made = await calls(gathered, [1], [BAD], [2], [3])
        fail.set()
        found = await asyncio.gather(*made, return_exceptions=True)
        found += await asyncio.gather(gathered.found([4]), return_exceptions=True)
        assert gathered.broken is broken
        assert (batches, gathered.waiting, told[-1]) == ([[1], [BAD]], 0, 0)
        return found

    found = run(scenario)
    assert [type(error) for error in found] == [RefusedError] * 5
    # One that several tasks raise would gather the traceback of each.
    assert len({id(error) for error in found}) == 5


def test_the_first_fatal_failure_is_the_one_that_is_kept() -> None:
    """The others follow from it, perhaps."""

    async def scenario() -> None:
        failures = [EndError(), EndError()]

        async def work(_: Sequence[int]) -> list[int]:
            raise failures.pop(0)

        first = failures[0]
        gathered = gathering(work, slots=2, at_once=1)
        await asyncio.gather(gathered.found([1, 2]), return_exceptions=True)
        await turns()
        assert (failures, gathered.broken) == ([], first)

    run(scenario)


def test_those_that_wait_at_the_stop_are_told_so() -> None:
    """What is worked on is given up; nothing is broken."""

    async def scenario() -> list[Any]:
        work = Work()
        gathered = gathering(work, fatal=BaseException)
        made = await calls(gathered, [1], [2])
        gathered.stop(KeyError)
        found = await asyncio.gather(*made, return_exceptions=True)
        found += await asyncio.gather(gathered.found([3]), return_exceptions=True)
        assert (gathered.broken, work.batches, work.at_once) == (None, [[1]], 0)
        return found

    assert [type(error) for error in run(scenario)] == [KeyError] * 3


def test_rows_of_a_call_that_fails_are_not_worked_on() -> None:
    """The other batches of the call that have not begun by then."""

    async def scenario() -> list[list[int]]:
        work = Work(raises=MemoryError())
        gathered = gathering(work, at_once=2)
        made = await calls(gathered, [BAD, 1, 2, 3, 4], [5])
        work.go.set()
        failed, found = await asyncio.gather(*made, return_exceptions=True)
        assert isinstance(failed, MemoryError)
        assert found == [50]
        return work.batches

    assert not any(4 in batch for batch in run(scenario))


def test_a_result_that_is_an_error_is_a_result() -> None:
    """The broker's word on an event may be one."""

    async def words(batch: Sequence[int]) -> list[Exception]:
        return list(errors[: len(batch)])

    errors = [ValueError(), KeyError()]

    async def scenario() -> list[Exception]:
        return await Gathering[int, Exception](
            words, slots=1, at_once=2, size=lambda _: 1, fatal=EndError, refusal=RefusedError
        ).found([1, 2])

    assert run(scenario) == errors


@settings(max_examples=50, deadline=None)
@given(st.lists(st.lists(st.integers(0, 99), max_size=9), max_size=9), st.integers(1, 3), st.integers(1, 5))
def test_every_call_gets_the_results_of_its_own_rows(rows: list[list[int]], slots: int, at_once: int) -> None:
    """However calls fall into batches: in their order, also of a call without rows; no batch is empty or too large."""

    async def scenario() -> list[list[int]]:
        work = Work()
        work.go.set()
        gathered = gathering(work, slots=slots, at_once=at_once)
        found = await asyncio.gather(*map(gathered.found, rows))
        assert all(0 < len(batch) <= at_once for batch in work.batches)
        return found

    assert run(scenario) == [[10 * number for number in some] for some in rows]


def test_a_row_whose_size_cannot_be_told_fails_its_own_call_alone() -> None:
    """No row is taken out of the queue without an answer to come."""

    def size(row: int) -> int:
        if row == BAD:
            msg = "no size"
            raise TypeError(msg)
        return 1

    async def scenario() -> list[Any]:
        work, told = Work(), list[int]()
        work.go.set()
        gathered = gathering(work, size=size, changed=told.append)
        found = await asyncio.gather(gathered.found([1]), gathered.found([2, BAD]), gathered.found([3]), return_exceptions=True)
        assert told[-1] == gathered.waiting == 0
        return list(found)

    first, second, third = run(scenario)
    assert (first, third) == ([10], [30])
    assert isinstance(second, TypeError)


def test_work_that_is_cancelled_by_another_is_a_failure_of_its_batch() -> None:
    """A pool that shuts down cancels what it holds: the calls are told, and the next batch is worked on."""

    async def work(batch: Sequence[int]) -> list[int]:
        if BAD in batch:
            raise asyncio.CancelledError
        return [10 * number for number in batch]

    async def scenario() -> list[Any]:
        gathered = gathering(work, at_once=1)
        return list(await asyncio.gather(gathered.found([BAD]), gathered.found([2]), return_exceptions=True))

    failed, found = run(scenario)
    assert (type(failed), found) == (RuntimeError, [20])

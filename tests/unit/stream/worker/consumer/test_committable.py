"""What may be committed: never beyond a record that was given out and is not acknowledged, and never held up by what nobody was given."""

import asyncio
from collections import defaultdict
from collections.abc import Awaitable, Callable
from types import SimpleNamespace
from typing import Any

import faust.transport.drivers.aiokafka as driver
import pytest
from aiokafka.errors import GroupAuthorizationFailedError, IllegalStateError
from faust.tables.recovery import RebalanceAgain
from faust.types import TP
from hypothesis import given as drawn
from hypothesis import strategies as st

from stream.deliver.fatal import DeliveryError
from stream.worker.consumer.committable import Committable
from stream.worker.consumer.consumer import COMMIT_SECONDS, GIVING_UP_SECONDS, LOST_SECONDS, Consumer
from tests.fakes import Clock

PLACE = TP("content", 0)


@drawn(
    gaps=st.lists(st.integers(min_value=1, max_value=10**12), min_size=1, max_size=30),
    acknowledged=st.sets(st.integers(min_value=0, max_value=29)),
)
def test_a_commit_ends_at_the_first_record_that_is_not_acknowledged(gaps: list[int], acknowledged: set[int]) -> None:
    """Whatever offsets are missing in between."""
    offsets = [sum(gaps[: place + 1]) - 1 for place in range(len(gaps))]
    done = {offsets[place] for place in acknowledged if place < len(offsets)}
    committable = Committable()
    for offset in offsets:
        committable.hand_out(offset)
    first_open = next((offset for offset in offsets if offset not in done), None)
    expected = [offset for offset in offsets if first_open is None or offset < first_open]

    assert committable.advance(done, None) == (expected[-1] + 1 if expected else None)
    assert len(committable) == len(offsets) - len(expected)
    assert committable.advance(done, None) is None


def test_who_goes_back_is_given_everything_again() -> None:
    """After a seek the records come once more, and each must be acknowledged once more."""
    committable = Committable()
    for offset in (5, 6, 7, 6, 7):
        committable.hand_out(offset)
    assert committable.advance({5}, None) == 6
    assert committable.advance({7}, None) is None
    assert committable.advance({6, 7}, None) == 8


def test_what_lies_before_the_commit_holds_nothing_up() -> None:
    """Another member may have done it; Faust takes no acknowledgement of it."""
    committable = Committable()
    for offset in (5, 6, 7):
        committable.hand_out(offset)
    assert committable.advance(set(), 6) is None
    assert committable.advance({6}, 6) == 7


class Broken:
    """In the place of a delivery: raises what a real one would end the process with."""

    bound_seconds = 5.0

    def broken(self, error: Exception) -> None:
        """Here nobody dies."""
        raise error


def consumer(committed: int | None) -> Any:
    """Our consumer without a broker, with Faust's notes as they are after a seek."""
    made: Any = Consumer.__new__(Consumer)
    made.app = SimpleNamespace(delivery=Broken())
    made._committable = defaultdict(Committable)
    made.skipped, made._passed_over, made._between, made._revocations, made._reader, made.resumed_at = (
        {},
        {},
        False,
        0,
        None,
        {},
    )
    made._giving_up = None
    made._acked, made._acked_index = defaultdict(list), defaultdict(set)
    made._committed_offset = defaultdict(lambda: None, {PLACE: committed})
    made._read_offset = defaultdict(lambda: None, {PLACE: committed})
    return made


def read(made: Any, *offsets: int) -> None:
    """As Faust reads between `getmany` and an agent."""

    async def run() -> None:
        for offset in offsets:
            before = made._read_offset[PLACE]
            assert before is None or offset >= before
            if before and offset - before > 1:
                await made._add_gap(PLACE, before + 1, offset)
            made._committable[PLACE].hand_out(offset)
            made._read_offset[PLACE] = offset

    asyncio.run(run())


def acknowledge(made: Any, *offsets: int) -> None:
    """As `Consumer.ack` notes it."""
    made._acked_index[PLACE].update(offsets)
    made._acked[PLACE].extend(offsets)


def test_retention_that_overtook_the_commit_costs_no_memory() -> None:
    """Ten thousand million offsets are gone: Faust would have put each into a list at the first commit, and died of it every time."""
    made = consumer(committed=100)
    read(made, 10**10, 10**10 + 1)
    acknowledge(made, 10**10)
    assert made._new_offset(PLACE) == 10**10 + 1
    acknowledge(made, 10**10 + 1)
    assert made._new_offset(PLACE) == 10**10 + 2
    assert made._acked[PLACE] == []
    assert made._acked_index[PLACE] == set()


def test_a_gap_behind_offset_0_does_not_stop_commits() -> None:
    """Markers of a transaction behind the very first record: Faust saw no gap there, and committed nothing more until a restart."""
    made = consumer(committed=None)
    read(made, 0)
    acknowledge(made, 0)
    assert made._new_offset(PLACE) == 1
    made._committed_offset[PLACE] = 1
    read(made, 4, 5)
    acknowledge(made, 4, 5)
    assert made._new_offset(PLACE) == 6


def test_a_record_that_an_agent_lost_holds_commits_up() -> None:
    """Should anything of ours forget a record, its partition stands still with it, and it is read again; it is not passed over."""
    made = consumer(committed=10)
    read(made, 10, 11, 12)
    acknowledge(made, 10, 12)
    assert made._new_offset(PLACE) == 11
    made._committed_offset[PLACE] = 11
    acknowledge(made, 13)
    assert made._new_offset(PLACE) is None


def test_a_record_that_faust_lost_on_the_way_ends_the_process_and_not_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its partition would stand at it for ever while all behind it is decided; a restart reads it again."""
    clock = Clock()
    monkeypatch.setattr("stream.worker.consumer.consumer.time.monotonic", clock)
    made = consumer(committed=10)
    read(made, 10, 11, 12)
    acknowledge(made, 11)
    assert made._new_offset(PLACE) is None
    clock.now += LOST_SECONDS / 2
    assert made._new_offset(PLACE) is None
    acknowledge(made, 10)
    assert made._new_offset(PLACE) == 12
    read(made, 13)
    acknowledge(made, 13)
    assert made._new_offset(PLACE) is None
    clock.now += LOST_SECONDS + 1
    with pytest.raises(DeliveryError, match="content/0: offset 12 was taken and never delivered"):
        made._new_offset(PLACE)


def test_the_widest_gap_is_remembered_for_whoever_asks_what_has_expired() -> None:
    """Markers of transactions leave small ones all the time."""
    made = consumer(committed=10)
    read(made, 10, 12, 500, 502)
    assert made.skipped == {PLACE: (13, 500)}


def seek(made: Any, monkeypatch: pytest.MonkeyPatch, seeks: Callable[[], Awaitable[None]]) -> None:
    """`perform_seek`, with another in the place of Faust's."""

    async def performed(_: Any) -> None:
        await seeks()

    monkeypatch.setattr(driver.Consumer, "perform_seek", performed)
    monkeypatch.setattr(made, "assignment", lambda: {PLACE}, raising=False)
    asyncio.run(made.perform_seek())


def test_what_is_in_hand_while_faust_seeks_is_committed_all_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    """Faust seeks at the beginning of a rebalance, too, while what was begun is being finished."""
    made = consumer(committed=10)
    read(made, 10, 11)

    async def seeks() -> None:
        made._committed_offset[PLACE] = 10

    seek(made, monkeypatch, seeks)
    acknowledge(made, 10, 11)
    assert made._new_offset(PLACE) == 12
    assert made.resumed_at == {PLACE: 10}


def test_a_seek_that_a_whole_rebalance_has_overtaken_does_not_let_records_flow(monkeypatch: pytest.MonkeyPatch) -> None:
    """Partitions went and came while it waited: it is of before, and the next one is about to begin."""
    made = consumer(committed=10)

    async def seeks() -> None:
        made._revocations += 1

    with pytest.raises(RebalanceAgain):
        seek(made, monkeypatch, seeks)


def test_a_seek_that_a_rebalance_has_overtaken_does_not_let_records_flow(monkeypatch: pytest.MonkeyPatch) -> None:
    """Faust would resume before the next seek, and then drop what it had read in between."""
    made = consumer(committed=10)

    async def seeks() -> None:
        made._between = True

    with pytest.raises(RebalanceAgain):
        seek(made, monkeypatch, seeks)

    async def as_the_reader() -> None:
        made._reader = asyncio.current_task()
        await made.perform_seek()

    # Who reads waits for the flow; there is nothing to say.
    asyncio.run(as_the_reader())

    resumed: list[None] = []
    monkeypatch.setattr(driver.Consumer, "resume_flow", lambda _: resumed.append(None))
    made.resume_flow()
    assert resumed == []
    made._between = False
    made.resume_flow()
    assert resumed == [None]


@pytest.mark.parametrize(
    ("fails", "says"),
    [(None, "the brokers did not say within 0.05 s"), (GroupAuthorizationFailedError(), "GroupAuthorizationFailedError")],
)
def test_a_seek_that_fails_or_never_ends_ends_the_process(
    fails: Exception | None, says: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Faust takes its timeout for a stop and reads nothing any more, or logs the failure and goes on past what it has dropped."""
    monkeypatch.setattr("stream.worker.consumer.consumer.SEEK_SECONDS", 0.05)
    made = consumer(committed=10)

    async def seeks() -> None:
        if fails is not None:
            raise fails
        await asyncio.sleep(60)

    with pytest.raises(DeliveryError, match=says):
        seek(made, monkeypatch, seeks)


def test_a_seek_of_partitions_that_are_gone_is_the_next_ones_business(monkeypatch: pytest.MonkeyPatch) -> None:
    """Not a broken machine."""

    async def seeks() -> None:
        raise IllegalStateError

    with pytest.raises(IllegalStateError):
        seek(consumer(committed=10), monkeypatch, seeks)


def test_who_commits_by_offset_is_told_of_a_record_that_was_taken_before_and_is_not_here() -> None:
    """Exactly once: the offset behind a later record says that all before it is done."""
    made = consumer(committed=10)
    assert made.lost(PLACE, None, [11]) is None
    read(made, 10, 11, 15, 16)
    assert made.lost(PLACE, None, [10]) is None
    assert made.lost(PLACE, 11, [15]) == 11
    assert made.lost(PLACE, 12, [15]) is None
    assert made.lost(PLACE, 11, [11, 16]) == 15
    assert made.lost(PLACE, 11, [11, 15, 16]) is None


@pytest.mark.parametrize(
    ("pending", "ended", "stops", "says"),
    [
        (None, None, False, None),
        (GroupAuthorizationFailedError("g"), None, False, "the group's coordinator said GroupAuthorizationFailedError"),
        (None, "coordination", False, "the routine of the group has ended"),
        (None, "fetch", False, "the routine of the fetches has ended"),
        (None, "fetch", True, None),
    ],
)
def test_a_client_that_has_given_up_is_asked_for(
    pending: Exception | None, ended: str | None, stops: bool, says: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It says so only by methods that Faust does not call, and waits for somebody to hear it."""
    made = consumer(committed=10)
    monkeypatch.setattr(Consumer, "should_stop", stops)
    coordinator = SimpleNamespace(
        _pending_exception=pending, _coordination_task=SimpleNamespace(done=lambda: ended == "coordination")
    )
    fetcher = SimpleNamespace(_fetch_task=SimpleNamespace(done=lambda: ended == "fetch"))
    made._thread = SimpleNamespace(_consumer=SimpleNamespace(_coordinator=coordinator, _fetcher=fetcher))
    found = made.standstill()
    assert (found is None) == (says is None)
    assert (found or "").startswith(says or "")
    made._thread._consumer = None
    assert made.standstill() is None


def test_a_commit_that_is_not_taken_in_time_ends_the_process(monkeypatch: pytest.MonkeyPatch) -> None:
    """Aiokafka repeats it for as long as it takes; the stream would stand still behind it, and then a rebalance."""
    monkeypatch.setattr("stream.worker.consumer.consumer.COMMIT_SECONDS", 0.05)
    answers: list[bool] = [True]

    async def commits(*_: Any) -> bool:
        return answers.pop() if answers else await asyncio.Event().wait()

    monkeypatch.setattr(driver.Consumer, "_commit", commits)
    made = consumer(committed=10)
    assert asyncio.run(made._commit({PLACE: 11})) is True
    with pytest.raises(DeliveryError, match=r"has not taken a commit within 0\.05 s"):
        asyncio.run(made._commit({PLACE: 12}))


def test_partitions_that_cannot_be_given_up_are_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever it is that never ends then: the group has gone on without this worker, which would say nothing."""
    clock = Clock()
    monkeypatch.setattr("stream.worker.consumer.consumer.time.monotonic", clock)
    monkeypatch.setattr(Consumer, "should_stop", False)
    made = consumer(committed=10)
    made._thread = SimpleNamespace(
        _consumer=SimpleNamespace(
            _coordinator=SimpleNamespace(_pending_exception=None, _coordination_task=SimpleNamespace(done=bool)),
            _fetcher=SimpleNamespace(_fetch_task=SimpleNamespace(done=bool)),
        )
    )
    said: list[str | None] = []

    async def ends(*_: Any) -> None:
        clock.now += COMMIT_SECONDS + Broken.bound_seconds + GIVING_UP_SECONDS
        said.append(made.standstill())
        clock.now += 1
        said.append(made.standstill())

    monkeypatch.setattr(driver.Consumer, "on_partitions_revoked", ends)
    monkeypatch.setattr(made, "stop_flow", lambda: None, raising=False)
    monkeypatch.setattr(made, "wait_empty", lambda: asyncio.sleep(0), raising=False)
    asyncio.run(made.on_partitions_revoked({PLACE}))
    assert said == [None, "partitions that are taken away could not be given up"]
    assert made.standstill() is None

"""Faust's consumer with our changes, driven as Faust drives it: no broker, and in the place of its thread a stand-in."""

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from types import SimpleNamespace
from typing import Any

import faust.transport.drivers.aiokafka as driver
import pytest
from aiokafka.errors import GroupAuthorizationFailedError, IllegalStateError
from faust.tables.recovery import RebalanceAgain
from faust.types import TP

from tagstream.stream.deliver.fatal import DeliveryError
from tagstream.stream.settings.settings import Settings
from tagstream.stream.worker.consumer import COMMIT_SECONDS, GIVING_UP_SECONDS, HELD_BYTES, LOST_SECONDS, Consumer
from tagstream.stream.worker.faust_app import faust_app
from tests.fakes import Clock
from tests.waiting import HANG_SECONDS

PLACE = TP("content", 0)


class Broken:
    """Stands in for the delivery: raises the error with which the real one would end the process."""

    bound_seconds = 5.0

    def broken(self, error: Exception) -> None:
        """Raise the error."""
        raise error

    async def hand_back(self) -> None:
        """No batch is under way."""

    def take_again(self) -> None:
        """No event comes by itself here."""


async def _nothing(*_: Any, **__: Any) -> None:
    """Stands in for those steps of Faust's that need a broker."""


@pytest.fixture
def made(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., Any]]:
    """Makes our consumer as Faust does, with Faust's notes as they are after a seek to the commit."""
    loop = asyncio.new_event_loop()
    for name in ("maybe_wait_for_commit_to_finish", "commit_and_end_transactions"):
        monkeypatch.setattr(driver.Consumer, name, _nothing)
    for name in ("on_partitions_revoked", "on_partitions_assigned"):
        monkeypatch.setattr(driver.Consumer, name, _nothing)

    def make(*, committed: int | None, thread: Any = None) -> Any:
        monkeypatch.setattr(Consumer, "_new_consumer_thread", lambda _: thread or SimpleNamespace(beacon=None))
        app = faust_app(Settings(), idempotent=True)
        app.delivery = Broken()
        consumer = Consumer(app.transport, _nothing, _nothing, _nothing, loop=loop)
        consumer._committed_offset[PLACE] = consumer._read_offset[PLACE] = committed
        return consumer

    yield make
    loop.close()


@pytest.fixture
def read(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Lets the consumer read records at these offsets, as Faust does between `getmany` and an agent."""
    records: list[int] = []

    async def polled(_: Any, __: float) -> tuple[dict[TP, list[int]], None]:
        found = {PLACE: list(records)}
        records.clear()
        return found, None

    monkeypatch.setattr(driver.Consumer, "_wait_next_records", polled)
    monkeypatch.setattr(
        Consumer,
        "_to_message",
        lambda _, tp, offset: SimpleNamespace(tp=tp, offset=offset, key=None, value=b"v" * 1000, headers=None),
    )

    async def drain(consumer: Any) -> None:
        consumer.flow_active = True
        async for tp, message in consumer.getmany(0):
            before = consumer._read_offset[tp]
            assert before is None or message.offset >= before
            if before and message.offset - before > 1:
                await consumer._add_gap(tp, before + 1, message.offset)
            consumer._read_offset[tp] = message.offset

    def read(consumer: Any, *offsets: int) -> None:
        records.extend(offsets)
        asyncio.run(drain(consumer))

    return read


def acknowledge(consumer: Any, *offsets: int) -> None:
    """As Faust's `Consumer.ack` notes it."""
    consumer._acked_index[PLACE].update(offsets)
    consumer._acked[PLACE].extend(offsets)


def test_retention_that_overtook_the_commit_costs_no_memory(made: Any, read: Any) -> None:
    """A gap of ten thousand million offsets adds nothing to the notes; Faust would list each offset at every commit."""
    consumer = made(committed=100)
    read(consumer, 10**10, 10**10 + 1)
    acknowledge(consumer, 10**10)
    assert consumer._new_offset(PLACE) == 10**10 + 1
    acknowledge(consumer, 10**10 + 1)
    assert consumer._new_offset(PLACE) == 10**10 + 2
    assert consumer._acked[PLACE] == []
    assert consumer._acked_index[PLACE] == set()


def test_a_gap_after_offset_0_does_not_stop_commits(made: Any, read: Any) -> None:
    """Transaction markers may follow the very first record; Faust sees no gap there and would commit no more until a restart."""
    consumer = made(committed=None)
    read(consumer, 0)
    acknowledge(consumer, 0)
    assert consumer._new_offset(PLACE) == 1
    consumer._committed_offset[PLACE] = 1
    read(consumer, 4, 5)
    acknowledge(consumer, 4, 5)
    assert consumer._new_offset(PLACE) == 6


def test_a_record_that_an_agent_lost_holds_commits_up(made: Any, read: Any) -> None:
    """A record that was taken and never acknowledged is not committed past, so the next process reads it again."""
    consumer = made(committed=10)
    read(consumer, 10, 11, 12)
    acknowledge(consumer, 10, 12)
    assert consumer._new_offset(PLACE) == 11
    consumer._committed_offset[PLACE] = 11
    acknowledge(consumer, 13)
    assert consumer._new_offset(PLACE) is None


def test_a_record_that_faust_lost_on_the_way_ends_the_process_and_not_at_once(
    made: Any, read: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Commits of its partition would stand at it for ever while later events are decided; a restart reads it again."""
    clock = Clock()
    monkeypatch.setattr("tagstream.stream.worker.consumer.time.monotonic", clock)
    consumer = made(committed=10)
    read(consumer, 10, 11, 12)
    acknowledge(consumer, 11)
    assert consumer._new_offset(PLACE) is None
    clock.now += LOST_SECONDS / 2
    assert consumer._new_offset(PLACE) is None
    acknowledge(consumer, 10)
    assert consumer._new_offset(PLACE) == 12
    read(consumer, 13)
    acknowledge(consumer, 13)
    assert consumer._new_offset(PLACE) is None
    clock.now += LOST_SECONDS + 1
    with pytest.raises(DeliveryError, match="content/0: offset 12 was taken and never delivered"):
        consumer._new_offset(PLACE)


def test_the_widest_gap_is_remembered(made: Any, read: Any) -> None:
    """Expired events leave the widest gap; transaction markers leave small ones all the time."""
    consumer = made(committed=10)
    read(consumer, 10, 12, 500, 502)
    assert consumer.skipped == {PLACE: (13, 500)}


def test_exactly_once_is_told_of_a_record_that_was_taken_and_is_not_in_the_batch(made: Any, read: Any) -> None:
    """A transaction commits the offset after its last record, which says that all records before it are done."""
    consumer = made(committed=10)
    assert consumer.lost(PLACE, None, [11]) is None
    read(consumer, 10, 11, 15, 16)
    assert consumer.lost(PLACE, None, [10]) is None
    assert consumer.lost(PLACE, 11, [15]) == 11
    assert consumer.lost(PLACE, 12, [15]) is None
    assert consumer.lost(PLACE, 11, [11, 16]) == 15
    assert consumer.lost(PLACE, 11, [11, 15, 16]) is None


# --- seeks and rebalances ----------------------------------------------------------------------------------------------


def revoked(consumer: Any, monkeypatch: pytest.MonkeyPatch) -> Awaitable[None]:
    """The partition is taken away."""
    monkeypatch.setattr(consumer, "stop_flow", lambda: None)
    done: Awaitable[None] = consumer.on_partitions_revoked({PLACE})
    return done


async def seek(consumer: Any, monkeypatch: pytest.MonkeyPatch, seeks: Callable[[], Awaitable[None]]) -> None:
    """`perform_seek`, with `seeks` in the place of Faust's."""

    async def performed(_: Any) -> None:
        await seeks()

    monkeypatch.setattr(driver.Consumer, "perform_seek", performed)
    monkeypatch.setattr(consumer, "assignment", lambda: {PLACE})
    await consumer.perform_seek()


def test_events_in_hand_while_faust_seeks_are_committed_all_the_same(
    made: Any, read: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Faust also seeks at the beginning of a rebalance, while batches that have begun are being finished."""
    consumer = made(committed=10)
    read(consumer, 10, 11)

    async def seeks() -> None:
        consumer._committed_offset[PLACE] = 10

    asyncio.run(seek(consumer, monkeypatch, seeks))
    acknowledge(consumer, 10, 11)
    assert consumer._new_offset(PLACE) == 12
    assert consumer.resumed_at == {PLACE: 10}


def test_a_seek_that_a_whole_rebalance_has_overtaken_does_not_let_records_flow(
    made: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """If partitions went and came back while it waited, the seek is out of date, and the next one is about to begin."""
    consumer = made(committed=10)

    async def seeks() -> None:
        await revoked(consumer, monkeypatch)
        await consumer.on_partitions_assigned({PLACE})

    with pytest.raises(RebalanceAgain):
        asyncio.run(seek(consumer, monkeypatch, seeks))


@pytest.mark.usefixtures("read")
def test_a_seek_that_a_rebalance_has_overtaken_does_not_let_records_flow(made: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Faust would resume before the next seek, and then drop the records that it had read in between."""
    consumer = made(committed=10)
    resumed: list[None] = []
    monkeypatch.setattr(driver.Consumer, "resume_flow", lambda _: resumed.append(None))

    async def seeks() -> None:
        await revoked(consumer, monkeypatch)

    with pytest.raises(RebalanceAgain):
        asyncio.run(seek(consumer, monkeypatch, seeks))
    consumer.resume_flow()
    assert resumed == []

    async def as_the_reader() -> None:
        async for _ in consumer.getmany(0):
            pass
        await consumer.perform_seek()

    # The reader waits for the flow in any case, so it gets no exception.
    asyncio.run(as_the_reader())
    asyncio.run(consumer.on_partitions_assigned({PLACE}))
    consumer.resume_flow()
    assert resumed == [None]


@pytest.mark.parametrize(
    ("fails", "says"),
    [(None, "the brokers did not say within 0.05 s"), (GroupAuthorizationFailedError(), "GroupAuthorizationFailedError")],
)
def test_a_seek_that_fails_or_never_ends_ends_the_process(
    fails: Exception | None, says: str, made: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Faust takes a timeout for a stop and reads no more, or logs the failure and goes on past the records that it has dropped."""
    monkeypatch.setattr("tagstream.stream.worker.consumer.SEEK_SECONDS", 0.05)

    async def seeks() -> None:
        if fails is not None:
            raise fails
        await asyncio.Event().wait()

    with pytest.raises(DeliveryError, match=says):
        asyncio.run(seek(made(committed=10), monkeypatch, seeks))


def test_a_seek_of_partitions_that_are_gone_does_not_end_the_process(made: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """The next owner seeks for itself."""

    async def seeks() -> None:
        raise IllegalStateError

    with pytest.raises(IllegalStateError):
        asyncio.run(seek(made(committed=10), monkeypatch, seeks))


# --- a standstill ------------------------------------------------------------------------------------------------------


def thread_with(pending: Exception | None = None, ended: str | None = None) -> Any:
    """A consumer's thread whose aiokafka keeps this error, or one of whose routines has ended."""
    coordinator = SimpleNamespace(
        _pending_exception=pending, _coordination_task=SimpleNamespace(done=lambda: ended == "coordination")
    )
    fetcher = SimpleNamespace(_fetch_task=SimpleNamespace(done=lambda: ended == "fetch"))
    return SimpleNamespace(beacon=None, _consumer=SimpleNamespace(_coordinator=coordinator, _fetcher=fetcher))


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
def test_a_client_that_has_given_up_is_noticed(
    pending: Exception | None, ended: str | None, stops: bool, says: str | None, made: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Aiokafka raises its error only from methods that Faust does not call."""
    thread = thread_with(pending, ended)
    consumer = made(committed=10, thread=thread)
    monkeypatch.setattr(Consumer, "should_stop", stops)
    found = consumer.standstill()
    assert (found is None) == (says is None)
    assert (found or "").startswith(says or "")
    thread._consumer = None
    assert consumer.standstill() is None


def test_a_commit_that_is_not_taken_in_time_ends_the_process(made: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Aiokafka repeats a commit without end; the stream would stand still behind it, and then a rebalance."""
    monkeypatch.setattr("tagstream.stream.worker.consumer.COMMIT_SECONDS", 0.05)
    answers: list[bool] = [True]

    async def commits(*_: Any) -> bool:
        return answers.pop() if answers else await asyncio.Event().wait()

    monkeypatch.setattr(driver.Consumer, "_commit", commits)
    consumer = made(committed=10)
    assert asyncio.run(consumer._commit({PLACE: 11})) is True
    with pytest.raises(DeliveryError, match=r"has not taken a commit within 0\.05 s"):
        asyncio.run(consumer._commit({PLACE: 12}))


def test_partitions_that_cannot_be_given_up_are_noticed(made: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """A revocation that never ends leaves the worker out of its group, and without this it would say nothing."""
    clock = Clock()
    monkeypatch.setattr("tagstream.stream.worker.consumer.time.monotonic", clock)
    monkeypatch.setattr(Consumer, "should_stop", False)
    consumer = made(committed=10, thread=thread_with())
    said: list[str | None] = []

    async def ends(*_: Any) -> None:
        clock.now += COMMIT_SECONDS + Broken.bound_seconds + GIVING_UP_SECONDS
        said.append(consumer.standstill())
        clock.now += 1
        said.append(consumer.standstill())

    monkeypatch.setattr(driver.Consumer, "on_partitions_revoked", ends)
    asyncio.run(asyncio.wait_for(revoked(consumer, monkeypatch), 60))
    assert said == [None, "partitions that are taken away could not be given up"]
    assert consumer.standstill() is None


def test_no_more_is_read_while_many_bytes_are_not_acknowledged(made: Any) -> None:
    """40 records of 700 KB are held, and the next read waits for an acknowledgement; a full commit frees them all."""
    consumer = made(committed=None)
    messages = [SimpleNamespace(tp=PLACE, topic="content", offset=offset, acked=False) for offset in range(40)]
    for message in messages:
        consumer._committable[PLACE].hand_out(message.offset, HELD_BYTES // 40 + 1)
    consumer.flow_active = True

    async def scenario() -> None:
        reading = asyncio.create_task(consumer._room())
        await asyncio.sleep(0.01)
        assert not reading.done()
        consumer.ack(messages[7])
        await asyncio.wait_for(reading, HANG_SECONDS)

    consumer.loop.run_until_complete(scenario())
    assert HELD_BYTES * 0.9 < consumer.held_bytes < HELD_BYTES
    acknowledge(consumer, *range(40))
    assert consumer._new_offset(PLACE) == 40
    assert consumer.held_bytes == 0


@pytest.mark.parametrize("how", ["the flow stops", "the worker stops", "the partition goes"])
def test_nothing_keeps_a_read_waiting_that_will_never_be_acknowledged(made: Any, how: str) -> None:
    """A rebalance or a stop ends the wait for room, and the records of a partition that went are not held any more."""
    consumer = made(committed=None)
    consumer._committable[PLACE].hand_out(0, HELD_BYTES)
    consumer.flow_active = True

    async def scenario() -> None:
        reading = asyncio.create_task(consumer._room())
        await asyncio.sleep(0.01)
        assert not reading.done()
        if how == "the flow stops":
            consumer.stop_flow()
        elif how == "the worker stops":
            consumer._stopped.set()
        else:
            await consumer.on_partitions_revoked({PLACE})
        await asyncio.wait_for(reading, HANG_SECONDS)

    consumer.loop.run_until_complete(scenario())
    assert (consumer.held_bytes == 0) == (how == "the partition goes")

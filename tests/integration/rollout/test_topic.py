"""The topic `rollout` on a real broker: one writer, records that are read back, ends that open transactions do not hold back."""

import asyncio
import contextlib
import gc
import time
from collections.abc import AsyncIterator, Callable, Coroutine
from typing import Any, NoReturn

import msgspec
import pytest
from aiokafka import AIOKafkaProducer

from tagstream.stream.contract.outcome import timestamp
from tagstream.stream.contract.rollout_records import BundleName, Challenger, Partition, WorkerState
from tagstream.stream.kafka.admin import admin
from tagstream.stream.kafka.errors import BrokerUnreachableError, unreachable
from tagstream.stream.rollout.content_ends import ContentOnKafka
from tagstream.stream.rollout.control import controlling
from tagstream.stream.rollout.controller import (
    AbandonedCloseError,
    Controller,
    FencedError,
    NotCountedError,
    PlanGivenUpError,
    Readiness,
)
from tagstream.stream.rollout.gate import EpochGate
from tagstream.stream.rollout.standing import standing_of
from tagstream.stream.rollout.topic import rollout_reader
from tagstream.stream.rollout.writer import RolloutWriter
from tagstream.stream.settings.settings import Settings
from tests.waiting import HANG_SECONDS

pytestmark = [pytest.mark.broker, pytest.mark.timeout(300)]
MOMENT = "2026-01-01T00:00:00.000Z"
WORD = WorkerState(member="m", host="h", version="1", epoch=0, state="decides", digest="1" * 64, at=MOMENT)
OLD, NEW = (BundleName(digest=str(number) * 64, name="b", version=str(number)) for number in (1, 2))


@pytest.fixture
def rollout(settings: Settings) -> Settings:
    """The settings, with an empty topic `rollout` of this test."""
    name = f"{settings.topics.content}-rollout"
    with admin(settings) as client:
        options = {"num_partitions": 1, "replication_factor": 1, "configs": {"retention.ms": "-1"}}
        client.create_topics({name: options}, wait_for_metadata=True)
    return settings.model_copy(update={"rollout": settings.rollout.model_copy(update={"topic": name})})


@contextlib.asynccontextmanager
async def controller(settings: Settings, said: tuple[Readiness, str] = (Readiness.READY, "")) -> AsyncIterator[Controller]:
    """A controller on the broker."""

    class Group:
        """Workers that say this, and have begun nothing that is not in the log."""

        async def readiness(self, _: object, *, goes_back: bool) -> tuple[Readiness, str]:
            """Without a wait."""
            assert not goes_back
            return said

        async def begun(self, _: object) -> dict[Partition, int]:
            """It is not known."""
            return {}

    async with rollout_reader(settings) as reader:
        writer = RolloutWriter(settings, reader)
        with admin(settings) as client:
            try:
                yield Controller(writer, ContentOnKafka(settings, client), Group(), by="test", clock=lambda: MOMENT)
            finally:
                await writer.stop()


async def send(settings: Settings, count: int) -> None:
    """Events, each in the first partition."""
    producer = AIOKafkaProducer(bootstrap_servers=settings.broker_list)
    await producer.start()
    for _ in range(count):
        await producer.send_and_wait(settings.topics.content, value=b"{}", partition=0)
    await producer.stop()


def add_partition(settings: Settings) -> None:
    """One partition more of the topic of events; the broker lists it some time after it has taken the request."""
    topic, wanted = settings.topics.content, settings.topic_partitions + 1
    deadline = time.monotonic() + HANG_SECONDS
    with admin(settings) as client:
        client.create_partitions({topic: wanted})
        while len(client.describe_topics([topic])[0]["partitions"]) < wanted:
            assert time.monotonic() < deadline, "the broker lists no new partition"
            time.sleep(0.05)


def run(test: Callable[[Settings], Coroutine[Any, Any, None]], settings: Settings) -> None:
    """Run a test's coroutine."""
    asyncio.run(test(settings))


def test_an_epoch_begins_at_the_end_of_each_partition(rollout: Settings) -> None:
    """A worker's gate holds the batch while it closes, and afterwards every offset has its epoch."""

    async def test(settings: Settings) -> None:
        await send(settings, 3)
        async with controller(settings) as one, rollout_reader(settings) as reader:
            await one.begin()
            epochs = await one.start(OLD, settings.group)
            first = min(epochs.partitions, key=lambda at: at.partition)
            assert len(epochs.partitions) == settings.topic_partitions
            assert await EpochGate(reader).admit({first}) is reader.epochs
            assert {reader.epochs.epoch_of(first, offset) for offset in range(10)} == {0}
            await one.change(NEW)
            found = await EpochGate(reader).admit({first})
            assert found is not None
            assert [found.epoch_of(first, offset) for offset in range(5)] == [0, 0, 0, 1, 1]
            assert found.models(1).champion == NEW

    run(test, rollout)


def test_a_second_controller_ends_the_first(rollout: Settings, caplog: pytest.LogCaptureFixture) -> None:
    """The first can write no more, and what it has written stands. Its error says so, and no traceback beside it."""

    async def test(settings: Settings) -> None:
        async with controller(settings) as one, controller(settings) as two:
            await one.begin()
            await one.start(OLD, settings.group)
            await one.change(NEW)
            assert (await two.begin()).newest == 1
            with pytest.raises(FencedError):
                await one.change(OLD)
            assert (await two.change(OLD)).newest == 2

    run(test, rollout)
    gc.collect()
    assert "never retrieved" not in caplog.text


def test_a_controller_that_ends_before_the_marks_holds_the_stream_until_the_next(rollout: Settings) -> None:
    """The next one finishes what it finds."""

    async def test(settings: Settings) -> None:
        async with rollout_reader(settings) as reader:
            async with controller(settings) as one:
                await one.begin()
                first = min((await one.start(OLD, settings.group)).partitions, key=lambda at: at.partition)

                async def dies(_: int) -> None:
                    raise ConnectionError

                one._mark = dies  # type: ignore[method-assign]
                with pytest.raises(ConnectionError):
                    await one.change(NEW)
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(1):
                    await EpochGate(reader).admit({first})
            async with controller(settings) as two:
                assert (await two.begin()).newest == 1
            assert await EpochGate(reader).admit({first}) is reader.epochs
            assert reader.epochs.epoch_of(first, 0) == 1

    run(test, rollout)


def test_a_broker_that_is_lost_between_close_and_marks_leaves_words_for_the_night(
    rollout: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They say that an epoch is closing, that workers hold events, and that the same command ends it; the next controller does."""

    async def test(settings: Settings) -> None:
        def lost(*_: object) -> NoReturn:
            raise unreachable(settings, TimeoutError("its ends"))

        with monkeypatch.context() as patched:
            async with controlling(settings, by="test") as control:
                await control.controller.begin()
                await control.controller.start(OLD, settings.group)
                patched.setattr(ContentOnKafka, "_ends", lost)
                with pytest.raises(BrokerUnreachableError, match="its ends"):
                    await control.controller.change(NEW)
        with monkeypatch.context() as patched:
            patched.setattr(ContentOnKafka, "_ends", lost)
            with pytest.raises(AbandonedCloseError, match=r"its ends.*Epoch 1 is closing.*hold.*Next:.*rollout finish") as said:
                async with controlling(settings, by="test") as control:
                    await control.controller.begin()
        assert said.value.exit_code == BrokerUnreachableError.exit_code
        async with controlling(settings, by="test") as control:
            assert (await control.controller.begin()).newest == 1
            assert control.controller.closing is None

    run(test, rollout)


def test_the_words_of_workers_that_are_gone_are_removed(rollout: Settings) -> None:
    """By a controller, for those that the group does not have; a word that was said just now stays."""

    async def test(settings: Settings) -> None:
        old = msgspec.structs.replace(WORD, member="gone")
        new = msgspec.structs.replace(WORD, member="joins", at=timestamp(int(time.time() * 1000)))
        async with controlling(settings, by="test") as control:
            await control.begin()
            producer = AIOKafkaProducer(bootstrap_servers=settings.broker_list)
            await producer.start()
            for word in (old, new):
                key, value = word.member.encode(), msgspec.json.encode(word)
                await producer.send_and_wait(settings.rollout.workers_topic, key=key, value=value)
            await producer.stop()
            assert await control.workers.stale(0) == [b"gone"]
        async with controlling(settings, by="test") as control:
            await control.begin()
            # A transaction's commit is answered before readers see it.
            for _ in range(int(HANG_SECONDS)):
                if not await control.workers.stale(0):
                    break
                await asyncio.sleep(1.0)
            assert list(control.workers._states) == ["joins"]

    run(test, rollout)


def test_the_status_says_what_is_held_since_when_and_where_epochs_begin(
    rollout: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While an epoch is closing, and where a partition was added that no record lists, with the events that wait."""

    async def test(settings: Settings) -> None:
        await send(settings, 3)
        with admin(settings) as client:
            options = {"num_partitions": 1, "replication_factor": 1}
            client.create_topics({settings.rollout.workers_topic: options}, wait_for_metadata=True)
        async with controller(settings) as one:
            await one.begin()
            await one.start(OLD, settings.group)
            before = await standing_of(settings)
            assert (before.closed_at, before.unlisted, before.waiting) == (None, [], {})

            async def dies(_: int) -> None:
                raise ConnectionError

            monkeypatch.setattr(one, "_mark", dies)
            with pytest.raises(ConnectionError):
                await one.change(NEW)
        closing = await standing_of(settings)
        assert (closing.epochs.closing, closing.closed_at) == (1, MOMENT)
        assert closing.waiting is not None
        assert closing.waiting[settings.topics.content, 0] == 3
        async with controller(settings) as two:
            await two.begin()
        add_partition(settings)
        added = await standing_of(settings)
        assert [place.partition for place in added.unlisted] == [settings.topic_partitions]
        assert added.waiting == {(settings.topics.content, settings.topic_partitions): 0}
        first = min(added.epochs.partitions, key=lambda place: place.partition)
        assert added.epochs.begins(first) == ((0, 0), (3, 1))

    run(test, rollout)


def test_a_plan_that_a_worker_refuses_begins_nothing(rollout: Settings) -> None:
    """The reason is in the topic, and the next plan has another number."""

    async def test(settings: Settings) -> None:
        async with controller(settings, (Readiness.REFUSED, "worker a: no such bundle")) as one:
            await one.begin()
            await one.start(OLD, settings.group)
            with pytest.raises(PlanGivenUpError, match="no such bundle"):
                await one.change(NEW)
        async with controller(settings) as two:
            assert (await two.begin()).next_epoch == 2
            assert (await two.change(NEW)).newest == 2

    run(test, rollout)


def test_a_challenger_goes_whatever_the_workers_say(rollout: Settings) -> None:
    """One that refuses, or hangs, has the champion already; another champion waits for it."""

    async def test(settings: Settings) -> None:
        async with controller(settings) as one:
            await one.begin()
            await one.start(OLD, settings.group)
            await one.change(OLD, Challenger(bundle=NEW, share=0.5, unit="key", salt="s"))
        async with controller(settings, (Readiness.REFUSED, "worker a: does not answer")) as two:
            await two.begin()
            with pytest.raises(PlanGivenUpError):
                await two.change(NEW)
            gone = await two.change(OLD)
            assert gone.models(gone.newest).challenger is None
            with pytest.raises(PlanGivenUpError):
                await two.change(OLD, asks_people=True)

    run(test, rollout)


def test_an_open_transaction_of_a_producer_does_not_hold_the_mark_back(rollout: Settings) -> None:
    """The mark lies above what workers that read uncommitted records may have decided."""

    async def test(settings: Settings) -> None:
        producer = AIOKafkaProducer(bootstrap_servers=settings.broker_list, transactional_id=f"{settings.group}-open")
        await producer.start()
        await producer.begin_transaction()
        await producer.send_and_wait(settings.topics.content, value=b"{}", partition=0)
        async with controller(settings) as one:
            await one.begin()
            first = min((await one.start(OLD, settings.group)).partitions, key=lambda at: at.partition)
            epochs = await one.change(NEW)
            assert [epochs.epoch_of(first, offset) for offset in (0, 1)] == [0, 1]
        await producer.abort_transaction()
        await producer.stop()

    run(test, rollout)


def test_new_partitions_and_a_topic_that_is_made_again_are_listed_from_their_beginning(rollout: Settings) -> None:
    """Their events are held until then; the partitions of the old topic keep their epochs."""

    async def test(settings: Settings) -> None:
        async with controller(settings) as one, rollout_reader(settings) as reader:
            await one.begin()
            old = (await one.start(OLD, settings.group)).partitions
            await one.change(NEW)
            topic = settings.topics.content
            add_partition(settings)
            added = (await one.list_new_partitions()).partitions - old
            assert [at.partition for at in added] == [settings.topic_partitions]
            assert await EpochGate(reader).admit(added) is reader.epochs
            assert reader.epochs.epoch_of(next(iter(added)), 0) == 1
            with admin(settings) as client:
                client.delete_topics([topic])
                await asyncio.sleep(1)
                client.create_topics({topic: {"num_partitions": 1, "replication_factor": 1}}, wait_for_metadata=True)
            again = (await one.change(OLD)).partitions - old - added
            assert {at.topic_id for at in again}.isdisjoint({at.topic_id for at in old})
            assert {one._epochs.epoch_of(at, 0) for at in again} == {2}
            assert {one._epochs.epoch_of(at, 10**9) for at in old} == {1}

    run(test, rollout)


def test_the_reader_is_told_of_what_does_not_count(rollout: Settings) -> None:
    """A record out of its place is seen by all and changes nothing; its writer is told."""

    async def test(settings: Settings) -> None:
        seen: list[tuple[str, bool]] = []
        async with (
            rollout_reader(settings, lambda record, _, counts: seen.append((type(record).__name__, counts))) as reader,
            controller(settings) as one,
        ):
            await one.begin()
            await one.start(OLD, settings.group)
            with pytest.raises(NotCountedError, match="close 7"):
                await one._close(7)
            await reader.read_to(await reader.end())
        assert seen == [("Start", True), ("Close", False)]

    run(test, rollout)

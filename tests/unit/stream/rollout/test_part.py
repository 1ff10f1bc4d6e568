"""A worker's side of a rollout, on records that a test gives it: what it says of a plan, and how it ends if it cannot decide."""

import asyncio
import contextlib
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any, NoReturn

import msgspec
import pytest
import structlog
from prometheus_client import CollectorRegistry

from tagstream.model_export.bundle.bundle import Bundle
from tagstream.monitoring.metrics.rollout import RolloutMetrics
from tagstream.stream.contract.event import Record
from tagstream.stream.contract.rollout_records import (
    BundleName,
    Partition,
    RolloutRecord,
    RolloutRecordError,
    WorkerReach,
    WorkerState,
    read_worker_reach,
)
from tagstream.stream.decide.from_settings import pipeline_of
from tagstream.stream.decide.pipeline import Pipeline
from tagstream.stream.deliver.fatal import DeliveryError, NotStartedError
from tagstream.stream.kafka.errors import NotAuthorizedError, unreachable
from tagstream.stream.kafka.group_memory import GroupMemory
from tagstream.stream.rollout import follower, search
from tagstream.stream.rollout import part as rollout
from tagstream.stream.rollout.deciders import bundle_name
from tagstream.stream.rollout.epochs import Epochs
from tagstream.stream.rollout.part import WorkerRollout
from tagstream.stream.rollout.search import RolloutSearch
from tagstream.stream.settings.settings import Settings
from tagstream.stream.worker.part import Membership
from tests.unit.stream.rollout.test_deciders import stored
from tests.unit.stream.rollout.test_epochs import change, folded, plan, start
from tests.waiting import HANG_SECONDS

PLACE = Partition(topic="content", topic_id="a", partition=0)
MISSING = BundleName(digest="f" * 64, name="gone", version="9")


class Ended(BaseException):
    """The process would have ended here."""


class Topic:
    """The topic `rollout` in memory, as a worker's reader sees it."""

    def __init__(self, *records: RolloutRecord) -> None:
        """Begin with these records."""
        self.epochs = folded(*records)

    async def end(self) -> int:
        """Of no meaning here: every record has been read."""
        return 0

    async def read_to(self, _: int) -> Epochs:
        """All that there is."""
        return self.epochs

    async def wait_for_more(self) -> None:
        """For a moment."""
        await asyncio.sleep(0.01)


class Away(Topic):
    """The same, and its leader is away: it does not say where the topic ends before it is back."""

    def __init__(self, *records: RolloutRecord) -> None:
        """It is there when a worker begins."""
        super().__init__(*records)
        self.back, self.asked = asyncio.Event(), asyncio.Event()
        self.back.set()
        self.error: Exception | None = None

    def leave(self) -> None:
        """Be away."""
        self.back.clear()
        self.asked.clear()

    async def end(self) -> int:
        """Once it is back, or an error if it stays away."""
        self.asked.set()
        await self.back.wait()
        if self.error is not None:
            raise self.error
        return 0


class OneWorker:
    """A worker's part in a rollout, with the records of a test; what it has said, and the error by which it would have ended."""

    def __init__(self, settings: Settings, pipeline: Pipeline, topic: Topic, monkeypatch: pytest.MonkeyPatch) -> None:
        """Nothing runs yet."""
        self.ended: BaseException | None = None
        self.end = asyncio.Event()
        self.said: list[WorkerState] = []
        self.taken_back: list[bytes] = []
        self.reach: list[WorkerReach] = []
        membership = Membership(member=lambda: "a member", sender=lambda _: self._say, memory=GroupMemory())

        def follow(topic_ids: dict[str, str], works: bool) -> WorkerRollout:
            metrics = RolloutMetrics(CollectorRegistry())
            self.following = WorkerRollout(settings, pipeline, metrics, membership, topic_ids, works=works, fail=self._fail)
            return self.following

        self.part = RolloutSearch(settings, follow, fail=self._fail)

        @contextlib.asynccontextmanager
        async def reader(*_: Any) -> AsyncIterator[Topic]:
            yield topic

        monkeypatch.setattr(rollout, "rollout_reader", reader)
        monkeypatch.setattr(search, "rollout_topic", lambda _: {"content": PLACE.topic_id})
        monkeypatch.setattr(rollout, "make_workers_topic", lambda _: None)

    def _fail(self, error: BaseException) -> NoReturn:
        self.ended = error
        self.end.set()
        raise Ended

    async def _say(self, key: bytes, value: bytes | None) -> Awaitable[None]:
        if value is None:
            self.taken_back.append(key)
        elif (reach := read_worker_reach(Record(key=key, value=value, topic="workers"))) is not None:
            self.reach.append(reach)
        else:
            self.said.append(msgspec.json.decode(value, type=WorkerState))
        confirmed: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        confirmed.set_result(None)
        return confirmed

    def work(self, test: Callable[["OneWorker"], Awaitable[None]]) -> None:
        """Follow the topic while a test's coroutine runs."""

        async def both() -> None:
            following = asyncio.create_task(self.part.run())
            try:
                async with asyncio.timeout(HANG_SECONDS):
                    await test(self)
            finally:
                following.cancel()
                _, still = await asyncio.wait({following}, timeout=HANG_SECONDS)
                assert not still
                if not following.cancelled():
                    assert following.exception() is None or isinstance(following.exception(), Ended)

        asyncio.run(both())

    async def until_said(self, state: str, epoch: int) -> WorkerState:
        """Its first word of this kind on an epoch."""
        while True:
            for one in self.said:
                if (one.state, one.epoch) == (state, epoch):
                    return one
            await asyncio.sleep(0.01)


def batch(*offsets: int) -> Sequence[Any]:
    """Events of the one partition."""
    return [SimpleNamespace(message=SimpleNamespace(topic="content", partition=0, offset=offset)) for offset in offsets]


@pytest.fixture
def settings(tiny_bundle_folder: Path, tmp_path: Path) -> Settings:
    """Settings with a bundle, and a place for others."""
    found = Settings().rollout.model_copy(update={"bundles": str(tmp_path / "bundles"), "cache": tmp_path / "cache"})
    return Settings(bundle=tiny_bundle_folder, state_folder=tmp_path, rollout=found)


@pytest.fixture
def pipeline(settings: Settings) -> Pipeline:
    """The pipeline of these settings."""
    return pipeline_of(settings)


def under(first: BundleName) -> RolloutRecord:
    """The start under this champion."""
    return msgspec.structs.replace(start(PLACE), champion=first)


def to(bundle: BundleName, number: int, mark: int) -> tuple[RolloutRecord, ...]:
    """An epoch under this champion from an offset on."""
    planned, *rest = change(number, {PLACE: mark})
    return msgspec.structs.replace(planned, champion=bundle), *rest  # type: ignore[type-var]


def test_a_worker_that_cannot_load_the_model_that_decides_ends_before_its_first_event(
    settings: Settings, pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With the code of a wrong setting, also if no event comes; the sentence has digest and place."""
    worker = OneWorker(settings, pipeline, Topic(under(bundle_name(pipeline.decider)), *to(MISSING, 1, 5)), monkeypatch)

    async def test(worker: OneWorker) -> None:
        await worker.end.wait()

    worker.work(test)
    assert isinstance(worker.ended, NotStartedError)
    assert worker.ended.exit_code == 2
    for words in (MISSING.digest, settings.rollout.bundles, "epoch 1", "Next:"):
        assert words in str(worker.ended)


def test_a_model_of_an_old_event_that_is_gone_is_named_with_its_place(
    settings: Settings, pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A group that is read again from its beginning: at the start the worker ends with 2; one that worked before ends as a broken one does."""
    own = bundle_name(pipeline.decider)
    topic = Topic(under(own), *to(MISSING, 1, 5), *to(own, 2, 9))

    async def first_event(worker: OneWorker) -> None:
        with pytest.raises(NotStartedError, match=rf"(?s){MISSING.digest}.*{settings.rollout.bundles}.*Next:"):
            await worker.part.admit(batch(6, 10), lambda: False)

    OneWorker(settings, pipeline, topic, monkeypatch).work(first_event)

    async def later_event(worker: OneWorker) -> None:
        await worker.part.admit(batch(9, 10), lambda: False)
        with pytest.raises(DeliveryError, match="cannot be known") as found:
            await worker.part.admit(batch(6), lambda: False)
        assert not isinstance(found.value, NotStartedError)

    OneWorker(settings, pipeline, topic, monkeypatch).work(later_event)


def test_a_topic_that_is_made_while_a_worker_runs_holds_its_next_partitions(
    settings: Settings, pipeline: Pipeline, tiny_bundle: Bundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without the topic events begin; events of partitions that it gets then wait until it has looked again, and the topic decides them."""
    new = stored(settings, tiny_bundle, tmp_path / "new", version="2")
    topic = Topic(under(bundle_name(pipeline.decider)), *to(new, 1, 5))
    worker = OneWorker(settings, pipeline, topic, monkeypatch)
    there: dict[str, str] = {}
    monkeypatch.setattr(search, "rollout_topic", lambda _: there or None)

    async def test(worker: OneWorker) -> None:
        await worker.part.admit(batch(1), lambda: False)
        assert worker.said == []
        there["content"] = PLACE.topic_id
        worker.part.assigned()
        await worker.part.admit(batch(6), lambda: False)
        assert pipeline.decider.model.digest == new.digest

    worker.work(test)


def test_a_topic_that_is_lost_ends_a_worker_at_its_start_with_2_and_later_with_its_next_event(
    settings: Settings, pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch
) -> None:
    """At the start no event need come for that; no event begins in either case, and the sentence is that of the loss."""
    lost = RolloutRecordError("the topic is not there. Next: the way back.")
    is_lost = True

    def look(_: Settings) -> None:
        if is_lost:
            raise lost

    worker = OneWorker(settings, pipeline, Topic(), monkeypatch)
    monkeypatch.setattr(search, "rollout_topic", look)

    async def start(worker: OneWorker) -> None:
        await worker.end.wait()

    worker.work(start)
    assert isinstance(worker.ended, NotStartedError)
    assert str(lost) in str(worker.ended)

    is_lost = False
    worker = OneWorker(settings, pipeline, Topic(), monkeypatch)
    monkeypatch.setattr(search, "rollout_topic", look)

    async def later(worker: OneWorker) -> None:
        nonlocal is_lost
        await worker.part.admit(batch(1), lambda: False)
        is_lost = True
        worker.part.assigned()
        with pytest.raises(DeliveryError, match="way back"):
            await worker.part.admit(batch(2), lambda: False)

    worker.work(later)
    assert worker.ended is None


def test_a_topic_that_is_made_again_while_a_worker_runs_ends_it_with_its_next_event(
    settings: Settings, pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its offsets are those of other events; a topic that is not to be seen for a moment ends nothing."""
    there = {"content": PLACE.topic_id}
    asked = threading.Event()
    monkeypatch.setattr(follower, "SEARCH_SECONDS", 0.0)

    def look(_: Settings) -> dict[str, str] | None:
        found = there.copy() or None
        asked.set()
        return found

    async def until_lost(worker: OneWorker) -> None:
        while True:
            await worker.part.admit(batch(2), lambda: False)
            await asyncio.sleep(rollout.LOOK_SECONDS)

    async def test(worker: OneWorker) -> None:
        await worker.part.admit(batch(1), lambda: False)
        there.clear()
        asked.clear()
        assert await asyncio.to_thread(asked.wait, HANG_SECONDS)
        await worker.part.admit(batch(2), lambda: False)
        there["content"] = "another id"
        with pytest.raises(DeliveryError, match="made again while this worker ran"):
            await until_lost(worker)

    worker = OneWorker(settings, pipeline, Topic(under(bundle_name(pipeline.decider))), monkeypatch)
    monkeypatch.setattr(follower, "rollout_topic", look)
    worker.work(test)


def test_a_worker_that_may_not_make_the_topic_of_its_words_ends_at_its_start_with_2(
    settings: Settings, pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The last line names the topic and the right; a restart without the right ends alike, and decides nothing."""
    worker = OneWorker(settings, pipeline, Topic(under(bundle_name(pipeline.decider))), monkeypatch)
    refused = NotAuthorizedError("this user may not CREATE it. Next: grant it.")

    def make(_: Settings) -> None:
        raise refused

    monkeypatch.setattr(rollout, "make_workers_topic", make)

    async def start(worker: OneWorker) -> None:
        await worker.end.wait()

    worker.work(start)
    assert isinstance(worker.ended, NotStartedError)
    assert settings.rollout.workers_topic in str(worker.ended)
    assert str(refused) in str(worker.ended)


def test_a_worker_that_gets_partitions_as_it_ends_does_end(
    settings: Settings, pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is told of both in the same moment."""
    worker = OneWorker(settings, pipeline, Topic(), monkeypatch)
    monkeypatch.setattr(search, "rollout_topic", lambda _: None)

    async def test(worker: OneWorker) -> None:
        await worker.part.admit(batch(1), lambda: False)
        worker.part.assigned()

    worker.work(test)


def test_no_event_begins_while_the_leader_of_the_topic_is_away(
    settings: Settings, pipeline: Pipeline, tiny_bundle: Bundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Once it is back, the epoch that began meanwhile decides; if it stays away the worker ends, and no event is to blame."""
    new = stored(settings, tiny_bundle, tmp_path / "new", version="2")
    topic = Away(under(bundle_name(pipeline.decider)))

    async def test(worker: OneWorker) -> None:
        await worker.part.admit(batch(1), lambda: False)
        topic.leave()
        held = asyncio.create_task(worker.part.admit(batch(6), lambda: False))
        await topic.asked.wait()
        for record in to(new, 1, 5):
            topic.epochs.take(record)
        await asyncio.sleep(3 * rollout.LOOK_SECONDS)
        assert not held.done()
        topic.back.set()
        await held
        assert pipeline.decider.model.digest == new.digest
        topic.error = unreachable(settings, TimeoutError("the leader of rollout-0"))
        with pytest.raises(DeliveryError, match=r"cannot be known which model decides.*leader of rollout-0.*Next:"):
            await worker.part.admit(batch(7), lambda: False)

    OneWorker(settings, pipeline, topic, monkeypatch).work(test)


def test_what_is_held_is_logged_once_a_minute(settings: Settings, pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch) -> None:
    """The first time at once; then one line has how often it was, of how many events, and the longest time."""
    # Every batch counts as held.
    monkeypatch.setattr(rollout, "LOOK_SECONDS", -1.0)

    async def test(worker: OneWorker) -> None:
        with structlog.testing.capture_logs() as logs:
            for events in (3, 4, 5):
                await worker.part.admit(batch(events), lambda: False)
            monkeypatch.setattr(rollout, "HELD_SECONDS", 0.0)
            await worker.part.admit(batch(6), lambda: False)
        said = [(line["times"], line["events"]) for line in logs if line["event"] == "rollout_held"]
        assert said == [(1, 1), (3, 3)]

    OneWorker(settings, pipeline, Topic(under(bundle_name(pipeline.decider))), monkeypatch).work(test)


def test_a_worker_says_that_it_is_ready_or_why_not(
    settings: Settings, pipeline: Pipeline, tiny_bundle: Bundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A plan that it cannot load costs the plan, and not the worker."""
    new = stored(settings, tiny_bundle, tmp_path / "new", version="2")
    topic = Topic(under(bundle_name(pipeline.decider)))

    async def test(worker: OneWorker) -> None:
        await worker.until_said("decides", 0)
        topic.epochs.take(msgspec.structs.replace(plan(1), champion=MISSING))
        refused = await worker.until_said("refused", 1)
        assert "ffff" in refused.why
        topic.epochs.take(msgspec.structs.replace(plan(2), champion=new))
        ready = await worker.until_said("ready", 2)
        assert ready.digest == new.digest
        await worker.part.admit(batch(1), lambda: False)

    OneWorker(settings, pipeline, topic, monkeypatch).work(test)


def test_a_worker_that_ends_in_good_order_takes_its_word_back(
    settings: Settings, pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And says nothing more, whatever is planned meanwhile."""
    topic = Topic(under(bundle_name(pipeline.decider)))

    async def test(worker: OneWorker) -> None:
        await worker.until_said("decides", 0)
        await worker.part.leave()
        topic.epochs.take(msgspec.structs.replace(plan(1), champion=MISSING))
        await asyncio.sleep(3 * rollout.LOOK_SECONDS)
        assert worker.taken_back == [b"a member"]
        assert [one.state for one in worker.said] == ["decides"]

    OneWorker(settings, pipeline, topic, monkeypatch).work(test)

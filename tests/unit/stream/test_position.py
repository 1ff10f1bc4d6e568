"""Where the worker stands, told every second, also while the broker does not answer."""

import asyncio
import threading
from types import SimpleNamespace
from typing import Any

import pytest
from faust.exceptions import ConsumerNotStarted
from faust.types import TP
from prometheus_client import CollectorRegistry

from monitoring.health import Progress
from monitoring.metrics import Metrics
from stream.app import ConsumerThread
from stream.position import Position
from tests.fakes import LABELS, Clock

PLACE = TP("content", 0)


class SilentBroker:
    """A Faust app whose broker is gone."""

    @property
    def consumer(self) -> Any:
        """Nothing can be asked."""
        msg = "gone"
        raise ConnectionError(msg)


class Waiting:
    """A delivery with events in hand."""

    inflight = 3

    def oldest_seconds(self, now: float) -> float:
        """One was written a minute and a half ago."""
        assert now > 0
        return 90.0


def test_what_is_in_hand_is_told_while_the_broker_is_silent() -> None:
    """The age of the oldest event matters most when nothing moves."""
    registry, delivery, app = CollectorRegistry(), Waiting(), SilentBroker()
    metrics = Metrics(registry, labels=LABELS, topic="content")
    progress = Progress(stall_seconds=20, monotonic=Clock())
    asyncio.run(Position(app, delivery, metrics, progress).tick())  # type: ignore[arg-type]
    names = ("oldest_unprocessed_seconds", "inflight_events", "committed_lag_events", "last_commit_timestamp_seconds")
    assert [registry.get_sample_value(f"tagstream_{name}") for name in names] == [90.0, 3.0, 0.0, 0.0]


class Thread:
    """A consumer's thread that answers at once, in the caller's own."""

    def __init__(self, begin: int, committed: int) -> None:
        self.begin, self.committed_at = begin, committed

    async def beside(self, ask: Any, *arguments: Any) -> Any:
        """Without a thread."""
        return await ask(*arguments)

    def _ensure_consumer(self) -> "Thread":
        return self

    async def _highwaters(self, partitions: list[TP]) -> dict[TP, int]:
        return dict.fromkeys(partitions, self.begin)

    async def beginning_offsets(self, partitions: list[TP]) -> dict[TP, int]:
        """All begin there."""
        return dict.fromkeys(partitions, self.begin)

    def assignment(self) -> set[TP]:
        """One partition."""
        return {PLACE}

    async def committed(self, _: TP) -> int:
        """The group's."""
        return self.committed_at

    async def position(self, _: TP) -> int:
        """All is fetched."""
        return self.begin


def test_what_has_expired_is_counted_once_however_often_the_partition_is_assigned() -> None:
    """Where nothing new comes the commit stays behind the beginning of the log, and each rebalance finds it there again."""
    registry = CollectorRegistry()
    metrics = Metrics(registry, labels=LABELS, topic="content")
    thread = Thread(begin=500, committed=100)
    consumer = SimpleNamespace(assignment=lambda: {PLACE}, _thread=thread, resumed_at={}, given_out=lambda _: 0)
    delivery = SimpleNamespace(holds=set, acknowledged={}, inflight=0, oldest_seconds=lambda _: 0.0)
    app = SimpleNamespace(consumer=consumer)
    position = Position(app, delivery, metrics, Progress(stall_seconds=20, monotonic=Clock()))  # type: ignore[arg-type]

    def assign_and_look() -> float | None:
        consumer.resumed_at[PLACE] = thread.committed_at
        asyncio.run(position.tick())
        return registry.get_sample_value("tagstream_events_expired_total")

    assert [assign_and_look(), assign_and_look()] == [400.0, 400.0]
    thread.begin = 650
    assert assign_and_look() == 550.0


def test_a_question_that_nobody_waits_for_any_more_is_taken_back() -> None:
    """A broker that does not answer must not hold up the thread that fetches and commits."""

    async def scenario() -> None:
        loop = asyncio.new_event_loop()
        running = threading.Thread(target=loop.run_forever)
        running.start()
        ended = threading.Event()

        async def silent() -> None:
            try:
                await asyncio.sleep(60)
            finally:
                ended.set()

        thread: Any = ConsumerThread.__new__(ConsumerThread)
        thread.thread_loop = loop
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.1):
                await thread.beside(silent)
        assert await asyncio.to_thread(ended.wait, 5)
        loop.call_soon_threadsafe(loop.stop)
        await asyncio.to_thread(running.join, 5)
        loop.close()
        with pytest.raises(ConsumerNotStarted):
            await thread.beside(silent)

    asyncio.run(scenario())

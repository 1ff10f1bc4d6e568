"""The way of a record from Faust's consumer to the agent, without a broker: what it costs is counted in tasks, not in time."""

import asyncio
from collections.abc import AsyncIterator, Coroutine
from types import SimpleNamespace
from typing import Any

import faust
import pytest
from faust.types import TP
from faust.types.tuples import ConsumerMessage
from hypothesis import given
from hypothesis import strategies as st

from tagstream.stream.kafka.group_memory import GroupMemory
from tagstream.stream.settings.settings import Settings
from tagstream.stream.worker.consumer import HANDED, Consumer, Stepped
from tagstream.stream.worker.faust_app import faust_app, raw_topic
from tagstream.stream.worker.faust_engine import EVENTS_AT_ONCE, FaustEngine, queued
from tests.counting import counted_calls
from tests.waiting import HANG_SECONDS

PLACE = TP("content", 0)
EVENTS = 300
# An event's; 24 are taken.
MOST_CALLS = 28


def message(offset: int, *, generation: int = 0) -> ConsumerMessage:
    """A record as Faust's consumer makes it."""
    return ConsumerMessage(
        PLACE.topic, PLACE.partition, offset, 1.0, 0, [], b"key", b"value", None, tp=PLACE, generation_id=generation
    )


class Counted:
    """Counts the tasks that an event loop makes, and the passes that it makes."""

    def __init__(self) -> None:
        """Begin to count on the running loop."""
        self.tasks = self.passes = 0
        self._loop = asyncio.get_running_loop()
        self._loop.set_task_factory(self._make)
        self._pass()

    def _make(self, loop: asyncio.AbstractEventLoop, coroutine: Coroutine[Any, Any, Any], **options: Any) -> asyncio.Task[Any]:
        self.tasks += 1
        return asyncio.Task(coroutine, loop=loop, **options)

    def _pass(self) -> None:
        self.passes += 1
        self._loop.call_soon(self._pass)


class Rig:
    """Faust's own consumer, conductor and stream under our changes; the records come from a list."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, messages: list[ConsumerMessage], **knobs: Any) -> None:
        """Join them on the running loop."""
        monkeypatch.setattr(Consumer, "_new_consumer_thread", lambda _: SimpleNamespace(beacon=None))
        settings = Settings(**knobs)
        self.app = faust_app(settings, idempotent=True)
        self.engine = FaustEngine(self.app, settings, GroupMemory())
        self.app.loop = asyncio.get_running_loop()
        self.app.consumer = self.consumer = Consumer(
            self.app.transport, self.app.topics.on_message, None, None, loop=self.app.loop, beacon=self.app.beacon
        )
        self.app.flow_control.resume()
        self.consumer.resume_flow()
        self.topic = raw_topic(self.app, PLACE.topic)
        self.stream = self.app.stream(self.topic, beacon=self.app.beacon).noack()
        self.fetcher = SimpleNamespace(_stopped=asyncio.Event())

        async def getmany(*_: Any, **__: Any) -> AsyncIterator[tuple[TP, Any]]:
            for one in messages:
                yield PLACE, one
            self.fetcher._stopped.set()

        monkeypatch.setattr(Consumer, "getmany", getmany)
        channel = self.stream.channel
        self.queue = channel.queue
        self.app.topics._tp_index[PLACE] = {channel}
        self.app.topics._tp_to_callback[PLACE] = self.app.topics._compiler.build(self.app.topics, PLACE, {channel})

    async def drain(self) -> None:
        """Hand all records to the stream, as Faust's fetcher does."""
        await self.consumer._drain_messages(self.fetcher)


def run(scenario: Coroutine[Any, Any, None]) -> None:
    """Run it on a loop of its own, bounded against hanging."""

    async def bounded() -> None:
        async with asyncio.timeout(HANG_SECONDS):
            await scenario

    asyncio.run(bounded())


async def taken(stream: Any, count: int) -> list[Any]:
    """The next events of the stream."""
    found = []
    async for event in queued(stream):
        found.append(event)
        if len(found) == count:
            break
    return found


def test_a_record_is_handed_to_its_agent_without_a_task(monkeypatch: pytest.MonkeyPatch) -> None:
    """Faust makes four tasks for each."""

    async def scenario() -> None:
        rig = Rig(monkeypatch, [message(offset) for offset in range(EVENTS)])
        counted = Counted()
        await rig.drain()
        assert rig.queue.qsize() == EVENTS
        assert counted.tasks < EVENTS / 10
        assert counted.passes < EVENTS / 10

    run(scenario())


def test_events_that_wait_are_taken_without_a_pass_of_the_loop_for_each(monkeypatch: pytest.MonkeyPatch) -> None:
    """Faust makes one pass for each."""

    async def scenario() -> None:
        rig = Rig(monkeypatch, [message(offset) for offset in range(EVENTS)])
        await rig.drain()
        counted = Counted()
        found = await taken(rig.stream, EVENTS)
        assert [event.message.offset for event in found] == list(range(EVENTS))
        assert [(event.key, event.value) for event in found[:2]] == [(b"key", b"value")] * 2
        assert counted.tasks < EVENTS / 10
        assert counted.passes < EVENTS / EVENTS_AT_ONCE + EVENTS / 10

    run(scenario())


def test_a_full_queue_makes_the_reader_wait_and_loses_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """The coroutine that hands a record over waits then, and goes on in a task of its own."""

    async def scenario() -> None:
        rig = Rig(monkeypatch, [message(offset) for offset in range(EVENTS)], stream_buffer_events=100)
        monkeypatch.setattr(rig.consumer, "on_buffer_full", lambda _: None)
        monkeypatch.setattr(rig.consumer, "on_buffer_drop", lambda _: None)
        draining = asyncio.create_task(rig.drain())
        while not rig.queue.full():  # noqa: ASYNC110
            await asyncio.sleep(0)
        assert not draining.done()
        found = await taken(rig.stream, EVENTS)
        assert [event.message.offset for event in found] == list(range(EVENTS))
        await draining

    run(scenario())


def test_a_stopped_flow_ends_the_wait_for_room(monkeypatch: pytest.MonkeyPatch) -> None:
    """Or a rebalance would wait for an agent that waits for the rebalance."""

    async def scenario() -> None:
        rig = Rig(monkeypatch, [message(offset) for offset in range(101)], stream_buffer_events=100)
        monkeypatch.setattr(rig.consumer, "on_buffer_full", lambda _: None)
        draining = asyncio.create_task(rig.drain())
        while not rig.queue.full():  # noqa: ASYNC110
            await asyncio.sleep(0)
        rig.consumer.stop_flow()
        await draining
        assert rig.queue.qsize() == 100

    run(scenario())


def test_events_that_a_rebalance_has_overtaken_are_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    """Their partition may have another owner, so they must not be decided here."""

    async def scenario() -> None:
        messages = [message(offset, generation=7 if offset % 2 else 0) for offset in range(EVENTS)]
        rig = Rig(monkeypatch, messages)
        await rig.drain()
        found = await taken(rig.stream, EVENTS // 2)
        assert [event.message.offset for event in found] == list(range(0, EVENTS, 2))

    run(scenario())


def test_a_handed_back_queue_that_is_cleared_meanwhile_gives_no_event(monkeypatch: pytest.MonkeyPatch) -> None:
    """Faust clears the queues in a rebalance, perhaps while the agent has an event in hand."""

    async def scenario() -> None:
        rig = Rig(monkeypatch, [message(offset) for offset in range(4)])
        await rig.drain()
        events = queued(rig.stream)
        assert (await anext(events)).message.offset == 0
        rig.queue.clear()
        following = asyncio.ensure_future(anext(events))
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        assert not following.done()
        following.cancel()

    run(scenario())


def test_a_record_of_a_typed_topic_is_left_to_faust(monkeypatch: pytest.MonkeyPatch) -> None:
    """Faust decodes it, and ours would hand over its bytes."""

    async def scenario() -> None:
        rig = Rig(monkeypatch, [])
        assert rig.consumer._hand_over(message(0)) is HANDED
        rig.stream.channel.schema = faust.Schema(value_type=str)
        waits = rig.consumer._hand_over(message(1))
        assert waits is not HANDED
        waits.close()

    run(scenario())


def test_an_acknowledged_event_is_acknowledged_to_the_consumer(monkeypatch: pytest.MonkeyPatch) -> None:
    """Faust's stream would also tell its sensors, of which there are none."""

    async def scenario() -> None:
        rig = Rig(monkeypatch, [message(offset) for offset in range(3)])
        rig.app.topics._acking_topics.add(PLACE.topic)
        await rig.drain()
        found = await taken(rig.stream, 3)
        rig.engine.ack(found)
        assert rig.consumer._acked_index[PLACE] == {0, 1, 2}

    run(scenario())


@given(
    acks=st.lists(st.lists(st.integers(0, 9), min_size=1, max_size=12), max_size=6),
    committed=st.none() | st.integers(0, 9),
    enabled=st.booleans(),
)
def test_events_that_are_acknowledged_together_are_noted_as_faust_notes_each(
    acks: list[list[int]], committed: int | None, *, enabled: bool
) -> None:
    """In any order, again, and behind what is committed."""

    async def scenario(*, together: bool) -> tuple[Any, ...]:
        with pytest.MonkeyPatch.context() as monkeypatch:
            rig = Rig(monkeypatch, [message(offset) for offset in range(10)])
            if enabled:
                rig.app.topics._acking_topics.add(PLACE.topic)
            await rig.drain()
            found, consumer = await taken(rig.stream, 10), rig.consumer
            for event in found:
                consumer._committable[PLACE].hand_out(event.message.offset, 100)
            consumer._committed_offset[PLACE] = committed
            for several in acks:
                if together:
                    rig.engine.ack([found[place] for place in several])
                else:
                    for place in several:
                        found[place].ack()
            held = consumer._committable[PLACE].unacknowledged_bytes
            done = [(event.message.acked, event.message.refcount) for event in found]
            return consumer._acked_index[PLACE], consumer._acked[PLACE], consumer._n_acked, held, done

    async def both() -> None:
        assert await scenario(together=True) == await scenario(together=False)

    run(both())


def test_handing_over_and_acknowledging_take_few_calls(monkeypatch: pytest.MonkeyPatch) -> None:
    """Counted, since calls are what an event costs in the frame: of Python's functions, by Faust's consumer, ours, and the stream."""

    async def scenario() -> None:
        rig = Rig(monkeypatch, [message(offset) for offset in range(EVENTS)])
        rig.app.topics._acking_topics.add(PLACE.topic)
        with counted_calls() as calls:
            await rig.drain()
            rig.engine.ack(await taken(rig.stream, EVENTS))
        assert calls.number / EVENTS < MOST_CALLS

    run(scenario())


def test_what_is_raised_in_a_stepped_coroutine_comes_out_of_it_and_a_cancellation_goes_in() -> None:
    """It stands for the coroutine in everything."""

    async def fails(waits: asyncio.Future[None] | None) -> None:
        if waits is not None:
            await waits
        msg = "no"
        raise ValueError(msg)

    async def cancelled(seen: list[str]) -> None:
        try:
            await asyncio.Event().wait()
        finally:
            seen.append("cancelled")

    async def scenario() -> None:
        with pytest.raises(ValueError, match="no"):
            Stepped(fails(None))
        waits = asyncio.get_running_loop().create_future()
        begun = asyncio.ensure_future(Stepped(fails(waits)))
        await asyncio.sleep(0)
        waits.set_result(None)
        with pytest.raises(ValueError, match="no"):
            await begun
        seen: list[str] = []
        begun = asyncio.ensure_future(Stepped(cancelled(seen)))
        await asyncio.sleep(0)
        begun.cancel()
        with pytest.raises(asyncio.CancelledError):
            await begun
        assert seen == ["cancelled"]

    run(scenario())


def test_an_error_of_the_handing_leaves_no_coroutine_behind(monkeypatch: pytest.MonkeyPatch) -> None:
    """A coroutine that nobody awaits would be a second, misleading error."""

    async def fails() -> None:
        msg = "no"
        raise KeyError(msg)

    async def scenario() -> None:
        rig = Rig(monkeypatch, [])
        other = asyncio.Event().wait()
        with pytest.raises(KeyError, match="no"):
            await rig.consumer.wait_first(fails(), other)
        with pytest.raises(RuntimeError, match="cannot reuse already awaited coroutine"):
            other.send(None)

    run(scenario())

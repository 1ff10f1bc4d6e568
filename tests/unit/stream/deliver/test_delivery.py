"""Delivery loses no event: which events it acknowledges, when, and in which order."""

import asyncio
import contextlib
import json
import subprocess
import sys
import threading
import time
from collections.abc import AsyncIterator, Callable, Coroutine, Sequence
from dataclasses import dataclass
from typing import Any

import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from monitoring.health import Progress
from monitoring.observer import Observation
from monitoring.vocabulary import Destination
from stream.contract.publication import Publication
from stream.contract.record import Record
from stream.deliver.crash.guard import Guard, Unguarded
from stream.deliver.delivery import Delivery, Transact
from stream.deliver.fatal import EXIT_BROKEN, DeliveryError
from stream.deliver.inference import record_of
from stream.settings.settings import Settings
from tests.fakes import (
    ANY_OUTCOME,
    Clock,
    Death,
    Died,
    FakeBroker,
    FakeEvent,
    FakeMessage,
    FakeStream,
    Gate,
    RecordingObserver,
    offset_of,
)

# A bound against hanging only.
SECONDS = 100


def decided(events: Sequence[Record]) -> list[Publication]:
    """One publication an event, with the offset as its key."""
    return [
        Publication(
            destination=Destination.TAGGED,
            key=str(event.offset).encode(),
            value=event.value,
            headers=(),
            observation=Observation(
                destination=Destination.TAGGED, created_ms=event.timestamp_ms, label="other", confidence=0.5
            ),
            outcome=ANY_OUTCOME,
        )
        for event in events
    ]


@dataclass
class Rig:
    """A delivery under way, and everything around it."""

    delivery: Delivery
    stream: FakeStream
    broker: FakeBroker
    observer: RecordingObserver
    death: Death
    run: asyncio.Task[None]


@contextlib.asynccontextmanager
async def rig(
    *,
    decide: Callable[[Sequence[Record]], list[Publication]] = decided,
    broker: FakeBroker | None = None,
    stream: FakeStream | None = None,
    observer: RecordingObserver | None = None,
    feed: Sequence[int] = (),
    transact: Transact | None = None,
    guard: Guard | None = None,
    **knobs: Any,
) -> AsyncIterator[Rig]:
    """Run a delivery until the block ends, then cancel it; the loop does not report what the fakes raised in tasks."""
    broker, stream, observer = broker or FakeBroker(), stream or FakeStream(), observer or RecordingObserver()
    death = Death()
    knobs = {"batch_max_events": 4, "inference_threads": 2} | knobs
    delivery = Delivery(
        decide=decide,
        send=broker.send,
        observer=observer,
        progress=Progress(stall_seconds=20, monotonic=Clock()),
        settings=Settings(**knobs),
        transact=transact,
        guard=guard,
        fail=death,
    )
    asyncio.get_running_loop().set_exception_handler(lambda _, __: None)
    stream.feed(*feed)
    run = asyncio.create_task(delivery.run(stream))
    try:
        yield Rig(delivery, stream, broker, observer, death, run)
    finally:
        if isinstance(decide, Gate):
            decide.open()
        run.cancel()
        with contextlib.suppress(asyncio.CancelledError, Died):
            await run


def drive(scenario: Callable[[], Coroutine[Any, Any, None]]) -> None:
    """Run a scenario on a loop of its own, for at most `SECONDS`."""
    asyncio.run(asyncio.wait_for(scenario(), SECONDS))


async def until(holds: Callable[[], bool]) -> None:
    """Wait until something holds; the scenario's bound ends the wait."""
    while not holds():  # noqa: ASYNC110
        await asyncio.sleep(0.001)


async def quiet() -> None:
    """Let the loop and the threads do what they still can; used before an assertion that something has not happened."""
    for _ in range(40):
        await asyncio.sleep(0.001)


# --- the good way ------------------------------------------------------------------------------------------------------


def test_every_event_is_sent_once_and_acknowledged_in_order() -> None:
    """Over many batches no event is lost, none is sent twice, and none is out of order."""

    async def scenario() -> None:
        async with rig(feed=range(100)) as it:
            await until(lambda: len(it.stream.acknowledged) == 100)
            assert it.broker.sent == it.stream.acknowledged == list(range(100))
            assert it.death.causes == []
            await until(lambda: len(it.observer.observations) == 100)
            assert sum(it.observer.batches) == 100
            assert it.observer.repeated == 0
            await until(lambda: it.delivery.inflight == 0)

    drive(scenario)


def test_events_that_are_taken_again_are_counted_and_delivered_again() -> None:
    """After a rebalance Faust goes back to the committed offset; the metric counts the events that come twice."""

    async def scenario() -> None:
        async with rig(feed=[*range(10), *range(7, 12), 9]) as it:
            await until(lambda: len(it.stream.acknowledged) == 16)
            await until(lambda: sum(it.observer.batches) == 16)
            assert it.observer.repeated == 4

    drive(scenario)


def test_a_lone_event_is_not_held_back() -> None:
    """A single event is delivered although no second one ever comes."""

    async def scenario() -> None:
        async with rig(feed=[0]) as it:
            await until(lambda: it.stream.acknowledged == [0])
            assert it.observer.batches == [1]

    drive(scenario)


def test_a_batch_is_never_larger_than_its_limit_and_fills_itself_under_load() -> None:
    """While the model is busy, events collect, and then they go in full batches of at most `batch_max_events`."""

    async def scenario() -> None:
        gate = Gate(decided, 0)
        async with rig(decide=gate, feed=range(50), inference_threads=1) as it:
            await until(lambda: bool(gate.batches))
            await quiet()
            gate.open()
            await until(lambda: len(it.stream.acknowledged) == 50)
            assert max(map(len, gate.batches)) == 4
            assert [offset for batch in gate.batches for offset in batch] == list(range(50))

    drive(scenario)


def test_no_more_is_taken_from_the_stream_than_the_batches_under_way_and_one_that_waits() -> None:
    """While no outcome is confirmed, taking stops, and the backlog stays in Kafka, where it is visible as lag."""

    async def scenario() -> None:
        async with rig(feed=range(500), broker=FakeBroker(confirms=False)) as it:
            await quiet()
            under_way = (2 + 1) * 4
            assert it.delivery.inflight <= under_way
            assert it.stream.taken <= under_way + 4 + 1
            assert it.stream.acknowledged == []

    drive(scenario)


def test_the_model_works_while_the_broker_confirms() -> None:
    """A second batch is decided and sent before the first is confirmed."""

    async def scenario() -> None:
        async with rig(broker=FakeBroker(confirms=False), batch_max_events=2) as it:
            it.stream.feed(0)
            await until(lambda: it.broker.sent == [0])
            it.stream.feed(1)
            await until(lambda: it.broker.sent == [0, 1])
            assert it.stream.acknowledged == []

    drive(scenario)


# --- order -------------------------------------------------------------------------------------------------------------


def test_nothing_is_acknowledged_before_all_of_its_batch_is_confirmed() -> None:
    """Three of four confirmations acknowledge none of the four."""

    async def scenario() -> None:
        async with rig(broker=FakeBroker(confirms=False), feed=[0, 1, 2, 3]) as it:
            await until(lambda: len(it.broker.sent) == 4)
            it.broker.confirm(0, 1, 3)
            await quiet()
            assert it.stream.acknowledged == []
            it.broker.confirm(2)
            await until(lambda: it.stream.acknowledged == [0, 1, 2, 3])

    drive(scenario)


def test_a_later_batch_that_is_confirmed_first_waits_for_the_earlier_one() -> None:
    """Acknowledgements leave no gap, because Faust commits over some gaps."""

    async def scenario() -> None:
        async with rig(broker=FakeBroker(confirms=False), batch_max_events=2) as it:
            for offset in (0, 1, 2):
                it.stream.feed(offset)
                await until(lambda seen=offset: it.broker.sent[-1:] == [seen])  # type: ignore[misc]
            it.broker.confirm(2, 1)
            await quiet()
            assert it.stream.acknowledged == []
            it.broker.confirm(0)
            await until(lambda: it.stream.acknowledged == [0, 1, 2])

    drive(scenario)


def test_a_batch_that_is_decided_first_is_not_sent_before_the_earlier_one() -> None:
    """Records reach the broker in the order of the log, whichever thread finishes first."""

    async def scenario() -> None:
        gate = Gate(decided, 0)
        async with rig(decide=gate, feed=[0], batch_max_events=2) as it:
            await until(lambda: gate.batches == [[0]])
            it.stream.feed(1)
            await until(lambda: gate.batches == [[0], [1]])
            await quiet()
            assert it.broker.sent == []
            gate.open(0)
            await until(lambda: it.stream.acknowledged == [0, 1])
            assert it.broker.sent == [0, 1]

    drive(scenario)


@hypothesis_settings(max_examples=60, deadline=None)
@given(st.permutations(range(12)), st.integers(1, 5), st.integers(1, 3))
def test_in_any_order_of_confirmations_the_acknowledged_events_are_a_confirmed_prefix(
    order: list[int], limit: int, threads: int
) -> None:
    """At every moment the acknowledged events are the head of the log, and the broker has confirmed all of them."""
    events = len(order)

    async def scenario() -> None:
        confirmed: set[int] = set()
        async with rig(
            broker=FakeBroker(confirms=False), feed=range(events), batch_max_events=limit, inference_threads=threads
        ) as it:
            while len(confirmed) < events:
                await until(lambda: bool(it.broker.pending.keys() - confirmed))
                offset = min(it.broker.pending.keys() - confirmed, key=order.index)
                it.broker.confirm(offset)
                confirmed.add(offset)
                for _ in range(8):
                    await asyncio.sleep(0)
                assert it.stream.acknowledged == list(range(len(it.stream.acknowledged)))
                assert confirmed >= set(it.stream.acknowledged)
            await until(lambda: len(it.stream.acknowledged) == events)
            assert it.broker.sent == list(range(events))

    drive(scenario)


# --- the broken machine ------------------------------------------------------------------------------------------------

# Each of these machines breaks at offset 4. Events 0 to 3 come before it and are safe, 5 and later come after it.
BROKEN = 4


class RefusingBroker(FakeBroker):
    """The producer raises as the record is handed over."""

    async def send(self, publication: Publication) -> asyncio.Future[None]:
        """Refuse one record."""
        if offset_of(publication) == BROKEN:
            raise ConnectionError(BROKEN)
        return await super().send(publication)


class LosingBroker(FakeBroker):
    """A record is taken, and its confirmation fails, is cancelled or never comes."""

    def __init__(self, how: Callable[[asyncio.Future[None]], object]) -> None:
        """`how` is called with the confirmation and may fail or cancel it."""
        super().__init__()
        self._how = how

    async def send(self, publication: Publication) -> asyncio.Future[None]:
        """Take every record, and spoil one confirmation."""
        if offset_of(publication) != BROKEN:
            return await super().send(publication)
        self.sent.append(BROKEN)
        confirmation: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._how(confirmation)
        return confirmation


class BlockedBroker(FakeBroker):
    """The producer's buffer is full and stays full."""

    async def send(self, publication: Publication) -> asyncio.Future[None]:
        """Take all records but one."""
        if offset_of(publication) == BROKEN:
            await asyncio.Event().wait()
        return await super().send(publication)


class DeafStream(FakeStream):
    """Faust refuses an acknowledgement."""

    async def ack(self, event: Any) -> bool:
        """Refuse one."""
        if event.message.offset == BROKEN:
            raise KeyError(BROKEN)
        return await super().ack(event)


class RaisingObserver(RecordingObserver):
    """An observer that breaks its promise."""

    def received(self, events: int) -> None:
        """Raise on the second batch."""
        super().received(events)
        if len(self.batches) == 2:
            raise ZeroDivisionError


def breaks(how: Callable[[list[Publication]], list[Publication]]) -> Callable[[Sequence[Record]], list[Publication]]:
    """A `decide` that goes wrong for the batch of the broken offset."""
    return lambda events: how(decided(events)) if events[0].offset == BROKEN else decided(events)


def raises(error: BaseException) -> Callable[[object], Any]:
    """A function that raises."""

    def throw(_: object) -> Any:
        raise error

    return throw


MACHINES: dict[str, tuple[dict[str, Any], type[BaseException], str]] = {
    "send raises": ({"broker": RefusingBroker}, ConnectionError, "4"),
    "send blocks": ({"broker": BlockedBroker, "produce_timeout_seconds": 2}, DeliveryError, "did not confirm"),
    "confirmation fails": (
        {"broker": lambda: LosingBroker(lambda future: future.set_exception(OSError("gone")))},
        OSError,
        "gone",
    ),
    "confirmation is cancelled by the producer": (
        {"broker": lambda: LosingBroker(lambda future: future.cancel())},
        DeliveryError,
        "cancelled",
    ),
    "confirmation never comes": (
        {"broker": lambda: LosingBroker(lambda _: None), "produce_timeout_seconds": 2},
        DeliveryError,
        "did not confirm 1 outcomes within 2 s",
    ),
    "decide raises": ({"decide": lambda: breaks(raises(MemoryError("full")))}, MemoryError, "full"),
    "decide exits": ({"decide": lambda: breaks(raises(SystemExit(3)))}, SystemExit, "3"),
    "decide loses one": ({"decide": lambda: breaks(lambda found: found[:-1])}, DeliveryError, "1 events became 0 outcomes"),
    "decide invents one": ({"decide": lambda: breaks(lambda found: [*found, *found])}, DeliveryError, "became 2 outcomes"),
    "decide hangs": (
        {"decide": lambda: Gate(decided, BROKEN), "inference_timeout_seconds": 2},
        DeliveryError,
        "the model did not answer for a batch of 1 events within 2 s",
    ),
    "acknowledgement raises": ({"stream": DeafStream}, KeyError, "4"),
    "observer raises": ({"observer": RaisingObserver}, ZeroDivisionError, ""),
}


@pytest.mark.parametrize("name", MACHINES)
def test_a_broken_machine_ends_the_process_and_acknowledges_nothing_of_its_batch_nor_of_later_ones(name: str) -> None:
    """`fail` is called once, with the cause; events that were safe before stay acknowledged."""
    parts, kind, says = MACHINES[name]

    async def scenario() -> None:
        made = {key: part() if callable(part) else part for key, part in parts.items()}
        async with rig(**made) as it:
            it.stream.feed(0, 1, 2, 3)
            await until(lambda: it.stream.acknowledged == [0, 1, 2, 3])
            it.stream.feed(BROKEN)
            await until(lambda: it.stream.taken == BROKEN + 1)
            await asyncio.sleep(0)
            it.stream.feed(*range(BROKEN + 1, 40))
            await until(lambda: bool(it.death.causes))
            await quiet()
            assert it.stream.acknowledged == [0, 1, 2, 3]
            (cause,) = it.death.causes
            assert isinstance(cause, kind)
            assert says in str(cause)

    drive(scenario)


def test_an_error_of_the_stream_itself_ends_the_process() -> None:
    """The agent itself must not raise, because Faust would then stop gracefully, and commit."""

    class TornStream(FakeStream):
        async def events(self) -> AsyncIterator[Any]:
            async for event in super().events():
                yield event
                raise ConnectionResetError

    async def scenario() -> None:
        async with rig(stream=TornStream(), broker=FakeBroker(confirms=False), feed=[0]) as it:
            await until(lambda: bool(it.death.causes))
            assert isinstance(it.death.causes[0], ConnectionResetError)
            assert it.stream.acknowledged == []

    drive(scenario)


# --- partitions that go ------------------------------------------------------------------------------------------------


class Suspicious(Unguarded):
    """A guard that suspects some offsets, so that they are decided alone."""

    def __init__(self, suspects: set[int]) -> None:
        self._offsets = suspects

    def suspects(self, partition: int, offset: int) -> bool:  # noqa: ARG002
        """Is it one of them?"""
        return offset in self._offsets


@hypothesis_settings(max_examples=60, deadline=None)
@given(
    turns=st.lists(st.integers(0, 60), min_size=1, max_size=6),
    suspects=st.sets(st.integers(0, 29)),
    limit=st.integers(1, 5),
    threads=st.integers(1, 3),
    slow=st.booleans(),
)
def test_whenever_partitions_go_begun_batches_are_finished_and_other_events_handed_back(
    turns: list[int], suspects: set[int], limit: int, threads: int, slow: bool
) -> None:
    """After `hand_back` all sent events are acknowledged, a head of the log; read again from there, every event leaves once."""
    events = 30

    def decide(batch: Sequence[Record]) -> list[Publication]:
        if slow:
            time.sleep(0.0005)
        return decided(batch)

    async def scenario() -> None:
        async with rig(
            decide=decide, feed=range(events), guard=Suspicious(suspects), batch_max_events=limit, inference_threads=threads
        ) as it:
            for wait in turns:
                for _ in range(wait):
                    await asyncio.sleep(0)
                await it.delivery.hand_back()
                done = len(it.stream.acknowledged)
                assert it.stream.acknowledged == it.broker.sent == list(range(done))
                assert it.delivery.inflight == 0
                await until(it.stream.coming.empty)
                await quiet()
                assert len(it.broker.sent) == done
                assert it.delivery.oldest_seconds(time.time()) == 0
                assert it.delivery.holds() == set()
                it.delivery.take_again()
                it.stream.feed(*range(done, events))
            await until(lambda: len(it.stream.acknowledged) == events)
            assert it.stream.acknowledged == it.broker.sent == list(range(events))
            assert it.observer.repeated == 0
            assert it.death.causes == []

    drive(scenario)


def test_an_event_that_still_comes_after_its_partition_went_is_not_taken() -> None:
    """If it were taken, it would be acknowledged and committed over the events before it that were handed back."""

    async def scenario() -> None:
        async with rig() as it:
            await it.delivery.hand_back()
            it.stream.feed(7)
            await until(lambda: it.stream.taken == 1)
            it.delivery.take_again()
            await quiet()
            assert it.broker.sent == []
            it.stream.feed(5, 6, 7)
            await until(lambda: it.stream.acknowledged == [5, 6, 7])

    drive(scenario)


def test_a_suspect_that_waits_for_the_batch_before_it_is_handed_back() -> None:
    """A suspect that waits for the model has not begun."""

    async def scenario() -> None:
        gate = Gate(decided, 0)
        async with rig(decide=gate, feed=range(3), guard=Suspicious({2})) as it:
            await until(lambda: gate.batches != [])
            await quiet()
            going = asyncio.create_task(it.delivery.hand_back())
            await quiet()
            gate.open()
            await going
            await quiet()
            assert 2 not in [offset for batch in gate.batches for offset in batch]
            assert it.broker.sent == it.stream.acknowledged

    drive(scenario)


def test_partitions_that_go_wait_for_one_suspect_and_not_for_all() -> None:
    """Suspects are decided one at a time, and the group waits only for the one in the model."""

    async def scenario() -> None:
        gate = Gate(decided, 0)
        async with rig(decide=gate, feed=range(4), guard=Suspicious(set(range(4)))) as it:
            await until(lambda: gate.batches == [[0]])
            going = asyncio.create_task(it.delivery.hand_back())
            await quiet()
            assert not going.done()
            gate.open()
            await going
            assert gate.batches == [[0]]
            assert it.stream.acknowledged == [0]

    drive(scenario)


# --- the end -----------------------------------------------------------------------------------------------------------


def test_cancellation_while_the_broker_confirms_acknowledges_nothing_more() -> None:
    """When a worker is told to stop, events that are not confirmed are read again, and this is no failure."""

    async def scenario() -> None:
        async with rig(broker=FakeBroker(confirms=False), feed=[0, 1]) as it:
            await until(lambda: it.broker.sent == [0, 1])
            it.run.cancel()
            with pytest.raises(asyncio.CancelledError):
                await it.run
            assert it.delivery.inflight == 0
            for confirmation in it.broker.pending.values():
                if not confirmation.done():
                    confirmation.set_result(None)
            await quiet()
            assert it.stream.acknowledged == []
            assert it.death.causes == []

    drive(scenario)


def test_cancellation_at_the_moment_of_confirmation_acknowledges_nothing() -> None:
    """A run that is cancelled in the turn of the loop in which the broker confirms acknowledges all or none, and does not fail."""

    async def scenario() -> None:
        async with rig(broker=FakeBroker(confirms=False), feed=[0]) as it:
            await until(lambda: it.broker.sent == [0])
            it.broker.confirm(0)
            it.run.cancel()
            with pytest.raises(asyncio.CancelledError):
                await it.run
            await quiet()
            assert it.stream.acknowledged in ([], [0])
            assert it.death.causes == []
            assert it.delivery.inflight == 0

    drive(scenario)


def test_cancellation_does_not_wait_for_a_model_that_hangs() -> None:
    """The event loop stays free, so that the bound of the shutdown is kept."""

    async def scenario() -> None:
        gate = Gate(decided, 0)
        async with rig(decide=gate, feed=[0]) as it:
            await until(lambda: gate.batches == [[0]])
            # If the loop waited for the thread, only another thread could open the gate.
            late = threading.Timer(SECONDS, gate.open)
            late.start()
            it.run.cancel()
            with pytest.raises(asyncio.CancelledError):
                await it.run
            assert late.is_alive()
            late.cancel()
            gate.open()
            await quiet()
            assert it.broker.sent == []
            assert it.stream.acknowledged == []

    drive(scenario)


def test_all_inference_threads_are_there_before_there_is_work_for_them() -> None:
    """The memory of the threads is allocated when the worker starts, not when its load first rises."""

    def inferring() -> int:
        return sum(thread.name.startswith("inference") for thread in threading.enumerate())

    async def scenario() -> None:
        await until(lambda: inferring() == 0)
        async with rig(inference_threads=3) as it:
            await until(lambda: inferring() == 3)
            assert it.broker.sent == []

    drive(scenario)


def test_the_end_of_the_stream_ends_the_run() -> None:
    """Confirmed events are acknowledged, and no task is left running."""

    async def scenario() -> None:
        async with rig(feed=[0, 1, 2]) as it:
            await until(lambda: it.stream.acknowledged == [0, 1, 2])
            it.stream.end()
            await it.run
            assert len(asyncio.all_tasks()) == 2  # this scenario and the bound around it
            assert it.death.causes == []

    drive(scenario)


# --- the edge to Faust -------------------------------------------------------------------------------------------------


def test_a_message_becomes_a_record_without_a_change() -> None:
    """Bytes, place and headers stay as they are; Faust's seconds become milliseconds."""
    message = FakeMessage(9, b"v", b"k", partition=2, headers=[("a", b"1"), ("a", b"2")])
    assert record_of(message) == Record(
        topic="content",
        partition=2,
        offset=9,
        timestamp_ms=1_700_000_000_123,
        key=b"k",
        value=b"v",
        headers=(("a", b"1"), ("a", b"2")),
    )


def test_a_message_without_a_timestamp_or_headers_is_no_trouble() -> None:
    """Old producers send neither, and the record says 0 and no headers."""
    found = record_of(FakeMessage(1, None, timestamp=None, headers=None))
    assert (found.timestamp_ms, found.headers, found.value) == (0, (), None)


def died(preamble: str) -> subprocess.CompletedProcess[str]:
    """Run `die` in a process of its own."""
    program = (
        "import sys\nfrom stream.deliver.fatal import die\nfrom stream.logs import configure\n"
        f"configure(level='info', form='json')\n{preamble}\n"
        "try:\n    raise OSError('broker gone')\nexcept OSError as error:\n    die(error)\n"
    )
    return subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=30, check=False)


def test_dying_says_why_and_gives_the_exit_code() -> None:
    """`die` writes one JSON line with the cause, ends with the documented exit code, and runs no exit handler."""
    ended = died("import atexit\natexit.register(lambda: print('commit'))")
    assert ended.returncode == EXIT_BROKEN
    line = json.loads(ended.stderr)
    assert (line["event"], line["error"], line["exit_code"]) == ("worker_died", "OSError: broker gone", EXIT_BROKEN)
    assert "Traceback" in line["exception"]
    assert ended.stdout == ""


@pytest.mark.parametrize("stream", ["stdout", "stderr"])
def test_dying_succeeds_though_a_pipe_is_closed(stream: str) -> None:
    """A closed pipe must not keep a broken worker alive."""
    assert died(f"sys.{stream}.close()").returncode == EXIT_BROKEN


# --- the age of events in hand ----------------------------------------------------------------------------------------


def at(offset: int, timestamp: float | None) -> FakeEvent:
    """An event that was written at this time."""
    return FakeEvent(FakeMessage(offset, timestamp=timestamp))


def test_the_oldest_event_in_hand_is_under_way_or_waits() -> None:
    """An event counts from its taking to its acknowledgement, in any order of writing; without events the age is 0."""

    async def scenario() -> None:
        async with rig(broker=FakeBroker(confirms=False), inference_threads=1) as it:
            assert it.delivery.oldest_seconds(1_000.0) == 0.0
            assert it.delivery.holds() == set()
            it.stream.coming.put_nowait(at(0, 900.0))
            await until(lambda: it.broker.sent == [0])
            assert it.delivery.holds() == {("content", 0)}
            it.stream.coming.put_nowait(at(1, 700.0))
            it.stream.coming.put_nowait(at(2, 950.0))
            await until(lambda: it.stream.taken == 3)
            await quiet()
            assert it.delivery.oldest_seconds(1_000.0) == 300.0
            await until(lambda: it.broker.sent == [0, 1, 2])
            it.broker.confirm(0)
            await until(lambda: it.stream.acknowledged == [0])
            assert it.delivery.oldest_seconds(1_000.0) == 300.0
            it.broker.confirm(1, 2)
            await until(lambda: it.delivery.oldest_seconds(1_000.0) == 0.0)
            assert it.stream.acknowledged == [0, 1, 2]

    drive(scenario)


@pytest.mark.parametrize("timestamp", [None, 0.0, -0.001])
def test_an_event_without_a_time_is_as_old_as_its_taking(timestamp: float | None) -> None:
    """A record without a timestamp counts from its taking; it does not look half a century old and is not overlooked."""

    async def scenario() -> None:
        async with rig(broker=FakeBroker(confirms=False)) as it:
            it.stream.coming.put_nowait(at(0, timestamp))
            await until(lambda: it.broker.sent == [0])
            assert 0 < it.delivery.oldest_seconds(time.time() + 60) < 120

    drive(scenario)


def test_an_event_from_the_future_has_no_negative_age() -> None:
    """The clock of a producer may be ahead of ours."""

    async def scenario() -> None:
        async with rig(broker=FakeBroker(confirms=False)) as it:
            it.stream.coming.put_nowait(at(0, 2_000.0))
            await until(lambda: it.broker.sent == [0])
            assert it.delivery.oldest_seconds(1_000.0) == 0.0

    drive(scenario)


# --- exactly once ------------------------------------------------------------------------------------------------------


def test_nothing_is_acknowledged_before_its_transaction_is_over_and_one_batch_has_one_at_a_time() -> None:
    """An event that the transaction did not send, since it was committed before, is acknowledged and not counted as an outcome."""
    under_way: list[list[int]] = []
    over = asyncio.Event()

    async def transact(messages: Sequence[Any], publications: Sequence[Publication]) -> list[Publication]:
        under_way.append([message.offset for message in messages])
        await over.wait()
        return [publication for publication in publications if offset_of(publication) != 1]

    async def scenario() -> None:
        async with rig(transact=transact, feed=range(8)) as found:
            await until(lambda: bool(under_way))
            await quiet()
            assert under_way == [[0, 1, 2, 3]]
            assert found.stream.acknowledged == []
            over.set()
            await until(lambda: len(found.stream.acknowledged) == 8)
            assert found.stream.acknowledged == list(range(8))
            assert found.broker.sent == []
            assert len(found.observer.observations) == 7

    drive(scenario)


def test_a_transaction_that_does_not_end_ends_the_process() -> None:
    """The process ends, and none of the transaction's events is acknowledged."""

    async def transact(_: Sequence[Any], __: Sequence[Publication]) -> list[Publication]:
        await asyncio.Event().wait()
        return []

    async def scenario() -> None:
        async with rig(transact=transact, feed=range(2), produce_timeout_seconds=0.05) as found:
            await until(lambda: bool(found.death.causes))
            assert isinstance(found.death.causes[0], DeliveryError)
            assert found.stream.acknowledged == []

    drive(scenario)

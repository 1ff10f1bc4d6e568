"""Events of parallel batches are sent, confirmed and acknowledged in the order of the log."""

import asyncio

from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from tests.fakes import FakeBroker, Gate
from tests.unit.stream.deliver.delivering import decided, drive, quiet, rig, until


def test_every_event_is_sent_once_and_acknowledged_in_order() -> None:
    """Over many batches, every event is sent once and in order."""

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
    """A single event is delivered without waiting for a second one."""

    async def scenario() -> None:
        async with rig(feed=[0]) as it:
            await until(lambda: it.stream.acknowledged == [0])
            assert it.observer.batches == [1]

    drive(scenario)


def test_a_batch_begins_as_soon_as_a_thread_is_free() -> None:
    """A single event is a batch, although another thread still decides the batch before it."""

    async def scenario() -> None:
        gate = Gate(decided, 0)
        async with rig(decide=gate, feed=[0], inference_threads=2) as it:
            await until(lambda: gate.batches == [[0]])
            it.stream.feed(1)
            await until(lambda: gate.batches == [[0], [1]])
            assert it.stream.acknowledged == []

    drive(scenario)


def test_events_collect_while_every_thread_is_busy() -> None:
    """The collected events are one batch when a thread is free again."""

    async def scenario() -> None:
        gate = Gate(decided, 0, 1)
        async with rig(decide=gate, feed=[0], inference_threads=2) as it:
            await until(lambda: gate.batches == [[0]])
            it.stream.feed(1)
            await until(lambda: gate.batches == [[0], [1]])
            it.stream.feed(2, 3, 4)
            await quiet()
            # The gate does not see a batch that has begun and waits for a thread, so the observer is asked.
            assert it.observer.batches == [1, 1]
            gate.open(0)
            await until(lambda: gate.batches == [[0], [1], [2, 3, 4]])

    drive(scenario)


def test_small_batches_wait_for_the_broker_side_by_side() -> None:
    """Before any confirmation, batches of one event together send as many events as full batches would."""

    async def scenario() -> None:
        async with rig(broker=FakeBroker(confirms=False), batch_max_events=4, inference_threads=2) as it:
            for offset in range(8):
                it.stream.feed(offset)
                await until(lambda last=offset: it.broker.sent == list(range(last + 1)))  # type: ignore[misc]
            assert set(it.observer.batches) == {1}

    drive(scenario)


def test_a_batch_is_never_larger_than_its_limit_and_fills_itself_under_load() -> None:
    """Events collect while the model is busy, and are then decided in batches of `batch_max_events`."""

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


def test_at_most_the_batches_in_hand_and_one_more_are_taken_from_the_stream() -> None:
    """While no outcome is confirmed, the delivery stops taking events. The backlog stays in Kafka and is visible as lag."""

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


def test_no_event_is_acknowledged_before_its_whole_batch_is_confirmed() -> None:
    """After three of four confirmations, none of the four events is acknowledged."""

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
    """Records reach the broker in the order of the log, even if the thread of the later batch finishes first."""

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

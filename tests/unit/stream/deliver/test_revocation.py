"""When partitions are revoked, begun batches are finished and all other events are handed back."""

import asyncio
import time
from collections.abc import Sequence

from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from tagstream.stream.contract.event import Record
from tagstream.stream.contract.outcome import Publication
from tagstream.stream.deliver.crash.guard import Unguarded
from tests.fakes import Gate
from tests.unit.stream.deliver.delivering import decided, drive, quiet, rig, until


class Suspicious(Unguarded):
    """A guard that suspects some offsets, so that they are decided alone."""

    def __init__(self, suspects: set[int]) -> None:
        self._offsets = suspects

    def suspects(self, topic: str, partition: int, offset: int) -> bool:  # noqa: ARG002
        """Return True for a suspected offset."""
        return offset in self._offsets


@hypothesis_settings(max_examples=60, deadline=None)
@given(
    turns=st.lists(st.integers(0, 60), min_size=1, max_size=6),
    suspects=st.sets(st.integers(0, 29)),
    limit=st.integers(1, 5),
    threads=st.integers(1, 3),
    slow=st.booleans(),
)
def test_on_a_revocation_begun_batches_are_finished_and_other_events_handed_back(
    turns: list[int], suspects: set[int], limit: int, threads: int, slow: bool
) -> None:
    """After `hand_back`, exactly the sent events are acknowledged, in the order of the log. All other events are delivered once, later."""
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


def test_an_event_of_a_revoked_partition_is_not_taken() -> None:
    """An acknowledged event of a revoked partition would move the commit past earlier events that were handed back."""

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
    """A suspect that waits for the model has not begun and is handed back."""

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


def test_a_revocation_waits_for_one_suspect_and_not_for_all() -> None:
    """Suspects are decided one at a time, and the group waits only for the suspect that the model is deciding."""

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

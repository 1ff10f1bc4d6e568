"""aiokafka's batches with one future each hold the same bytes, and who waits for one of their records is told as before."""

import asyncio
from types import SimpleNamespace
from typing import Any

import pytest
from aiokafka.cluster import ClusterMetadata
from aiokafka.errors import KafkaTimeoutError
from aiokafka.producer.message_accumulator import MessageAccumulator
from aiokafka.structs import TopicPartition
from hypothesis import given
from hypothesis import strategies as st

from tagstream.stream.kafka.group_memory import GroupMemory
from tagstream.stream.kafka.one_confirmation import confirmed_by_batch
from tagstream.stream.settings.settings import Settings
from tagstream.stream.worker.faust_engine import FaustEngine
from tests.waiting import HANG_SECONDS

PLACE, OTHER = TopicPartition("tagged", 0), TopicPartition("tagged", 1)
RECORDS = st.tuples(
    st.none() | st.binary(max_size=9),
    st.binary(max_size=40),
    st.lists(st.tuples(st.text(max_size=5), st.binary(max_size=5)), max_size=2),
)


def accumulator(*, ours: bool = True) -> Any:
    """aiokafka's, on the running loop; small batches."""
    made = MessageAccumulator(ClusterMetadata(), 200, 0, 60)
    if ours:
        confirmed_by_batch(SimpleNamespace(_message_accumulator=made))
    return made


async def added(to: Any, place: TopicPartition, value: bytes, key: bytes | None = b"k", headers: Any = ()) -> Any:
    """A record's confirmation."""
    return await to.add_message(place, key, value, HANG_SECONDS, timestamp_ms=7, headers=list(headers))


def run(scenario: Any) -> None:
    """Run it on a loop of its own, bounded against hanging."""
    asyncio.run(asyncio.wait_for(scenario(), HANG_SECONDS))


@given(st.lists(RECORDS, min_size=1, max_size=4))
def test_a_batch_has_the_bytes_of_aiokafkas(records: list[tuple[bytes | None, bytes, list[tuple[str, bytes]]]]) -> None:
    """Keys, values and headers of any bytes."""

    async def buffer(*, ours: bool) -> bytes:
        one = accumulator(ours=ours)
        for key, value, headers in records:
            if one._batches and len(one._batches[PLACE]) == 1 and one._batches[PLACE][0]._builder.size() > 100:
                break
            await added(one, PLACE, value, key, headers)
        return bytes(one._batches[PLACE][0].get_data_buffer())

    async def scenario() -> None:
        assert await buffer(ours=True) == await buffer(ours=False)

    run(scenario)


def test_the_records_of_a_batch_are_confirmed_together_and_those_of_another_are_not() -> None:
    """Another partition has another batch."""

    async def scenario() -> None:
        one = accumulator()
        first, second, other = await added(one, PLACE, b"a"), await added(one, PLACE, b"b"), await added(one, OTHER, b"c")
        assert first is second
        one._batches[PLACE][0].done(base_offset=5)
        assert (await first).offset == 5
        assert not other.done()

    run(scenario)


def test_a_refused_batch_fails_each_of_its_records() -> None:
    """None of them counts as written."""

    async def scenario() -> None:
        one = accumulator()
        confirmations = [await added(one, PLACE, value) for value in (b"a", b"b")]
        (batch,) = one._batches[PLACE]
        batch.drain_ready()
        batch.failure(KafkaTimeoutError())
        for confirmation in confirmations:
            with pytest.raises(KafkaTimeoutError):
                await confirmation

    run(scenario)


def test_who_gives_up_waiting_leaves_the_others_their_confirmation() -> None:
    """A finding of drift is waited for a few seconds; the next one may be in the same batch."""

    async def scenario() -> None:
        one = accumulator()

        async def send(topic: str, key: bytes, value: bytes, *_: Any) -> Any:
            return await added(one, TopicPartition(topic, 0), value, key)

        app: Any = SimpleNamespace(producer=SimpleNamespace(send=send))
        queue = FaustEngine(app, Settings(), GroupMemory()).sender("drift")
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0):
                await (await queue(b"k", b"first"))
        second = await queue(b"k", b"second")
        one._batches[TopicPartition("drift", 0)][0].done(base_offset=0)
        assert (await second).offset == 0

    run(scenario)

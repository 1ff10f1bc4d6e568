"""How aiokafka's consumer inside Faust's shares one poll among partitions, and when it may commit."""

import asyncio
import contextlib
from collections import OrderedDict
from types import SimpleNamespace
from typing import Any

import pytest
from aiokafka.consumer.fetcher import Fetcher
from aiokafka.errors import CommitFailedError
from aiokafka.structs import OffsetAndMetadata, TopicPartition
from faust.types import TP

from tagstream.stream.worker.inner_consumer import READ_BYTES, Coordinator, InnerConsumer, OwnBuffer, PacedFetcher
from tests.unit.stream.kafka.batches.test_poll import fetched

LARGE, SMALL = TP("content", 0), TP("content", 1)


def test_a_partition_that_a_poll_did_not_reach_comes_first_in_the_next_one() -> None:
    """Records of 5 MB use up a poll each; the other partition is read in between, and each poll takes one large record at most."""
    thread = object.__new__(InnerConsumer)
    thread.consumer = SimpleNamespace(flow_active=True)
    records: OrderedDict[TP, Any] = OrderedDict({LARGE: fetched([5_000] * 3), SMALL: fetched([1] * 3)})
    subscriptions = SimpleNamespace(reassignment_in_progress=False, fetch_context=contextlib.nullcontext)
    fetcher = SimpleNamespace(
        _records=records, _closed=False, _subscriptions=subscriptions, _wait_consume_future=None, _notify=lambda _: None
    )
    consumer = SimpleNamespace(_closed=False, _fetcher=fetcher)

    def poll() -> dict[TP, list[int]]:
        taken = asyncio.run(thread._fetch_records(consumer, {LARGE, SMALL}, timeout=1.0, max_records=500))
        return {tp: [one.offset for one in some] for tp, some in taken.items()}

    assert poll() == {LARGE: [0]}
    assert poll() == {SMALL: [0, 1, 2], LARGE: [1]}


@pytest.mark.parametrize(("generation", "sent"), [(-1, []), (7, [7])])
def test_a_worker_that_is_no_member_of_its_group_commits_nothing(generation: int, sent: list[int]) -> None:
    """A broker takes a commit without a generation once the group has no members, and what others have committed would be taken back."""
    requests: list[Any] = []

    async def send(request: Any) -> Any:
        requests.append(request)
        return SimpleNamespace(topics=[("content", [(0, 0)])])

    async def known() -> None:
        """The coordinator is known."""

    async def commit() -> None:
        coordinator = object.__new__(Coordinator)
        vars(coordinator).update(group_id="group", generation=generation, member_id="member", coordinator_id=1)
        vars(coordinator).update(_commit_lock=asyncio.Lock(), ensure_coordinator_known=known, _send_req=send)
        await coordinator.commit_offsets(None, {TopicPartition("content", 0): OffsetAndMetadata(397, "")})

    if sent:
        asyncio.run(commit())
    else:
        with pytest.raises(CommitFailedError):
            asyncio.run(commit())
    assert [vars(request)["_consumer_group_generation_id"] for request in requests] == sent


def test_a_fetch_waits_for_the_pace_of_its_own_broker(monkeypatch: pytest.MonkeyPatch) -> None:
    """And aiokafka is told when to look again; until then it would wait for a record to be taken."""
    wanted: list[tuple[int, str]] = []
    now = 100.0
    monkeypatch.setattr(Fetcher, "_get_actions_per_node", lambda *_: (list(wanted), {}, 0.2, False, []))
    monkeypatch.setattr("tagstream.stream.worker.inner_consumer.time.monotonic", lambda: now)
    fetcher = object.__new__(PacedFetcher)
    vars(fetcher).update(_sent={}, pace=SimpleNamespace(seconds=0.010), _closed=True)

    def sent() -> tuple[list[int], float]:
        fetches, _, seconds, *_ = fetcher._get_actions_per_node(None)
        return [node for node, _ in fetches], round(seconds, 6)

    wanted[:] = [(1, "first")]
    assert sent() == ([1], 0.2)
    now += 0.004
    wanted[:] = [(1, "second"), (2, "first")]
    assert sent() == ([2], 0.006)
    now += 0.006
    assert sent() == ([1], 0.004)
    fetcher.pace.seconds = 0.0
    assert sent() == ([1, 2], 0.2)


def test_a_connection_reads_into_one_buffer_whatever_comes() -> None:
    """Parts of any size arrive whole and in order, and no read asks for memory of its own."""
    parts = [bytes([number]) * size for number, size in enumerate((1, READ_BYTES - 1, READ_BYTES, 3 * READ_BYTES + 7, 2))]
    memory: set[int] = set()

    class Watched(OwnBuffer):
        def get_buffer(self, sizehint: int) -> memoryview:
            found = super().get_buffer(sizehint)
            memory.add(id(found.obj))
            return found

    async def scenario() -> bytes:
        async def serve(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            for part in parts:
                writer.write(part)
                await writer.drain()
            writer.close()

        loop = asyncio.get_running_loop()
        async with asyncio.timeout(30), await asyncio.start_server(serve, "127.0.0.1", 0) as server:
            reader = asyncio.StreamReader(limit=2**16, loop=loop)
            address = server.sockets[0].getsockname()
            transport, _ = await loop.create_connection(lambda: Watched(loop.create_future(), reader, loop=loop), *address)
            try:
                return await reader.read()
            finally:
                transport.close()

    assert asyncio.run(scenario()) == b"".join(parts)
    assert len(memory) == 1

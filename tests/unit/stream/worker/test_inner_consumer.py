"""How aiokafka's consumer inside Faust's shares one poll among partitions, and when it may commit."""

import asyncio
import contextlib
from collections import OrderedDict
from types import SimpleNamespace
from typing import Any

import pytest
from aiokafka.errors import CommitFailedError
from aiokafka.structs import OffsetAndMetadata, TopicPartition
from faust.types import TP

from tagstream.stream.worker.inner_consumer import Coordinator, InnerConsumer
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

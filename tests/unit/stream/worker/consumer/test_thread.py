"""How the consumer's thread shares one poll among partitions."""

import asyncio
import contextlib
from collections import OrderedDict
from types import SimpleNamespace
from typing import Any

import pytest
from faust.types import TP

from stream.kafka.batches.poll import BoundedFetchResult
from stream.worker.consumer.thread import ConsumerThread
from tests.unit.stream.kafka.batches.test_poll import fetched

LARGE, SMALL = TP("content", 0), TP("content", 1)


def test_a_partition_that_a_poll_did_not_reach_comes_first_in_the_next_one(monkeypatch: pytest.MonkeyPatch) -> None:
    """Records of 5 MB use up a poll each; the other partition is read in between, and each poll takes one large record at most."""
    monkeypatch.setattr(BoundedFetchResult, "poll", None)
    thread = object.__new__(ConsumerThread)
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

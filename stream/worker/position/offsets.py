"""Asks the brokers for the offsets of partitions, beside the consumer's queue and without a wait for a missing leader."""

import asyncio
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from aiokafka.consumer.fetcher import READ_UNCOMMITTED
from aiokafka.protocol.offset import OffsetRequest, OffsetResetStrategy
from faust.types import TP

# The id that a consumer sends where a follower of a partition sends its own.
CONSUMER = -1


@dataclass(slots=True, kw_only=True)
class Offsets:
    """
    The brokers' answer.

    Attributes:
        ends: The end of what may be read (the last stable offset), for each partition that has a leader.
        high: The end of the log (the high watermark), likewise; read before `ends`.
        begins: The first offset that is still in the log, for each partition that this was asked of.
        found: For each partition that is still assigned, the group's offset (None before the first commit), and the offset up to which
            records were fetched (None if it is not known).
    """

    ends: Mapping[TP, int] = field(default_factory=dict)
    high: Mapping[TP, int] = field(default_factory=dict)
    begins: Mapping[TP, int] = field(default_factory=dict)
    found: dict[TP, tuple[int | None, int | None]] = field(default_factory=dict)


async def ask(thread: Any, assigned: list[TP], unknown: list[TP]) -> Offsets:
    """
    Ask for the offsets of the assigned partitions, and for the beginnings of those in `unknown`.

    Without partitions it asks only whether a broker answers.

    Raises:
        ConnectionError: No broker answers.
        KafkaError: A broker refused.
        ConsumerNotStarted: The consumer's thread has ended.
    """
    if not assigned:
        await thread.beside(_answer, thread)
        return Offsets()
    found: Offsets = await thread.beside(_look, thread, assigned, unknown)
    return found


async def _answer(thread: Any) -> None:
    """Runs in the consumer's thread."""
    if not await thread._ensure_consumer()._client.force_metadata_update():  # noqa: SLF001
        msg = "no broker answers"
        raise ConnectionError(msg)


async def _look(thread: Any, assigned: list[TP], unknown: list[TP]) -> Offsets:
    """Runs in the consumer's thread."""
    inner = thread._ensure_consumer()  # noqa: SLF001
    cluster = inner._client.cluster  # noqa: SLF001
    # A partition without a leader has no known end, and aiokafka would repeat the question for all partitions until it has one.
    led = [tp for tp in assigned if cluster.leader_for_partition(tp) not in {None, -1}]
    # One request: aiokafka's own `committed` asks for each partition by itself, which takes over a second for two hundred.
    commits = await inner._coordinator.fetch_committed_offsets(assigned)  # noqa: SLF001
    asked = [tp for tp in unknown if tp in led]
    begins = await inner.beginning_offsets(asked) if asked else {}
    high = await _high_watermarks(inner, led)
    # Last: an end that is older than the commit would look like a log that has lost its end.
    ends = await thread._highwaters(led) if led else {}  # noqa: SLF001
    # A rebalance may have taken some of them away meanwhile.
    held = [tp for tp in assigned if tp in inner.assignment()]
    return Offsets(
        ends=ends,
        high=high,
        begins=begins,
        found={tp: (commits[tp].offset if tp in commits else None, _fetched(inner, tp)) for tp in held},
    )


async def _high_watermarks(inner: Any, partitions: list[TP]) -> dict[TP, int]:
    """The ends of the logs, uncommitted records included: aiokafka asks with the consumer's own isolation alone."""
    asked: defaultdict[int, defaultdict[str, list[tuple[int, int]]]] = defaultdict(lambda: defaultdict(list))
    for tp in partitions:
        asked[inner._client.cluster.leader_for_partition(tp)][tp.topic].append((tp.partition, OffsetResetStrategy.LATEST))  # noqa: SLF001
    requests = [
        inner._client.send(node, OffsetRequest(CONSUMER, READ_UNCOMMITTED, list(topics.items())))  # noqa: SLF001
        for node, topics in asked.items()
    ]
    # A partition with an error is left out: the question for the last stable offset, which follows, meets it too and raises.
    return {
        TP(topic, partition): offset
        for answer in await asyncio.gather(*requests)
        for topic, answers in answer.topics
        for partition, error, *_, offset in answers
        if not error
    }


def _fetched(inner: Any, tp: TP) -> int | None:
    """The offset up to which records were fetched; aiokafka's own `position` waits, while there is no leader, until it is known."""
    state = inner._subscription.subscription.assignment.state_value(tp)  # noqa: SLF001
    return state.position if state is not None and state.has_valid_position else None

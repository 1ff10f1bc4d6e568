"""Exactly-once delivery: one transaction at a time, and acknowledgements after the end of the transaction."""

import asyncio
from collections.abc import Sequence
from typing import Any

from tagstream.stream.contract.outcome import Publication
from tagstream.stream.deliver.fatal import DeliveryError
from tests.fakes import offset_of
from tests.unit.stream.deliver.delivering import drive, quiet, rig, until


def test_transactions_follow_one_another_and_events_are_acknowledged_after_theirs() -> None:
    """The transaction leaves out an event that was committed before. The event is acknowledged and not counted as an outcome."""
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


def test_small_batches_do_not_become_as_many_transactions() -> None:
    """With two threads, three batches begin. Events that arrive during their transactions become one batch afterwards."""
    over = asyncio.Event()

    async def transact(_: Sequence[Any], publications: Sequence[Publication]) -> list[Publication]:
        await over.wait()
        return list(publications)

    async def scenario() -> None:
        async with rig(transact=transact, inference_threads=2) as found:
            for offset in range(6):
                found.stream.feed(offset)
                await quiet()
            assert found.observer.batches == [1, 1, 1]
            over.set()
            await until(lambda: len(found.stream.acknowledged) == 6)
            assert found.observer.batches == [1, 1, 1, 3]

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

"""Mutated batches that a real broker takes: each record is read once, and leaves a worker by one door."""

import asyncio

import pytest

from stream.settings.settings import Settings
from tests.faults.observer import TopicObserver
from tests.hostile.fuzz import plant, read_back
from tests.integration.running import Start, all_committed

pytestmark = pytest.mark.broker
BATCHES, SEED = 300, 14


def test_every_event_of_an_accepted_batch_has_one_outcome(settings: Settings, start: Start) -> None:
    """The consumer gives each offset once with the rows of its batch; a worker gives each one outcome and never exits."""
    planted = asyncio.run(plant(settings, BATCHES, SEED))
    report = asyncio.run(read_back(settings, planted))
    assert (report.batches, report.read) == (BATCHES, planted.end)
    assert not report.wrong, str(report)
    worker = start()
    with TopicObserver(settings) as observer:
        all_committed(observer)
        outcomes = [record for door in observer.outcomes().values() for record in door]
    assert worker.process.running()
    assert len(outcomes) == planted.end
    origins = [
        int(dict(one.headers)["__streams.errors.offset"]) for one in outcomes if "__streams.errors.offset" in dict(one.headers)
    ]
    assert len(origins) == len(set(origins))

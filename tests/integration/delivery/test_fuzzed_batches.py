"""Mutated batches that a real broker takes: each record is read once, and has one outcome."""

import asyncio
from pathlib import Path

import pytest

from tagstream.stream.settings.settings import Settings
from tests.hostile.fuzz import Delivered, deliver, plant, read_back

pytestmark = [pytest.mark.broker, pytest.mark.slow]
BATCHES, SEED = 300, 14


def test_every_event_of_an_accepted_batch_has_one_outcome(settings: Settings, environ: dict[str, str], tmp_path: Path) -> None:
    """The consumer gives each offset once with the rows of its batch; a worker gives each one outcome and never exits."""
    planted = asyncio.run(plant(settings, BATCHES, SEED))
    report = asyncio.run(read_back(settings, planted))
    assert (report.batches, report.read) == (BATCHES, planted.end)
    assert not report.wrong, str(report)
    assert deliver(settings, environ, tmp_path) == Delivered(outcomes=planted.end, repeated=0)

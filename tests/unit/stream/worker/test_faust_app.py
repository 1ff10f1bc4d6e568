"""The Faust app: what it leaves out of Faust's start."""

import asyncio
from types import SimpleNamespace

import pytest

from tagstream.stream.settings.settings import Settings
from tagstream.stream.worker.faust_app import faust_app
from tests.waiting import HANG_SECONDS


def test_the_consumer_subscribes_without_a_wait_for_tables(monkeypatch: pytest.MonkeyPatch) -> None:
    """The manager of tables says that they are registered without sleeping once, and starts what seeks to the committed offsets."""

    async def scenario() -> list[str]:
        app = faust_app(Settings(), idempotent=True)
        app.consumer = SimpleNamespace(assignment=set, pause_partitions=lambda _: None)
        steps: list[str] = []

        async def sleep(_: float) -> None:
            steps.append("slept")

        async def start() -> None:
            steps.append("recovery started")

        monkeypatch.setattr(app.tables, "sleep", sleep)
        monkeypatch.setattr(app.tables.recovery, "start", start)
        await app.tables.on_start()
        await app.tables.wait_until_tables_registered()
        return steps

    assert asyncio.run(asyncio.wait_for(scenario(), HANG_SECONDS)) == ["recovery started"]

"""Known bad: our own delivery, on a producer whose failures are logged and forgotten."""

import asyncio
from collections.abc import Awaitable
from typing import Any

import tagstream.stream.worker.faust_app
from tagstream.stream.contract.outcome import Publication
from tagstream.stream.worker.faust_engine import queued
from tests.faults.variants.bad_worker import Parts, log, run


def define(parts: Parts) -> None:
    """Declare the agent."""

    async def send(publication: Publication) -> Awaitable[Any]:
        return asyncio.ensure_future(forgiving(await parts.send(publication)))

    async def forgiving(confirmation: Awaitable[Any]) -> None:
        try:
            await confirmation
        except Exception as error:  # noqa: BLE001 - the defect of this variant
            log.warning("send_failed", error=str(error))

    @parts.app.agent(tagstream.stream.worker.faust_app.source(parts.app, parts.settings), name="classify")  # type: ignore[untyped-decorator]
    async def classify(stream: Any) -> None:
        await parts.delivery(send=send).run(queued(stream.noack()))


if __name__ == "__main__":
    run(define, restart_agents=False)

"""Known bad: our own delivery, on a producer whose failures are logged and forgotten."""

import asyncio
import time
from collections.abc import Awaitable
from typing import Any

import stream.app
from monitoring.health import Progress
from stream.delivery import Delivery
from stream.outcomes import Publication
from tests.faults.variants.bad_worker import Parts, log, run


def define(parts: Parts) -> None:
    """Declare the agent."""

    async def send(publication: Publication) -> Awaitable[Any]:
        return asyncio.ensure_future(forgiving(await parts.send(publication)))

    async def forgiving(confirmation: Awaitable[Any]) -> None:
        try:
            await confirmation
        except Exception as error:  # noqa: BLE001 - this is what is wrong with it
            log.warning("send_failed", error=str(error))

    delivery = Delivery(
        decide=parts.pipeline.publications,
        send=send,
        observer=parts.metrics,
        progress=Progress(stall_seconds=20, monotonic=time.monotonic),
        settings=parts.settings,
    )

    @parts.app.agent(stream.app.source(parts.app, parts.settings), name="classify")  # type: ignore[untyped-decorator]
    async def classify(stream: Any) -> None:
        await delivery.run(stream.noack())


if __name__ == "__main__":
    run(define, restart_agents=False)

"""Known bad: our own delivery in four actors at once. Events of one partition are acknowledged out of order, across a gap."""

import time
from typing import Any

import stream.app
from monitoring.health import Progress
from stream.delivery import Delivery
from tests.faults.variants.bad_worker import Parts, run

ACTORS = 4


def define(parts: Parts) -> None:
    """Declare the agent."""

    @parts.app.agent(  # type: ignore[untyped-decorator]
        stream.app.source(parts.app, parts.settings), name="classify", concurrency=ACTORS
    )
    async def classify(stream: Any) -> None:
        delivery = Delivery(
            decide=parts.pipeline.publications,
            send=parts.send,
            observer=parts.metrics,
            progress=Progress(stall_seconds=20, monotonic=time.monotonic),
            settings=parts.settings,
        )
        await delivery.run(stream.noack())


if __name__ == "__main__":
    run(define, restart_agents=False)

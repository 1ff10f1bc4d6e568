"""Known bad: our own delivery under Faust's default supervisor, which restarts an agent behind the batch that it has failed."""

import time
from typing import Any, NoReturn

import stream.app
from monitoring.health import Progress
from stream.delivery import Delivery
from tests.faults.variants.bad_worker import Parts, run


def define(parts: Parts) -> None:
    """Declare the agent."""
    broken: list[BaseException] = []

    def fail(error: BaseException) -> NoReturn:
        broken.append(error)
        raise error

    @parts.app.agent(stream.app.source(parts.app, parts.settings), name="classify")  # type: ignore[untyped-decorator]
    async def classify(stream: Any) -> None:
        delivery = Delivery(
            decide=parts.pipeline.publications,
            send=parts.send,
            observer=parts.metrics,
            progress=Progress(stall_seconds=20, monotonic=time.monotonic),
            settings=parts.settings,
            fail=fail,
        )
        await delivery.run(stream.noack())


if __name__ == "__main__":
    run(define, restart_agents=True)

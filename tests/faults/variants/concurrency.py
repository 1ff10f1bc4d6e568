"""Known bad: our own delivery in four actors at once. Events of one partition are decided and sent out of order."""

from typing import Any

import tagstream.stream.worker.faust_app
from tagstream.stream.worker.faust_engine import queued
from tests.faults.variants.bad_worker import Parts, run

ACTORS = 4


def define(parts: Parts) -> None:
    """Declare the agent."""
    content = tagstream.stream.worker.faust_app.source(parts.app, parts.settings)

    @parts.app.agent(content, name="classify", concurrency=ACTORS)  # type: ignore[untyped-decorator]
    async def classify(stream: Any) -> None:
        await parts.delivery().run(queued(stream.noack()))


if __name__ == "__main__":
    run(define, restart_agents=False)

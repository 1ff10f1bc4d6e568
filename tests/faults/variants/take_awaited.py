"""Known bad: `stream.take` with every send confirmed. When the agent raises, `take` has acknowledged the batch that failed."""

import asyncio
from typing import Any

import tagstream.stream.worker.faust_app
from tests.faults.variants.bad_worker import Parts, run


def define(parts: Parts) -> None:
    """Declare the agent."""

    @parts.app.agent(tagstream.stream.worker.faust_app.source(parts.app, parts.settings), name="classify")  # type: ignore[untyped-decorator]
    async def classify(stream: Any) -> None:
        stream.add_processor(lambda _: stream.current_event)
        async for events in stream.take(32, within=0.1):
            await asyncio.gather(*[await parts.send(publication) for publication in await parts.decide(events)])


if __name__ == "__main__":
    run(define, restart_agents=True)

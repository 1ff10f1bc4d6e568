"""Known bad: `noack_take` on a stream that is not `noack()`, under Faust's default supervisor.

It switches acknowledgements off only while its generator lives; after an exception the restarted agent goes on behind the batch.
"""

import asyncio
from typing import Any

import tagstream.stream.worker.faust_app
from tests.faults.variants.bad_worker import Parts, run


def define(parts: Parts) -> None:
    """Declare the agent."""

    @parts.app.agent(tagstream.stream.worker.faust_app.source(parts.app, parts.settings), name="classify")  # type: ignore[untyped-decorator]
    async def classify(stream: Any) -> None:
        async for events in stream.noack_take(32, within=0.1):
            await asyncio.gather(*[await parts.send(publication) for publication in await parts.decide(events)])
            for event in events:
                await stream.ack(event)


if __name__ == "__main__":
    run(define, restart_agents=True)

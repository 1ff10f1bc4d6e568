"""Known bad: batches in order and acknowledged last, but nobody waits for the broker's word on the records."""

import asyncio
from typing import Any

import stream.app
from stream.batcher import Batcher
from stream.delivery import die
from tests.faults.variants.bad_worker import Parts, run


def define(parts: Parts) -> None:
    """Declare the agent."""
    batcher: Batcher[Any] = Batcher(limit=32)

    @parts.app.agent(stream.app.source(parts.app, parts.settings), name="classify")  # type: ignore[untyped-decorator]
    async def classify(stream: Any) -> None:
        stream = stream.noack()
        work = asyncio.create_task(deliver(stream))
        try:
            async for event in stream.events():
                await batcher.put(event)
        finally:
            work.cancel()

    async def deliver(stream: Any) -> None:
        try:
            while True:
                events = await batcher.next_batch()
                for publication in await parts.decide(events):
                    await parts.send(publication)
                for event in events:
                    await stream.ack(event)
        except Exception as error:  # noqa: BLE001 - as our delivery does
            die(error)


if __name__ == "__main__":
    run(define, restart_agents=False)

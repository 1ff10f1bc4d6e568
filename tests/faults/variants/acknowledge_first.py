"""Known bad: acknowledges a batch when it has taken it, as at-most-once does, and only then decides and sends."""

import asyncio
from typing import Any

from tests.faults.variants.bad_worker import Parts, run


def define(parts: Parts) -> None:
    """Declare the agent."""

    async def deliver(stream: Any, events: list[Any]) -> None:
        for event in events:
            await stream.ack(event)
        await asyncio.gather(*[await parts.send(publication) for publication in await parts.decide(events)])

    parts.batches(deliver)


if __name__ == "__main__":
    run(define, restart_agents=False)

"""Known bad: batches in order and acknowledged last, but without waiting for the broker's confirmation."""

from typing import Any

from tests.faults.variants.bad_worker import Parts, run


def define(parts: Parts) -> None:
    """Declare the agent."""

    async def deliver(stream: Any, events: list[Any]) -> None:
        for publication in await parts.decide(events):
            await parts.send(publication)
        for event in events:
            await stream.ack(event)

    parts.batches(deliver)


if __name__ == "__main__":
    run(define, restart_agents=False)

"""Known bad: the agent of many a tutorial. `stream.take`, sends without a confirmation, an agent that Faust restarts.

`take` acknowledges the batch in a `finally`, also when it has raised, and from then on the stream acknowledges every event that passes.
"""

from typing import Any

import tagstream.stream.worker.faust_app
from tests.faults.variants.bad_worker import Parts, run


def define(parts: Parts) -> None:
    """Declare the agent."""

    @parts.app.agent(tagstream.stream.worker.faust_app.source(parts.app, parts.settings), name="classify")  # type: ignore[untyped-decorator]
    async def classify(stream: Any) -> None:
        # `take` gives values; the pipeline also needs their records.
        stream.add_processor(lambda _: stream.current_event)
        async for events in stream.take(32, within=0.1):
            for publication in await parts.decide(events):
                await parts.send(publication)


if __name__ == "__main__":
    run(define, restart_agents=True)

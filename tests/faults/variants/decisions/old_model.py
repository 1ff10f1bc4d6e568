"""Known bad: after some batches the model is exchanged in name only. Decisions carry the new digest, and the old model makes them."""

import itertools
from collections.abc import Sequence
from typing import Any

import tagstream.stream.worker.faust_app
from tagstream.stream.contract.event import Record
from tagstream.stream.contract.outcome import Publication
from tagstream.stream.worker.faust_engine import queued
from tests.faults.variants.bad_worker import Parts, run
from tests.faults.worker.stub import OTHER_MODEL
from tests.replacing import replace

EXCHANGED_AFTER_BATCHES = 10


def define(parts: Parts) -> None:
    """Declare the agent."""
    batches = itertools.count()

    def decide(events: Sequence[Record]) -> list[Publication]:
        if next(batches) == EXCHANGED_AFTER_BATCHES:
            # A whole exchange would take the other model's classifier too.
            parts.pipeline.replace(replace(parts.pipeline.decider, model=OTHER_MODEL))
        return parts.pipeline.publications(events)

    @parts.app.agent(tagstream.stream.worker.faust_app.source(parts.app, parts.settings), name="classify")  # type: ignore[untyped-decorator]
    async def classify(stream: Any) -> None:
        await parts.delivery(decide=decide).run(queued(stream.noack()))


if __name__ == "__main__":
    run(define, restart_agents=False)

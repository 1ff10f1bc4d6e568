"""Known bad: our own deliveries, which publish one decision of a reviewer an event. Each further answer is acknowledged and left out."""

from collections.abc import Awaitable
from typing import Any

import msgspec

import tagstream.stream.worker.faust_app
from tagstream.monitoring.vocabulary import Destination
from tagstream.stream.contract.outcome import Publication
from tagstream.stream.decide.reviewer_answers import ReviewerAnswers
from tagstream.stream.worker.faust_engine import queued
from tests.faults.variants.bad_worker import Parts, run


class Confirmed:
    """The broker's answer to a record that was never sent."""

    def __await__(self) -> Any:
        """At once."""
        return iter(())


def define(parts: Parts) -> None:
    """Declare the agents."""
    answered: set[str] = set()

    async def send(publication: Publication) -> Awaitable[Any]:
        if publication.destination is Destination.TAGGED:
            event_id = msgspec.json.decode(publication.value or b"")["id"]
            if event_id in answered:
                return Confirmed()
            answered.add(event_id)
        return await parts.send(publication)

    @parts.app.agent(tagstream.stream.worker.faust_app.source(parts.app, parts.settings), name="classify")  # type: ignore[untyped-decorator]
    async def classify(stream: Any) -> None:
        await parts.delivery().run(queued(stream.noack()))

    @parts.app.agent(  # type: ignore[untyped-decorator]
        tagstream.stream.worker.faust_app.raw_topic(parts.app, parts.settings.topics.reviewed), name="answer"
    )
    async def answer(stream: Any) -> None:
        await parts.delivery(decide=ReviewerAnswers().publications, send=send).run(queued(stream.noack()))


if __name__ == "__main__":
    run(define, restart_agents=False)

"""Known bad: our own delivery, which publishes decisions without the headers of their events."""

from collections.abc import Awaitable
from typing import Any

import tagstream.stream.worker.faust_app
from tagstream.monitoring.vocabulary import Destination
from tagstream.stream.contract.outcome import Publication
from tagstream.stream.worker.faust_engine import queued
from tests.faults.inputs import SENT_AGAIN
from tests.faults.variants.bad_worker import Parts, run
from tests.replacing import replace


def define(parts: Parts) -> None:
    """Declare the agent."""

    async def send(publication: Publication) -> Awaitable[Any]:
        if publication.destination is Destination.DLQ:
            return await parts.send(publication)
        # Without this one header the checker could not tell two events of one id apart, and other invariants would break too.
        return await parts.send(replace(publication, headers=tuple(one for one in publication.headers if one == SENT_AGAIN)))

    @parts.app.agent(tagstream.stream.worker.faust_app.source(parts.app, parts.settings), name="classify")  # type: ignore[untyped-decorator]
    async def classify(stream: Any) -> None:
        await parts.delivery(send=send).run(queued(stream.noack()))


if __name__ == "__main__":
    run(define, restart_agents=False)

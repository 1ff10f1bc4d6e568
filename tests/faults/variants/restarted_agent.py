"""Known bad: our own delivery under Faust's default supervisor, which restarts an agent behind the batch that it has failed."""

from typing import Any, NoReturn

import tagstream.stream.worker.faust_app
from tagstream.stream.worker.faust_engine import queued
from tests.faults.variants.bad_worker import Parts, run


def define(parts: Parts) -> None:
    """Declare the agent."""

    def fail(error: BaseException) -> NoReturn:
        raise error

    @parts.app.agent(tagstream.stream.worker.faust_app.source(parts.app, parts.settings), name="classify")  # type: ignore[untyped-decorator]
    async def classify(stream: Any) -> None:
        await parts.delivery(fail=fail).run(queued(stream.noack()))


if __name__ == "__main__":
    run(define, restart_agents=True)

"""Known bad: our own delivery on a topic that Faust decodes. A record that is not JSON is acknowledged and lost."""

import os
from typing import Any

from tagstream.stream.worker.faust_engine import queued
from tests.faults.variants.bad_worker import Parts, run


def define(parts: Parts) -> None:
    """Declare the agent."""
    typed = parts.app.topic(parts.settings.topics.content, key_type=bytes, key_serializer="raw", value_serializer="json")

    @parts.app.agent(typed, name="classify")  # type: ignore[untyped-decorator]
    async def classify(stream: Any) -> None:
        await parts.delivery().run(queued(stream.noack()))


if __name__ == "__main__":
    # Faust decodes what it puts into its buffer: with a small one, events before the first bad record are decided.
    os.environ["TAGSTREAM_STREAM_BUFFER_EVENTS"] = "8"
    run(define, restart_agents=False)

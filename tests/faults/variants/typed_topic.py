"""Known bad: our own delivery on a topic that Faust decodes. What is not JSON is acknowledged and never reaches the agent."""

import time
from typing import Any

from monitoring.health import Progress
from stream.delivery import Delivery
from tests.faults.variants.bad_worker import Parts, run


def define(parts: Parts) -> None:
    """Declare the agent."""
    delivery = Delivery(
        decide=parts.pipeline.publications,
        send=parts.send,
        observer=parts.metrics,
        progress=Progress(stall_seconds=20, monotonic=time.monotonic),
        settings=parts.settings,
    )
    typed = parts.app.topic(parts.settings.topics.content, key_type=bytes, key_serializer="raw", value_serializer="json")

    @parts.app.agent(typed, name="classify")  # type: ignore[untyped-decorator]
    async def classify(stream: Any) -> None:
        await delivery.run(stream.noack())


if __name__ == "__main__":
    run(define, restart_agents=False)

"""What the known-bad workers share: everything is as in the real one, but for the agent.

Each module beside this one loses events in a way that has been seen in the wild. The fault tests run them, and pass only if the
checker notices: a harness that finds nothing in these would find nothing in ours.
"""

import asyncio
import os
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

import faust
import mode
from prometheus_client import CollectorRegistry

import stream.app
from stream import logs
from stream.delivery import raw_event
from stream.outcomes import Publication
from stream.settings import Settings, load
from tests.faults.stub import SECONDS_VARIABLE, Arms, FaultyMetrics, StubPipeline, faulty_producer

log = logs.logger("tagstream.variant")


@dataclass(frozen=True, slots=True, kw_only=True)
class Parts:
    """What an agent is made of."""

    settings: Settings
    app: faust.App
    pipeline: StubPipeline
    metrics: FaultyMetrics
    send: Callable[[Publication], Awaitable[Awaitable[Any]]]

    async def decide(self, events: list[Any]) -> list[Publication]:
        """The outcomes of Faust's events, by the real pipeline in a thread."""
        return await asyncio.to_thread(self.pipeline.publications, [raw_event(event.message) for event in events])


def run(define: Callable[[Parts], None], *, restart_agents: bool) -> None:
    """
    Run a worker until it is stopped.

    Args:
        define: Declares the agent on the app.
        restart_agents: Faust's default: an agent that has raised goes on with the next event. Ours ends the process.
    """
    arms = Arms()
    arms.listen()
    settings = load(os.environ).settings
    logs.configure(level=settings.log_level, form=settings.log_format)
    metrics = FaultyMetrics(CollectorRegistry(), arms, settings.topics.content)
    stream.app.Producer = faulty_producer(stream.app.Producer, arms)  # type: ignore[misc]
    app = stream.app.faust_app(settings, idempotent=True)
    if restart_agents:
        app.conf.agent_supervisor = mode.OneForOneSupervisor
    pipeline = StubPipeline(arms, settings, metrics, seconds_per_batch=float(os.environ.get(SECONDS_VARIABLE, "0")))
    define(Parts(settings=settings, app=app, pipeline=pipeline, metrics=metrics, send=stream.app.sender(app, settings)))

    @app.on_partitions_assigned.connect(weak=False)  # type: ignore[untyped-decorator]
    async def assigned(_: faust.App, partitions: Any, **__: Any) -> None:
        log.info("partitions_assigned", partitions=sorted(tp.partition for tp in partitions))

    loop = asyncio.new_event_loop()
    asyncio.set_event_loop(loop)
    worker = stream.app.Worker(app, shutdown_seconds=settings.shutdown_timeout_seconds, on_stopping=lambda: None)
    worker.loop = loop
    worker.execute_from_commandline()

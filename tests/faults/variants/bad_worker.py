"""The common part of the known-bad workers: all parts are those of the real one, apart from the agent.

Each module beside this one loses events in a way that has been seen in the wild. The fault tests run them, and pass only if the
checker notices: otherwise a clean report on the real worker would mean little.
"""

import asyncio
import copy
import os
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, NoReturn

import faust
import mode
from prometheus_client import CollectorRegistry

import tagstream.stream.worker.faust_app
from tagstream.monitoring.health import Progress
from tagstream.stream import logs
from tagstream.stream.contract.outcome import Decide, Publication
from tagstream.stream.decide.from_settings import draw_of
from tagstream.stream.deliver.batch import Batcher, record_of
from tagstream.stream.deliver.delivery import Delivery
from tagstream.stream.deliver.fatal import die
from tagstream.stream.kafka.group_memory import GroupMemory
from tagstream.stream.settings.loading import load
from tagstream.stream.settings.settings import Settings
from tagstream.stream.worker.ending import Worker
from tagstream.stream.worker.faust_app import App, faust_app, source
from tagstream.stream.worker.faust_engine import FaustEngine
from tests.faults.worker.failpoints import Arms
from tests.faults.worker.stub import LABELS, SECONDS_VARIABLE, FaultyMetrics, StubPipeline, faulty_producer

log = logs.logger("tagstream.variant")


@dataclass(frozen=True, slots=True, kw_only=True)
class Parts:
    """The parts of an agent."""

    settings: Settings
    app: App
    pipeline: StubPipeline
    metrics: FaultyMetrics
    engine: FaustEngine

    def send(self, publication: Publication) -> Awaitable[Awaitable[Any]]:
        """As the real engine sends."""
        return self.engine.send(publication)

    async def decide(self, events: list[Any]) -> list[Publication]:
        """The outcomes of Faust's events, by the real pipeline in a thread."""
        return await asyncio.to_thread(self.pipeline.publications, [record_of(event.message) for event in events])

    def delivery(
        self,
        *,
        decide: Decide | None = None,
        send: Callable[[Publication], Awaitable[Awaitable[Any]]] | None = None,
        fail: Callable[[BaseException], NoReturn] = die,
    ) -> Delivery:
        """The real delivery; a variant whose defect lies there gives another decision, another producer or another end."""
        engine = copy.copy(self.engine)
        if send is not None:
            engine.send = send  # type: ignore[method-assign, assignment]
        return Delivery(
            decide=decide or self.pipeline.publications,
            engine=engine,
            observer=self.metrics,
            progress=Progress(stall_seconds=20, monotonic=time.monotonic),
            settings=self.settings,
            fail=fail,
        )

    def batches(self, deliver: Callable[[Any, list[Any]], Awaitable[None]]) -> None:
        """Declare an agent that takes batches in order, hands each with its stream to `deliver`, and dies of its errors."""
        batcher: Batcher[Any] = Batcher(limit=32)

        @self.app.agent(source(self.app, self.settings), name="classify")  # type: ignore[untyped-decorator]
        async def classify(stream: Any) -> None:
            stream = stream.noack()
            work = asyncio.create_task(work_off(stream))
            try:
                async for event in stream.events():
                    await batcher.put(event, 0)
            finally:
                work.cancel()

        async def work_off(stream: Any) -> None:
            try:
                while True:
                    batch, _ = await batcher.next_batch()
                    await deliver(stream, batch)
            except Exception as error:  # noqa: BLE001 - as our delivery does
                die(error)


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
    tagstream.stream.worker.faust_app.Producer = faulty_producer(tagstream.stream.worker.faust_app.Producer, arms)  # type: ignore[misc]
    app = faust_app(settings, idempotent=True)
    if restart_agents:
        app.conf.agent_supervisor = mode.OneForOneSupervisor
    pipeline = StubPipeline(arms, settings, metrics, seconds_per_batch=float(os.environ.get(SECONDS_VARIABLE, "0")))
    pipeline.draw = draw_of(settings, LABELS)
    define(
        Parts(
            settings=settings,
            app=app,
            pipeline=pipeline,
            metrics=metrics,
            engine=FaustEngine(app, settings, GroupMemory()),
        )
    )

    @app.on_partitions_assigned.connect(weak=False)  # type: ignore[untyped-decorator]
    async def assigned(_: faust.App, partitions: Any, **__: Any) -> None:
        log.info(
            "partitions_assigned", partitions=sorted(tp.partition for tp in partitions if tp.topic == settings.topics.content)
        )

    loop = asyncio.new_event_loop()
    asyncio.set_event_loop(loop)
    worker = Worker(app, loop=loop, shutdown_seconds=settings.shutdown_timeout_seconds, on_stopping=lambda: None)
    worker.execute_from_commandline()

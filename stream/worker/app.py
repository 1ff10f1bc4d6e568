"""
The worker's application: an agent over `content` and one over `reviewed`, a task that reports the position, and one that watches for drift.

Both agents are the same delivery over another topic. docs/decisions/0015-one-worker-two-agents.md says why they share a process.
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

import faust
import faust.transport.drivers.aiokafka as driver
from faust.exceptions import ConsumerNotStarted
from faust.types import TP

from monitoring.drift.watch import DriftWatch
from monitoring.health import Progress
from monitoring.metrics.metrics import Metrics
from stream.decide.pipeline import Pipeline
from stream.deliver.breaker_file import BreakerFile
from stream.deliver.crash.guard import Guard, Unguarded
from stream.deliver.deliveries import Deliveries
from stream.deliver.delivery import Delivery
from stream.deliver.fatal import end
from stream.kafka.transactions import Transactions
from stream.logs import logger
from stream.settings.settings import Settings
from stream.tracing.parts import UNTRACED, Tracing
from stream.worker.answers import Answers
from stream.worker.drift import DriftObserver
from stream.worker.faust_app import faust_app, raw_topic
from stream.worker.group_start import GroupStart
from stream.worker.position.position import AnswersTopic, Position
from stream.worker.producer import drift_sender, sender
from stream.worker.queued import QueuedStream

log = logger("tagstream.app")

TICK_SECONDS = 1.0
COMMIT_SECONDS = 5.0
EXIT_BREAKER_OPEN = 1


def build(  # noqa: PLR0913 - parts are named arguments
    settings: Settings,
    *,
    pipeline: Pipeline,
    metrics: Metrics,
    progress: Progress,
    idempotent: bool,
    watch: DriftWatch | None = None,
    drift_topic: bool = True,
    guard: Guard | None = None,
    answers: Answers | None = None,
    tracing: Tracing = UNTRACED,
) -> faust.App:
    """
    The worker's application.

    Args:
        settings: Topics, group, sizes and bounds.
        pipeline: Decides events.
        metrics: Counts them.
        progress: Answers /readyz.
        idempotent: Does the broker hand out producer ids?
        watch: Looks for drift; None for no drift.
        drift_topic: Is there a topic for drift findings? Without it they are only logged.
        guard: Remembers which events killed a worker; None for no such memory.
        answers: Turns reviewers' answers into decisions; None where there is no topic of answers.
        tracing: Puts traces around deciding and observing.
    """
    app = faust_app(settings, idempotent=idempotent)
    app.group_start = GroupStart(told=metrics.group_began)
    guard = guard or Unguarded()
    drift = None
    if watch is not None:
        drift = DriftObserver(watch, recorder=metrics, send=drift_sender(app, settings) if drift_topic else None)
        app.task(drift.run)
    if settings.delivery == "exactly_once":
        app.transactions = Transactions(settings, lost=_lost(app), metadata=lambda: app.group_start.metadata)
    transact = app.transactions.deliver if app.transactions is not None else None
    send = sender(app, settings)
    content = Delivery(
        decide=tracing.deciding(guard.guarded(pipeline.publications), settings.topics.content),
        send=send,
        observer=tracing.observing(drift or metrics),
        progress=progress,
        settings=settings,
        guard=guard,
        stop=_breaker_stop(
            app, BreakerFile(settings, release=pipeline.decider.release), metrics=metrics, progress=progress, guard=guard
        ),
        transact=transact,
    )
    _declare_agent(app, settings.topics.content, "classify", content)
    topic = None
    if answers is not None:
        answers = answers.traced(tracing, settings.topics.reviewed)
        topic = AnswersTopic(name=settings.topics.reviewed, progress=answers.progress)
        app.delivery = Deliveries(content, answers.delivery(settings, guard, send, transact))
        _declare_agent(app, topic.name, "answer", app.delivery.answers)
    else:
        app.delivery = Deliveries(content)
    _report_position(app, Position(app, app.delivery, metrics, progress, guard, answers=topic))
    _note_assignments(app, progress, drift, topic)
    return app


def _lost(app: faust.App) -> Callable[[Any, int | None, Sequence[int]], int | None]:
    def lost(partition: Any, after: int | None, offsets: Sequence[int]) -> int | None:
        # Looked up at each call, because Faust makes its consumer when the app starts.
        found: int | None = app.consumer.lost(TP(*partition), after, offsets)
        return found

    return lost


def _breaker_stop(
    app: faust.App, file: BreakerFile, *, metrics: Metrics, progress: Progress, guard: Guard
) -> Callable[[str], Awaitable[None]]:
    """The end of the process once the circuit breaker has opened: remember why, commit, exit."""

    async def stop(why: str) -> None:
        progress.refuse(why)
        metrics.circuit_breaker(is_open=True)
        remembered = file.write(why)
        await _commit(app)
        guard.excuse()
        guard.close()

        def say() -> None:
            log.critical(
                "circuit_breaker_opened",
                why=why,
                remembered=remembered,
                exit_code=EXIT_BREAKER_OPEN,
                next="docs/runbooks/CircuitBreakerOpen.md; no event is lost, events whose outcomes were not sent are read again",
            )

        end(EXIT_BREAKER_OPEN, say)

    return stop


async def _commit(app: faust.App) -> None:
    """Commit what is acknowledged; events whose commit fails are read again."""
    try:
        async with asyncio.timeout(COMMIT_SECONDS):
            # While another commit is under way, the first call only waits for that.
            await app.consumer.commit()
            await app.consumer.commit()
    except (TimeoutError, ConnectionError, driver.KafkaError, ConsumerNotStarted) as error:
        log.warning("commit_failed", why=f"{type(error).__name__}: {error}", consequence="some outcomes will be sent again")


def _declare_agent(app: faust.App, topic: str, name: str, delivery: Delivery) -> None:
    @app.agent(raw_topic(app, topic), name=name)  # type: ignore[untyped-decorator]
    async def agent(stream: Any) -> None:
        await delivery.run(QueuedStream(stream.noack()))


def _report_position(app: faust.App, position: Position) -> None:
    # Not a timer of Faust's: that warns of an overlap whenever a rebalance makes the broker slow to answer.
    @app.task  # type: ignore[untyped-decorator]
    async def report_position() -> None:
        while True:
            await position.tick()
            await asyncio.sleep(TICK_SECONDS)


def _note_assignments(app: faust.App, progress: Progress, drift: DriftObserver | None, answers: AnswersTopic | None) -> None:
    @app.on_partitions_assigned.connect(weak=False)  # type: ignore[untyped-decorator]
    async def assigned(_: faust.App, partitions: set[TP], **__: Any) -> None:
        of_answers = {tp for tp in partitions if answers is not None and tp.topic == answers.name}
        events = partitions - of_answers
        progress.assigned(len(events))
        if drift is not None:
            drift.assigned(events)
        said = {}
        if answers is not None:
            answers.progress.assigned(len(of_answers))
            said["answers"] = sorted(tp.partition for tp in of_answers)
        log.info("partitions_assigned", partitions=sorted(tp.partition for tp in events), **said)

"""
The worker's application: an agent on `content`, an agent on `reviewed`, a task that reports the position, and a task that watches drift.

Both agents run the same delivery on different topics. docs/decisions/0015-one-worker-two-agents.md says why they share a process.
"""

import asyncio
import functools
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Any, NoReturn

from faust.types import TP

from tagstream.monitoring.drift.watch import DriftWatch
from tagstream.monitoring.health import Progress
from tagstream.monitoring.metrics.metrics import Metrics
from tagstream.monitoring.observer import Observer
from tagstream.stream.contract.outcome import Decide
from tagstream.stream.decide.pipeline import Pipeline
from tagstream.stream.deliver.breaker import BreakerFile
from tagstream.stream.deliver.crash.guard import Guard, Unguarded, decided
from tagstream.stream.deliver.delivery import Admit, Deliveries, Delivery
from tagstream.stream.deliver.engine import Engine
from tagstream.stream.deliver.fatal import die, end
from tagstream.stream.deliver.hooks import UNTRACED, TracingHooks
from tagstream.stream.drift.observer import DriftObserver, watch_of
from tagstream.stream.drift.references import References
from tagstream.stream.kafka.group_memory import GroupMemory
from tagstream.stream.logs import logger
from tagstream.stream.settings.settings import Settings
from tagstream.stream.worker.faust_app import App, faust_app
from tagstream.stream.worker.faust_engine import FaustEngine
from tagstream.stream.worker.part import MakePart, Membership, WorkerPart, told
from tagstream.stream.worker.position import AnswersTopic, PositionReporter

log = logger("tagstream.app")
TICK_SECONDS = 1.0
EXIT_BREAKER_OPEN = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class AnswersAgent:
    """
    The second agent's own parts. It turns reviewers' answers on `reviewed` into decisions on `tagged`.

    Attributes:
        decide: Returns one publication for each record of `reviewed`, as `ReviewerAnswers.publications` does.
        observer: Counts the answers.
        progress: The progress on the topic of answers.
    """

    decide: Decide
    observer: Observer
    progress: Progress

    def delivery(self, settings: Settings, *, tracing: TracingHooks, guard: Guard, engine: Engine) -> Delivery:
        """
        The delivery of answers, with one thread, without a crash guard and without a circuit breaker.

        It needs no crash guard: no native code that could abort reads an answer, and a model that dies with an event must not make a
        suspect of an answer that was in hand too. It has no circuit breaker: a tool that writes bad answers must not stop the events.

        Args:
            settings: Batch size and bounds.
            tracing: Puts traces around deciding and observing.
            guard: The guard of the events. If this delivery ends the process, no event is to blame.
            engine: Delivers the decisions.
        """

        def fail(error: BaseException) -> NoReturn:
            guard.excuse()
            die(error)

        return Delivery(
            decide=tracing.deciding(self.decide, settings.topics.reviewed),
            engine=engine,
            observer=tracing.observing(self.observer),
            progress=self.progress,
            settings=settings.model_copy(update={"inference_threads": 1}),
            fail=fail,
        )


def build(  # noqa: PLR0913 - parts are named arguments
    settings: Settings,
    *,
    pipeline: Pipeline,
    metrics: Metrics,
    progress: Progress,
    idempotent: bool,
    watch: DriftWatch | None = None,
    drift_topic: bool = True,
    references_topic: bool = False,
    guard: Guard | None = None,
    answers: AnswersAgent | None = None,
    tracing: TracingHooks = UNTRACED,
    parts: Sequence[MakePart] = (),
) -> App:
    """
    The worker's application.

    Args:
        settings: Topics, group, sizes and bounds.
        pipeline: Decides events.
        metrics: Counts events and outcomes.
        progress: Answers /readyz.
        idempotent: True if the broker hands out producer ids.
        watch: Looks for drift; None for no drift.
        drift_topic: True if there is a topic for drift findings. Without it findings are only logged.
        references_topic: True if there is a topic for the group's drift reference. Without it each worker learns its own.
        guard: Finds events that kill the worker; None for no guard.
        answers: Turns reviewers' answers into decisions; None if there is no topic of answers.
        tracing: Puts traces around deciding and observing.
        parts: The worker's parts beside the delivery.
    """
    app = faust_app(settings, idempotent=idempotent)
    engine: Engine = FaustEngine(app, settings, GroupMemory(told=metrics.group_began))
    guard = guard or Unguarded()
    drift = None
    if watch is not None:
        drift = _drift(app, engine, settings, watch, metrics, pipeline, published=drift_topic, shared=references_topic)
    joined = _joined(app, engine, parts)
    content = Delivery(
        decide=tracing.deciding(functools.partial(decided, guard, pipeline.publications), settings.topics.content),
        engine=engine,
        observer=tracing.observing(told(drift or metrics, joined)),
        progress=progress,
        settings=settings,
        guard=guard,
        stop=_breaker_stop(engine, breaker_file(settings, pipeline), metrics=metrics, progress=progress, guard=guard),
        admit=_admission(joined),
        pace=app.pace,
    )
    engine.subscribe("classify", settings.content_topics, content.run)
    topic = of_answers = None
    if answers is not None:
        topic = AnswersTopic(name=settings.topics.reviewed, progress=answers.progress)
        of_answers = answers.delivery(settings, tracing=tracing, guard=guard, engine=engine)
        engine.subscribe("answer", [topic.name], of_answers.run)
    deliveries = Deliveries(content, of_answers)
    engine.held_by(deliveries)
    topics = settings.content_topics
    _report_position(app, PositionReporter(app, deliveries, metrics, progress, guard, answers=topic, topics=topics))
    _note_assignments(app, progress, drift, topic, joined)
    return app


def _joined(app: App, engine: Engine, makes: Sequence[MakePart]) -> list[WorkerPart]:
    """The parts, which run beside the delivery and leave before the producer is flushed."""
    membership = Membership(member=engine.member, sender=engine.sender, memory=engine.memory)
    parts = [make(membership) for make in makes]
    for part in parts:
        app.task(part.run)
        app.on_before_shutdown.connect(_left(part), weak=False)
    return parts


def _left(part: WorkerPart) -> Callable[..., Awaitable[None]]:
    async def leave(*_: Any, **__: Any) -> None:
        await part.leave()

    return leave


def _admission(parts: Sequence[WorkerPart]) -> Admit | None:
    """Holds events until every part admits them; None if there are no parts."""
    if not parts:
        return None
    if len(parts) == 1:
        return parts[0].admit

    async def admit(taken: Sequence[Any], given_up: Callable[[], bool]) -> None:
        for part in parts:
            await part.admit(taken, given_up)

    return admit


def _drift(  # noqa: PLR0913 - parts are named arguments
    app: App,
    engine: Engine,
    settings: Settings,
    watch: DriftWatch,
    metrics: Metrics,
    pipeline: Pipeline,
    *,
    published: bool,
    shared: bool,
) -> DriftObserver:
    """The watch beside the delivery. `published` is true if findings have a topic, `shared` if the group's reference has a topic."""
    drift = DriftObserver(
        watch,
        recorder=metrics,
        send=engine.sender(settings.topics.drift) if published else None,
        note=engine.sender(settings.topics.references) if shared else None,
        references=References(settings) if shared else None,
    )
    pipeline.follow(lambda decider: drift.renew(watch_of(settings, decider)), told=True)
    app.task(drift.run)
    return drift


def breaker_file(settings: Settings, pipeline: Pipeline) -> BreakerFile:
    """The file of the group's circuit breaker. Its release always follows the decider in force."""
    file = BreakerFile(settings, release=pipeline.decider.release)
    pipeline.follow(lambda decider: setattr(file, "release", decider.release), told=True)
    return file


def _breaker_stop(
    engine: Engine, file: BreakerFile, *, metrics: Metrics, progress: Progress, guard: Guard
) -> Callable[[str], Awaitable[None]]:
    """The end of the process once the circuit breaker has opened: remember why, commit, exit."""

    async def stop(why: str) -> None:
        progress.refuse(why)
        metrics.circuit_breaker(is_open=True)
        remembered = file.write(why)
        await engine.commit()
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


def _report_position(app: App, position: PositionReporter) -> None:
    # A loop and not Faust's timer, which warns of an overlap whenever a rebalance makes the broker slow to answer.
    @app.task
    async def report_position() -> None:
        while True:
            await position.tick()
            await asyncio.sleep(TICK_SECONDS)


def _note_assignments(
    app: App, progress: Progress, drift: DriftObserver | None, answers: AnswersTopic | None, parts: Sequence[WorkerPart]
) -> None:
    @app.on_partitions_assigned.connect(weak=False)  # type: ignore[untyped-decorator]
    async def assigned(_: App, partitions: set[TP], **__: Any) -> None:
        of_answers = {tp for tp in partitions if answers is not None and tp.topic == answers.name}
        events = partitions - of_answers
        progress.assigned(len(events))
        for part in parts:
            part.assigned()
        if drift is not None:
            drift.assigned(events)
        said = {}
        if answers is not None:
            answers.progress.assigned(len(of_answers))
            said["answers"] = sorted(tp.partition for tp in of_answers)
        by_topic = {
            name: sorted(tp.partition for tp in events if tp.topic == name) for name in sorted({tp.topic for tp in events})
        }
        log.info(
            "partitions_assigned", partitions=by_topic if len(by_topic) > 1 else sorted(tp.partition for tp in events), **said
        )

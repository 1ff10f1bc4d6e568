"""A worker's process: check topics and rights, serve metrics, wait while the circuit breaker is open, then run until it is stopped."""

import asyncio
import contextlib
import gc
import time
from collections.abc import Callable, Iterator, Sequence

from prometheus_client import CollectorRegistry

from tagstream.monitoring.drift.watch import DriftWatch
from tagstream.monitoring.health import Progress, Readiness
from tagstream.monitoring.metrics.metrics import Metrics
from tagstream.monitoring.server.application import Page, application
from tagstream.monitoring.server.server import serve
from tagstream.stream.contract.event import Limits
from tagstream.stream.contract.outcome import Decide
from tagstream.stream.decide.pipeline import Pipeline
from tagstream.stream.decide.reviewer_answers import ReviewerAnswers
from tagstream.stream.deliver.breaker import BreakerFile
from tagstream.stream.deliver.crash.guard import Guard, open_guard
from tagstream.stream.deliver.crash.trial import ChildTrials, TrialRecipe
from tagstream.stream.deliver.hooks import UNTRACED, TracingHooks
from tagstream.stream.kafka.consumer_group import decided_without_a_commit
from tagstream.stream.kafka.credentials import warnings
from tagstream.stream.logs import logger
from tagstream.stream.settings.metrics_address import next_step
from tagstream.stream.settings.secret_files import answer_keys
from tagstream.stream.settings.settings import Settings
from tagstream.stream.worker.app import AnswersAgent, breaker_file, build
from tagstream.stream.worker.ending import Worker, exit_on_early_stop
from tagstream.stream.worker.faust_app import App
from tagstream.stream.worker.part import MakePart
from tagstream.stream.worker.topics import Surroundings, draw_for, has_drift_topic, has_references, look, takes_answers

log = logger("tagstream.app")

BREAKER_SECONDS = 1.0


class MetricsPortError(Exception):
    """The metrics address cannot be bound: the message says which, why, and what to do."""

    exit_code = 2


def run(  # noqa: PLR0913 - parts are named arguments
    settings: Settings,
    *,
    pipeline: Pipeline,
    make: Callable[[Settings], Pipeline],
    metrics: Metrics,
    registry: CollectorRegistry,
    watch: DriftWatch | None = None,
    answering: Callable[[Limits], Decide] | None = None,
    tracing: TracingHooks = UNTRACED,
    warm: Callable[[], object] = lambda: None,
    page: Callable[[], Page] | None = None,
    parts: Sequence[MakePart] = (),
) -> None:
    """
    Run a worker until it is told to stop; does not return normally.

    Args:
        settings: The worker's settings.
        pipeline: Decides events.
        make: Makes the same pipeline in another process, for trials; a function of a module.
        metrics: Counts events and outcomes.
        registry: The metrics that the metrics address serves.
        watch: Looks for drift; None for no drift.
        answering: Makes the function that turns reviewers' answers into decisions; None for `ReviewerAnswers`.
        tracing: Puts traces around deciding and observing.
        warm: Takes the memory that the model's largest batches need; called before the worker joins the group.
        page: Loads the worker's page at the first request for it; None for no page.
        parts: The worker's parts beside the delivery.

    Raises:
        SystemExit: The worker has stopped.
        BrokerUnreachableError: No broker answered in time, or a broker refused the worker.
        NotAuthorizedError: The worker's user lacks a right; the message has the ACL that is missing.
        TopicsMissingError: A topic does not exist.
        TransactionsUnavailableError: Exactly once was asked for, and there are no transactions.
        MetricsPortError: The metrics address cannot be bound.
        TopicTakesTooLittleError: The topic of dead letters is too small for a dead letter without its value.
        StateFolderError: `state_folder` was named and cannot be used.
        SecurityError: `ask_rate` is above 0, and the file of its keys cannot be used.
        UnknownLabelError: `audit_rates` names a label that the bundle does not have.
    """
    _keep()
    gc.enable()
    exit_on_early_stop()
    for warning in warnings(settings.security):
        log.warning("security_could_be_better", what=warning, see="docs/security.md")
    found = look(settings)
    settings = found.settings
    pipeline.limits = settings.limits
    pipeline.follow(lambda decider: setattr(pipeline, "draw", draw_for(settings, decider, found.seen, found.most_bytes)))
    if settings.ask_rate:
        from tagstream.stream.decide.asking import asking_of

        pipeline.ask = asking_of(settings)
    progress = Progress(stall_seconds=settings.stall_timeout_seconds, monotonic=time.monotonic)
    answers = _answers(settings, found, metrics, answering or _answering(settings, pipeline))
    topics = {settings.topics.content: progress} | ({settings.topics.reviewed: answers.progress} if answers else {})
    with metrics_server(settings, registry, Readiness(topics), page) as port:
        _say_starting(found, port)
        _wait_while_open(breaker_file(settings, pipeline), metrics, progress)
        _say_if_decided_again(settings)
        warm()
        with contextlib.closing(open_guard(settings, _trials(settings, pipeline, make), metrics.crash_guard)) as guard:
            app = build(
                settings,
                pipeline=pipeline,
                metrics=metrics,
                progress=progress,
                idempotent=found.idempotent,
                watch=watch,
                drift_topic=watch is not None and has_drift_topic(settings, found.seen),
                references_topic=watch is not None and watch.learning and has_references(settings, found.seen),
                guard=guard,
                answers=answers,
                tracing=tracing,
                parts=parts,
            )
            _work(app, settings, progress, guard)


def _answering(settings: Settings, pipeline: Pipeline) -> Callable[[Limits], Decide]:
    keys = answer_keys(settings.security)
    return lambda limits: ReviewerAnswers(limits, keys=keys, decider=lambda: pipeline.decider).publications


def _answers(
    settings: Settings, found: Surroundings, metrics: Metrics, answering: Callable[[Limits], Decide]
) -> AnswersAgent | None:
    """The parts of the second agent; None if there is no topic of answers, or the worker may not read it."""
    if not takes_answers(settings, found.seen):
        return None
    metrics.answers.taken()
    progress = Progress(stall_seconds=settings.stall_timeout_seconds, monotonic=time.monotonic)
    return AnswersAgent(decide=answering(settings.limits), observer=metrics.answers, progress=progress)


def _trials(settings: Settings, pipeline: Pipeline, make: Callable[[Settings], Pipeline]) -> ChildTrials:
    """The trials of suspects, each with the decider of its event."""
    recipe = TrialRecipe(make=make, settings=settings, draw=pipeline.draw, ask=pipeline.ask, model=pipeline.decider.model)
    return ChildTrials(recipe, decider_for=pipeline.decider_for, distrust=pipeline.distrust)


def _work(app: App, settings: Settings, progress: Progress, guard: Guard) -> None:
    """Run the application until it is stopped; ends in SystemExit."""

    def stopping() -> None:
        progress.stopping()
        # From now on the process ends because it was told to, so no event is to blame for its end.
        guard.excuse()

    # Collect the reference cycles that the start left, sockets among them: `_keep` would keep them for ever.
    gc.collect()
    _keep()
    loop = asyncio.new_event_loop()
    asyncio.set_event_loop(loop)
    Worker(app, loop=loop, shutdown_seconds=settings.shutdown_timeout_seconds, on_stopping=stopping).work()


def _keep() -> None:
    """Exempt the objects made so far from garbage collection: they live to the end, and a visit stops the event loop for some 70 ms."""
    gc.freeze()


def _say_starting(found: Surroundings, port: int) -> None:
    settings = found.settings
    log.info(
        "worker_starting",
        brokers=settings.brokers,
        security=settings.security.protocol,
        group=settings.group,
        topic=", ".join(settings.content_topics),
        partitions=found.partitions,
        idempotent_producer=found.idempotent,
        delivery=settings.delivery,
        metrics=f"http://{settings.metrics_host}:{port}/metrics",
    )


def _say_if_decided_again(settings: Settings) -> None:
    """Warn if the group has no commit, and so reads `content` from the first event, although outcomes exist already."""
    if (outcomes := decided_without_a_commit(settings)) > 0:
        log.warning(
            "group_has_no_commit",
            group=settings.group,
            topic=", ".join(settings.content_topics),
            outcomes=outcomes,
            why="the group is new, was deleted, or had no member for so long that Kafka forgot its offsets",
            consequence="every event and answer that is still on its topic is decided again: with the same prediction_id under the "
            "same bundle, and behind decisions that are newer",
            next='docs/upgrade.md, "A group without its offsets"',
        )


def _wait_while_open(file: BreakerFile, metrics: Metrics, progress: Progress) -> None:
    """While the circuit breaker is open, stay out of the group and say why on /readyz. A person ends this wait, not a timeout."""
    why = file.why()
    if why is None:
        return
    metrics.circuit_breaker(is_open=True)
    progress.refuse(f"the circuit breaker is open: {why}. Next: docs/runbooks/CircuitBreakerOpen.md, then remove {file.path}")
    log.error(
        "circuit_breaker_open",
        why=why,
        next=f"docs/runbooks/CircuitBreakerOpen.md; then remove {file.path}, raise the limit or start another release",
    )
    while file.why() is not None:
        time.sleep(BREAKER_SECONDS)
    log.info("circuit_breaker_closed", because=f"{file.path} was removed")
    metrics.circuit_breaker(is_open=False)
    progress.refuse(None)


@contextlib.contextmanager
def metrics_server(
    settings: Settings, registry: CollectorRegistry, ready: Progress | Readiness, page: Callable[[], Page] | None = None
) -> Iterator[int]:
    """
    Serve /metrics, /healthz, /readyz and the page during the block; yields the port.

    Args:
        settings: The address, and the host names that requests may have.
        registry: The metrics.
        ready: Answers /readyz.
        page: Loads the page at the first request for it; None for no page.

    Raises:
        MetricsPortError: The address cannot be bound.
    """
    served = application(registry, ready.verdict, names=[settings.metrics_host, *settings.metrics_name_list], page=page)
    with contextlib.ExitStack() as stack:
        try:
            port = stack.enter_context(serve(served, host=settings.metrics_host, port=settings.metrics_port))
        except OSError as error:
            msg = (
                f"the metrics address {settings.metrics_host}:{settings.metrics_port} cannot be bound: {error}. "
                f"Next: {next_step(error)}"
            )
            raise MetricsPortError(msg) from error
        yield port

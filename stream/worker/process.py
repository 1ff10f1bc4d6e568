"""A worker's process: check what it needs, serve its metrics, wait while the circuit breaker is open, then run until it is stopped."""

import asyncio
import contextlib
import gc
import time
from collections.abc import Callable, Iterator, Mapping

from prometheus_client import CollectorRegistry

from monitoring.drift.watch import DriftWatch
from monitoring.health import Progress, Readiness
from monitoring.metrics.metrics import Metrics
from monitoring.server.application import application
from monitoring.server.server import serve
from stream.contract.limits import Limits
from stream.contract.publication import Decide
from stream.decide.answering import Answering
from stream.decide.pipeline import Pipeline
from stream.deliver.breaker_file import BreakerFile
from stream.deliver.crash.crash_guard import open_guard
from stream.deliver.crash.trial import ChildTrials, Recipe
from stream.kafka import admin, probes, sizes
from stream.kafka.connect.handshake import await_listener
from stream.kafka.credentials import warnings
from stream.kafka.errors import NotAuthorizedError
from stream.kafka.group.look import decided_without_a_commit
from stream.kafka.rights import NEEDED_TOPICS, Operation
from stream.kafka.transactions import no_transactions
from stream.logs import logger
from stream.settings.metrics_address import next_step
from stream.settings.secret_files import answer_keys
from stream.settings.settings import Settings
from stream.tracing.parts import UNTRACED, Tracing
from stream.worker.answers import Answers
from stream.worker.app import build
from stream.worker.ending.shutdown import Worker, exit_on_early_stop
from stream.worker.loop import draw_for, takes_answers

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
    tracing: Tracing = UNTRACED,
    warm: Callable[[], object] = lambda: None,
) -> None:
    """
    Run a worker until it is told to stop; does not return normally.

    Args:
        settings: All of them.
        pipeline: Decides events.
        make: Makes the same pipeline in another process, for trials; a function of a module.
        metrics: Counts them.
        registry: Is served at the metrics address.
        watch: Looks for drift; None for no drift.
        answering: Makes the function that turns reviewers' answers into decisions; None for `Answering`.
        tracing: Puts traces around deciding and observing.
        warm: Returns when the model has the memory that its largest batches need; called before the group is joined.

    Raises:
        SystemExit: The worker has stopped.
        BrokerUnreachableError: No broker answered in time, or one refused us.
        NotAuthorizedError: The worker's user lacks a right; the message has the ACL that is missing.
        TopicsMissingError: A topic does not exist.
        TransactionsUnavailableError: Exactly once was asked for, and there are no transactions.
        MetricsPortError: The metrics address cannot be bound.
        TopicTakesTooLittleError: The topic of dead letters does not take a reference.
        StateFolderError: `state_folder` was named and cannot be used.
        UnknownLabelError: `audit_rates` names a label that the bundle does not have.
    """
    exit_on_early_stop()
    for warning in warnings(settings.security):
        log.warning("security_could_be_better", what=warning, see="docs/security.md")
    partitions, seen = _topics(settings)
    taken = sizes.read(settings)
    settings = _fitted(settings, taken)
    # Asked apart: a user who may not see the configuration of this one topic would get no answer on the others either.
    if taken and seen[settings.topics.audit].partitions is not None:
        taken |= sizes.read(settings, [settings.topics.audit])
    pipeline.limits = settings.limits
    pipeline.draw = draw_for(settings, pipeline.decider, seen, taken)
    idempotent = _idempotent(settings)
    progress = Progress(stall_seconds=settings.stall_timeout_seconds, monotonic=time.monotonic)
    keys = answer_keys(settings.security)
    answers = _answers(
        settings,
        seen,
        metrics,
        answering or (lambda limits: Answering(limits, keys=keys, decider=lambda: pipeline.decider).publications),
    )
    topics = {settings.topics.content: progress} | ({settings.topics.reviewed: answers.progress} if answers else {})
    with metrics_server(settings, registry, Readiness(topics)) as port:
        log.info(
            "worker_starting",
            brokers=settings.brokers,
            security=settings.security.protocol,
            group=settings.group,
            topic=settings.topics.content,
            partitions=partitions[settings.topics.content],
            idempotent_producer=idempotent,
            delivery=settings.delivery,
            metrics=f"http://{settings.metrics_host}:{port}/metrics",
        )
        _wait_while_open(BreakerFile(settings, release=pipeline.decider.release), metrics, progress)
        _say_if_decided_again(settings)
        warm()
        trials = ChildTrials(Recipe(make=make, settings=settings, draw=pipeline.draw, model=pipeline.decider.model))
        with contextlib.closing(open_guard(settings, trials, metrics.crash_guard)) as guard:
            app = build(
                settings,
                pipeline=pipeline,
                metrics=metrics,
                progress=progress,
                idempotent=idempotent,
                watch=watch,
                drift_topic=watch is not None and _has_drift_topic(settings, seen),
                references_topic=watch is not None and watch.learning and _has_references(settings, seen),
                guard=guard,
                answers=answers,
                tracing=tracing,
            )

            def stopping() -> None:
                progress.stopping()
                # From now on the process ends because it was told to, so no event is to blame for its end.
                guard.excuse()

            # Objects made so far stay to the end. A collection that visits them all stops the event loop for some 70 ms.
            gc.collect()
            gc.freeze()
            with _fresh_loop() as loop:
                Worker(app, loop=loop, shutdown_seconds=settings.shutdown_timeout_seconds, on_stopping=stopping).work()


def _topics(settings: Settings) -> tuple[dict[str, int], dict[str, admin.TopicDescription]]:
    """Partitions of the topics that a worker needs, and what the brokers say of those and of the topics beside them; raises as `run` does."""
    # Worker and broker are often started together, so a worker waits for a listener as long as for an answer.
    await_listener(
        settings, say=lambda why: log.warning("broker_not_there_yet", why=why, seconds=settings.startup_timeout_seconds)
    )
    needed = {key: getattr(settings.topics, key) for key in NEEDED_TOPICS}
    beside = (settings.topics.drift, settings.topics.references, settings.topics.audit, settings.topics.reviewed)
    seen = admin.describe(settings, [*needed.values(), *beside])
    found = admin.require(settings, needed, operations=NEEDED_TOPICS, found=seen)
    for denied in (asyncio.run(probes.group_denied(settings)), asyncio.run(probes.transactions_denied(settings))):
        if denied is not None:
            raise NotAuthorizedError(denied)
    return found, seen


def _fitted(settings: Settings, taken: Mapping[str, int]) -> Settings:
    """The settings with limits that the topics of the outcomes take, or a record that one of them refuses would end every worker."""
    found = list(sizes.shortfalls(settings, taken))
    for one in found:
        log.warning("topic_takes_less", topic=one.topic, why=one.why, consequence=one.consequence, next=one.next)
    return sizes.fitted(settings, found)


def _answers(
    settings: Settings,
    seen: Mapping[str, admin.TopicDescription],
    metrics: Metrics,
    answering: Callable[[Limits], Decide],
) -> Answers | None:
    """The parts of the second agent; None where there is no topic of answers that may be read."""
    if not takes_answers(settings, seen):
        return None
    metrics.answers.taken()
    progress = Progress(stall_seconds=settings.stall_timeout_seconds, monotonic=time.monotonic)
    return Answers(decide=answering(settings.limits), observer=metrics.answers, progress=progress)


def _has_drift_topic(settings: Settings, seen: Mapping[str, admin.TopicDescription]) -> bool:
    """Whether findings can be published. Without their topic a worker runs all the same; it says so and logs them."""
    found = seen[settings.topics.drift].partitions is not None
    if not found:
        log.warning(
            "drift_topic_missing",
            topic=settings.topics.drift,
            consequence="drift findings are logged and not published",
            next="tagstream doctor --create-topics, or TAGSTREAM_DRIFT_WINDOW_EVENTS=0 to look for none",
        )
    return found


def _has_references(settings: Settings, seen: Mapping[str, admin.TopicDescription]) -> bool:
    """Whether the group can keep its reference. Without the topic each worker learns for itself, and again after a restart."""
    found = seen[settings.topics.references]
    allowed = found.operations is None or {Operation.READ, Operation.WRITE} <= found.operations
    if found.partitions is None or not allowed:
        log.warning(
            "references_topic_missing",
            topic=settings.topics.references,
            consequence="this worker learns for itself what is ordinary, and forgets it when it ends",
            next="tagstream doctor --create-topics, with the rights of `tagstream doctor --acls`; or TAGSTREAM_DRIFT_REFERENCE",
        )
        return False
    return True


def _say_if_decided_again(settings: Settings) -> None:
    """A group without a commit reads `content` from its first event on. Where outcomes lie there already, that may be nobody's wish."""
    if (outcomes := decided_without_a_commit(settings)) > 0:
        log.warning(
            "group_has_no_commit",
            group=settings.group,
            topic=settings.topics.content,
            outcomes=outcomes,
            why="the group is new, was deleted, or had no member for so long that Kafka forgot its offsets",
            consequence="every event and answer that is still on its topic is decided again: with the same prediction_id under the "
            "same bundle, and behind decisions that are newer",
            next='docs/upgrade.md, "A group without its offsets"',
        )


def _idempotent(settings: Settings) -> bool:
    """Whether producers are idempotent; raises if exactly once was asked for and they are not."""
    idempotent = probes.use_idempotent_producer(settings)
    if (lacking := no_transactions(settings, idempotent=idempotent)) is not None:
        raise lacking
    return idempotent


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
def metrics_server(settings: Settings, registry: CollectorRegistry, ready: Progress | Readiness) -> Iterator[int]:
    """
    Serve /metrics, /healthz and /readyz meanwhile; yields the port.

    Raises:
        MetricsPortError: The address cannot be bound.
    """
    served = application(registry, ready.verdict, names=[settings.metrics_host, *settings.metrics_name_list])
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


@contextlib.contextmanager
def _fresh_loop() -> Iterator[asyncio.AbstractEventLoop]:
    loop = asyncio.new_event_loop()
    asyncio.set_event_loop(loop)
    yield loop

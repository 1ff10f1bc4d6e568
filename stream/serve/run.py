"""`tagstream serve` as a process: the pipeline, the queues, the server, and its end."""

import contextlib
import math
import resource
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from monitoring.metrics.http import HttpMetrics
from stream.decide.from_settings import pipeline_of
from stream.deliver import fatal
from stream.kafka.admin import require
from stream.kafka.producer import verbatim_sender
from stream.kafka.rights import Operation
from stream.logs import logger
from stream.serve.access import token_in
from stream.serve.answering import Answering
from stream.serve.app import Service, application
from stream.serve.deciding import Deciding
from stream.serve.publishing import Publishing, Sender
from stream.settings.settings import Settings
from stream.tracing.from_settings import tracing_of
from stream.web.serving import HEALTH_CONNECTIONS, STOP_SECONDS, listen, serve, url

MOST_CONNECTIONS = 4096
# Descriptors for all but connections: model, logs, brokers, table.
OTHER_FILES = 256
# After the answers under way are given up, the connections to brokers and table are closed.
CLOSE_SECONDS = 30
STOPPING = "the server is stopping"
BROKEN = "the model or the broker's client is broken, and the server ends"
log = logger("tagstream.serve")


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """
    The options of the command.

    Attributes:
        host: Address to listen on.
        port: Its port; 0 takes a free one.
        names: Host names that requests may have, beside localhost and addresses.
        token_file: The file of the token; None for no token.
        table: URL of a table of predictions that is asked first; None for no table.
        most_waiting: The most rows that wait for the model.
        deadline_seconds: The most that a request waits for its decisions.
    """

    host: str
    port: int
    names: Sequence[str] = ()
    token_file: Path | None = None
    table: str | None = None
    most_waiting: int = 1024
    deadline_seconds: float = 10.0


def run(settings: Settings, plan: Plan, *, say: Callable[[str], None]) -> None:
    """
    Serve until SIGINT or SIGTERM, and finish what is under way.

    Does not return if the model or the machine breaks: the process then ends with code 70, since a model that does not answer cannot be
    taken out of its thread.

    Args:
        settings: Bundle, bounds, brokers and topics.
        plan: The options of the command.
        say: Tells the address.

    Raises:
        AddressError: The address cannot be listened on.
        BundleError: The bundle is refused.
        TokenError: The token's file cannot be used.
        DatabaseUnavailableError: The table cannot be opened.
        TableError: There is no such table.
    """
    token = None if plan.token_file is None else token_in(plan.token_file)
    metrics = HttpMetrics.alone()
    with contextlib.ExitStack() as opened:
        listening = opened.enter_context(listen(plan.host, plan.port))
        pipeline = pipeline_of(settings, observer=metrics)
        decider = pipeline.decider
        decider.warm_up(settings.inference_threads)
        tracing = opened.enter_context(tracing_of(settings, service="tagstream-serve", counted=metrics.traces.counted))
        cached = None
        if plan.table is not None:
            # Imported here: it needs the extra `batch` or `review`, which a service without a table does without.
            from stream.serve.cached import Cached
            from stream.tables.predictions import open_predictions

            cached = Cached(opened.enter_context(open_predictions(plan.table, read_only=True)), pipeline)
        metrics.started(
            name=decider.model.name,
            version=decider.model.version,
            digest=decider.model.identity,
            most_waiting=plan.most_waiting,
        )
        deciding = Deciding(
            pipeline.publications,
            settings,
            most_waiting=plan.most_waiting,
            deadline_seconds=plan.deadline_seconds,
            counts=metrics,
        )
        publishing = Publishing(
            lambda: _sender(settings), settings.topics.content, wait_seconds=settings.startup_timeout_seconds
        )
        answering = Answering(deciding, publishing, metrics, cached, labels=decider.labels)
        opened.callback(answering.close)
        connections = _connections()
        is_stopping = False

        def stopping() -> None:
            nonlocal is_stopping
            is_stopping = True
            fatal.alarm.set(STOP_SECONDS + CLOSE_SECONDS)
            log.info("serve_stopping")

        def trouble() -> str | None:
            if answering.broken is not None:
                return BROKEN
            return STOPPING if is_stopping else None

        def watch() -> None:
            if answering.broken is not None:
                raise answering.broken

        @contextlib.asynccontextmanager
        async def beside() -> AsyncIterator[None]:
            async with deciding, publishing:
                yield

        service = Service(
            answering=answering,
            metrics=metrics,
            model=decider.model,
            labels=decider.labels,
            trouble=trouble,
            most_rows=plan.most_waiting,
            most_requests=max(1, connections - HEALTH_CONNECTIONS),
            token=token,
            names=plan.names,
        )
        say(f"the service: {url(listening)}docs")
        log.info("serve_starting", address=url(listening), model=decider.model.name, version=decider.model.version)
        try:
            serve(
                tracing.requests(application(service)),
                listening,
                watch,
                connections=connections,
                beside=beside,
                stopping=stopping,
            )
        except BaseException as error:
            if answering.broken is None:
                raise
            _end(answering.broken, error)
        log.info("serve_stopped")


@contextlib.contextmanager
def _sender(settings: Settings) -> Iterator[Sender]:
    """A sender to the topic `content`, which must exist."""
    topic = settings.topics.content
    require(settings, {"content": topic}, operations={"content": Operation.WRITE})
    # A producer that is not idempotent may write an event twice: the stream decides both alike. It needs no right more.
    with verbatim_sender(settings, idempotent=False) as sender:
        yield sender


def _connections() -> int:
    """The most connections at once: as many as there may be files, after the limit was raised as far as it goes."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = MOST_CONNECTIONS + OTHER_FILES
    most = math.inf if hard == resource.RLIM_INFINITY else hard
    if soft != resource.RLIM_INFINITY and soft < min(wanted, most):
        soft = int(min(wanted, most))
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    files = wanted if soft == resource.RLIM_INFINITY else min(soft, wanted)
    return max(1, files - OTHER_FILES)


def _end(broken: BaseException, error: BaseException) -> None:
    """End the process: the interpreter's own end would wait for the thread in which the model hangs."""

    def say() -> None:
        log.critical(
            "serve_ended",
            what="the service has ended; every request was answered with 503",
            why=f"{type(broken).__name__}: {' '.join(str(broken).split()) or 'no message'}",
            exit_code=fatal.EXIT_BROKEN,
            next="start it again, as an orchestrator does; if it ends again: tagstream doctor",
            exc_info=error,
        )

    fatal.end(fatal.EXIT_BROKEN, say)

"""The process of `tagstream serve`: the pipeline, the queues, the server and the shutdown."""

import contextlib
import math
import resource
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from tagstream.monitoring.metrics.http import HttpMetrics
from tagstream.stream.contract.asking import AskKeys
from tagstream.stream.decide.from_settings import pipeline_of
from tagstream.stream.decide.pipeline import Pipeline
from tagstream.stream.deliver import fatal
from tagstream.stream.kafka.admin import require
from tagstream.stream.kafka.producer import verbatim_sender
from tagstream.stream.kafka.rights import Operation
from tagstream.stream.logs import logger
from tagstream.stream.serve.access import token_in
from tagstream.stream.serve.app import Service, application
from tagstream.stream.serve.feedback import Feedback
from tagstream.stream.serve.micro_batches import MicroBatches
from tagstream.stream.serve.publishing import Publishing, Sender
from tagstream.stream.serve.rollout_models import ServeRollout
from tagstream.stream.serve.row_answers import AnswerTable, RowAnswers
from tagstream.stream.serve.watching import Watching
from tagstream.stream.settings.loading import SettingsError
from tagstream.stream.settings.secret_files import ask_keys
from tagstream.stream.settings.settings import Settings
from tagstream.stream.tracing.tracing import tracing_of
from tagstream.stream.web.serving import HEALTH_CONNECTIONS, STOP_SECONDS, listen, serve, url

MOST_CONNECTIONS = 4096
# File descriptors for everything except connections: model, logs, brokers, table.
OTHER_FILES = 256
# The time to close the connections to brokers and table, after the requests in progress have been given up.
CLOSE_SECONDS = 30
STOPPING = "the server is stopping"
BROKEN = "the model or the broker's client is broken, and the server ends"
log = logger("tagstream.serve")


@dataclass(frozen=True, slots=True, kw_only=True)
class ServeOptions:
    """
    The options of the command.

    Attributes:
        host: The address to listen on.
        port: The port to listen on; 0 takes a free port.
        names: Host names that requests may have, beside localhost and addresses.
        token_file: The file of the token; None for no token.
        table: The URL of a table of predictions that is asked first; None for no table.
        most_waiting: The maximum number of rows that wait for the model.
        deadline_seconds: The longest wait of a request for its decisions.
        feedback_origins: The origins whose pages may send answers of viewers.
        behind_proxy: True if all requests come through a proxy.
    """

    host: str
    port: int
    names: Sequence[str] = ()
    token_file: Path | None = None
    table: str | None = None
    most_waiting: int = 1024
    deadline_seconds: float = 10.0
    feedback_origins: Sequence[str] = ()
    behind_proxy: bool = False


def run(settings: Settings, options: ServeOptions, *, say: Callable[[str], None]) -> None:
    """
    Serve until SIGINT or SIGTERM, and finish the requests in progress.

    If the model or the machine breaks, the process exits with code 70 and this function does not return, because a model that hangs
    cannot be removed from its thread.

    Args:
        settings: Bundle, bounds, brokers and topics.
        options: The options of the command.
        say: Prints a line with the address.

    Raises:
        ListenError: The address is not available.
        BundleError: The bundle is refused.
        BaselineError: The file `drift_reference` is not a drift reference.
        TokenError: The token file cannot be used.
        SecurityError: The file of the keys of viewers' tokens cannot be used.
        SettingsError: An option needs a setting that is not set.
        DatabaseUnavailableError: The table cannot be opened.
        TableError: The table does not exist.
    """
    token = None if options.token_file is None else token_in(options.token_file)
    # Before the wait for a broker, so that a bad file is reported at once.
    signed = ask_keys(settings.security)
    metrics = HttpMetrics.alone()
    with contextlib.ExitStack() as opened:
        listening = opened.enter_context(listen(options.host, options.port))
        pipeline = pipeline_of(settings)
        decider = pipeline.decider
        rollout = opened.enter_context(ServeRollout(settings, pipeline, decides_by=metrics.decides_by))
        decider.warm_up(settings.inference_threads)
        rollout.wait()
        tracing = opened.enter_context(tracing_of(settings, service="tagstream-serve", counted=metrics.traces.counted))
        cached = None if options.table is None else opened.enter_context(_cached(options.table, pipeline))
        metrics.started(most_waiting=options.most_waiting)
        watching = Watching(settings, pipeline, metrics)
        deciding = MicroBatches(
            pipeline.publications,
            settings,
            most_waiting=options.most_waiting,
            deadline_seconds=options.deadline_seconds,
            counts=metrics,
            observer=watching.observer,
        )
        publishing = _publishing(settings, "content")
        voting = _publishing(settings, "reports")
        answering = RowAnswers(deciding, publishing, metrics, cached, labels=decider.labels)
        opened.callback(answering.close)
        health = _Health(lambda: answering.broken or voting.broken)
        connections = _connections()
        service = Service(
            answering=answering,
            metrics=metrics,
            model=lambda: pipeline.decider.model,
            trouble=health.trouble,
            unknown=lambda: rollout.unknown,
            most_rows=options.most_waiting,
            most_requests=max(1, connections - HEALTH_CONNECTIONS),
            token=token,
            names=options.names,
            shape=settings.fields.shape,
            feedback=_feedback(signed, options, lambda: pipeline.decider.labels, voting),
        )
        say(f"the service: {url(listening)}docs")
        model = pipeline.decider.model
        log.info("serve_starting", address=url(listening), model=model.name, version=model.version, epoch=model.epoch)
        try:
            serve(
                tracing.requests(application(service)),
                listening,
                health.watch,
                connections=connections,
                lifespan=lambda: _queues(deciding, watching, publishing, voting),
                stopping=health.stopping,
            )
        except BaseException as error:
            if health.broken is None:
                raise
            _end(health.broken, error)
        log.info("serve_stopped")


class _Health:
    """Knows whether the service is stopping or broken."""

    def __init__(self, broken: Callable[[], BaseException | None]) -> None:
        self._broken = broken
        self._is_stopping = False

    @property
    def broken(self) -> BaseException | None:
        """The error for which the process must end; None if there is no such error."""
        return self._broken()

    def stopping(self) -> None:
        """Log the start of the shutdown, and bound its time."""
        self._is_stopping = True
        fatal.alarm.set(STOP_SECONDS + CLOSE_SECONDS)
        log.info("serve_stopping")

    def trouble(self) -> str | None:
        """Return why the service is not ready; None if the service is ready."""
        if self.broken is not None:
            return BROKEN
        return STOPPING if self._is_stopping else None

    def watch(self) -> None:
        """Raise the error that ends the server, if there is one."""
        if self.broken is not None:
            raise self.broken


@contextlib.asynccontextmanager
async def _queues(deciding: MicroBatches, watching: Watching, *publishing: Publishing) -> AsyncIterator[None]:
    async with deciding, watching, contextlib.AsyncExitStack() as opened:
        for queue in publishing:
            await opened.enter_async_context(queue)
        yield


def _feedback(
    keys: tuple[bytes, ...], options: ServeOptions, labels: Callable[[], Sequence[str]], voting: Publishing
) -> Feedback | None:
    """
    What takes the answers of viewers; None if no file of the tokens' keys is set.

    Raises:
        SettingsError: Pages of other sites are allowed, and no file is set.
    """
    if not keys:
        if options.feedback_origins:
            msg = (
                "--feedback-origin lets pages send answers to POST /feedback, which is off, because security.ask_keys_file is not set. "
                "Next: set it to the workers' file, or leave the option out."
            )
            raise SettingsError(msg)
        return None
    return Feedback(
        keys=AskKeys(keys),
        labels=labels,
        publish=voting.publish,
        origins=options.feedback_origins,
        names=None if options.token_file is not None else options.names,
        behind_proxy=options.behind_proxy,
    )


def _publishing(settings: Settings, role: str) -> Publishing:
    """The queue before the topic of this role. It connects at its first record."""
    topic = settings.topic_names[role]
    return Publishing(lambda: _sender(settings, role), topic, wait_seconds=settings.startup_timeout_seconds)


@contextlib.contextmanager
def _cached(table: str, pipeline: Pipeline) -> Iterator[AnswerTable]:
    """Open the table that is asked first. The imports are here, because only a service with a table needs the extra `batch` or `review`."""
    from tagstream.stream.serve.table_answers import TableAnswers
    from tagstream.stream.tables.predictions import open_predictions

    with open_predictions(table, read_only=True) as predictions:
        yield TableAnswers(predictions, pipeline)


@contextlib.contextmanager
def _sender(settings: Settings, role: str) -> Iterator[Sender]:
    """Open a sender to the topic of this role, which must exist."""
    require(settings, {role: settings.topic_names[role]}, operations={role: Operation.WRITE})
    # A producer that is not idempotent needs no further ACL. It may write an event twice, and the stream decides both copies alike.
    with verbatim_sender(settings, idempotent=False) as sender:
        yield sender


def _connections() -> int:
    """Raise the limit of open files as far as needed and permitted, and return the number of connections that it allows."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    needed = MOST_CONNECTIONS + OTHER_FILES
    most = math.inf if hard == resource.RLIM_INFINITY else hard
    if soft != resource.RLIM_INFINITY and soft < min(needed, most):
        soft = int(min(needed, most))
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    files = needed if soft == resource.RLIM_INFINITY else min(soft, needed)
    return max(1, files - OTHER_FILES)


def _end(broken: BaseException, error: BaseException) -> None:
    """Exit at once: a normal exit of the interpreter would wait for the thread in which the model hangs."""

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

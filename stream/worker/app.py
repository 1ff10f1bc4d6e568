"""The Faust application: topics, one agent, the producer, and the settings under which Faust does not lose events.

With `consumer.py` all that knows Faust. Every setting that differs from Faust's default is here with its reason.
"""

import asyncio
import contextlib
import logging
import os
import signal
import sys
import threading
import time
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from typing import Any, cast

import aiokafka.consumer.consumer as aiokafka_consumer
import faust
import faust.auth
import faust.streams
import faust.transport.drivers.aiokafka as driver
import mode
from faust.exceptions import ConsumerNotStarted
from faust.transport.utils import DefaultSchedulingStrategy
from faust.types import TP
from prometheus_client import CollectorRegistry

from monitoring.drift.watch import DriftWatch
from monitoring.health import Progress
from monitoring.metrics.metrics import Metrics
from monitoring.server.server import application, serve
from stream.contract.outcomes import Publication
from stream.decide.pipeline import Pipeline
from stream.deliver.breaker import Opened
from stream.deliver.crash_guard import Guard, Unguarded, open_guard
from stream.deliver.delivery import EXIT_BROKEN, Delivery
from stream.deliver.transactions import MAX_BATCH_BYTES, MAX_REQUEST_BYTES, METADATA_MAX_AGE_MS, Transactions, no_transactions
from stream.kafka import admin, records
from stream.kafka.rights import NotAuthorizedError
from stream.logs import logger
from stream.settings.security import client_options, warnings
from stream.settings.settings import Settings
from stream.worker.consumer import Consumer, Coordinator, OneAfterTheOther, TransactedConsumer
from stream.worker.drift import DriftObserver
from stream.worker.position import Position

log = logger("tagstream.app")

TICK_SECONDS = 1.0
EXIT_SHUTDOWN_TIMED_OUT = 1
EXIT_BREAKER_OPEN = 1
COMMIT_SECONDS = 5.0
BREAKER_SECONDS = 1.0
TEN_YEARS_SECONDS = 10 * 365 * 24 * 3600.0
# From the last commit to the end: leave the group, close the connections.
LEAVE_SECONDS = 4.0
# What is left on disk is taken away.
CLOSE_SECONDS = 1.0
# Key, headers of the record and of ours.
DEAD_LETTER_ADDED_BYTES = 256 * 1024


class MetricsPortError(Exception):
    """The metrics address cannot be bound."""


class Producer(driver.Producer):  # type: ignore[misc]
    """Faust sets `acks` and idempotence only under its own exactly-once mode, which we do not use."""

    idempotent = True

    def _settings_extra(self) -> Mapping[str, Any]:
        return {"acks": "all", "enable_idempotence": self.idempotent}

    async def flush(self) -> None:
        """
        Nothing is to be waited for: whoever acknowledges an event has the broker's word for its outcome.

        Before each commit, and when partitions go, Faust waits here without a bound for all that the producer still has. That could
        only be a finding of drift, and one that its topic does not take would stop the stream.
        """


class PlainProducer(Producer):
    """For a broker that hands out no producer ids."""

    idempotent = False


class App(faust.App):  # type: ignore[misc]
    """A Faust app without tables, so without the folders that Faust would make in the working directory."""

    transactions: Transactions | None = None
    delivery: Delivery | None = None

    def _create_directories(self) -> None:
        pass

    def _on_rebalance_when_stopped(self) -> None:
        """
        Let the rebalance be; the consumer has finished what was in hand.

        Faust closes the client here, on another loop than the client's: what is in hand could not be committed any more, and the
        coordinator would retry for ever with the closed client while the stop waits for it.
        """


class Worker(faust.Worker):  # type: ignore[misc]
    """Faust's worker, with our logs and with a bound on its shutdown."""

    def __init__(
        self,
        app: faust.App,
        *,
        shutdown_seconds: float,
        on_stopping: Callable[[], None],
        on_cut_short: Callable[[], None] = lambda: None,
    ) -> None:
        super().__init__(app, quiet=True, override_logging=False, redirect_stdouts=False)
        self.spinner = None
        self._shutdown_seconds = shutdown_seconds
        self._on_stopping = on_stopping
        self._on_cut_short = on_cut_short
        self._drained = threading.Event()
        self._asked = True
        # Until then signals are ours, and an exit.
        self._hears = False
        app.on_before_shutdown.connect(self._nothing_in_hand, weak=False)

    async def _nothing_in_hand(self, *_: Any, **__: Any) -> None:
        self._drained.set()

    def install_signal_handlers(self) -> None:
        """As Faust: from here on a signal is a stop."""
        super().install_signal_handlers()
        self._hears = True

    def _schedule_shutdown(self, received: signal.Signals) -> None:
        if not self._signal_stop_time:
            log.info("worker_stopping", signal=received.name, at_most_seconds=self._shutdown_seconds)
            self._on_stopping()
            self._bound()
        super()._schedule_shutdown(received)

    def on_worker_shutdown(self) -> None:
        """Whatever made Faust stop: where nobody had asked for it, its end has the same bound, and another exit code."""
        if not self._signal_stop_time:
            log.error("worker_stopping_by_itself", why=repr(self.crash_reason), at_most_seconds=self._shutdown_seconds)
            self._asked = False
            self._on_stopping()
            self._bound()
        super().on_worker_shutdown()

    def work(self) -> None:
        """Until told to stop, or until Faust stops for a reason of its own: those ends would all have different exit codes."""
        try:
            self.execute_from_commandline()
        except BaseException as error:
            if self._asked or (not self._hears and isinstance(error, SystemExit) and not error.code):
                raise
            log.critical("worker_died", error=f"{type(error).__name__}: {error}", exit_code=EXIT_BROKEN, exc_info=error)
            sys.exit(EXIT_BROKEN)

    def _bound(self) -> None:
        # A thread, since what hangs may be the event loop.
        threading.Thread(target=self._exit_when_late, name="shutdown-deadline", daemon=True).start()

    def _exit_when_late(self) -> None:
        started = time.monotonic()
        if self._drained.wait(self._shutdown_seconds):
            time.sleep(max(0.0, min(LEAVE_SECONDS, started + self._shutdown_seconds - time.monotonic())))
            log.warning(
                "shutdown_cut_short",
                waited_for="Faust to leave the group and to close its connections",
                consequence="the group notices after its session timeout; all is finished, what could not be committed is sent again",
            )
            # Whatever becomes of it, this thread is the bound.
            closing = threading.Thread(target=self._on_cut_short, name="closing", daemon=True)
            closing.start()
            closing.join(CLOSE_SECONDS)
            logging.shutdown()
            os._exit(0 if self._asked else EXIT_BROKEN)
        log.error(
            "shutdown_timed_out",
            seconds=self._shutdown_seconds,
            waited_for="Faust to stop its services; unacknowledged events will be read again",
        )
        logging.shutdown()
        os._exit(EXIT_SHUTDOWN_TIMED_OUT if self._asked else EXIT_BROKEN)


def faust_app(settings: Settings, *, idempotent: bool) -> faust.App:
    """
    A configured Faust app without agents.

    Raises:
        RuntimeError: Faust runs without its C extension, whose Python twin acknowledges stale messages unprocessed.
    """
    if getattr(faust.streams, "_CStreamIterator", None) is None:
        msg = (
            "faust-streaming runs without its C extension: its pure-Python stream acknowledges stale messages without processing "
            "them. Next: install a binary wheel of faust-streaming for this CPython and unset NO_CYTHON."
        )
        raise RuntimeError(msg)
    driver.Transport.Producer = Producer if idempotent else PlainProducer
    aiokafka_consumer.GroupCoordinator = Coordinator
    driver.Transport.Consumer = TransactedConsumer if settings.delivery == "exactly_once" else Consumer
    # A dead letter with what is kept fits into its topic, and is larger than an event may be.
    records.install(max(settings.max_dead_letter_bytes - DEAD_LETTER_ADDED_BYTES, settings.max_event_bytes + 1))
    return App(
        settings.group,
        broker=[f"kafka://{broker}" for broker in settings.broker_list],
        broker_credentials=credentials(client_options(settings)),
        # Any exception in an agent must end the process: the default restarts the agent beyond the failed event.
        agent_supervisor=mode.CrashingSupervisor,
        processing_guarantee="at_least_once",
        store="memory://",
        cache="memory://",
        ConsumerScheduler=OneAfterTheOther if settings.delivery == "exactly_once" else DefaultSchedulingStrategy,
        # On revocation, finish what is in hand and commit it before the partitions go.
        stream_wait_empty=True,
        # `latest`, the default elsewhere, loses whatever was produced before a new group's first commit.
        consumer_auto_offset_reset="earliest",
        consumer_group_instance_id=settings.group_instance_id,
        broker_commit_interval=settings.commit_interval_seconds,
        broker_commit_every=1000,
        # With all partitions paused by a full buffer, Faust sleeps one second: small buffers cap the throughput.
        stream_buffer_maxsize=settings.stream_buffer_events,
        broker_max_poll_records=500,
        broker_session_timeout=settings.session_timeout_seconds,
        broker_heartbeat_interval=min(3.0, settings.session_timeout_seconds / 3),
        broker_rebalance_timeout=60.0,
        # Only aiokafka's own: who has not fetched for so long (a full buffer before a slow model, an outage during a rebalance) leaves
        # the group, or does not join it again, and does not say so.
        broker_max_poll_interval=TEN_YEARS_SECONDS,
        # Faust refuses to start with a session that is longer.
        broker_request_timeout=max(30.0, settings.session_timeout_seconds + 5),
        # Five minutes by default: so long nobody would read a partition that was added.
        consumer_metadata_max_age_ms=METADATA_MAX_AGE_MS,
        producer_metadata_max_age_ms=METADATA_MAX_AGE_MS,
        producer_request_timeout=settings.produce_timeout_seconds,
        producer_linger=0.005,
        producer_max_batch_size=MAX_BATCH_BYTES,
        producer_max_request_size=MAX_REQUEST_BYTES,
        # Topics are made by `tagstream doctor`, never by a worker; without leader election there is no leader topic either.
        topic_allow_declare=False,
        topic_disable_leader=True,
        reply_create_topic=False,
        # Faust's web server listens on every address, without authentication.
        web_enabled=False,
    )


def credentials(options: Mapping[str, Any]) -> faust.auth.Credentials | None:
    """
    Faust's form of what every client gets; None means PLAINTEXT to Faust.

    Faust takes SASL without a TLS context for SASL_PLAINTEXT in silence: the context is made elsewhere, from settings that were
    checked, and what Faust made of it must be what was asked for.
    """
    protocol, context = options["security_protocol"], options.get("ssl_context")
    if protocol == "PLAINTEXT":
        return None
    if protocol == "SSL":
        made = faust.SSLCredentials(context=context)
    else:
        made = faust.SASLCredentials(
            username=options["sasl_plain_username"],
            password=options["sasl_plain_password"],
            mechanism=options["sasl_mechanism"],
            ssl_context=context,
        )
    if made.protocol.value != protocol:
        msg = f"Faust would use {made.protocol.value} where the settings say {protocol}"
        raise RuntimeError(msg)
    return made


def source(app: faust.App, settings: Settings) -> Any:
    """The content topic as raw bytes: a typed topic acknowledges what it cannot decode, then throws it into the agent."""
    return app.topic(settings.topics.content, key_type=bytes, value_type=bytes, key_serializer="raw", value_serializer="raw")


def sender(app: faust.App, settings: Settings) -> Callable[[Publication], Awaitable[Awaitable[Any]]]:
    """Hands a publication to Faust's producer; the topic objects of Faust would encode bytes again, for 20 times the price."""
    names: dict[str, str] = settings.topics.model_dump()

    def send(publication: Publication) -> Awaitable[Awaitable[Any]]:
        return cast(
            "Awaitable[Awaitable[Any]]",
            app.producer.send(
                names[publication.destination.value],
                publication.key,
                publication.value,
                None,
                None,
                list(publication.headers),
            ),
        )

    return send


def drift_sender(app: faust.App, settings: Settings) -> Callable[[bytes, bytes], Awaitable[Awaitable[Any]]]:
    """Hands a key and a value for the topic `drift` to Faust's producer."""

    def send(key: bytes, value: bytes) -> Awaitable[Awaitable[Any]]:
        return cast("Awaitable[Awaitable[Any]]", app.producer.send(settings.topics.drift, key, value, None, None, []))

    return send


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
) -> faust.App:
    """
    The worker's application: one agent over `content`, a task that reports its position, and one that looks for drift.

    Without `watch` there is no drift; without `drift_topic` its findings are logged and not published; without `guard` nobody
    knows which events killed a worker.
    """
    app = faust_app(settings, idempotent=idempotent)
    drift = None
    if watch is not None:
        drift = DriftObserver(watch, recorder=metrics, send=drift_sender(app, settings) if drift_topic else None)
        app.task(drift.run)
    guard = guard or Unguarded()
    if settings.delivery == "exactly_once":

        def lost(partition: Any, after: int | None, offsets: Sequence[int]) -> int | None:
            # Faust makes its consumer when the app starts.
            found: int | None = app.consumer.lost(TP(*partition), after, offsets)
            return found

        app.transactions = Transactions(settings, lost=lost)

    async def stop(why: str) -> None:
        progress.refuse(why)
        metrics.circuit_breaker(is_open=True)
        remembered = Opened(settings, release=pipeline.release).write(why)
        await _commit(app)
        guard.excuse()
        guard.close()
        log.critical(
            "circuit_breaker_opened",
            why=why,
            remembered=remembered,
            exit_code=EXIT_BREAKER_OPEN,
            next="docs/runbooks/CircuitBreakerOpen.md; nothing is lost, what was not sent is read again",
        )
        logging.shutdown()
        os._exit(EXIT_BREAKER_OPEN)

    delivery = Delivery(
        decide=pipeline.publications,
        send=sender(app, settings),
        observer=drift or metrics,
        progress=progress,
        settings=settings,
        guard=guard,
        stop=stop,
        transact=app.transactions.deliver if app.transactions is not None else None,
    )
    app.delivery = delivery
    position = Position(app, delivery, metrics, progress, guard)

    @app.agent(source(app, settings), name="classify")  # type: ignore[untyped-decorator]
    async def classify(stream: Any) -> None:
        await delivery.run(stream.noack())

    # Not a timer of Faust's: that would warn of an overlap whenever a rebalance makes the broker slow to answer.
    @app.task  # type: ignore[untyped-decorator]
    async def report_position() -> None:
        while True:
            await position.tick()
            await asyncio.sleep(TICK_SECONDS)

    @app.on_partitions_assigned.connect(weak=False)  # type: ignore[untyped-decorator]
    async def assigned(_: faust.App, partitions: set[TP], **__: Any) -> None:
        progress.assigned(len(partitions))
        if drift is not None:
            drift.assigned(partitions)
        log.info("partitions_assigned", partitions=sorted(tp.partition for tp in partitions))

    return app


def run(
    settings: Settings,
    *,
    pipeline: Pipeline,
    metrics: Metrics,
    registry: CollectorRegistry,
    watch: DriftWatch | None = None,
) -> None:
    """
    Run a worker until it is told to stop; does not return normally (Faust raises SystemExit).

    Raises:
        BrokerUnreachableError: No broker answered in time, or one refused us.
        NotAuthorizedError: Its user lacks a right; the message has the ACL that is missing.
        TopicsMissingError: A topic does not exist.
        MetricsPortError: The metrics port cannot be bound.
    """
    _exit_when_stopped_early()
    for warning in warnings(settings.security):
        log.warning("security_could_be_better", what=warning, see="docs/security.md")
    needed = {key: getattr(settings.topics, key) for key in admin.NEEDED}
    seen = admin.seen(settings, [*needed.values(), settings.topics.drift])
    found = admin.require(settings, needed, operations=admin.NEEDED, found=seen)
    for denied in (asyncio.run(admin.group_denied(settings)), asyncio.run(admin.transactions_denied(settings))):
        if denied is not None:
            raise NotAuthorizedError(denied)
    idempotent = admin.idempotent(settings)
    if (lacking := no_transactions(settings, idempotent=idempotent)) is not None:
        raise lacking
    progress = Progress(stall_seconds=settings.stall_timeout_seconds, monotonic=time.monotonic)
    with _metrics_server(settings, registry, progress) as port:
        log.info(
            "worker_starting",
            brokers=settings.brokers,
            security=settings.security.protocol,
            group=settings.group,
            topic=settings.topics.content,
            partitions=found[settings.topics.content],
            idempotent_producer=idempotent,
            delivery=settings.delivery,
            metrics=f"http://{settings.metrics_host}:{port}/metrics",
        )
        _wait_for_an_answer(Opened(settings, release=pipeline.release), metrics, progress)
        with contextlib.closing(open_guard(settings, metrics.crash_guard)) as guard:
            app = build(
                settings,
                pipeline=pipeline,
                metrics=metrics,
                progress=progress,
                idempotent=idempotent,
                watch=watch,
                drift_topic=watch is not None and _has_drift_topic(settings, seen),
                guard=guard,
            )

            def stopping() -> None:
                progress.stopping()
                # Whatever ends this process from now on, somebody had asked for its end.
                guard.excuse()

            with _fresh_loop() as loop:
                worker = Worker(
                    app,
                    shutdown_seconds=settings.shutdown_timeout_seconds,
                    on_stopping=stopping,
                    on_cut_short=guard.close,
                )
                worker.loop = loop
                worker.work()


def _wait_for_an_answer(opened: Opened, metrics: Metrics, progress: Progress) -> None:
    """While the breaker is open: stay out of the group, say why on /readyz, begin nothing. Bounded by a person, not by time."""
    why = opened.why()
    if why is None:
        return
    metrics.circuit_breaker(is_open=True)
    progress.refuse(f"the circuit breaker is open: {why}. Next: docs/runbooks/CircuitBreakerOpen.md, then remove {opened.path}")
    log.error(
        "circuit_breaker_open",
        why=why,
        next=f"docs/runbooks/CircuitBreakerOpen.md; then remove {opened.path}, raise the limit or start another release",
    )
    while opened.why() is not None:
        time.sleep(BREAKER_SECONDS)
    log.info("circuit_breaker_closed", because=f"{opened.path} was removed")
    metrics.circuit_breaker(is_open=False)
    progress.refuse(None)


async def _commit(app: faust.App) -> None:
    """Commit what is acknowledged; what cannot be committed is read again."""
    try:
        async with asyncio.timeout(COMMIT_SECONDS):
            # The first only waits, where a commit is under way.
            await app.consumer.commit()
            await app.consumer.commit()
    except (TimeoutError, ConnectionError, driver.KafkaError, ConsumerNotStarted) as error:
        log.warning("commit_failed", why=f"{type(error).__name__}: {error}", consequence="some outcomes will be sent again")


def _exit_when_stopped_early() -> None:
    """
    Until Faust takes the signal over, nothing is in hand and SIGTERM ends the process there and then.

    As process 1 of a container a program that has no handler does not hear SIGTERM at all. Not SystemExit: where a handler strikes
    inside a finalizer, Python prints its exception and goes on.
    """
    signal.signal(signal.SIGTERM, lambda *_: os._exit(0))


@contextlib.contextmanager
def _metrics_server(settings: Settings, registry: CollectorRegistry, progress: Progress) -> Iterator[int]:
    with contextlib.ExitStack() as stack:
        served = application(registry, progress.verdict)
        try:
            port = stack.enter_context(serve(served, host=settings.metrics_host, port=settings.metrics_port))
        except OSError as error:
            raise MetricsPortError(str(error)) from error
        yield port


def _has_drift_topic(settings: Settings, seen: Mapping[str, admin.Seen]) -> bool:
    """Findings are no reason to refuse to work: a worker without their topic says so and logs them."""
    found = seen[settings.topics.drift].partitions is not None
    if not found:
        log.warning(
            "drift_topic_missing",
            topic=settings.topics.drift,
            consequence="drift findings are logged and not published",
            next="tagstream doctor --create-topics, or TAGSTREAM_DRIFT_WINDOW_EVENTS=0 to look for none",
        )
    return found


@contextlib.contextmanager
def _fresh_loop() -> Iterator[asyncio.AbstractEventLoop]:
    loop = asyncio.new_event_loop()
    asyncio.set_event_loop(loop)
    yield loop

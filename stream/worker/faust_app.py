"""A Faust app with the settings under which Faust loses no events. A comment gives the reason for each non-default setting."""

from collections.abc import Awaitable, Callable, Mapping
from typing import Any, cast

import aiokafka.conn as aiokafka_connection
import aiokafka.consumer.consumer as aiokafka_consumer
import faust
import faust.auth
import faust.streams
import faust.tables
import faust.transport.drivers.aiokafka as driver
import faust.transport.producer as base
import mode
from faust.transport.utils import DefaultSchedulingStrategy

from tagstream.stream.deliver.engine import Holder
from tagstream.stream.deliver.pace import Pace
from tagstream.stream.kafka.batches import records
from tagstream.stream.kafka.credentials import client_options
from tagstream.stream.kafka.group_memory import GroupMemory
from tagstream.stream.kafka.one_confirmation import confirmed_by_batch
from tagstream.stream.kafka.partitioner import Partitioner
from tagstream.stream.kafka.transactions import MAX_BATCH_BYTES, MAX_REQUEST_BYTES, METADATA_MAX_AGE_MS, Transactions
from tagstream.stream.settings.settings import Settings
from tagstream.stream.worker.consumer import Consumer, PartitionByPartition, TransactedConsumer
from tagstream.stream.worker.inner_consumer import Coordinator, OwnBuffer, PacedFetcher

CLIENT_ID = f"faust-{faust.__version__}"
TEN_YEARS_SECONDS = 10 * 365 * 24 * 3600.0


class App(faust.App):  # type: ignore[misc]
    """A Faust app without tables, and so without the folders that Faust would make in the working directory."""

    transactions: Transactions | None = None
    delivery: Holder | None = None
    group_memory: GroupMemory | None = None

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        # The delivery of events updates the pace, and the fetches read it.
        self.pace = Pace()

    def _create_directories(self) -> None:
        pass

    def task(self, fun: Callable[[], Awaitable[None]]) -> Callable[[], Awaitable[None]]:
        """
        Run `fun` with the app, as Faust does, without Faust's note of the place where `fun` is defined.

        The note is for a search of decorated functions, which is off here. For the note, `inspect` resolves the path of every loaded
        module, which takes 0.1 s of the start.
        """
        self._app_tasks.append(fun)
        return fun

    def declare(self, name: str, fun: Callable[[Any], Awaitable[None]], channel: Any) -> None:
        """Add an agent as `faust.App.agent` does, without the note of its place (`task`)."""
        agent = self.conf.Agent(fun, name=name, app=self, channel=channel, on_error=self._on_agent_error)
        self.agents[agent.name] = agent

    def on_init_dependencies(self) -> Any:
        """Faust's services without its monitor, which counts each event several times in figures that nothing here reads."""
        services = super().on_init_dependencies()
        self.sensors.remove(self.monitor)
        # A plain sensor counts nothing. Without any sensor, Faust logs a warning at each rebalance.
        self.sensors.add(faust.Sensor())
        return services

    def _on_rebalance_when_stopped(self) -> None:
        """
        Do nothing: during a stop, the consumer itself finishes the events in hand before a rebalance.

        Faust closes the client here, on another event loop than the client's. Events in hand could then not be committed, and the
        coordinator would retry for ever on the closed client while the stop waits for it.
        """


class NoTables(faust.tables.TableManager):  # type: ignore[misc]
    """Faust's manager of tables. Faust waits a second for tables to be declared before the consumer subscribes; there are none here."""

    async def on_start(self) -> None:
        """Start as Faust does, without the wait."""
        await self._update_channels()
        await self.recovery.start()


class EmptyBuffer(base.ProducerBuffer):  # type: ignore[misc]
    """Faust's buffer of records that tables send. There are no tables, so no event has to wait for it."""

    async def wait_until_ebb(self) -> None:
        """Return at once; Faust reads a setting for each event to find out how full the buffer is."""


class Producer(driver.Producer):  # type: ignore[misc]
    """Faust sets `acks` and idempotence only in its own exactly-once mode, which we do not use."""

    idempotent = True

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self.buffer = EmptyBuffer(loop=self.loop, beacon=self.beacon)
        self.buffer.app = self.app

    def _new_producer(self, transactional_id: str | None = None) -> Any:
        return confirmed_by_batch(super()._new_producer(transactional_id))

    def _settings_extra(self) -> Mapping[str, Any]:
        return {"acks": "all", "enable_idempotence": self.idempotent}

    async def send(
        self,
        topic: str,
        key: bytes | None,
        value: bytes | None,
        partition: int | None,
        timestamp: float | None,
        headers: Any,
        *,
        transactional_id: str | None = None,  # noqa: ARG002 - Faust's exactly-once mode, which we do not use
    ) -> Awaitable[Any]:
        """Send as Faust does, without Faust's signal, to which nothing listens here, and without Faust's slow check of the headers' type."""
        stamp = None if timestamp is None else int(1000 * timestamp)
        sent = self._ensure_producer().send(topic, value, key=key, partition=partition, timestamp_ms=stamp, headers=headers)
        return cast("Awaitable[Any]", await sent)

    async def flush(self) -> None:
        """
        Return at once: an event is acknowledged only after the broker has confirmed its outcome, so there is nothing left to flush.

        Faust awaits this without a bound before each commit and when partitions are revoked. Only a drift finding can still be in
        the producer then, and a finding that its topic does not take would stop the stream.
        """


class PlainProducer(Producer):
    """For a broker that hands out no producer ids."""

    idempotent = False


def has_c_extension() -> bool:
    """True if Faust runs with its C extension. Faust's pure Python version acknowledges stale messages without processing them."""
    return getattr(faust.streams, "_CStreamIterator", None) is not None


def faust_app(settings: Settings, *, idempotent: bool) -> App:
    """
    A configured Faust app without agents.

    Raises:
        RuntimeError: Faust runs without its C extension.
    """
    if not has_c_extension():
        msg = (
            "faust-streaming runs without its C extension: its pure-Python stream acknowledges stale messages without processing "
            "them. Next: install a binary wheel of faust-streaming for this CPython and unset NO_CYTHON."
        )
        raise RuntimeError(msg)
    transacted = settings.delivery == "exactly_once"
    driver.Transport.Producer = Producer if idempotent else PlainProducer
    driver.Transport.Consumer = TransactedConsumer if transacted else Consumer
    aiokafka_consumer.GroupCoordinator = Coordinator
    aiokafka_consumer.Fetcher = PacedFetcher
    aiokafka_connection.AIOKafkaProtocol = OwnBuffer
    records.install(settings)
    return App(
        settings.group,
        broker=[f"kafka://{broker}" for broker in settings.broker_list],
        broker_client_id=CLIENT_ID,
        broker_credentials=credentials(client_options(settings)),
        # Any exception in an agent must end the process: the default restarts the agent after the failed event.
        agent_supervisor=mode.CrashingSupervisor,
        processing_guarantee="at_least_once",
        store="memory://",
        cache="memory://",
        # Faust's web server listens on every address, without authentication.
        web_enabled=False,
        # `tagstream doctor` makes topics, a worker never does; without leader election there is no leader topic either.
        topic_allow_declare=False,
        topic_disable_leader=True,
        reply_create_topic=False,
        TableManager=NoTables,
        ConsumerScheduler=PartitionByPartition if transacted else DefaultSchedulingStrategy,
        **_consumer_options(settings),
        **_producer_options(settings),
    )


def _consumer_options(settings: Settings) -> dict[str, Any]:
    return {
        # On revocation, finish the events in hand and commit them before the partitions go.
        "stream_wait_empty": True,
        # aiokafka's default, `latest`, skips events that were produced before a new group's first commit.
        "consumer_auto_offset_reset": "earliest",
        "consumer_group_instance_id": settings.group_instance_id,
        "broker_commit_interval": settings.commit_interval_seconds,
        "broker_commit_every": 1000,
        # When a full buffer has paused all partitions, Faust sleeps one second: small buffers cap the throughput.
        "stream_buffer_maxsize": settings.stream_buffer_events,
        "broker_max_poll_records": 500,
        "broker_session_timeout": settings.session_timeout_seconds,
        "broker_heartbeat_interval": min(3.0, settings.session_timeout_seconds / 3),
        "broker_rebalance_timeout": 60.0,
        # Only aiokafka checks this. A member that has not fetched for this long (a full buffer before a slow model, an outage during a
        # rebalance) silently leaves the group, or does not join it again.
        "broker_max_poll_interval": TEN_YEARS_SECONDS,
        # Faust refuses to start if the session is longer than a request.
        "broker_request_timeout": max(30.0, settings.session_timeout_seconds + 5),
        # An added partition goes unread until the metadata is refreshed; the default is five minutes.
        "consumer_metadata_max_age_ms": METADATA_MAX_AGE_MS,
    }


def _producer_options(settings: Settings) -> dict[str, Any]:
    return {
        "producer_metadata_max_age_ms": METADATA_MAX_AGE_MS,
        "producer_request_timeout": settings.produce_timeout_seconds,
        # A batch is handed over at once, so a wait gathers little more and delays every outcome of a quiet stream.
        "producer_linger": 0.0,
        "producer_partitioner": Partitioner(),
        "producer_max_batch_size": MAX_BATCH_BYTES,
        "producer_max_request_size": MAX_REQUEST_BYTES,
    }


def credentials(options: Mapping[str, Any]) -> faust.auth.Credentials | None:
    """
    Faust's form of the security options that every client gets; None means PLAINTEXT to Faust.

    Faust accepts SASL without a TLS context, and then uses SASL_PLAINTEXT. So the protocol that Faust derives from the options is compared
    with the protocol of the settings.

    Raises:
        RuntimeError: Faust would use another protocol.
    """
    protocol, context = options["security_protocol"], options.get("ssl_context")
    if protocol == "PLAINTEXT":
        return None
    if protocol == "SSL":
        made = faust.SSLCredentials(context=context)
    elif "sasl_oauth_token_provider" in options:
        made = faust.auth.OAuthCredentials(oauth_cb=options["sasl_oauth_token_provider"], ssl_context=context)
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
    """The topics of events as raw bytes."""
    return raw_topic(app, *settings.content_topics)


class RawSchema(faust.Schema):  # type: ignore[misc]
    """Events with the bytes as they came. A typed topic acknowledges a record that it cannot decode, then raises its error in the agent."""

    # `Consumer._hand_over` then makes the event of the record's own bytes.
    takes_bytes = True

    def compile(self, app: faust.App, **_: Any) -> Callable[..., Awaitable[faust.Event]]:
        """The function that makes an event of a message. Faust's own function looks up a codec for each key and value."""

        async def event_of(message: Any, *, propagate: bool = False) -> faust.Event:  # noqa: ARG001 - there is nothing to raise
            return faust.Event(app, message.key, message.value, message.headers, message)

        return event_of


def raw_topic(app: faust.App, *names: str) -> Any:
    """A channel of raw bytes over these topics, for one agent."""
    return app.topic(*names, schema=RawSchema())

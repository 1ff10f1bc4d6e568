"""A Faust app under the settings with which Faust loses no events. Each setting that differs from Faust's default has its reason here."""

from collections.abc import Awaitable, Callable, Mapping
from typing import Any

import aiokafka.consumer.consumer as aiokafka_consumer
import faust
import faust.auth
import faust.streams
import faust.tables
import faust.transport.drivers.aiokafka as driver
import mode
from faust.transport.utils import DefaultSchedulingStrategy

from stream.deliver.deliveries import Deliveries
from stream.kafka.batches import records
from stream.kafka.credentials import client_options
from stream.kafka.partitioner import Partitioner
from stream.kafka.transactions import MAX_BATCH_BYTES, MAX_REQUEST_BYTES, METADATA_MAX_AGE_MS, Transactions
from stream.settings.settings import Settings
from stream.worker import producer
from stream.worker.consumer.consumer import Consumer
from stream.worker.consumer.coordinator import Coordinator
from stream.worker.consumer.transacted import PartitionByPartition, TransactedConsumer
from stream.worker.group_start import GroupStart

TEN_YEARS_SECONDS = 10 * 365 * 24 * 3600.0
# Room in a dead letter beside the event's bytes: the key, and the headers of the record and of ours.
DEAD_LETTER_ADDED_BYTES = 256 * 1024


class App(faust.App):  # type: ignore[misc]
    """A Faust app without tables, so without the folders that Faust would make in the working directory."""

    transactions: Transactions | None = None
    delivery: Deliveries | None = None
    group_start: GroupStart | None = None

    def _create_directories(self) -> None:
        pass

    def on_init_dependencies(self) -> Any:
        """As Faust does, but without its monitor, which counts each event several times in figures that nothing here reads."""
        services = super().on_init_dependencies()
        self.sensors.remove(self.monitor)
        # It counts nothing. Without any sensor, Faust logs a warning at each rebalance.
        self.sensors.add(faust.Sensor())
        return services

    def _on_rebalance_when_stopped(self) -> None:
        """
        Leave a rebalance during a stop to the consumer, which finishes what is in hand.

        Faust closes the client here, on another event loop than the client's. Events in hand could then not be committed, and the
        coordinator would retry for ever on the closed client while the stop waits for it.
        """


class NoTables(faust.tables.TableManager):  # type: ignore[misc]
    """Faust's manager of tables, without the second that it gives tables to be declared before the consumer subscribes: there are none."""

    async def on_start(self) -> None:
        """As Faust does, at once."""
        await self._update_channels()
        await self.recovery.start()


def has_c_extension() -> bool:
    """Whether Faust runs with its C extension; its Python twin acknowledges stale messages without processing them."""
    return getattr(faust.streams, "_CStreamIterator", None) is not None


def faust_app(settings: Settings, *, idempotent: bool) -> faust.App:
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
    driver.Transport.Producer = producer.Producer if idempotent else producer.PlainProducer
    driver.Transport.Consumer = TransactedConsumer if transacted else Consumer
    aiokafka_consumer.GroupCoordinator = Coordinator
    # A dead letter fits into its topic with all that it keeps, and is larger than an event may be.
    kept = max(settings.max_dead_letter_bytes - DEAD_LETTER_ADDED_BYTES, settings.max_event_bytes + 1)
    records.install(kept_bytes=kept, event_bytes=settings.max_event_bytes)
    return App(
        settings.group,
        broker=[f"kafka://{broker}" for broker in settings.broker_list],
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
        # A check of aiokafka's alone: a member that has not fetched for so long (a full buffer before a slow model, an outage during
        # a rebalance) leaves the group, or does not join it again, without a word.
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
    Faust's form of the security options that every client gets; None, which means PLAINTEXT to Faust.

    Faust accepts SASL without a TLS context and then uses SASL_PLAINTEXT. The context is made elsewhere from validated settings,
    so the protocol that Faust derives is compared with the one that was asked for.

    Raises:
        RuntimeError: Faust would use another protocol.
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
    """The content topic as raw bytes."""
    return raw_topic(app, settings.topics.content)


class RawSchema(faust.Schema):  # type: ignore[misc]
    """Events with the bytes as they came. A typed topic acknowledges a record that it cannot decode, then throws it into the agent."""

    def compile(self, app: faust.App, **_: Any) -> Callable[..., Awaitable[faust.Event]]:
        """The function that makes an event of a message; Faust's looks a codec up for each key and value."""

        async def event_of(message: Any, *, propagate: bool = False) -> faust.Event:  # noqa: ARG001 - there is nothing to raise
            return faust.Event(app, message.key, message.value, message.headers, message)

        return event_of


def raw_topic(app: faust.App, name: str) -> Any:
    """A topic as raw bytes."""
    return app.topic(name, schema=RawSchema())

"""Brokers and topics seen from outside the stream: are they there, and making them when told to. kafka-python's admin client.

The worker only looks; `tagstream doctor --create-topics` and the demo create.
"""

import asyncio
import contextlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from aiokafka.client import AIOKafkaClient
from aiokafka.errors import KafkaError as AIOKafkaError
from aiokafka.protocol.transaction import InitProducerIdRequest
from kafka.admin import ConfigResource, ConfigResourceType, KafkaAdminClient
from kafka.errors import ClusterAuthorizationFailedError, KafkaError, TopicAlreadyExistsError, TopicAuthorizationFailedError

from stream.settings import Settings

MAX_MESSAGE = "max.message.bytes"
# Their newest record of a key is what counts.
COMPACTED = frozenset({"reviewed", "replays"})


class BrokerUnreachableError(Exception):
    """No broker answered in time: the message says which, how long, and what to do."""

    exit_code = 3


class TopicsMissingError(Exception):
    """The broker is there, topics that the command needs are not."""

    exit_code = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class Created:
    """What `create` did."""

    made: tuple[str, ...]
    found: tuple[str, ...]


@contextlib.contextmanager
def admin(settings: Settings) -> Iterator[KafkaAdminClient]:
    """
    An admin client on the settings' brokers.

    Raises:
        BrokerUnreachableError: None answered within `startup_timeout_seconds`.
    """
    timeout_ms = int(settings.startup_timeout_seconds * 1000)
    try:
        client = KafkaAdminClient(
            bootstrap_servers=settings.broker_list,
            client_id="tagstream-admin",
            bootstrap_timeout_ms=timeout_ms,
            request_timeout_ms=timeout_ms,
        )
    except (KafkaError, OSError, ValueError) as error:
        raise unreachable(settings, error) from error
    try:
        yield client
    finally:
        client.close()


def unreachable(settings: Settings, error: BaseException) -> BrokerUnreachableError:
    """The error of a broker that does not answer, in our words."""
    return BrokerUnreachableError(
        f"no Kafka broker answered at {settings.brokers} within {settings.startup_timeout_seconds:g} s "
        f"({type(error).__name__}: {str(error)[:200]}). Next: is the broker up, is the address the one that it advertises, is TAGSTREAM_BROKERS "
        f"right? `tagstream doctor` looks closer."
    )


def partitions(settings: Settings) -> dict[str, int]:
    """
    How many partitions each existing topic of the cluster has.

    Raises:
        BrokerUnreachableError: No broker answered.
    """
    with admin(settings) as client:
        try:
            return partition_counts(client)
        except KafkaError as error:
            raise unreachable(settings, error) from error


def partition_counts(client: KafkaAdminClient) -> dict[str, int]:
    """Partitions by topic name, of every topic that the cluster tells this client of."""
    return {topic["name"]: len(topic["partitions"]) for topic in client.describe_topics() if not topic.get("error_code")}


def max_message_bytes(settings: Settings, names: Sequence[str]) -> dict[str, int]:
    """
    `max.message.bytes` of these topics; a topic that this client may not look into is left out.

    Raises:
        BrokerUnreachableError: No broker answered.
    """
    with admin(settings) as client:
        asked = [ConfigResource(ConfigResourceType.TOPIC, name, configs={MAX_MESSAGE: ""}) for name in names]
        try:
            found = client.describe_configs(asked, config_filter="all")
        except (TopicAuthorizationFailedError, ClusterAuthorizationFailedError):
            return {}
        except KafkaError as error:
            raise unreachable(settings, error) from error
    return {
        name: int(configs[MAX_MESSAGE]["value"])
        for topics in found.values()
        for name, configs in topics.items()
        if MAX_MESSAGE in configs
    }


def require(settings: Settings, names: Mapping[str, str], *, existing: Mapping[str, int] | None = None) -> dict[str, int]:
    """
    Partitions of the topics `names` (setting key to topic name); `existing` is what `partitions` gave, if it was asked already.

    Raises:
        BrokerUnreachableError: No broker answered.
        TopicsMissingError: One of them does not exist.
    """
    found = partitions(settings) if existing is None else existing
    missing = {key: name for key, name in names.items() if name not in found}
    if missing:
        listed = ", ".join(f"{name!r} (topics.{key})" for key, name in missing.items())
        msg = (
            f"the cluster at {settings.brokers} has no topic {listed}. The worker does not create topics. "
            f"Next: `tagstream doctor --create-topics`, or set TAGSTREAM_TOPICS__* to the names in use."
        )
        raise TopicsMissingError(msg)
    return {name: found[name] for name in names.values()}


def create(settings: Settings) -> Created:
    """
    Make the topics of the settings that do not exist yet; those that exist are left as they are.

    Raises:
        BrokerUnreachableError: No broker answered, or it refused to make a topic.
    """
    wanted: dict[str, str] = settings.topics.model_dump()
    with admin(settings) as client:
        try:
            existing = partition_counts(client)
            missing = {key: name for key, name in wanted.items() if name not in existing}
            for key, name in missing.items():
                with contextlib.suppress(TopicAlreadyExistsError):
                    client.create_topics({name: _options(settings, key)}, timeout_ms=30_000, wait_for_metadata=True)
        except KafkaError as error:
            msg = (
                f"the cluster at {settings.brokers} did not create the topics: {type(error).__name__}: {str(error)[:300]}. "
                f"Next: is TAGSTREAM_TOPIC_REPLICATION ({settings.topic_replication}) more than there are brokers? May this "
                f"client create topics?"
            )
            raise BrokerUnreachableError(msg) from error
    return Created(made=tuple(missing.values()), found=tuple(name for name in wanted.values() if name not in missing.values()))


def _options(settings: Settings, key: str) -> dict[str, object]:
    configs: dict[str, str] = {}
    # A dead letter is the input's bytes and some headers: an input of the broker's full size must still fit.
    most_bytes = {"dlq": settings.max_dead_letter_bytes} | dict.fromkeys(("tagged", "review"), settings.max_outcome_bytes)
    if key in most_bytes:
        configs[MAX_MESSAGE] = str(most_bytes[key])
    if key in COMPACTED:
        configs["cleanup.policy"] = "compact"
    return {
        # Replays are few, and one order of all of them is what their ledger needs.
        "num_partitions": 1 if key == "replays" else settings.topic_partitions,
        "replication_factor": settings.topic_replication,
        "configs": configs,
    }


def idempotent(settings: Settings) -> bool:
    """
    Shall producers be idempotent, by the settings and by what the broker can?

    Raises:
        BrokerUnreachableError: No broker answered.
    """
    if settings.idempotent_producer == "auto":
        return asyncio.run(has_idempotent_producer(settings))
    return settings.idempotent_producer == "on"


async def has_idempotent_producer(settings: Settings) -> bool:
    """
    Does the broker hand out producer ids? Apache Kafka does, Tansu 0.6 does not.

    Raises:
        BrokerUnreachableError: No broker answered.
    """
    client = AIOKafkaClient(bootstrap_servers=settings.broker_list, client_id="tagstream-probe", request_timeout_ms=10_000)
    try:
        async with asyncio.timeout(settings.startup_timeout_seconds):
            await client.bootstrap()
            node = client.get_random_node()
            response = await client.send(node, InitProducerIdRequest(None, 60_000))
            return bool(response.error_code == 0)
    except (AIOKafkaError, TimeoutError) as error:
        raise unreachable(settings, error) from error
    finally:
        await client.close()

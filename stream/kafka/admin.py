"""Brokers and topics seen from outside the stream: are they there, and making them when told to. kafka-python's admin client.

The worker only looks; `tagstream doctor --create-topics` and the demo create.
"""

import asyncio
import contextlib
import difflib
import socket
import threading
import time
from collections.abc import AsyncIterator, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from aiokafka.client import AIOKafkaClient, ConnectionGroup, CoordinationType
from aiokafka.errors import (
    CoordinatorLoadInProgressError,
    CoordinatorNotAvailableError,
    NodeNotReadyError,
    RequestTimedOutError,
    TransactionalIdAuthorizationFailed,
    for_code,
)
from aiokafka.errors import GroupAuthorizationFailedError as AIOGroupAuthorizationFailedError
from aiokafka.errors import KafkaConnectionError as AIOKafkaConnectionError
from aiokafka.errors import KafkaError as AIOKafkaError
from aiokafka.protocol.group import HeartbeatRequest
from aiokafka.protocol.transaction import InitProducerIdRequest
from kafka.admin import ConfigResource, ConfigResourceType, KafkaAdminClient
from kafka.errors import (
    BrokerResponseError,
    ClusterAuthorizationFailedError,
    GroupAuthorizationFailedError,
    KafkaError,
    TopicAlreadyExistsError,
    TopicAuthorizationFailedError,
)

from stream.kafka import handshake
from stream.kafka.rights import NotAuthorizedError, Operation, Resource, Right, Role, missing, rights
from stream.settings.security import client_options
from stream.settings.settings import Settings

# Between two questions to brokers that say "later".
PROBE_SECONDS = 0.2
# For an address that did not answer as Kafka does: time enough for a plain connection around the world.
CONNECT_SECONDS = 2.0
MAX_MESSAGE = "max.message.bytes"
# Their newest record of a key is what counts.
COMPACTED = frozenset({"reviewed", "replays"})
# What a worker cannot be without, and what it must be allowed to do with it.
NEEDED = {
    "content": Operation.READ,
    "tagged": Operation.WRITE,
    "review": Operation.WRITE,
    "dlq": Operation.WRITE,
}


class BrokerUnreachableError(Exception):
    """No broker answered in time: the message says which, how long, and what to do."""

    exit_code = 3


class BrokerSilentError(BrokerUnreachableError):
    """No broker answered as Kafka does; the error that the client gave is its cause."""


class BrokerRefusedError(BrokerUnreachableError):
    """A broker answered and does not let us in: TLS, its certificate, or our user."""


class TopicsMissingError(Exception):
    """The broker is there, topics that the command needs are not."""

    exit_code = 2


class TopicsRefusedError(Exception):
    """The broker answered, and did not make a topic: the message says why and what to do."""

    exit_code = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Created:
    """What `create` did."""

    made: tuple[str, ...]
    found: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """One topic that was asked for by its name. `operations` is what we may do with it; None where the brokers do not say."""

    partitions: int | None
    operations: frozenset[str] | None


def admitted(settings: Settings) -> tuple[dict[str, Any], float]:
    """
    What a client is constructed with, and the seconds of `startup_timeout_seconds` that are left, once a broker has let us in.

    A broker that does not answer is no refusal: the client waits for it, as long as is left.

    Raises:
        BrokerRefusedError: One answered, and refused us; the message says why.
        SecurityError: A file of the settings cannot be used.
    """
    started = time.monotonic()
    refused = handshake.refusal(settings)
    if refused is not None:
        raise BrokerRefusedError(refused)
    return client_options(settings), max(1.0, settings.startup_timeout_seconds - (time.monotonic() - started))


@contextlib.contextmanager
def admin(settings: Settings) -> Iterator[KafkaAdminClient]:
    """
    An admin client on the settings' brokers.

    Raises:
        BrokerUnreachableError: None answered within `startup_timeout_seconds`, or one refused us.
    """
    options, seconds = admitted(settings)
    timeout_ms = int(seconds * 1000)
    try:
        client = KafkaAdminClient(
            **options,
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


class Reach(StrEnum):
    """How a plain connection to an address ended."""

    OPEN = "takes connections"
    REFUSED = "refuses connections"
    SILENT = f"did not take a connection within {CONNECT_SECONDS:g} s"
    UNKNOWN = "has a name that cannot be resolved"
    ELSE = "cannot be reached"


@dataclass(frozen=True, slots=True, kw_only=True)
class Reached:
    """What became of a plain connection to `address`, host:port. `why` is the system's word where `reach` says too little."""

    address: str
    reach: Reach
    why: str = ""

    def __str__(self) -> str:
        return f"{self.address} {self.reach}" if not self.why else f"{self.address} {self.reach} ({self.why})"


def reached(settings: Settings) -> tuple[Reached, ...]:
    """What becomes of a plain connection to each of the brokers, at once and in `CONNECT_SECONDS`: why do they not answer?"""
    found: dict[str, Reached] = {}

    def look(address: str) -> None:
        found[address] = _reached(address)

    # No pool, whose end would wait for a name service that does not answer.
    threads = [threading.Thread(target=look, args=(address,), daemon=True) for address in settings.broker_list]
    for thread in threads:
        thread.start()
    # A little more than a connection may take; who is late then waits for the name service.
    deadline = time.monotonic() + CONNECT_SECONDS + PROBE_SECONDS
    for thread in threads:
        thread.join(max(0.0, deadline - time.monotonic()))
    late = {address: Reached(address=address, reach=Reach.SILENT) for address in settings.broker_list}
    return tuple((late | found).values())


def _reached(address: str) -> Reached:
    host, _, port = address.rpartition(":")
    try:
        with socket.create_connection((host.strip("[]"), int(port)), timeout=CONNECT_SECONDS):
            return Reached(address=address, reach=Reach.OPEN)
    except (socket.gaierror, UnicodeError):
        return Reached(address=address, reach=Reach.UNKNOWN)
    except ConnectionRefusedError:
        return Reached(address=address, reach=Reach.REFUSED)
    except TimeoutError:
        return Reached(address=address, reach=Reach.SILENT)
    except OSError as error:
        return Reached(address=address, reach=Reach.ELSE, why=error.strerror or str(error))


def said(error: BaseException) -> str:
    """
    The kind of an error and what it says, once: those of the Kafka clients say their kind themselves.

    >>> said(KafkaError("no")), said(OSError("no")), said(TimeoutError())
    ('KafkaError: no', 'OSError: no', 'TimeoutError')
    """
    kind, text = type(error).__name__, str(error)[:300]
    return text if text.startswith(kind) else f"{kind}: {text}" if text else kind


def unreachable(settings: Settings, error: BaseException) -> BrokerUnreachableError:
    """The error of a broker that does not answer, in our words."""
    return BrokerSilentError(
        f"no Kafka broker answered at {settings.brokers} within {settings.startup_timeout_seconds:g} s "
        f"({said(error)}). Next: is the broker up, is the address the one that it advertises, is TAGSTREAM_BROKERS "
        f"right, is TAGSTREAM_SECURITY__PROTOCOL? `tagstream doctor` looks closer."
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


def require(
    settings: Settings,
    names: Mapping[str, str],
    *,
    operations: Mapping[str, Operation] | None = None,
    found: Mapping[str, Seen] | None = None,
) -> dict[str, int]:
    """
    Partitions of the topics `names` (setting key to topic name), which we may see and do `operations` with.

    `found` is what `seen` gave, where it was asked already.

    Raises:
        BrokerUnreachableError: No broker answered, or one refused us.
        NotAuthorizedError: We may not see one of them, or not do what is asked; the message has the ACL that is missing.
        TopicsMissingError: One of them does not exist.
    """
    found = seen(settings, names.values()) if found is None else found
    for key, name in names.items():
        wanted = ((operations or {}).get(key, Operation.DESCRIBE),)
        refused = missing(settings, Right(resource=Resource.TOPIC, name=name, operations=wanted), found[name].operations)
        if refused is not None:
            raise NotAuthorizedError(refused)
    absent = [name for name in names.values() if found[name].partitions is None]
    if absent:
        raise TopicsMissingError(_missing(settings, absent))
    return {name: found[name].partitions or 0 for name in names.values()}


def _missing(settings: Settings, absent: Sequence[str]) -> str:
    """The sentence on topics that do not exist. Of a name that no setting has, a setting and the doctor would be wrong advice."""
    ours: dict[str, str] = settings.topics.model_dump()
    keys = {name: key for key, name in ours.items()}
    foreign = next((name for name in absent if name not in keys), None)
    if foreign is None:
        listed = ", ".join(f"{name!r} (topics.{keys[name]})" for name in absent)
        return (
            f"the cluster at {settings.brokers} has no topic {listed}. The worker does not create topics. "
            f"Next: `tagstream doctor --create-topics`, or set TAGSTREAM_TOPICS__* to the names in use."
        )
    shown = {key: key if key == name else f"{key} ({name})" for key, name in ours.items()}
    near = difflib.get_close_matches(foreign, [*ours, *keys], n=1)
    nearest = f"; the nearest one is {shown[keys.get(near[0], near[0])]}" if near else ""
    return (
        f"the cluster at {settings.brokers} has no topic {foreign!r}, and none of the settings' topics is called so{nearest}. "
        f"Next: correct it, or make that topic; those of the settings are {', '.join(shown.values())}."
    )


def seen(settings: Settings, names: Collection[str]) -> dict[str, Seen]:
    """
    Each of these topics as the brokers tell us of it.

    Raises:
        BrokerUnreachableError: No broker answered, or one refused us.
    """
    with admin(settings) as client:
        try:
            return look(client, names)
        except KafkaError as error:
            raise unreachable(settings, error) from error


def look(client: KafkaAdminClient, names: Collection[str]) -> dict[str, Seen]:
    """Each of these topics, asked for by name: a cluster with ACLs leaves out of its list what we may not see."""
    found: dict[str, Seen] = {}
    for topic in client.describe_topics(list(dict.fromkeys(names))):
        code, told = topic.get("error_code"), topic.get("authorized_operations")
        denied = code == TopicAuthorizationFailedError.errno
        found[topic["name"]] = Seen(
            partitions=None if code else len(topic["partitions"]),
            operations=frozenset() if denied else frozenset(told) if told and not code else None,
        )
    return found


async def group_denied(settings: Settings) -> str | None:
    """
    The sentence if this user may not be a member of the group, None if it may or if nobody can say yet.

    A heartbeat of a member that does not exist: the brokers check the right to READ the group first, and change nothing.

    Raises:
        BrokerUnreachableError: No broker answered.
    """
    right = next(right for right in rights(settings, Role.WORKER) if right.resource is Resource.GROUP)
    async with _probe(settings) as client:
        try:
            node = await client.coordinator_lookup(CoordinationType.GROUP, settings.group)
            await client.ready(node, group=ConnectionGroup.COORDINATION)
            answer = await client.send(
                node, HeartbeatRequest(settings.group, -1, "tagstream-probe"), group=ConnectionGroup.COORDINATION
            )
        except AIOGroupAuthorizationFailedError:
            return missing(settings, right, ())
        except (CoordinatorNotAvailableError, CoordinatorLoadInProgressError):
            # The first group of a cluster makes its offsets topic: Faust waits for that, and a refusal then ends the worker.
            return None
        return missing(settings, right, ()) if answer.error_code == GroupAuthorizationFailedError.errno else None


async def transactions_denied(settings: Settings) -> str | None:
    """
    The same for the transactional ids of `delivery = exactly_once`, of which partition 0 speaks for all: asking for one fences nobody.

    Raises:
        BrokerUnreachableError: No broker answered.
    """
    right = next((right for right in rights(settings, Role.WORKER) if right.resource is Resource.TRANSACTIONAL_ID), None)
    if right is None:
        return None
    async with _probe(settings) as client:
        try:
            await client.coordinator_lookup(CoordinationType.TRANSACTION, f"{right.name}0")
        except TransactionalIdAuthorizationFailed:
            return missing(settings, right, ())
        except (CoordinatorNotAvailableError, CoordinatorLoadInProgressError):
            return None
    return None


def create(settings: Settings) -> Created:
    """
    Make the topics of the settings that do not exist yet; those that exist are left as they are.

    Raises:
        BrokerUnreachableError: No broker answered.
        TopicsRefusedError: One answered, and did not make a topic.
    """
    wanted: dict[str, str] = settings.topics.model_dump()
    with admin(settings) as client:
        try:
            existing = partition_counts(client)
            missing = {key: name for key, name in wanted.items() if name not in existing}
            for key, name in missing.items():
                with contextlib.suppress(TopicAlreadyExistsError):
                    client.create_topics({name: _options(settings, key)}, timeout_ms=30_000, wait_for_metadata=True)
        except BrokerResponseError as error:
            msg = (
                f"the cluster at {settings.brokers} did not create the topics: {said(error)}. "
                f"Next: is TAGSTREAM_TOPIC_REPLICATION ({settings.topic_replication}) more than there are brokers? May this "
                f"client create topics?"
            )
            raise TopicsRefusedError(msg) from error
        except KafkaError as error:
            raise unreachable(settings, error) from error
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
    Does the broker hand out producer ids? Apache Kafka does, Tansu 0.6 does not. It asks for WRITE on any topic, no more.

    Raises:
        BrokerUnreachableError: No broker answered.
    """
    async with _probe(settings) as client:
        while True:
            code = await _producer_id_code(client)
            # A broker that refuses them to a user who may write nowhere has them, and a user who may write gets them.
            if code in {0, ClusterAuthorizationFailedError.errno}:
                return True
            # One that has just started, or is about to go, says "later": taken for "never", a worker would do without for its life.
            if not for_code(code).retriable:
                return False
            await asyncio.sleep(PROBE_SECONDS)


async def _producer_id_code(client: AIOKafkaClient) -> int:
    try:
        return int((await client.send(client.get_random_node(), InitProducerIdRequest(None, 60_000))).error_code)
    except (NodeNotReadyError, AIOKafkaConnectionError):
        # This node is down; the next one may not be.
        return int(RequestTimedOutError.errno)


@contextlib.asynccontextmanager
async def _probe(settings: Settings) -> AsyncIterator[AIOKafkaClient]:
    client = AIOKafkaClient(**client_options(settings), client_id="tagstream-probe", request_timeout_ms=10_000)
    try:
        async with asyncio.timeout(settings.startup_timeout_seconds):
            await client.bootstrap()
            yield client
    except (AIOKafkaError, TimeoutError) as error:
        raise unreachable(settings, error) from error
    finally:
        await client.close()

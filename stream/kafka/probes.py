"""Requests that the admin client cannot send: whether this user may join the group, and whether the brokers hand out producer ids.

A probe does not change the cluster. It uses aiokafka, which can send a single request of the protocol.
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator

from aiokafka.client import AIOKafkaClient, ConnectionGroup, CoordinationType
from aiokafka.errors import (
    ClusterAuthorizationFailedError,
    CoordinatorLoadInProgressError,
    CoordinatorNotAvailableError,
    GroupAuthorizationFailedError,
    KafkaConnectionError,
    KafkaError,
    NodeNotReadyError,
    RequestTimedOutError,
    TransactionalIdAuthorizationFailed,
    for_code,
)
from aiokafka.protocol.group import HeartbeatRequest
from aiokafka.protocol.transaction import InitProducerIdRequest

from tagstream.stream.kafka.credentials import client_options
from tagstream.stream.kafka.errors import translated
from tagstream.stream.kafka.rights import Resource, Role, missing, rights, transactional_prefix
from tagstream.stream.settings.settings import Settings

# The pause before the next request to a broker that answers "later".
RETRY_SECONDS = 0.2
REQUEST_SECONDS = 10


async def group_denied(settings: Settings) -> str | None:
    """
    Why this user may not be a member of the consumer group; None if the user may, or if no coordinator can answer yet.

    Sends the heartbeat of a member that does not exist: the brokers check the right to READ the group before the member.

    Raises:
        BrokerUnreachableError: No broker answered.
    """
    right = next(right for right in rights(settings, Role.WORKER) if right.resource is Resource.GROUP)
    async with _client(settings) as client:
        try:
            node = await client.coordinator_lookup(CoordinationType.GROUP, settings.group)
            await client.ready(node, group=ConnectionGroup.COORDINATION)
            answer = await client.send(
                node, HeartbeatRequest(settings.group, -1, "tagstream-probe"), group=ConnectionGroup.COORDINATION
            )
        except GroupAuthorizationFailedError:
            return missing(settings, right, ())
        except (CoordinatorNotAvailableError, CoordinatorLoadInProgressError):
            # A cluster makes its offsets topic for its first group. Faust waits for that, and a later refusal ends the worker.
            return None
        return missing(settings, right, ()) if answer.error_code == GroupAuthorizationFailedError.errno else None


async def transactions_denied(settings: Settings, topic: str | None = None) -> str | None:
    """
    Why this user may not use the transactional ids of `delivery = exactly_once`; None if the user may, or needs no ids.

    Looks up the coordinator of partition 0's id, since one right covers the ids of all partitions. The lookup fences no producer.

    Args:
        settings: Brokers and user.
        topic: A topic that workers read, by default `content`. The ids of each topic have a prefix of their own.

    Raises:
        BrokerUnreachableError: No broker answered.
    """
    prefix = transactional_prefix(settings.group, topic or settings.topics.content)
    found = [right for right in rights(settings, Role.WORKER) if right.resource is Resource.TRANSACTIONAL_ID]
    right = next((right for right in found if right.name == prefix), None)
    if right is None:
        return None
    async with _client(settings) as client:
        try:
            await client.coordinator_lookup(CoordinationType.TRANSACTION, f"{right.name}0")
        except TransactionalIdAuthorizationFailed:
            return missing(settings, right, ())
        except (CoordinatorNotAvailableError, CoordinatorLoadInProgressError):
            return None
    return None


def use_idempotent_producer(settings: Settings) -> bool:
    """
    The setting `idempotent_producer`, with `auto` resolved by asking the broker.

    Raises:
        BrokerUnreachableError: No broker answered.
    """
    if settings.idempotent_producer == "auto":
        return asyncio.run(has_producer_ids(settings))
    return settings.idempotent_producer == "on"


async def has_producer_ids(settings: Settings) -> bool:
    """
    True if the broker hands out producer ids, so that a retried send is written once. Apache Kafka does, Tansu 0.6 does not.

    The user needs the right to WRITE to any topic.

    Raises:
        BrokerUnreachableError: No broker answered.
    """
    async with _client(settings) as client:
        while True:
            code = await _producer_id_code(client)
            # A broker without producer ids does not check rights: a broker that refuses this user has producer ids.
            if code in {0, ClusterAuthorizationFailedError.errno}:
                return True
            # A broker that starts or stops answers "later". If this were taken for "never", the worker would run without ids to its end.
            if not for_code(code).retriable:
                return False
            await asyncio.sleep(RETRY_SECONDS)


async def _producer_id_code(client: AIOKafkaClient) -> int:
    """The error code of the answer, 0 for success; a retriable code if the node is down, since the next node may be up."""
    try:
        return int((await client.send(client.get_random_node(), InitProducerIdRequest(None, 60_000))).error_code)
    except (NodeNotReadyError, KafkaConnectionError):
        return int(RequestTimedOutError.errno)


@contextlib.asynccontextmanager
async def _client(settings: Settings) -> AsyncIterator[AIOKafkaClient]:
    """A client for the block, which must end within `startup_timeout_seconds`. The client's errors become ours."""
    client = AIOKafkaClient(**client_options(settings), client_id="tagstream-probe", request_timeout_ms=REQUEST_SECONDS * 1000)
    try:
        with translated(settings, (KafkaError, TimeoutError)):
            async with asyncio.timeout(settings.startup_timeout_seconds):
                await client.bootstrap()
                yield client
    finally:
        await client.close()

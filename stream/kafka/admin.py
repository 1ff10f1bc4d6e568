"""Describes the topics of the cluster and creates missing ones, with kafka-python's admin client.

The worker only asks; `tagstream doctor --create-topics` and the demo create topics.
"""

import contextlib
import difflib
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from kafka.admin import ConfigResource, ConfigResourceType, KafkaAdminClient
from kafka.errors import (
    BrokerResponseError,
    ClusterAuthorizationFailedError,
    KafkaConnectionError,
    TopicAlreadyExistsError,
    TopicAuthorizationFailedError,
)

from tagstream.stream.kafka.admission import admitted
from tagstream.stream.kafka.errors import (
    CONNECT_FAILURES,
    NotAuthorizedError,
    TopicsMissingError,
    TopicsRefusedError,
    summary_of,
    translated,
)
from tagstream.stream.kafka.rights import Operation, Resource, Right, missing
from tagstream.stream.settings.settings import Settings

CREATE_SECONDS = 30
MAX_MESSAGE, CLEANUP = "max.message.bytes", "cleanup.policy"
# Topics in which only the newest record of a key counts.
COMPACTED = frozenset({"replays", "references"})
# Topics that are kept for ever. There is no other copy of people's answers, and stores are rebuilt from them. The keys are the producers'
# keys, so compaction would keep only the answers on a key's last event.
KEPT = frozenset({"reviewed"})
# Topics that the broker compresses. A dead letter has 250 bytes of headers or more, and all dead letters have nearly the same headers.
# Uncompressed, the dead letters of small events would have thirty times the events' bytes; compressed, they have four times as many.
COMPRESSED = frozenset({"dlq"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Created:
    """The names of topics that `create` made, and of those that existed before."""

    made: tuple[str, ...]
    found: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class TopicDescription:
    """
    A topic as the brokers describe it to this user.

    Attributes:
        partitions: The number of partitions; None if the topic does not exist.
        operations: Kafka's names of the operations that are allowed; None if the brokers do not tell.
    """

    partitions: int | None
    operations: frozenset[str] | None


class _AdminClient(KafkaAdminClient):  # type: ignore[misc]
    """Ignores the allowed operations of a group: Tansu sends operations that kafka-python does not know, and on which it fails."""

    def _process_acl_operations(self, obj: dict[str, Any]) -> dict[str, Any]:
        described: dict[str, Any] = obj if "group_id" in obj else super()._process_acl_operations(obj)
        return described


@contextlib.contextmanager
def admin(settings: Settings) -> Iterator[KafkaAdminClient]:
    """
    An admin client on the settings' brokers. A Kafka error inside the block becomes one of our errors.

    Raises:
        BrokerUnreachableError: No broker answered within `startup_timeout_seconds`, or a broker refused us.
    """
    options, seconds = admitted(settings)
    timeout_ms = int(seconds * 1000)
    with translated(settings, CONNECT_FAILURES):
        client = _AdminClient(
            **options,
            client_id="tagstream-admin",
            bootstrap_timeout_ms=timeout_ms,
            request_timeout_ms=timeout_ms,
        )
    try:
        with translated(settings):
            yield client
    finally:
        client.close()


def broker_count(settings: Settings) -> int:
    """
    The number of brokers that are up in the cluster.

    Raises:
        BrokerUnreachableError: No broker answered, or one refused us.
    """
    with admin(settings) as client:
        return len(client.describe_cluster()["brokers"])


def partitions(settings: Settings) -> dict[str, int]:
    """
    The number of partitions by topic, of every topic that this user may see.

    Raises:
        BrokerUnreachableError: No broker answered, or one refused us.
    """
    with admin(settings) as client:
        return _partitions(client)


def max_message_bytes(settings: Settings, names: Sequence[str]) -> dict[str, int]:
    """
    `max.message.bytes` by topic. A topic is left out if the brokers do not tell this user its configuration.

    Raises:
        BrokerUnreachableError: No broker answered, or one refused us.
    """
    return {name: int(options[MAX_MESSAGE]) for name, options in topic_options(settings, names, [MAX_MESSAGE]).items()}


def cleanup_policies(settings: Settings, names: Sequence[str]) -> dict[str, str]:
    """`cleanup.policy` by topic, like `max_message_bytes`: delete, compact, or both with a comma between."""
    return {name: options[CLEANUP] for name, options in topic_options(settings, names, [CLEANUP]).items()}


def topic_options(settings: Settings, names: Collection[str], keys: Collection[str]) -> dict[str, dict[str, str]]:
    """
    These options by name, by topic. A topic is left out if the brokers do not tell this user its configuration.

    Some brokers close the connection at this request (Tansu 0.6). They count as not telling; the next request shows whether they are up.
    """
    with admin(settings) as client:
        asked = [ConfigResource(ConfigResourceType.TOPIC, name, configs=dict.fromkeys(keys, "")) for name in names]
        try:
            found = client.describe_configs(asked, config_filter="all")
        except (TopicAuthorizationFailedError, ClusterAuthorizationFailedError, KafkaConnectionError):
            return {}
    return {
        name: {key: str(configs[key]["value"]) for key in keys}
        for topics in found.values()
        for name, configs in topics.items()
        if configs.keys() >= set(keys)
    }


def describe(settings: Settings, names: Collection[str]) -> dict[str, TopicDescription]:
    """
    Each of these topics, requested by name: the list of all topics leaves out the topics that a user may not see.

    Raises:
        BrokerUnreachableError: No broker answered, or one refused us.
    """
    found: dict[str, TopicDescription] = {}
    with admin(settings) as client:
        described = client.describe_topics(list(dict.fromkeys(names)))
    for topic in described:
        code, allowed = topic.get("error_code"), topic.get("authorized_operations")
        denied = code == TopicAuthorizationFailedError.errno
        found[topic["name"]] = TopicDescription(
            partitions=None if code else len(topic["partitions"]),
            operations=frozenset() if denied else frozenset(allowed) if allowed and not code else None,
        )
    return found


def require(
    settings: Settings,
    names: Mapping[str, str],
    *,
    operations: Mapping[str, Operation] | None = None,
    found: Mapping[str, TopicDescription] | None = None,
) -> dict[str, int]:
    """
    Refuse to go on unless these topics exist and this user may do the operations.

    Args:
        settings: Brokers and user.
        names: Topic name by setting key, as `{"dlq": "content.dlq"}`.
        operations: The needed operation by setting key; DESCRIBE for a key that is not in it.
        found: The result of `describe`, if the brokers were asked already.

    Returns:
        The number of partitions by topic name.

    Raises:
        BrokerUnreachableError: No broker answered, or one refused us.
        NotAuthorizedError: The user lacks a right; the message has the missing ACL.
        TopicsMissingError: A topic does not exist.
    """
    found = describe(settings, names.values()) if found is None else found
    for key, name in names.items():
        needed = ((operations or {}).get(key, Operation.DESCRIBE),)
        refused = missing(settings, Right(resource=Resource.TOPIC, name=name, operations=needed), found[name].operations)
        if refused is not None:
            raise NotAuthorizedError(refused)
    absent = [name for name in names.values() if found[name].partitions is None]
    if absent:
        raise TopicsMissingError(_absent(settings, absent))
    return {name: found[name].partitions or 0 for name in names.values()}


def _absent(settings: Settings, absent: Sequence[str]) -> str:
    """The message on topics that do not exist. It advises the doctor only for the settings' topics: the doctor creates no others."""
    ours = settings.topic_names
    keys = {name: key for key, name in ours.items()}
    foreign = next((name for name in absent if name not in keys), None)
    if foreign is None:
        listed = ", ".join(f"{name!r} ({_setting(keys[name])})" for name in absent)
        return (
            f"the cluster at {settings.brokers} has no topic {listed}. The worker does not create topics. "
            f"Next: `tagstream doctor --create-topics`, or set TAGSTREAM_TOPICS__* and TAGSTREAM_CONTENTS to the names in use."
        )
    shown = {key: key if key == name else f"{key} ({name})" for key, name in ours.items()}
    near = difflib.get_close_matches(foreign, [*ours, *keys], n=1)
    nearest = f"; the nearest one is {shown[keys.get(near[0], near[0])]}" if near else ""
    return (
        f"the cluster at {settings.brokers} has no topic {foreign!r}, and no topic of the settings has this name{nearest}. "
        f"Next: correct the name, or create that topic; the settings have {', '.join(shown.values())}."
    )


def _setting(key: str) -> str:
    """The setting that names a topic, by its name in `Settings.topic_names`."""
    table, _, name = key.partition(".")
    return f'{table}."{name}"' if name else f"topics.{key}"


def create(settings: Settings, configs: Mapping[str, str] | None = None) -> Created:
    """
    Create the topics of the settings that do not exist yet; existing ones are left as they are.

    Args:
        settings: Brokers and names.
        configs: Further Kafka options of every topic that is made.

    Raises:
        BrokerUnreachableError: No broker answered, or a broker refused us.
        TopicsRefusedError: A broker answered and did not create a topic.
    """
    names = settings.topic_names
    with admin(settings) as client:
        try:
            existing = _partitions(client)
            absent = {key: name for key, name in names.items() if name not in existing}
            for key, name in absent.items():
                with contextlib.suppress(TopicAlreadyExistsError):
                    client.create_topics(
                        {name: _options(settings, key, configs or {})}, timeout_ms=CREATE_SECONDS * 1000, wait_for_metadata=True
                    )
        except BrokerResponseError as error:
            msg = (
                f"the cluster at {settings.brokers} did not create the topics: {summary_of(error)}. "
                f"Next: check that there are at least TAGSTREAM_TOPIC_REPLICATION ({settings.topic_replication}) brokers, and that "
                f"this client may create topics."
            )
            raise TopicsRefusedError(msg) from error
    return Created(made=tuple(absent.values()), found=tuple(name for name in names.values() if name not in absent.values()))


def _partitions(client: KafkaAdminClient) -> dict[str, int]:
    return {topic["name"]: len(topic["partitions"]) for topic in client.describe_topics() if not topic.get("error_code")}


def _options(settings: Settings, key: str, further: Mapping[str, str]) -> dict[str, object]:
    """Options of a new topic: size of records, compaction, compression, partitions and replicas."""
    configs = dict(further)
    # A dead letter is the input's bytes and some headers: an input of the broker's full size must still fit. An answer, and a copy for an
    # audit, are somewhat larger than a decision of the full size.
    most_bytes = dict.fromkeys(("tagged", "review"), settings.max_outcome_bytes)
    most_bytes |= dict.fromkeys(("dlq", "audit", "reviewed"), settings.max_dead_letter_bytes)
    if key in most_bytes:
        configs[MAX_MESSAGE] = str(most_bytes[key])
    if key in COMPACTED:
        configs[CLEANUP] = "compact"
    if key in KEPT:
        configs["retention.ms"] = "-1"
    if key in COMPRESSED:
        configs["compression.type"] = "gzip"
    return {
        # The notes of replays and the references need one order of all their records, and there are few of them.
        "num_partitions": 1 if key in COMPACTED else settings.topic_partitions,
        "replication_factor": settings.topic_replication,
        "configs": configs,
    }

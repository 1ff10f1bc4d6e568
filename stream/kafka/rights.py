"""The least rights of each role on the cluster, the commands that grant them, and the message on a missing right.

Pure: settings in, text out. The names come from the settings, so the commands grant exactly the rights that a worker needs.
"""

import shlex
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from enum import StrEnum
from itertools import groupby

from tagstream.stream.settings.settings import Settings


class Operation(StrEnum):
    """Kafka's operations, as `kafka-acls.sh` and the protocol name them."""

    READ = "READ"
    WRITE = "WRITE"
    DESCRIBE = "DESCRIBE"
    CREATE = "CREATE"
    DESCRIBE_CONFIGS = "DESCRIBE_CONFIGS"


class Resource(StrEnum):
    """The kinds of resources that rights are granted on. No role needs a right on the cluster itself."""

    TOPIC = "topic"
    GROUP = "group"
    # Granted on a prefix: each partition of `content` has an id of its own.
    TRANSACTIONAL_ID = "transactional-id"


class Role(StrEnum):
    """The users that a cluster needs, by their task."""

    WORKER = "worker"
    PRODUCER = "producer"
    CONSUMER = "consumer"
    REVIEWER = "reviewer"
    REPORTER = "reporter"
    MEASURER = "measurer"
    TAGS = "tags"
    OPERATOR = "operator"
    SERVE = "serve"
    SHADOW = "shadow"
    CONTROLLER = "controller"
    CREATOR = "creator"


@dataclass(frozen=True, slots=True, kw_only=True)
class Right:
    """Allows `operations` on the topic or group `name`, or on all transactional ids that begin with it."""

    resource: Resource
    name: str
    operations: tuple[Operation, ...]


# The topics that a worker cannot work without, by setting key, and the operation that it needs on each.
NEEDED_TOPICS = {
    "content": Operation.READ,
    "tagged": Operation.WRITE,
    "review": Operation.WRITE,
    "dlq": Operation.WRITE,
}
# The topics that a worker uses where they exist.
USED_TOPICS = {"audit": Operation.WRITE, "reviewed": Operation.READ, "drift": Operation.WRITE, "references": Operation.READ}


def needed_topics(settings: Settings) -> dict[str, Operation]:
    """`NEEDED_TOPICS` and the further topics of events, by their names in `Settings.topic_names`."""
    return NEEDED_TOPICS | {f"contents.{name}": Operation.READ for name in settings.contents}


_READ = (Operation.READ, Operation.DESCRIBE)
_WRITE = (Operation.WRITE, Operation.DESCRIBE)


def rights(settings: Settings, role: Role) -> list[Right]:
    """The rights that a role needs, and no more. READ and WRITE imply DESCRIBE, which is listed all the same."""
    topics = settings.topics
    every = list(settings.topic_names.values())
    contents = settings.content_topics
    found: list[Right]
    match role:
        case Role.WORKER:
            group = Right(resource=Resource.GROUP, name=settings.group, operations=(Operation.READ,))
            # The largest record of a topic is part of its configuration.
            out = _topics((*_WRITE, Operation.DESCRIBE_CONFIGS), topics.tagged, topics.review, topics.dlq)
            found = [
                *_topics(_READ, *contents, topics.reviewed),
                group,
                *out,
                *_topics(_WRITE, topics.audit, topics.drift),
                *_topics((Operation.READ, *_WRITE), topics.references),
                *_topics(_READ, settings.rollout.topic),
                *_topics(_WRITE, settings.rollout.workers_topic),
            ]
            if settings.delivery == "exactly_once":
                for topic in (*contents, topics.reviewed):
                    ids = transactional_prefix(settings.group, topic)
                    found.append(Right(resource=Resource.TRANSACTIONAL_ID, name=ids, operations=_WRITE))
        case Role.PRODUCER | Role.REPORTER | Role.MEASURER:
            written = {Role.PRODUCER: contents, Role.REPORTER: (topics.reports,), Role.MEASURER: (topics.outcomes,)}
            found = _topics(_WRITE, *written[role])
        case Role.CONSUMER | Role.TAGS:
            found = _topics(_READ, topics.tagged, *([topics.review] if role is Role.TAGS else []))
        case Role.REVIEWER:
            # The console rebuilds its store from all topics that it reads, and it serves the form of a report.
            read = (topics.tagged, topics.review, topics.audit, topics.reviewed, topics.reports)
            found = [*_topics(_READ, *read), *_topics(_WRITE, topics.reviewed, topics.reports)]
        case Role.OPERATOR:
            group = Right(resource=Resource.GROUP, name=settings.group, operations=(Operation.DESCRIBE,))
            # A replay writes dead letters to `content` or `reviewed` again, and a note of each to its topic. `drift --confirm` and
            # `drift --learn` write to `references`.
            found = [
                *_topics(_READ, *every, settings.rollout.topic, settings.rollout.workers_topic),
                group,
                *_topics(_WRITE, *contents, topics.reviewed, topics.replays, topics.references),
            ]
        case Role.SERVE | Role.SHADOW | Role.CONTROLLER:
            found = {Role.SERVE: _of_serve, Role.SHADOW: _of_a_shadow, Role.CONTROLLER: _of_the_controller}[role](settings)
        case Role.CREATOR:
            names = (*every, settings.rollout.topic, settings.rollout.workers_topic)
            found = _topics((Operation.CREATE, Operation.DESCRIBE), *names)
    return found


def _of_serve(settings: Settings) -> list[Right]:
    """The service follows the rollout, and watches its requests. WRITE on `content` comes last: only `?publish=true` needs it."""
    topics = settings.topics
    return [
        *_topics(_READ, settings.rollout.topic),
        Right(resource=Resource.GROUP, name=settings.group, operations=(Operation.DESCRIBE,)),
        *_topics(_WRITE, topics.drift),
        *_topics((Operation.READ, *_WRITE), topics.references),
        *_topics(_WRITE, topics.content),
    ]


def shadow_group(settings: Settings) -> str:
    """The consumer group of a shadow, which tries a bundle beside the stream. It takes no partition from the workers' group."""
    return f"{settings.group}.shadow"


def _of_a_shadow(settings: Settings) -> list[Right]:
    """A shadow reads the workers' topics, `audit` for people's questions included. It writes no decisions and not the topic of rollouts."""
    topics = settings.topics
    return [
        *_topics(_READ, *settings.content_topics, topics.tagged, topics.review, settings.rollout.topic),
        *_topics(_WRITE, topics.shadow, topics.audit),
        Right(resource=Resource.GROUP, name=shadow_group(settings), operations=(Operation.READ,)),
    ]


def _of_the_controller(settings: Settings) -> list[Right]:
    """WRITE on the topic of rollouts chooses the model of the stream."""
    rollout, group, topics = settings.rollout, settings.group, settings.topics
    return [
        # The controller removes the records of workers that are gone.
        *_topics((Operation.READ, *_WRITE), rollout.topic, rollout.workers_topic),
        *_topics((Operation.DESCRIBE,), *settings.content_topics),
        Right(resource=Resource.GROUP, name=group, operations=(Operation.DESCRIBE,)),
        Right(resource=Resource.TRANSACTIONAL_ID, name=rollout.topic, operations=_WRITE),
        # A verdict (`tagstream rollout watch`) reads these topics, and a canary's share is counted on events. These rights come last: a
        # change of the model needs none of them, and the message names the first missing right.
        *_topics(
            _READ,
            topics.shadow,
            topics.audit,
            topics.tagged,
            topics.review,
            topics.reviewed,
            topics.reports,
            topics.outcomes,
            *settings.content_topics,
        ),
    ]


def transactional_prefix(group: str, topic: str) -> str:
    """
    The beginning of the transactional ids of a group's workers on a topic; the partition's number follows it.

    >>> transactional_prefix("tagstream", "content")
    'tagstream-content-'
    """
    return f"{group}-{topic}-"


def _topics(operations: tuple[Operation, ...], *names: str) -> list[Right]:
    return [Right(resource=Resource.TOPIC, name=name, operations=operations) for name in names]


def command(settings: Settings, rights: Sequence[Right], user: str) -> str:
    """
    The command that grants rights on one kind of resource; `admin.properties` is the administrator's client configuration.

    Args:
        settings: Brokers.
        rights: At least one; all with the same resource and operations.
        user: The name that brokers know, without `User:`.

    >>> right = Right(resource=Resource.GROUP, name="night shift", operations=(Operation.READ,))
    >>> command(Settings(brokers="kafka:9093"), [right], "worker")
    "kafka-acls.sh --bootstrap-server kafka:9093 --command-config admin.properties --add --allow-principal User:worker --operation Read --group 'night shift'"
    """
    words = ["kafka-acls.sh", "--bootstrap-server", settings.brokers, "--command-config", "admin.properties", "--add"]
    words += ["--allow-principal", f"User:{user}"]
    for operation in rights[0].operations:
        words += ["--operation", operation.title().replace("_", "")]
    for right in rights:
        words += [f"--{right.resource}", right.name]
    if rights[0].resource is Resource.TRANSACTIONAL_ID:
        words += ["--resource-pattern-type", "prefixed"]
    return shlex.join(words)


def missing(settings: Settings, right: Right, allowed: Collection[str] | None) -> str | None:
    """
    The message on operations that this user lacks, with the command that grants them; None if no operation is missing.

    Args:
        settings: Brokers and user.
        right: The needed operations and their resource.
        allowed: The operations that the brokers allow this user; None if the brokers do not tell.
    """
    if allowed is None:
        return None
    lacking = tuple(operation for operation in right.operations if operation not in allowed)
    if not lacking:
        return None
    user = settings.security.username or "NAME"
    needed = Right(resource=right.resource, name=right.name, operations=lacking)
    return (
        f"{_who(settings)} is not authorised for {' and '.join(lacking)} on the {right.resource} {right.name!r}. "
        f"Next: an administrator of the cluster runs `{command(settings, [needed], user)}`."
    )


def _who(settings: Settings) -> str:
    if settings.security.username:
        return f"user {settings.security.username!r}"
    if settings.security.by_token:
        return "the owner of our token"
    return "the owner of security.certificate_file" if settings.security.certificate_file else "a client without a user"


def lines(settings: Settings, role: Role, user: str) -> list[str]:
    """
    The commands that give a user the rights of a role: one command for each resource and set of operations.

    Args:
        settings: Brokers, topics and group.
        role: The user's task.
        user: The name that brokers know, without `User:`.
    """
    alike = groupby(rights(settings, role), key=lambda right: (right.resource, right.operations))
    return [command(settings, list(found), user) for _, found in alike]

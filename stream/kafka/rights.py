"""The least rights on the cluster: what each user of the topics needs, the commands that give it, and what is missing.

Pure: names in, lines out. The names are the settings' own, so that what is printed is what a worker will ask for.
"""

import shlex
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from enum import StrEnum
from itertools import groupby

from stream.settings.settings import Settings


class Operation(StrEnum):
    """Kafka's operations, as `kafka-acls.sh` and the protocol name them."""

    READ = "READ"
    WRITE = "WRITE"
    DESCRIBE = "DESCRIBE"
    CREATE = "CREATE"


class Resource(StrEnum):
    """What rights are on. Nobody needs one on the cluster."""

    TOPIC = "topic"
    GROUP = "group"
    # A prefix: one id for each partition of `content`, however many there are.
    TRANSACTIONAL_ID = "transactional-id"


class Role(StrEnum):
    """Who is given rights."""

    WORKER = "worker"
    PRODUCER = "producer"
    CONSUMER = "consumer"
    REVIEWER = "reviewer"
    OPERATOR = "operator"
    CREATOR = "creator"


@dataclass(frozen=True, slots=True, kw_only=True)
class Right:
    """May do `operations` with one topic, one group, or all transactional ids that begin with a name."""

    resource: Resource
    name: str
    operations: tuple[Operation, ...]


class NotAuthorizedError(Exception):
    """The brokers let us in and do not let us do this: the message names the missing ACL."""

    exit_code = 2


_READ = (Operation.READ, Operation.DESCRIBE)
_WRITE = (Operation.WRITE, Operation.DESCRIBE)


def rights(settings: Settings, role: Role) -> list[Right]:
    """What a role needs, and nothing else. READ and WRITE bring DESCRIBE along; it is named for readers of the list."""
    topics = settings.topics
    every: list[str] = list(topics.model_dump().values())
    match role:
        case Role.WORKER:
            group = Right(resource=Resource.GROUP, name=settings.group, operations=(Operation.READ,))
            out = (topics.tagged, topics.review, topics.dlq, topics.drift)
            found = [*_topics(_READ, topics.content), group, *_topics(_WRITE, *out)]
            if settings.delivery == "exactly_once":
                ids = transactional_prefix(settings.group, topics.content)
                found.append(Right(resource=Resource.TRANSACTIONAL_ID, name=ids, operations=_WRITE))
            return found
        case Role.PRODUCER:
            return _topics(_WRITE, topics.content)
        case Role.CONSUMER:
            return _topics(_READ, topics.tagged)
        case Role.REVIEWER:
            return [*_topics(_READ, topics.review), *_topics(_WRITE, topics.reviewed)]
        case Role.OPERATOR:
            group = Right(resource=Resource.GROUP, name=settings.group, operations=(Operation.DESCRIBE,))
            # Replaying a dead letter writes it to `content` again, and notes that it did.
            return [*_topics(_READ, *every), group, *_topics(_WRITE, topics.content, topics.replays)]
        case Role.CREATOR:
            return _topics((Operation.CREATE, Operation.DESCRIBE), *every)


def transactional_prefix(group: str, topic: str) -> str:
    """
    What the transactional ids of a group's workers on a topic begin with; the partition's number follows.

    >>> transactional_prefix("tagstream", "content")
    'tagstream-content-'
    """
    return f"{group}-{topic}-"


def _topics(operations: tuple[Operation, ...], *names: str) -> list[Right]:
    return [Right(resource=Resource.TOPIC, name=name, operations=operations) for name in names]


def command(settings: Settings, rights: Sequence[Right], user: str) -> str:
    """
    The line that gives rights of one kind; `admin.properties` is the administrator's own client configuration.

    >>> right = Right(resource=Resource.GROUP, name="night shift", operations=(Operation.READ,))
    >>> command(Settings(brokers="kafka:9093"), [right], "worker")
    "kafka-acls.sh --bootstrap-server kafka:9093 --command-config admin.properties --add --allow-principal User:worker --operation Read --group 'night shift'"
    """
    words = ["kafka-acls.sh", "--bootstrap-server", settings.brokers, "--command-config", "admin.properties", "--add"]
    words += ["--allow-principal", f"User:{user}"]
    for operation in rights[0].operations:
        words += ["--operation", operation.capitalize()]
    for right in rights:
        words += [f"--{right.resource}", right.name]
    if rights[0].resource is Resource.TRANSACTIONAL_ID:
        words += ["--resource-pattern-type", "prefixed"]
    return shlex.join(words)


def missing(settings: Settings, right: Right, allowed: Collection[str] | None) -> str | None:
    """
    The sentence for what is not allowed, with the ACL that would allow it; None if nothing is missing.

    Args:
        settings: Where, and as whom.
        right: What is needed.
        allowed: Operations that the brokers say this user has; None where they do not say.
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
    return "the owner of security.certificate_file" if settings.security.certificate_file else "a client without a user"


def lines(settings: Settings, role: Role, user: str) -> list[str]:
    """The commands that make a user of the cluster this: one for the rights that are alike."""
    alike = groupby(rights(settings, role), key=lambda right: (right.resource, right.operations))
    return [command(settings, list(found), user) for _, found in alike]

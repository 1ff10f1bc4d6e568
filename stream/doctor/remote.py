"""Checks that need a broker (topics, sizes, rights, group and producer), and the finding for brokers that do not answer."""

import asyncio
from collections.abc import Iterator, Mapping

from tagstream.stream.doctor.events import events
from tagstream.stream.doctor.findings import CheckFinding, Status, finding_of
from tagstream.stream.doctor.group import group
from tagstream.stream.doctor.rollout import rollout
from tagstream.stream.kafka import admin, probes, sizes
from tagstream.stream.kafka.admin import TopicDescription
from tagstream.stream.kafka.admission import Reach, advice, connect_to_each
from tagstream.stream.kafka.errors import BrokerSilentError, BrokerUnreachableError, TopicsRefusedError, summary_of
from tagstream.stream.kafka.rights import USED_TOPICS, Operation, Resource, Right, missing, needed_topics
from tagstream.stream.kafka.transactions import no_transactions
from tagstream.stream.settings.settings import Settings
from tagstream.stream.terminal.text import counted


def brokers_and_topics(settings: Settings, *, create_topics: bool, severity: Status) -> Iterator[CheckFinding]:
    """
    Make every check that asks a broker.

    Args:
        settings: The settings that a worker would run with.
        create_topics: Create the missing topics.
        severity: The finding's status if the user lacks a right that a worker needs, or if events wait without a worker.

    Raises:
        BrokerUnreachableError: No broker answered, or one refused us.
        SecurityError: A file of the settings cannot be used.
    """
    brokers = admin.broker_count(settings)
    yield CheckFinding(check="brokers", status=Status.OK, detail=f"{brokers} at {settings.brokers}")
    if create_topics:
        yield created(settings)
    names = settings.topic_names
    described = admin.describe(settings, names.values())
    yield from _topics(settings, described, brokers, severity)
    yield member(settings, severity)
    there = [one for one in settings.each_content if described[one.topics.content].partitions is not None]
    for one in there:
        topic = one.topics.content
        yield from events(one, table="fields" if topic == settings.topics.content else f'contents."{topic}"')
        yield from group(one, absent=severity, topics=settings.content_topics)
    if len(there) == len(settings.content_topics):
        yield from rollout(settings)
    yield producer(settings)


def no_broker(settings: Settings, error: BrokerUnreachableError) -> CheckFinding:
    """Say why no broker can be used: the broker's refusal, or, if no broker answered, the result of a connection to each address."""
    if not isinstance(error, BrokerSilentError):
        return finding_of("brokers", Status.FAIL, error)
    found = connect_to_each(settings)
    detail = f"no Kafka broker answered within {settings.startup_timeout_seconds:g} s: {'; '.join(map(str, found))}"
    if any(one.reach is Reach.OPEN for one in found) and error.__cause__ is not None:
        detail += f". The client says {summary_of(error.__cause__)}"
    return CheckFinding(check="brokers", status=Status.FAIL, detail=detail, fix=advice(settings, found))


def created(settings: Settings) -> CheckFinding:
    """Create the missing topics."""
    try:
        found = admin.create(settings)
    except TopicsRefusedError as error:
        return finding_of("create topics", Status.FAIL, error)
    made = f"made {', '.join(found.made)}" if found.made else "nothing to make"
    return CheckFinding(check="create topics", status=Status.OK, detail=f"{made}; found {', '.join(found.found) or 'none'}")


def _topics(
    settings: Settings, described: Mapping[str, TopicDescription], brokers: int, severity: Status
) -> Iterator[CheckFinding]:
    names = settings.topic_names
    for key, name in names.items():
        yield topic(settings, key, described[name], severity)
    partitions = {name: one.partitions for name, one in described.items() if one.partitions is not None}
    yield from _sizes(settings, partitions)
    if settings.topics.reviewed in partitions:
        yield from compacted_answers(settings)
        yield signed(settings)
        refused = asyncio.run(probes.transactions_denied(settings, settings.topics.reviewed))
        if refused is not None:
            yield finding_of("answers", Status.WARN, refused)
    of_events = [partitions[name] for name in settings.content_topics if name in partitions]
    if sum(of_events) == 1:
        yield CheckFinding(
            check="scale",
            status=Status.WARN,
            detail=f"{settings.topics.content} has one partition: only one worker of the group can work",
            fix="make the topic with two to four times as many partitions as there will be workers",
        )
    if brokers > 1 and settings.topic_replication == 1:
        yield CheckFinding(
            check="replication",
            status=Status.WARN,
            detail="new topics would have one replica on a cluster of several brokers",
            fix="TAGSTREAM_TOPIC_REPLICATION=3",
        )


def topic(settings: Settings, key: str, found: TopicDescription, severity: Status) -> CheckFinding:
    """
    Check that a topic exists, and that the user has the right that a worker needs on it.

    Args:
        settings: Topic names and user.
        key: The name of the topic's setting, such as "content".
        found: The brokers' description of the topic.
        severity: The finding's status if the user lacks a right that a worker needs.
    """
    name, operations = settings.topic_names[key], needed_topics(settings)
    check, needed = f"topic {name}", key in operations
    operation = (operations | USED_TOPICS).get(key, Operation.DESCRIBE)
    denied = missing(settings, Right(resource=Resource.TOPIC, name=name, operations=(operation,)), found.operations)
    if denied is not None:
        lacking = finding_of(check, severity if needed else Status.WARN, denied)
        detail = lacking.detail if needed else f"{lacking.detail} A worker does not need it"
        return CheckFinding(check=check, status=lacking.status, detail=detail, fix=lacking.fix)
    if found.partitions is None:
        return CheckFinding(
            check=check,
            status=Status.FAIL if needed else Status.WARN,
            detail=f"does not exist{'' if needed else '; the worker does not need it'}",
            fix="tagstream doctor --create-topics",
        )
    may = (
        f", may {' '.join(sorted(found.operations))}" if found.operations and settings.security.protocol != "PLAINTEXT" else ""
    )
    return CheckFinding(check=check, status=Status.OK, detail=f"{counted(found.partitions, 'partition')}{may}")


def _sizes(settings: Settings, partitions: Mapping[str, int]) -> Iterator[CheckFinding]:
    """Report topics whose record limit is below the settings' limit. A worker still runs, but cannot keep a large dead letter whole."""
    names = [name for name in (settings.topics.tagged, settings.topics.review, settings.topics.dlq) if name in partitions]
    taken = admin.max_message_bytes(settings, names)
    if names and not taken:
        yield CheckFinding(
            check="sizes",
            status=Status.WARN,
            detail="the brokers do not say how large records may be, or not to this user: the settings cannot be compared",
            fix="with the embedded broker no step is needed; elsewhere grant DESCRIBE_CONFIGS: tagstream doctor --acls USER --role worker",
        )
    for one in sizes.shortfalls(settings, taken):
        if one.known:
            yield CheckFinding(
                check=f"size {one.topic}", status=Status.FAIL, detail=f"{one.why}: {one.consequence}", fix=one.next
            )


def compacted_answers(settings: Settings) -> Iterator[CheckFinding]:
    """Warn if the topic of answers is compacted: an answer has its event's key, so compaction drops all but a key's last answer."""
    name = settings.topics.reviewed
    if "compact" in admin.cleanup_policies(settings, [name]).get(name, ""):
        yield CheckFinding(
            check=f"answers {name}",
            status=Status.WARN,
            detail="the topic is compacted: of all answers with the same key, only the last stays",
            fix=f"kafka-configs.sh --bootstrap-server {settings.brokers} --alter --entity-type topics --entity-name {name} "
            "--add-config cleanup.policy=delete,retention.ms=-1",
        )


def signed(settings: Settings) -> CheckFinding:
    """Check whether a worker accepts only answers that are signed by a key of its file."""
    if settings.security.answer_keys_file is not None:
        return CheckFinding(
            check="signatures", status=Status.OK, detail="a worker takes answers that are signed by a key of its file"
        )
    return CheckFinding(
        check="signatures",
        status=Status.WARN,
        detail=f"answers are not signed: whoever may write {settings.topics.reviewed} decides about every event",
        fix="TAGSTREAM_SECURITY__ANSWER_KEYS_FILE for consoles and workers: docs/security.md; and the ACLs of `doctor --acls`",
    )


def member(settings: Settings, severity: Status) -> CheckFinding:
    """Check that the user may join the group and, for exactly-once delivery, use transactional ids."""
    denied = asyncio.run(probes.group_denied(settings)) or asyncio.run(probes.transactions_denied(settings))
    if denied is None:
        return CheckFinding(check="group", status=Status.OK, detail=f"may be a member of {settings.group}")
    return finding_of("group", severity, denied)


def producer(settings: Settings) -> CheckFinding:
    """Check whether the broker hands out producer ids, which exactly-once delivery needs."""
    has_ids = asyncio.run(probes.has_producer_ids(settings))
    lacking = no_transactions(settings, idempotent=has_ids and settings.idempotent_producer != "off")
    if lacking is not None:
        return finding_of("producer", Status.FAIL, lacking)
    if has_ids:
        return CheckFinding(
            check="producer", status=Status.OK, detail="the broker hands out producer ids: sends are idempotent"
        )
    return CheckFinding(
        check="producer",
        status=Status.WARN,
        detail="the broker hands out no producer ids: a retried send may be written twice (never lost)",
        fix="Apache Kafka 2.8 or newer has them",
    )

"""
A worker's topics, as the brokers show them at its start: whether the worker may run, the largest records, and the optional topics.

A worker cannot run without `content`, `tagged`, `review` and the dead letters. It runs without `audit`, `reviewed`, `drift` or
`references`, and logs once which of these topics are missing.
"""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, replace

from tagstream.stream.decide.from_settings import draw_of
from tagstream.stream.decide.pipeline import Decider, Draw
from tagstream.stream.kafka import admin, probes, sizes
from tagstream.stream.kafka.admission import await_listener
from tagstream.stream.kafka.errors import NotAuthorizedError
from tagstream.stream.kafka.rights import Operation, Resource, Right, missing, needed_topics
from tagstream.stream.kafka.sizes import KAFKA_DEFAULT_BYTES
from tagstream.stream.kafka.transactions import no_transactions
from tagstream.stream.logs import logger
from tagstream.stream.settings.settings import Settings

RATES = frozenset({"audit_rate", "audit_rates"})
log = logger("tagstream.app")


@dataclass(frozen=True, slots=True, kw_only=True)
class Surroundings:
    """
    The brokers, as a worker with these settings finds them.

    Attributes:
        settings: The settings, with their limits lowered to the topics' limits.
        partitions: The number of partitions of all topics of events.
        seen: By topic, whether it exists and what this user may do with it.
        most_bytes: By topic, its `max.message.bytes`, if it is known.
        idempotent: True if the brokers hand out producer ids.
    """

    settings: Settings
    partitions: int
    seen: Mapping[str, admin.TopicDescription]
    most_bytes: Mapping[str, int]
    idempotent: bool


def look(settings: Settings) -> Surroundings:
    """
    Wait for the brokers, and look at topics and rights.

    Raises:
        BrokerUnreachableError: No broker answered in time, or a broker refused the worker.
        NotAuthorizedError: The worker's user lacks a right; the message has the ACL that is missing.
        TopicsMissingError: A topic that a worker needs does not exist.
        TopicTakesTooLittleError: The topic of dead letters is too small for a dead letter without its value.
        TransactionsUnavailableError: Exactly once was asked for, and there are no transactions.
    """
    # Worker and broker are often started together, so a worker waits for a listener as long as for an answer.
    await_listener(
        settings, say=lambda why: log.warning("broker_not_there_yet", why=why, seconds=settings.startup_timeout_seconds)
    )
    topics = settings.topics
    operations = needed_topics(settings)
    needed = {key: settings.topic_names[key] for key in operations}
    seen = admin.describe(settings, [*needed.values(), topics.drift, topics.references, topics.audit, topics.reviewed])
    partitions = admin.require(settings, needed, operations=operations, found=seen)
    denials = [
        probes.group_denied(settings),
        *(probes.transactions_denied(settings, topic) for topic in settings.content_topics),
    ]
    for denied in map(asyncio.run, denials):
        if denied is not None:
            raise NotAuthorizedError(denied)
    most_bytes = sizes.read(settings)
    settings = _fitted(settings, most_bytes)
    # A request of its own: if the user may not see this topic's configuration, one request for all topics would give no answer at all.
    if most_bytes and seen[topics.audit].partitions is not None:
        most_bytes |= sizes.read(settings, [topics.audit])
    idempotent = probes.use_idempotent_producer(settings)
    if (lacking := no_transactions(settings, idempotent=idempotent)) is not None:
        raise lacking
    return Surroundings(
        settings=settings,
        partitions=sum(partitions[topic] for topic in settings.content_topics),
        seen=seen,
        most_bytes=most_bytes,
        idempotent=idempotent,
    )


def _fitted(settings: Settings, most_bytes: Mapping[str, int]) -> Settings:
    """The settings, with limits lowered to the topics of outcomes: a record that its topic refuses would end every worker."""
    found = list(sizes.shortfalls(settings, most_bytes))
    for one in found:
        log.warning("topic_takes_less", topic=one.topic, why=one.why, consequence=one.consequence, next=one.next)
    return sizes.fitted(settings, found)


def draw_for(
    settings: Settings, decider: Decider, seen: Mapping[str, admin.TopicDescription], most_bytes: Mapping[str, int]
) -> Draw | None:
    """
    The draw of the copies for `audit`; None if the rates are 0, rules decide, or the topic cannot be written.

    Args:
        settings: Rates and topics.
        decider: Has the labels.
        seen: By topic, whether it exists and what this user may do with it.
        most_bytes: By topic, its `max.message.bytes`, if it is known.

    Raises:
        UnknownLabelError: `audit_rates` names a label that the decider does not have.
        TopicsMissingError: The rates were set, and the topic `audit` does not exist.
        NotAuthorizedError: The rates were set, and this user may not write to `audit`.
    """
    topic = settings.topics.audit
    if decider.kind == "rules":
        return None
    draw = draw_of(settings, decider.labels)
    if not draw.is_on:
        return None
    if settings.model_fields_set & RATES:
        admin.require(settings, {"audit": topic}, operations={"audit": Operation.WRITE}, found=seen)
    elif (why := _lacking(settings, topic, Operation.WRITE, seen)) is not None:
        log.warning(
            "audits_off",
            topic=topic,
            why=why,
            consequence="no tagged decision is copied for a blind review, so it cannot be measured how many of them are right",
            next="tagstream doctor --create-topics, or TAGSTREAM_AUDIT_RATE=0 to draw none",
        )
        return None
    most = most_bytes.get(topic, KAFKA_DEFAULT_BYTES)
    if most < settings.max_outcome_bytes:
        log.warning(
            "topic_takes_less",
            topic=topic,
            why=f"{topic} takes records of {most} bytes, max_outcome_bytes is {settings.max_outcome_bytes}",
            consequence="larger decisions are not drawn for audit; they are tagged all the same",
            next=f"set max.message.bytes of the topic to {settings.max_outcome_bytes}",
        )
    return replace(draw, most_bytes=most)


def takes_answers(settings: Settings, seen: Mapping[str, admin.TopicDescription]) -> bool:
    """True if this worker turns reviewers' answers into decisions: `reviewed` exists, and the user has the rights to read and deliver it."""
    topic = settings.topics.reviewed
    why = _lacking(settings, topic, Operation.READ, seen) or asyncio.run(probes.transactions_denied(settings, topic))
    if why is not None:
        log.warning(
            "answers_off",
            topic=topic,
            why=why,
            consequence="this worker does not turn reviewers' answers into tagged decisions; they wait on their topic",
            next="tagstream doctor --create-topics, then start the worker again",
        )
    return why is None


def _lacking(settings: Settings, topic: str, operation: Operation, seen: Mapping[str, admin.TopicDescription]) -> str | None:
    """Why this topic cannot be used; None if it can be used."""
    found = seen[topic]
    if (
        refused := missing(settings, Right(resource=Resource.TOPIC, name=topic, operations=(operation,)), found.operations)
    ) is not None:
        return refused
    return "the cluster has no such topic" if found.partitions is None else None


def has_drift_topic(settings: Settings, seen: Mapping[str, admin.TopicDescription]) -> bool:
    """True if drift findings can be published. Without their topic a worker runs too; it logs a warning, and logs the findings."""
    found = seen[settings.topics.drift].partitions is not None
    if not found:
        log.warning(
            "drift_topic_missing",
            topic=settings.topics.drift,
            consequence="drift findings are logged and not published",
            next="tagstream doctor --create-topics, or TAGSTREAM_DRIFT_WINDOW_EVENTS=0 to look for none",
        )
    return found


def has_references(settings: Settings, seen: Mapping[str, admin.TopicDescription]) -> bool:
    """True if the group can keep its drift reference. Without the topic each worker learns its own, and again after a restart."""
    found = seen[settings.topics.references]
    allowed = found.operations is None or {Operation.READ, Operation.WRITE} <= found.operations
    if found.partitions is None or not allowed:
        log.warning(
            "references_topic_missing",
            topic=settings.topics.references,
            consequence="this worker learns for itself what is ordinary, and forgets it when it ends",
            next="tagstream doctor --create-topics, with the rights of `tagstream doctor --acls`; or TAGSTREAM_DRIFT_REFERENCE",
        )
        return False
    return True

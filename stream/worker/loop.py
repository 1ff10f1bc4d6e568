"""The two topics beside the path of an event that a worker can do without: `audit`, and `reviewed`. It says once which of them it lacks."""

import asyncio
from collections.abc import Mapping
from dataclasses import replace

from stream.decide.decider import Decider
from stream.decide.draw import Draw, draw_of
from stream.kafka import admin, probes
from stream.kafka.rights import Operation, Resource, Right, missing
from stream.kafka.sizes import KAFKA_DEFAULT_BYTES
from stream.logs import logger
from stream.settings.settings import Settings

RATES = frozenset({"audit_rate", "audit_rates"})
log = logger("tagstream.app")


def draw_for(
    settings: Settings, decider: Decider, seen: Mapping[str, admin.TopicDescription], taken: Mapping[str, int]
) -> Draw | None:
    """
    The draw of the copies for `audit`; None where the rates are 0, rules decide, or the topic cannot be written.

    Args:
        settings: Rates and topics.
        decider: Has the labels.
        seen: What the brokers say of the topics.
        taken: `max.message.bytes` by topic, where it is known.

    Raises:
        UnknownLabelError: `audit_rates` names a label that the decider does not have.
        TopicsMissingError: The rates were set, and there is no topic to copy to.
        NotAuthorizedError: The rates were set, and this user may not write there.
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
    most = taken.get(topic, KAFKA_DEFAULT_BYTES)
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
    """Whether this worker turns reviewers' answers into decisions: `reviewed` exists, may be read, and may be delivered from."""
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
    """Why this topic cannot be used; None if it can."""
    found = seen[topic]
    if (
        refused := missing(settings, Right(resource=Resource.TOPIC, name=topic, operations=(operation,)), found.operations)
    ) is not None:
        return refused
    return "the cluster has no such topic" if found.partitions is None else None

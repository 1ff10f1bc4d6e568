"""The AsyncAPI 3 document of the topics: their messages, and what tagstream does with them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from tagstream.monitoring.vocabulary import Destination
from tagstream.stream.contract.outcome import CONTRACT_VERSION, cloudevent_type
from tagstream.stream.contract.schema.structs import Schema
from tagstream.stream.contract.schema.topics import schemas
from tagstream.stream.contract.shape import PLAIN, Shape

JSON, BYTES = "application/json", "application/octet-stream"
_BINDING = "0.5.0"
# One more for each release that adds to the contract. 1: `outcomes`, `ask`.
MINOR = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Topic:
    """
    One channel.

    Attributes:
        role: The topic's name among the settings `topics.*`.
        address: The topic's name, unless the settings give another name.
        description: The records on the topic.
        key: The key of a record.
        actions: tagstream's operations on the topic: `receive`, `send`.
        value: The name of the value's schema; None if a value may be any bytes.
        headers: The headers' schema, or the name of that schema.
    """

    role: str
    address: str
    description: str
    key: str
    actions: Sequence[Literal["receive", "send"]]
    value: str | None = None
    headers: str | Schema | None = None

    @property
    def to_write(self) -> str:
        """The name of the schema by which a record is written: the headers' schema if a value may be any bytes."""
        return "content.write" if self.role == "content" else self.value or str(self.headers)


_PRODUCERS_KEY = "The producer's key, any bytes; else the event's id."


def _headers(destination: Destination) -> Schema:
    """The headers of a decision. With `ce_specversion`, all of ours are there."""
    ours: Schema = {
        "ce_specversion": {"const": "1.0"},
        "ce_id": {"description": "The `prediction_id`.", "type": "string"},
        "ce_source": {"description": "The setting `cloudevents_source`.", "type": "string"},
        "ce_type": {"const": cloudevent_type(destination)},
        "ce_time": {"description": "As `tagged_at`.", "type": "string"},
        "content-type": {"const": JSON},
    }
    producers = {"not": {"pattern": "^(ce_|[Cc][Oo][Nn][Tt][Ee][Nn][Tt]-[Tt][Yy][Pp][Ee]$)"}}
    return {
        "description": "The producer's headers, but for `ce_*` and `content-type`. If the workers have `cloudevents_source`, these are "
        "ours: the record is a CloudEvent in binary mode.",
        "type": "object",
        "properties": ours,
        "propertyNames": {"anyOf": [{"enum": list(ours)}, producers]},
        "dependencies": {"ce_specversion": list(ours)},
    }


TOPICS = (
    Topic(
        role="content",
        address="content",
        description="The events. `content.write` is the schema for producers; any other field passes through untouched. Where the workers "
        "know a Schema Registry, a value may lie in its frame; the schema is then of the JSON in it, or of the JSON that Avro becomes.",
        key="Any bytes, or none. It chooses the partition, here and for the outcome.",
        actions=("receive",),
        value="content.read",
    ),
    Topic(
        role="tagged",
        address="tagged",
        description="The decisions of which the model is sure, and people's decisions.",
        key=_PRODUCERS_KEY,
        actions=("send",),
        value="tagged",
        headers=_headers(Destination.TAGGED),
    ),
    Topic(
        role="review",
        address="review",
        description="The events that a person is asked about.",
        key=_PRODUCERS_KEY,
        actions=("send", "receive"),
        value="review",
        headers=_headers(Destination.REVIEW),
    ),
    Topic(
        role="dlq",
        address="content.dlq",
        description="Events that cannot be decided: the producer's key, bytes and headers, then headers that say where and why.",
        key="The producer's key, any bytes.",
        actions=("send", "receive"),
        headers="content.dlq.headers",
    ),
    Topic(
        role="audit",
        address="audit",
        description="Copies of decisions on `tagged`, drawn for a blind review.",
        key=_PRODUCERS_KEY,
        actions=("send", "receive"),
        value="audit",
        headers=_headers(Destination.TAGGED),
    ),
    Topic(
        role="reviewed",
        address="reviewed",
        description="People's answers, kept for ever.",
        key="As on the decision that the person looked at.",
        actions=("send", "receive"),
        value="reviewed",
    ),
    Topic(
        role="reports",
        address="reports",
        description="Readers' complaints about tags.",
        key="The event's id.",
        actions=("send", "receive"),
        value="reports",
    ),
    Topic(
        role="outcomes",
        address="outcomes",
        description="What came of decisions: numbers that consumers measured.",
        key="The event's id.",
        actions=("receive",),
        value="outcomes",
    ),
    Topic(
        role="drift",
        address="drift",
        description="Drift findings.",
        key="The kind of finding.",
        actions=("send",),
        value="drift",
    ),
    Topic(
        role="shadow",
        address="shadow",
        description="What another bundle would have decided (`tagstream rollout shadow`); not a decision, and without a text.",
        key="The event's id.",
        actions=("send",),
        value="shadow",
    ),
)
# The topics whose unreadable records become dead letters.
_WITH_DEAD_LETTERS = frozenset({"content", "reviewed"})


def document(names: Mapping[str, str] | None = None, *, only: str | None = None, shape: Shape = PLAIN) -> dict[str, Any]:
    """
    The AsyncAPI document.

    Args:
        names: The topics' names by role, from the settings; None for the defaults.
        only: The role of a topic, to show only that topic; None for all topics.
        shape: The shape of the events on `content`.

    >>> document({"content": "papers"}, only="content")["channels"]["content"]["address"]
    'papers'
    """
    shown = [topic for topic in TOPICS if only in {None, topic.role}]
    made = {name: _part(schema) for name, schema in schemas(shape).items()}
    wanted = {name for topic in shown for name in (topic.value, topic.headers) if isinstance(name, str)}
    wanted |= {"content.write"} if any(topic.role == "content" for topic in shown) else set()
    return {
        "asyncapi": "3.0.0",
        "id": f"urn:tagstream:contract:{CONTRACT_VERSION}",
        "info": {
            "title": "tagstream",
            "version": f"{CONTRACT_VERSION}.{MINOR}.0",
            "description": "Every event of `content` gets exactly one outcome on `tagged`, `review` or `content.dlq`, at least once and with "
            "the same decision. Fields are added within this version, and none is removed. Readers ignore fields that they do not know.",
            "license": {"name": "Apache-2.0"},
            "contact": {"name": "The tagstream authors"},
            "tags": [{"name": "kafka"}, {"name": "machine-learning"}],
        },
        "defaultContentType": JSON,
        "channels": {topic.role: _channel(topic, (names or {}).get(topic.role, topic.address)) for topic in shown},
        "operations": {
            f"{action}{topic.role.capitalize()}": _operation(topic, action) for topic in shown for action in topic.actions
        },
        "components": {
            "messages": {topic.role: _message(topic) for topic in shown},
            "schemas": {name: schema for name, schema in made.items() if name in wanted},
        },
    }


def _channel(topic: Topic, address: str) -> dict[str, Any]:
    return {
        "address": address,
        "title": topic.address,
        "description": topic.description,
        "messages": {topic.role: {"$ref": f"#/components/messages/{topic.role}"}},
    }


def _operation(topic: Topic, action: str) -> dict[str, Any]:
    found: dict[str, Any] = {
        "action": action,
        "title": f"{action} {topic.address}",
        "channel": {"$ref": f"#/channels/{topic.role}"},
        "messages": [{"$ref": f"#/channels/{topic.role}/messages/{topic.role}"}],
    }
    # AsyncAPI has no field for dead letters yet.
    return found | {"x-dead-letters": "dlq"} if action == "receive" and topic.role in _WITH_DEAD_LETTERS else found


def _message(topic: Topic) -> dict[str, Any]:
    headers = {"$ref": f"#/components/schemas/{topic.headers}"} if isinstance(topic.headers, str) else topic.headers
    value: Schema = {"description": "The bytes as they came; null for a tombstone, and for a value that was too large to keep."}
    return {
        "name": topic.role,
        "title": topic.address,
        "summary": topic.description,
        "contentType": JSON if topic.value else BYTES,
        "payload": {"$ref": f"#/components/schemas/{topic.value}"} if topic.value else value,
        **({"headers": headers} if headers else {}),
        "bindings": {"kafka": {"key": {"type": "string", "description": topic.key}, "bindingVersion": _BINDING}},
    }


def _part(schema: Schema) -> Schema:
    """A schema as a part of the document, without `$schema` and `$id`, which the document has once for all."""
    return {name: content for name, content in schema.items() if name not in {"$schema", "$id"}}

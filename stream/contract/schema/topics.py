"""The JSON Schema of the value of every topic, made from the records by which tagstream reads and writes it."""

from typing import Any

from tagstream.monitoring.drift.findings import Finding
from tagstream.monitoring.vocabulary import Reason, ReviewReason, Stage, TextFlag
from tagstream.stream.contract.answers import Answer
from tagstream.stream.contract.consumer_outcomes import ConsumerOutcome
from tagstream.stream.contract.outcome import ASKED_FIELDS, CONTRACT_VERSION, ReviewerDecision
from tagstream.stream.contract.published import HIDDEN, ModelDecision
from tagstream.stream.contract.reports import Report
from tagstream.stream.contract.schema import events
from tagstream.stream.contract.schema.structs import Schema, known, required, schema_of
from tagstream.stream.contract.shadow_records import Shadowed
from tagstream.stream.contract.shape import PLAIN, Shape

DIALECT = "http://json-schema.org/draft-07/schema#"
# Our fields on decisions. An event's own field of such a name is in `overridden`, so these are absent where a decision lacks them.
_ABSENT: Schema = dict.fromkeys(("reasons", "inclusion_probability", "text_flags", "destination"), False)


def _joined(event: Schema, ours: Schema, **head: Any) -> Schema:
    """The schema of an object with an event's own fields and our fields."""
    overridden = {
        "description": "Fields of the event that have a name of ours, with their values byte for byte.",
        "type": "object",
    }
    return {
        **head,
        "type": "object",
        "properties": {**event["properties"], **ours["properties"], HIDDEN: overridden},
        "required": [*event["required"], *ours["required"]],
    }


def _decided(*, by: list[str], asked: tuple[str, ...] = (), may: tuple[str, ...] = (), **head: Any) -> Schema:
    """
    A decision of the model or of the rules with its event.

    Args:
        by: The deciders.
        asked: The fields on why a person is asked that are always present.
        may: The fields on why, or how, a person is asked that are present if they are not empty.
        head: Title and description.
    """
    ours = schema_of(ModelDecision)
    fields = ours["properties"]
    fields["decider"] = {"description": "Who decided.", "enum": by}
    # The field is ours only if the bundle gives it; otherwise a producer's field of this name passes through.
    fields["tags"] = {"description": fields["tags"]["description"]}
    fields["reasons"] = known(ReviewReason, "Why a person is asked.", form="each")
    fields["text_flags"] = known(TextFlag, "The kinds of hidden characters in the text.", form="each")
    fields["inclusion_probability"] = required(fields["inclusion_probability"])
    # As `tags`, but only `tagged` has it.
    fields["ask"] = {"description": fields["ask"]["description"]}
    kept = {name: schema for name, schema in fields.items() if name not in {*_ABSENT, "ask"} or name in asked + may}
    decision = {"properties": {**_ABSENT, **kept}, "required": [*ours["required"], *asked]}
    return _joined(events.carried(), decision, **head)


def tagged() -> Schema:
    """A decision of the model, which was sure, or of a person."""
    by_person = schema_of(ReviewerDecision)
    own = {name: schema for name, schema in by_person["properties"].items() if name not in ASKED_FIELDS}
    by_person["properties"] = {**_ABSENT, **own}
    return {
        "title": "tagged",
        "description": "The event's own fields, then the decision on it. `tagged_at` is last; all before it is the same at every delivery.",
        "anyOf": [
            _decided(by=["model"], may=("ask",), title="decided by the model"),
            _joined(events.carried(), by_person, title="decided by a person"),
        ],
    }


def review() -> Schema:
    """A decision about which a person is asked."""
    return _decided(
        by=["model", "rules"],
        asked=("reasons", "inclusion_probability"),
        may=("text_flags",),
        title="review",
        description="As `tagged`, without the promise of being right: a person is asked about it.",
    )


def audit() -> Schema:
    """A copy of a tagged decision."""
    return _decided(
        by=["model"],
        asked=("inclusion_probability",),
        title="audit",
        description="A copy of a decision on `tagged`, drawn for a blind review. It is not an outcome of the event.",
    )


def reviewed() -> Schema:
    """An answer of a person."""
    answer = schema_of(Answer)
    return _joined(
        events.carried(),
        answer,
        title="reviewed",
        description="A person's answer about one event, complete in itself. Workers turn it into a decision on `tagged`.",
    )


def reports() -> Schema:
    """A reader's complaint."""
    return {
        "title": "reports",
        "description": "A reader's report of a wrong tag. It brings the event before a reviewer and changes no tag. With `answer` it is the "
        "vote of an asked viewer, which alone brings nothing before a reviewer.",
        **schema_of(Report),
    }


def outcomes() -> Schema:
    """What came of a decision."""
    return {
        "title": "outcomes",
        "description": "A number that a consumer measured of an event's decision. It changes no tag.",
        **schema_of(ConsumerOutcome),
    }


def drift() -> Schema:
    """A drift finding."""
    return {"title": "drift", "description": "A change in the stream.", **schema_of(Finding)}


def shadow() -> Schema:
    """A comparison of two bundles."""
    return {
        "title": "shadow",
        "description": "What another bundle would have decided on an event. It is not a decision, and has no text of the event.",
        **schema_of(Shadowed),
    }


def dead_letter_headers() -> Schema:
    """The headers of a dead letter. Its value is the original bytes."""
    number = {"type": "string", "pattern": r"^\d+$"}
    true = {"const": "true"}
    return {
        "title": "headers of content.dlq",
        "description": "The producer's headers, then these, which begin with the last `__streams.errors.exception`: a producer may send "
        "headers of the same names. Values are UTF-8.",
        "type": "object",
        "properties": {
            "__streams.errors.exception": {
                "description": "`tagstream.` and the code.",
                "type": "string",
                "pattern": r"^tagstream\.[A-Z_0-9]+$",
            },
            "__streams.errors.message": {"description": "The fault, without any text of the event.", "type": "string"},
            "__streams.errors.topic": {"description": "The topic on which the event was read.", "type": "string"},
            "__streams.errors.partition": {"description": "The event's partition of that topic.", **number},
            "__streams.errors.offset": {"description": "The event's offset in that partition.", **number},
            "x-dlq-stage": known(Stage, "The step at which the event failed."),
            "x-dlq-code": known(Reason, "Why the event failed. Treat an unknown code like `invalid`."),
            "x-dlq-attempts": {"description": "How often the event was tried.", **number},
            "x-dlq-null-key": {"description": "The key was null, though the record's is empty.", **true},
            "x-dlq-dropped": {"description": "The parts that were too large to keep: value, key, headers.", "type": "string"},
            "x-dlq-sha256": {
                "description": "SHA-256 of a value that was too large to keep.",
                "type": "string",
                "pattern": "^[0-9a-f]{64}$",
            },
            "x-dlq-length": {"description": "Bytes of that value.", **number},
        },
        "required": [
            "__streams.errors.exception",
            "__streams.errors.message",
            "__streams.errors.topic",
            "__streams.errors.partition",
            "__streams.errors.offset",
            "x-dlq-stage",
            "x-dlq-code",
            "x-dlq-attempts",
        ],
    }


def classified() -> Schema:
    """The answer object of the doors without a topic: a decision with its destination, or a rejection."""
    number = {"type": "integer", "minimum": 0}
    rejection = {
        "title": "rejected",
        "type": "object",
        "properties": {
            "destination": {"const": "dlq"},
            "line": {"description": "The line of the input, from 1.", **number},
            "row": {"description": "The place among the answers, from 0.", **number},
            "error": {
                "type": "object",
                "properties": {
                    "stage": known(Stage, "The step at which the event failed."),
                    "code": known(Reason, "Why it failed."),
                    "message": {"description": "The fault, without any text of the event.", "type": "string"},
                },
                "required": ["stage", "code", "message"],
            },
        },
        "required": ["destination", "line", "row", "error"],
    }
    model, person = tagged()["anyOf"]
    # Only a record of the topic asks viewers.
    del model["properties"]["ask"]
    return {
        "title": "classified",
        "description": "One object of `tagstream classify --json`, `serve` and `batch`: what the stream would publish, and where. Only "
        "`serve --table` answers with a person's decision.",
        "anyOf": [_towards(model, "tagged"), _towards(person, "tagged"), _towards(review(), "review"), rejection],
    }


def _towards(decision: Schema, destination: str) -> Schema:
    # An event's own field of one of these names passes through, so its type is not bound.
    decided_at = {"description": "When the decision was made, where `serve --table` answers from its table."}
    cached = {"description": "`true`, as the last field, where `serve --table` answers from its table."}
    fields = {"decided_at": decided_at, **decision["properties"], "destination": {"const": destination}, "cached": cached}
    return {**decision, "properties": fields, "required": [*decision["required"], "destination"]}


def schemas(shape: Shape = PLAIN) -> dict[str, Schema]:
    """
    Every schema by its name: the topic's name, with the part or use if a topic has two schemas.

    Args:
        shape: The shape of the events on `content`.

    >>> list(schemas())[:3]
    ['content.write', 'content.read', 'tagged']
    """
    made = {
        "content.write": events.written(shape),
        "content.read": events.read(shape),
        "tagged": tagged(),
        "review": review(),
        "content.dlq.headers": dead_letter_headers(),
        "audit": audit(),
        "reviewed": reviewed(),
        "reports": reports(),
        "outcomes": outcomes(),
        "drift": drift(),
        "shadow": shadow(),
        "classified": classified(),
    }
    return {
        name: {"$schema": DIALECT, "$id": f"urn:tagstream:contract:{CONTRACT_VERSION}:{name}", **schema}
        for name, schema in made.items()
    }

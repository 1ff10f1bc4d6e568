"""The schemas of `content`: a closed schema for producers, an open schema for readers; and the schema of an event's fields on other topics."""

from typing import Any

from tagstream.stream.contract.event import DEFAULT_LIMITS
from tagstream.stream.contract.schema.structs import Schema
from tagstream.stream.contract.shape import NAMES, PLAIN, Pointer, Shape, is_place

NOT_BLANK = r"\S"
# The largest integer that programs with floats for all numbers keep unchanged.
MOST_EXACT = 2**53 - 1

_STRICT = (
    f"Strict JSON in UTF-8 of at most {DEFAULT_LIMITS.max_bytes} bytes, at most {DEFAULT_LIMITS.max_depth} levels deep: no name twice "
    f"in an object, no NaN, no U+0000, no half surrogate pair, no number of more than {DEFAULT_LIMITS.max_number_digits} characters. "
    "No schema can say this; `tagstream contract check` does."
)


def _text(description: str, **bounds: Any) -> Schema:
    return {"description": description, "type": "string", **bounds}


def _optional(description: str) -> Schema:
    return {"description": description, "type": ["string", "null"]}


_TITLE = _text("The text that is classified.", pattern=NOT_BLANK)
_ID_TEXT = {"type": "string", "minLength": 1, "maxLength": DEFAULT_LIMITS.max_id_characters, "pattern": NOT_BLANK}
_ID = "Names the event for good: the same id under the same bundle gives the same prediction_id. Without one it is made from the bytes."
_OTHERS = {
    "description": _optional("More text, read after the title."),
    "source": _optional("The producer's name; drift findings say which one changed."),
    "created_on": _optional("When the content was made; any string, it is not parsed."),
}


def _event(whole_numbers: Schema, shape: Shape) -> Schema:
    ids = {"description": _ID, "anyOf": [_ID_TEXT, whole_numbers, {"type": "null"}]}
    if shape is PLAIN:
        return {"type": "object", "properties": {"id": ids, "title": _TITLE, **_OTHERS}, "required": ["title"]}
    title = _optional(_TITLE["description"])
    leaves = {"id": ids, "title": title, **_OTHERS}
    event: Schema = {"type": "object"}
    for name in NAMES:
        # The first pointer that finds a value counts, so a later pointer may find any value.
        for parts in getattr(shape, name)[:1]:
            _place(event, parts, leaves[name])
    for parts in shape.text:
        _place(event, parts, title)
    return {**event, "anyOf": [_holds(parts, _TITLE) for parts in shape.text or shape.title]}


def _place(event: Schema, parts: Pointer, leaf: Schema) -> None:
    """Add `leaf` at a pointer that leads through members only: no schema can describe an array or an object at the same place."""
    if any(map(is_place, parts)):
        return
    for part in parts[:-1]:
        event = event.setdefault("properties", {}).setdefault(part, {})
    event.setdefault("properties", {})[parts[-1]] = leaf


def _holds(parts: Pointer, leaf: Schema) -> Schema:
    """The schema of an object in which a pointer finds a value of `leaf`."""
    if not parts or is_place(parts[0]):
        return {} if parts else leaf
    return {"type": "object", "required": [parts[0]], "properties": {parts[0]: _holds(parts[1:], leaf)}}


def written(shape: Shape = PLAIN) -> Schema:
    """An event as a producer should write it. In the plain shape it has no other fields, so that a misspelt name is found."""
    exact = {"type": "integer", "minimum": -MOST_EXACT, "maximum": MOST_EXACT}
    return {
        "title": "content, for writing",
        "description": f"An event for the topic `content`. A producer with fields of its own adds them to its copy. {_STRICT}",
        **_event(exact, shape),
        **({"additionalProperties": False} if shape is PLAIN else {}),
    }


def of_shape(shape: Shape) -> Schema:
    """An event without an envelope, with any further fields."""
    return _event({"type": "integer"}, shape)


def read(shape: Shape = PLAIN) -> Schema:
    """The values that a worker reads as events. Any further field passes through, and the event may lie in a CloudEvents envelope."""
    event = of_shape(shape)
    data = {"data": event, "data_base64": False}
    encoded = {"data_base64": {"description": "The bytes of the data, an event in JSON, as base64.", "type": "string"}}
    return {
        "title": "content, for reading",
        "description": f"The value of a record of `content` that becomes a decision. {_STRICT} Beyond it, an integer `id` has no "
        "fraction and no exponent (`17.0` is refused), and what `data_base64` holds is an event too.",
        "anyOf": [
            {"title": "event", **event},
            _envelope("CloudEvents envelope", data, "data", shape),
            _envelope("CloudEvents envelope, data as base64", encoded, "data_base64", shape),
        ],
    }


def _envelope(title: str, data: Schema, required: str, shape: Shape) -> Schema:
    """A CloudEvents 1.0 envelope in structured mode. As in the decoder, an envelope has no title."""
    attribute = {"type": "string", "minLength": 1}
    attributes = {"specversion": {"const": "1.0"}, "id": attribute, "source": attribute, "type": attribute}
    return {
        "title": title,
        "type": "object",
        "properties": {**attributes, **({"title": False} if shape is PLAIN else {}), **data},
        "required": [*attributes, required],
        **({} if shape is PLAIN else {"not": {"anyOf": [_holds(parts, {}) for parts in shape.text or shape.title]}}),
    }


def carried() -> Schema:
    """The event's own fields on every other topic: they always have an id, which is a string."""
    return {
        "type": "object",
        "properties": {"id": {"description": _ID, **_ID_TEXT}, "title": _TITLE, **_OTHERS},
        "required": ["id", "title"],
    }

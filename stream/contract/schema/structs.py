"""A record's struct as JSON Schema: the fields and bounds by which tagstream itself reads the record, and the text of its docstring."""

import inspect
import re
from enum import StrEnum
from typing import Any, Literal

import msgspec

Schema = dict[str, Any]
"""JSON Schema, draft-07, which is also the dialect of AsyncAPI 3; without references, so that each schema can be used alone."""

_REFERENCE = "#/"
# `name: text` in the part "Attributes" of a docstring. A line with a deeper indent continues the text.
_ATTRIBUTE = re.compile(r"^(\w+): (.+(?:\n {2,}.+)*)$", re.MULTILINE)


def schema_of(struct: type[msgspec.Struct]) -> Schema:
    """
    The schema of the values that msgspec reads as this struct. Fields that the struct does not name are allowed.

    >>> class Made(msgspec.Struct):
    ...     '''Made for this example.'''
    ...     name: str
    >>> schema_of(Made)["properties"], schema_of(Made)["required"]
    ({'name': {'type': 'string'}}, ['name'])
    """
    [entry], parts = msgspec.json.schema_components([struct], ref_template=f"{_REFERENCE}{{name}}")
    found: Schema = _whole(entry, parts)
    words = described(struct)
    for name, schema in found["properties"].items():
        if name in words:
            found["properties"][name] = {"description": words[name], **schema}
    return found


def described(struct: type[msgspec.Struct]) -> dict[str, str]:
    """The text on each attribute in the docstrings of a struct and its base classes."""
    found: dict[str, str] = {}
    for one in reversed(struct.__mro__):
        _, _, attributes = inspect.cleandoc(one.__doc__ or "").partition("Attributes:\n")
        found |= {name: " ".join(words.split()) for name, words in _ATTRIBUTE.findall(inspect.cleandoc(attributes))}
    return found


def required(schema: Schema) -> Schema:
    """
    The schema of an optional field when it is present and not null.

    >>> required({"description": "Why.", "anyOf": [{"type": "number"}, {"type": "null"}]})
    {'description': 'Why.', 'type': 'number'}
    """
    kept = {name: content for name, content in schema.items() if name != "anyOf"}
    forms = [form for form in schema.get("anyOf", [{}]) if form != {"type": "null"}]
    return {**kept, **forms[0]}


def known(values: type[StrEnum], description: str, *, form: Literal["each", "whole"] = "whole") -> Schema:
    """
    A string of a list that is closed in this version. New versions may add values, so a reader must expect values that it does not know.

    Args:
        values: The list, an enumeration of strings.
        description: The description of the field.
        form: `each` for an array of one or more such strings.
    """
    item: Schema = {"type": "string", "x-known-values": [str(value) for value in values]}
    if form == "whole":
        return {"description": description, **item}
    return {"description": description, "type": "array", "minItems": 1, "items": item}


def _whole(schema: Any, parts: dict[str, Any]) -> Any:
    """The schema with each reference replaced by its target, and without the names and docstrings of Python's classes."""
    if isinstance(schema, list):
        return [_whole(item, parts) for item in schema]
    if not isinstance(schema, dict):
        return schema
    if "$ref" in schema:
        return _whole(parts[schema["$ref"].removeprefix(_REFERENCE)], parts)
    if "properties" not in schema:
        return {name: _whole(content, parts) for name, content in schema.items() if name != "default"}
    kept = {name: content for name, content in schema.items() if name not in {"title", "description", "properties"}}
    properties = {name: _whole(content, parts) for name, content in schema["properties"].items()}
    return {**kept, "properties": properties}

"""Does a reader take all that a writer writes? Compares two of our own schemas, old and new, keyword by keyword.

It errs on the safe side: a difference that it cannot judge is a refusal, and a keyword that it does not know an error.
"""

from collections.abc import Iterator
from typing import Any

import jsonschema

Schema = dict[str, Any] | bool

_LOWER = ("minimum", "exclusiveMinimum", "minLength", "minItems", "minProperties")
_UPPER = ("maximum", "maxLength", "maxItems")
_JUDGED = {*_LOWER, *_UPPER, "type", "properties", "required", "additionalProperties", "propertyNames", "items", "pattern"}
_JUDGED |= {"anyOf", "enum", "const"}
_WORDS = {"title", "description", "$schema", "$id", "x-known-values"}


def refusals(writer: Schema, reader: Schema, at: str = "$") -> list[str]:
    """
    The places at which the writer may write what the reader refuses.

    A field that the writer does not name is left aside, though an open writer may have one: producers know that names are added.
    """
    return list(_refusals(writer, reader, at))


def _refusals(writer: Schema, reader: Schema, at: str) -> Iterator[str]:
    if writer is False or reader is True:
        return
    if reader is False:
        yield f"{at} is no longer taken"
        return
    writer = {} if writer is True else writer
    _known(at, writer, reader)
    if "anyOf" in writer:
        for number, form in enumerate(_forms(writer)):
            yield from _refusals(form, reader, f"{at}/{number}")
        return
    if "anyOf" in reader:
        tried = [refusals(writer, form, at) for form in _forms(reader)]
        if all(tried):
            yield from min(tried, key=len)
        return
    values = writer.get("enum", [writer["const"]] if "const" in writer else None)
    if values is not None:
        validator = jsonschema.Draft7Validator(reader)
        yield from (f"{at} may be {value!r}" for value in values if not validator.is_valid(value))
        return
    if "enum" in reader or "const" in reader:
        yield f"{at} has become a closed list"
    yield from _bounds(writer, reader, at)
    yield from _parts(writer, reader, at)


def _known(at: str, *schemas: dict[str, Any]) -> None:
    unknown = {name for schema in schemas for name in schema} - _JUDGED - _WORDS
    if unknown:
        msg = f"{at} has {sorted(unknown)}, which this check does not know"
        raise ValueError(msg)


def _forms(schema: dict[str, Any]) -> list[dict[str, Any]]:
    """The forms of a schema with `anyOf`, each with what stands beside it."""
    beside = {name: content for name, content in schema.items() if name != "anyOf"}
    return [{**beside, **form} for form in schema["anyOf"]]


def _types(schema: dict[str, Any]) -> set[str]:
    found = schema.get("type", ["null", "boolean", "number", "string", "array", "object"])
    return {found} if isinstance(found, str) else set(found)


def _bounds(writer: dict[str, Any], reader: dict[str, Any], at: str) -> Iterator[str]:
    taken = _types(reader)
    for kind in sorted(_types(writer) - taken - ({"integer"} if "number" in taken else set())):
        yield f"{at} may be of type {kind}"
    for name in _LOWER:
        if name in reader and writer.get(name, float("-inf")) < reader[name]:
            yield f"{at} may be below {name} {reader[name]}"
    for name in _UPPER:
        if name in reader and writer.get(name, float("inf")) > reader[name]:
            yield f"{at} may be above {name} {reader[name]}"
    if "pattern" in reader and writer.get("pattern") != reader["pattern"]:
        yield f"{at} may break the pattern {reader['pattern']}"


def _parts(writer: dict[str, Any], reader: dict[str, Any], at: str) -> Iterator[str]:
    for name in sorted(set(reader.get("required", ())) - set(writer.get("required", ()))):
        yield f"{at}.{name} may be missing"
    written, others = writer.get("properties", {}), reader.get("additionalProperties", True)
    for name, schema in written.items():
        yield from _refusals(schema, reader.get("properties", {}).get(name, others), f"{at}.{name}")
    if others is not True:
        yield from _refusals(writer.get("additionalProperties", True), others, f"{at}.*")
    for name in ("items", "propertyNames"):
        if name in reader:
            yield from _refusals(
                writer.get(name, {"type": "string"} if name == "propertyNames" else {}), reader[name], f"{at}/{name}"
            )


def lost(old: Any, new: Any, at: str = "$") -> list[str]:
    """The fields, and the values of growing lists, that the old schema names and the new one does not."""
    if not isinstance(old, dict) or not isinstance(new, dict):
        return []
    missing = [f"{at}.{name}" for name in old.get("properties", {}) if name not in new.get("properties", {})]
    missing += [f"{at}: {value}" for value in old.get("x-known-values", ()) if value not in new.get("x-known-values", ())]
    parts = [(old.get("properties", {}), new.get("properties", {}), "."), (old, new, "/")]
    for before, after, sign in parts:
        for name, schema in before.items():
            if name in after and name not in {"properties", "anyOf"}:
                missing += lost(schema, after[name], f"{at}{sign}{name}")
    for number, (form, other) in enumerate(zip(old.get("anyOf", ()), new.get("anyOf", ()), strict=False)):
        missing += lost(form, other, f"{at}/{number}")
    return missing + ([f"{at}: a form"] if len(old.get("anyOf", ())) > len(new.get("anyOf", ())) else [])

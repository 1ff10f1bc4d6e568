"""The contract of today speaks with that of every frozen version: its records, its producers, its consumers."""

import copy
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from tagstream.stream.contract.event import Record
from tagstream.stream.contract.schema.topics import schemas
from tests.data.contract import make
from tests.unit.stream.contract.schema.containment import lost, refusals

FROZEN = sorted(folder for folder in make.HERE.iterdir() if (folder / "records.jsonl").exists())
TODAY = schemas()
SCHEMA_OF = {role: role for role in ("tagged", "review", "audit", "reviewed", "reports", "outcomes")}


def lines() -> Iterator[Any]:
    """Every frozen record, named by version, topic and number."""
    for folder in FROZEN:
        text = (folder / "records.jsonl").read_text(encoding="utf-8")
        for number, line in enumerate(text.splitlines()):
            found = json.loads(line)
            yield pytest.param(found, id=f"{folder.name}-{found['topic']}-{number}")


def record_of(line: dict[str, Any]) -> Record:
    """The record as it lay on its topic."""
    key, value = (None if line[name] is None else line[name].encode("latin-1") for name in ("key", "value"))
    headers = tuple((name, content.encode("latin-1")) for name, content in line["headers"])
    return Record(
        topic=line["topic"],
        partition=3,
        offset=line["offset"],
        timestamp_ms=1_700_000_000_000,
        key=key,
        value=value,
        headers=headers,
    )


def changed(old: Any, new: Any, at: str = "$") -> list[str]:
    """The parts of the old that are not in the new, or have another value there; new fields of objects are no change."""
    if not isinstance(old, dict) or not isinstance(new, dict):
        return [] if old == new and type(old) is type(new) else [at]
    return [
        place
        for name, value in old.items()
        for place in ([f"{at}.{name}"] if name not in new else changed(value, new[name], f"{at}.{name}"))
    ]


def frozen_schemas(folder: Path) -> dict[str, Any]:
    """The schemas of a version by their names."""
    return {path.name.removesuffix(".json"): json.loads(path.read_text(encoding="utf-8")) for path in folder.glob("*.json")}


def breaks(old: dict[str, Any], new: dict[str, Any]) -> list[str]:
    """
    In which places the new schemas break what the old ones promise.

    Events of old producers must be read. On every other topic old records must be read by new readers and new ones by old
    readers, since topics keep old records and readers are upgraded at their own time.
    """
    found = [f"{name} is gone" for name in old if name not in new]
    both = [name for name in old if name in new]
    for name in both:
        found += [f"{name}: old is refused: {place}" for place in refusals(old[name], new[name])]
        found += [f"{name}: lost: {place}" for place in lost(old[name], new[name])]
        if not name.startswith("content."):
            found += [f"{name}: new is refused: {place}" for place in refusals(new[name], old[name])]
    if {"content.write", "content.read"} <= set(both):
        found += [f"content: old is refused: {place}" for place in refusals(old["content.write"], new["content.read"])]
    return found


def test_this_version_is_frozen() -> None:
    """There is a folder with records and schemas of every topic."""
    assert FROZEN
    for folder in FROZEN:
        found = frozen_schemas(folder)
        assert {
            "content.write",
            "content.read",
            "tagged",
            "review",
            "audit",
            "reviewed",
            "reports",
            "content.dlq.headers",
        } <= set(found)


@pytest.mark.parametrize("line", list(lines()))
def test_a_frozen_record_is_read_as_it_was(line: dict[str, Any]) -> None:
    """Today's readers find in an old record all that its own version found; an old event gets the decision that it got."""
    found = make.READERS[line["topic"]](record_of(line))
    assert changed(line["read"], json.loads(json.dumps(found))) == []


@pytest.mark.parametrize("line", list(lines()))
def test_a_frozen_record_agrees_with_the_schemas_of_today(line: dict[str, Any]) -> None:
    """Old records lie on the topics beside new ones."""
    value = (line["value"] or "").encode("latin-1")
    if line["topic"] in SCHEMA_OF:
        jsonschema.validate(json.loads(value), TODAY[SCHEMA_OF[line["topic"]]], cls=jsonschema.Draft7Validator)
    elif "event" in line["read"]:
        jsonschema.validate(json.loads(value), TODAY["content.read"], cls=jsonschema.Draft7Validator)


@pytest.mark.parametrize("folder", FROZEN, ids=lambda folder: folder.name)
def test_the_contract_has_only_grown(folder: Path) -> None:
    """No old producer is refused and no old consumer surprised. If this fails, the change needs another version of the contract."""
    assert breaks(frozen_schemas(folder), TODAY) == []


def fields(schema: dict[str, Any], form: int = 0) -> dict[str, Any]:
    """The properties of a schema or of one of its forms."""
    found: dict[str, Any] = schema.get("anyOf", [schema] * (form + 1))[form]["properties"]
    return found


def spoilt(name: str, spoil: Callable[[dict[str, Any]], object]) -> list[str]:
    """The breaks where today's schema is spoilt, or grows."""
    new = copy.deepcopy(TODAY)
    spoil(new[name])
    return breaks(TODAY, new)


BREAKS: dict[str, tuple[str, Callable[[dict[str, Any]], object]]] = {
    "a field of the decision is gone": ("tagged", lambda schema: fields(schema).pop("threshold")),
    "a field is no longer always there": ("tagged", lambda schema: schema["anyOf"][0]["required"].remove("threshold")),
    "a field has another type": ("tagged", lambda schema: fields(schema)["confidence"].update(type="string")),
    "a number has become an integer": ("review", lambda schema: fields(schema)["threshold"].update(type="integer")),
    "a probability goes beyond 1": ("tagged", lambda schema: fields(schema)["confidence"].update(maximum=100)),
    "a decider is new": ("tagged", lambda schema: fields(schema)["decider"]["enum"].append("council")),
    "a time has another form": ("audit", lambda schema: fields(schema)["tagged_at"].update(pattern=r"^\d+$")),
    "a time is a number": ("audit", lambda schema: fields(schema).update(tagged_at={"type": "integer"})),
    "an old record lacks what is required": ("review", lambda schema: schema["required"].append("text_flags")),
    "reasons may be empty": ("review", lambda schema: fields(schema)["reasons"].pop("minItems")),
    "reasons are on tagged": ("tagged", lambda schema: fields(schema).update(reasons={"type": "array"})),
    "a code is gone": ("content.dlq.headers", lambda schema: fields(schema)["x-dlq-code"]["x-known-values"].remove("empty")),
    "codes are a closed list": ("content.dlq.headers", lambda schema: fields(schema)["x-dlq-code"].update(enum=["empty"])),
    "a header is gone": ("content.dlq.headers", lambda schema: fields(schema).pop("__streams.errors.offset")),
    "a form is gone": ("tagged", lambda schema: schema["anyOf"].pop()),
    "an integer id is refused": ("content.read", lambda schema: fields(schema)["id"]["anyOf"].pop(1)),
    "a shorter id": ("content.read", lambda schema: fields(schema)["id"]["anyOf"][0].update(maxLength=64)),
    "a description is required": ("content.read", lambda schema: schema["anyOf"][0]["required"].append("description")),
    "foreign fields are refused": ("content.read", lambda schema: schema["anyOf"][0].update(additionalProperties=False)),
    "no source any more": ("content.read", lambda schema: fields(schema).update(source=False)),
    "no envelope any more": ("content.read", lambda schema: schema["anyOf"].pop()),
    "a field may not be written": ("content.write", lambda schema: fields(schema).pop("source")),
    "a shorter note": ("reports", lambda schema: fields(schema)["note"]["anyOf"][0].update(maxLength=100)),
    "a note is required": ("reports", lambda schema: schema["required"].append("note")),
    "a field within is gone": ("reviewed", lambda schema: fields(schema)["before"]["properties"].pop("reasons")),
    "a field within is required": ("reviewed", lambda schema: fields(schema)["before"]["required"].append("tags")),
    "a door is gone": ("reviewed", lambda schema: fields(schema)["asked_by"]["enum"].remove("import")),
    "probabilities of labels alone": (
        "tagged",
        lambda schema: fields(schema)["probabilities"].update(propertyNames={"pattern": "^[a-z-]+$"}),
    ),
}
GROWS: dict[str, tuple[str, Callable[[dict[str, Any]], object]]] = {
    "a new field": ("tagged", lambda schema: fields(schema).update(runner_up={"type": "string"})),
    "a new field that is always there on new events": (
        "content.write",
        lambda schema: fields(schema).update(language={"type": "string"}),
    ),
    "a new code": (
        "content.dlq.headers",
        lambda schema: fields(schema)["x-dlq-code"]["x-known-values"].append("unknown_schema"),
    ),
    "a new header": ("content.dlq.headers", lambda schema: fields(schema).update({"x-dlq-schema": {"type": "string"}})),
    "other words": ("review", lambda schema: fields(schema)["tag"].update(description="The tag.")),
    "a longer id": ("content.read", lambda schema: fields(schema)["id"]["anyOf"][0].update(maxLength=512)),
    "a new form of event": (
        "content.read",
        lambda schema: schema["anyOf"].append({"type": "object", "required": ["headline"]}),
    ),
}


@pytest.mark.parametrize("change", BREAKS)
def test_a_change_that_breaks_is_found(change: str) -> None:
    """Each of these would refuse an old producer, or surprise an old consumer."""
    name, spoil = BREAKS[change]
    found = spoilt(name, spoil)
    assert found
    assert all(place.startswith(name.split(".")[0]) for place in found)


@pytest.mark.parametrize("change", GROWS)
def test_a_change_that_only_adds_is_none(change: str) -> None:
    """Within a version the contract may grow so."""
    name, grow = GROWS[change]
    assert spoilt(name, grow) == []


def test_a_keyword_that_the_check_does_not_know_is_an_error() -> None:
    """It must not pass for compatible because nobody looked."""
    with pytest.raises(ValueError, match=r"\$ has \['if'\], which this check does not know"):
        refusals({"type": "object"}, {"if": {}})


@pytest.mark.parametrize(
    ("old", "new", "found"),
    [
        ({"a": 1}, {"a": 1, "b": 2}, []),
        ({"a": 1}, {"a": 2}, ["$.a"]),
        ({"a": 1}, {"a": True}, ["$.a"]),
        ({"a": {"b": 1}}, {"a": {}}, ["$.a.b"]),
        ({"a": [1]}, {"a": [1, 2]}, ["$.a"]),
    ],
)
def test_a_reading_may_gain_fields_and_lose_none(old: Any, new: Any, found: list[str]) -> None:
    """The comparison of frozen records sees a value that is gone or another."""
    assert changed(old, new) == found

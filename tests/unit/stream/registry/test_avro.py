"""The reader of Avro agrees with fastavro on what fastavro writes, and is bounded where fastavro is not."""

import contextlib
import io
import json
import math
import struct
import tracemalloc
import uuid
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from datetime import time as time_of_day
from decimal import Decimal
from typing import Any

import pytest
from fastavro import parse_schema, schemaless_reader, schemaless_writer
from hypothesis import given
from hypothesis import strategies as st

from tagstream.monitoring.vocabulary import Reason
from tagstream.stream.contract.refusal import Refused
from tagstream.stream.registry.avro import MOST_DEPTH, SchemaError, reader_of

INTS, LONGS = st.integers(-(2**31), 2**31 - 1), st.integers(-(2**63), 2**63 - 1)
# Schemas by example, and values that each takes; names count up, since a name may be defined once.
LEAVES: dict[str, st.SearchStrategy[Any]] = {
    "null": st.none(),
    "boolean": st.booleans(),
    "int": INTS,
    "long": LONGS,
    "float": st.floats(width=32, allow_nan=False, allow_infinity=False),
    "double": st.floats(allow_nan=False, allow_infinity=False),
    "string": st.text(st.characters(blacklist_categories=["Cs"])),
}
Pair = tuple[Any, st.SearchStrategy[Any]]


def nested(inside: st.SearchStrategy[Pair]) -> st.SearchStrategy[Pair]:
    """Arrays, maps, optional values and records of other schemas, each with its values."""
    return st.one_of(
        inside.map(lambda pair: ({"type": "array", "items": pair[0]}, st.lists(pair[1], max_size=4))),
        inside.map(lambda pair: ({"type": "map", "values": pair[0]}, st.dictionaries(st.text("abc"), pair[1], max_size=4))),
        inside.filter(lambda pair: pair[0] != "null" and not isinstance(pair[0], list)).map(
            lambda pair: (["null", pair[0]], st.none() | pair[1])
        ),
        st.lists(inside, max_size=3).map(_record),
    )


def _record(pairs: list[Pair]) -> Pair:
    names = [f"f{number}" for number in range(len(pairs))]
    fields = [{"name": name, "type": schema} for name, (schema, _) in zip(names, pairs, strict=True)]
    schema = {"type": "record", "name": f"R{uuid.uuid4().hex}", "fields": fields}
    return schema, st.fixed_dictionaries(dict(zip(names, (values for _, values in pairs), strict=True)))


SCHEMAS = st.recursive(st.sampled_from(list(LEAVES.items())), nested, max_leaves=8)


def written(schema: Any, value: Any) -> bytes:
    """The bytes of a value, by fastavro."""
    found = io.BytesIO()
    schemaless_writer(found, parse_schema(schema), value)
    return found.getvalue()


def record_of(kind: Any) -> dict[str, Any]:
    """The schema of a record with one field `x`."""
    return {"type": "record", "name": "E", "fields": [{"name": "x", "type": kind}]}


def read(schema: Any, payload: bytes, **limits: int) -> Any:
    """The value in a payload, by our reader."""
    return json.loads(reader_of(json.dumps(schema), **limits)(payload))


def refusal(schema: Any, payload: bytes, **limits: int) -> Reason:
    """Why a payload is refused."""
    with pytest.raises(Refused) as caught:
        read(schema, payload, **limits)
    return caught.value.refusal.reason


@given(st.data())
def test_it_agrees_with_fastavro(data: st.DataObject) -> None:
    """The bytes that fastavro writes by any schema are read as the value that fastavro reads."""
    schema, values = data.draw(SCHEMAS)
    payload = written(schema, data.draw(values))
    assert read(schema, payload) == schemaless_reader(io.BytesIO(payload), parse_schema(schema), None)


@given(st.data(), st.binary(max_size=60))
def test_any_bytes_are_a_value_or_a_refusal(data: st.DataObject, payload: bytes) -> None:
    """No bytes raise anything but a refusal, under any schema."""
    schema, _ = data.draw(SCHEMAS)
    reader = reader_of(json.dumps(schema))
    with contextlib.suppress(Refused):
        assert isinstance(reader(payload), bytes)


LOGICAL = {
    "decimal": ({"type": "bytes", "logicalType": "decimal", "precision": 9, "scale": 2}, Decimal("-1234.50"), "-1234.50"),
    "decimal below one": ({"type": "bytes", "logicalType": "decimal", "precision": 9, "scale": 3}, Decimal("0.007"), "0.007"),
    "decimal in fixed": (
        {"type": "fixed", "name": "D", "size": 4, "logicalType": "decimal", "precision": 9, "scale": 0},
        Decimal(17),
        "17",
    ),
    "uuid": ({"type": "string", "logicalType": "uuid"}, uuid.UUID(int=7), str(uuid.UUID(int=7))),
    "uuid in fixed": (
        {"type": "fixed", "name": "U", "size": 16, "logicalType": "uuid"},
        uuid.UUID(int=7).bytes,
        str(uuid.UUID(int=7)),
    ),
    "date": ({"type": "int", "logicalType": "date"}, date(2026, 11, 26), "2026-11-26"),
    "time-millis": ({"type": "int", "logicalType": "time-millis"}, time_of_day(10, 0, 1, 5000), "10:00:01.005"),
    "time-micros": ({"type": "long", "logicalType": "time-micros"}, time_of_day(10, 0, 1, 5), "10:00:01.000005"),
    "timestamp-millis": (
        {"type": "long", "logicalType": "timestamp-millis"},
        datetime(2026, 11, 26, 10, tzinfo=UTC),
        "2026-11-26T10:00:00.000Z",
    ),
    "timestamp-micros": (
        {"type": "long", "logicalType": "timestamp-micros"},
        datetime(1969, 12, 31, 23, 59, 59, 999_999, tzinfo=UTC),
        "1969-12-31T23:59:59.999999Z",
    ),
    "local-timestamp-millis": (
        {"type": "long", "logicalType": "local-timestamp-millis"},
        datetime(2026, 11, 26, 10) + timedelta(milliseconds=1),  # noqa: DTZ001 - it has no zone
        "2026-11-26T10:00:00.001",
    ),
    "bytes": ("bytes", b"\x00\xff", "AP8="),
    "fixed": ({"type": "fixed", "name": "F", "size": 2}, b"\x00\xff", "AP8="),
    "enum": ({"type": "enum", "name": "Kind", "symbols": ["POST", "PAPER"]}, "PAPER", "PAPER"),
    "an unknown one": ({"type": "long", "logicalType": "fortnights"}, 3, 3),
}


@pytest.mark.parametrize("name", LOGICAL)
def test_a_value_without_a_json_type_becomes_a_string(name: str) -> None:
    """Exact decimals, RFC 3339 times, symbols of an enum, and base64 of bytes; an unknown logical type is its plain type."""
    kind, value, expected = LOGICAL[name]
    assert read(record_of(kind), written(record_of(kind), {"x": value})) == {"x": expected}


def test_a_named_type_may_be_used_again_and_stand_in_a_schema_that_is_referred_to() -> None:
    """Names are resolved as Avro does it, with their namespace."""
    author = {"type": "record", "name": "Author", "namespace": "org.example", "fields": [{"name": "name", "type": "string"}]}
    fields = [{"name": name, "type": "org.example.Author"} for name in ("first", "second")]
    event = {"type": "record", "name": "Content", "fields": fields}
    value = {"first": {"name": "bo"}, "second": {"name": "cy"}}
    named: dict[str, Any] = {}
    parse_schema(author, named_schemas=named)
    found = io.BytesIO()
    schemaless_writer(found, parse_schema(event, named_schemas=named), value)
    assert json.loads(reader_of(json.dumps(event), [json.dumps(author)])(found.getvalue())) == value


def test_nan_is_left_to_the_decoder_which_refuses_it() -> None:
    """It is written as NaN, which is no JSON: `non_finite_number`, as of a producer who writes it himself."""
    assert reader_of(json.dumps(record_of("double")))(struct.pack("<d", math.nan)) == b'{"x":NaN}'


@pytest.mark.parametrize(
    ("kind", "payload", "reason"),
    [
        ("string", b"\x04a", Reason.INVALID_AVRO),
        ("string", b"\x03", Reason.INVALID_AVRO),
        ("string", b"\x02\xff", Reason.INVALID_UTF8),
        ("string", b"\x02ab", Reason.INVALID_AVRO),
        ("long", b"\xff" * 11, Reason.INVALID_AVRO),
        ("boolean", b"\x02", Reason.INVALID_AVRO),
        (["null", "string"], b"\x04", Reason.INVALID_AVRO),
        (["null", "string"], b"\x01", Reason.INVALID_AVRO),
        ({"type": "enum", "name": "K", "symbols": ["A"]}, b"\x02", Reason.INVALID_AVRO),
        ({"type": "map", "values": "null"}, b"\x04\x02a\x02a\x00", Reason.DUPLICATE_KEY),
        ({"type": "int", "logicalType": "date"}, b"\xfe\xff\xff\xff\x0f", Reason.INVALID_AVRO),
        ({"type": "int", "logicalType": "time-millis"}, b"\x01", Reason.INVALID_AVRO),
        ({"type": "long", "logicalType": "timestamp-millis"}, b"\xfe" + b"\xff" * 8 + b"\x01", Reason.INVALID_AVRO),
    ],
)
def test_bytes_that_are_not_of_their_schema_are_refused(kind: Any, payload: bytes, reason: Reason) -> None:
    """They end too early, go on too long, or choose what is not there."""
    assert refusal(record_of(kind), payload) is reason


LIST = {"type": "record", "name": "L", "fields": [{"name": "next", "type": ["null", "L"]}]}
LONG = b"\xfe\xff\xff\xff\x3f"
BOMBS: dict[str, tuple[Any, bytes, Reason]] = {
    # Each ended a process or held it for minutes by the native reader, or would fill its memory.
    "a list that is nested 800,000 times": (LIST, b"\x02" * 800_000, Reason.TOO_DEEP),
    "a record in itself": ({"type": "record", "name": "S", "fields": [{"name": "s", "type": "S"}]}, b"", Reason.TOO_DEEP),
    "a billion nulls in five bytes": (record_of({"type": "array", "items": "null"}), LONG, Reason.TOO_LARGE),
    "the same with their size": (
        record_of({"type": "array", "items": "null"}),
        b"\xfd\xff\xff\xff\x3f\x00",
        Reason.TOO_LARGE,
    ),
    "the same in many blocks": (
        record_of({"type": "array", "items": "null"}),
        b"\xa0\x9c\x01" * 1000 + b"\x00",
        Reason.TOO_LARGE,
    ),
    "45,000 fields that take no byte": (
        {"type": "record", "name": "E", "fields": [{"name": f"f{number}", "type": "null"} for number in range(45_000)]},
        b"",
        Reason.TOO_LARGE,
    ),
    "one field with a name of 800,000 bytes": (
        {"type": "record", "name": "E", "fields": [{"name": "n" * 800_000, "type": "null"}]},
        b"",
        Reason.TOO_LARGE,
    ),
    "numbers of a byte each behind long names": (
        record_of(
            {
                "type": "array",
                "items": {"type": "record", "name": "W", "fields": [{"name": "n" * 100, "type": "int"}]},
            }
        ),
        b"\x80\x7d" + b"\x00" * 8_001,
        Reason.TOO_LARGE,
    ),
    "records of many fields in a byte each": (
        record_of(
            {
                "type": "array",
                "items": {
                    "type": "record",
                    "name": "W",
                    "fields": [{"name": "n" * 1000 + str(number), "type": "null"} for number in range(1000)],
                },
            }
        ),
        b"\xd0\x0f",
        Reason.TOO_LARGE,
    ),
    "long symbols": (
        record_of({"type": "array", "items": {"type": "enum", "name": "K", "symbols": ["S" * 100_000]}}),
        b"\x80\xa8\x01" + b"\x00" * 10_000,
        Reason.TOO_LARGE,
    ),
    "a decimal of 800,000 bytes": (
        record_of({"type": "bytes", "logicalType": "decimal", "precision": 9, "scale": 2}),
        b"\x80\xd4\x61" + b"\x7f" * 800_000,
        Reason.INVALID_AVRO,
    ),
}


@pytest.mark.parametrize("name", BOMBS)
def test_a_few_bytes_do_not_become_a_large_value(name: str) -> None:
    """Depth, number and size of what is made are bounded by the limit of an event; peak memory is measured, time is not."""
    schema, payload, reason = BOMBS[name]
    reader = reader_of(json.dumps(schema))
    tracemalloc.start()
    try:
        with pytest.raises(Refused) as caught:
            reader(payload)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert caught.value.refusal.reason is reason
    assert peak < 200_000_000


@pytest.mark.parametrize(
    "schema",
    [
        "",
        "{",
        "7",
        "null and void",
        '{"type": "record"}',
        '{"type": "record", "name": "A", "fields": [{"name": "x", "type": "B"}]}',
        "[" * 100_000,
        '{"type": "enum", "name": "A"}',
        '{"type": "fixed", "name": "A"}',
        '{"type": "array"}',
        "{}",
        "true",
    ],
)
def test_a_text_that_is_no_schema_is_refused(schema: str) -> None:
    """The refusal is one error for any answer of a registry, and for any error of fastavro."""
    with pytest.raises(SchemaError):
        reader_of(schema)


def test_a_mark_of_fastavros_does_not_pass_for_a_check() -> None:
    """A schema that says that it was checked is checked all the same."""
    with pytest.raises(SchemaError):
        reader_of('{"type": "array", "items": "nowhere", "__fastavro_parsed__": true}')
    with pytest.raises(SchemaError):
        reader_of('{"type": "array", "items": {"type": "nowhere", "__fastavro_parsed__": true}}')


def test_a_value_at_the_limit_is_read() -> None:
    """The count of bytes is a lower bound of the JSON, so no event that fits is refused by it."""
    schema = record_of({"type": "array", "items": "int"})
    value = {"x": [7] * 1000}
    size = len(json.dumps(value, separators=(",", ":")))
    assert read(schema, written(schema, value), max_bytes=size) == value
    assert refusal(schema, written(schema, value), max_bytes=size // 2) is Reason.TOO_LARGE


@given(st.data())
def test_a_value_is_read_if_and_only_if_its_json_fits(data: st.DataObject) -> None:
    """At its size any value is read, and with a byte less it is refused, so no few bytes become more than the limit."""
    schema, values = data.draw(SCHEMAS)
    payload = written(schema, data.draw(values))
    size = len(reader_of(json.dumps(schema))(payload))
    assert len(reader_of(json.dumps(schema), max_bytes=size)(payload)) == size
    assert refusal(schema, payload, max_bytes=size - 1) is Reason.TOO_LARGE


@pytest.mark.parametrize(("kind", "spelled"), [("null", "null"), ({"type": "record", "name": "V", "fields": []}, "{}")])
def test_items_without_bytes_are_counted_as_what_they_become(kind: Any, spelled: str) -> None:
    """A list of nulls and one of empty records: a thousand are read, and no more than fit."""
    schema, payload = record_of({"type": "array", "items": kind}), b"\xd0\x0f\x00"
    size = len('{"x":[]}') + 1000 * (len(spelled) + 1) - 1
    assert len(reader_of(json.dumps(schema), max_bytes=size)(payload)) == size
    assert refusal(schema, payload, max_bytes=size - 1) is Reason.TOO_LARGE


def deep(levels: int) -> tuple[Any, Callable[[], bytes]]:
    """Arrays in arrays."""
    schema: Any = "null"
    for _ in range(levels):
        schema = {"type": "array", "items": schema}
    return schema, lambda: b"\x02" * levels + b"\x00" * levels


def test_all_levels_that_the_decoder_takes_are_read() -> None:
    """The reader's own bound is above the decoder's 32 levels."""
    schema, payload = deep(32)
    assert read(schema, payload()) is not None
    schema, payload = deep(MOST_DEPTH + 1)
    assert refusal(schema, payload()) is Reason.TOO_DEEP

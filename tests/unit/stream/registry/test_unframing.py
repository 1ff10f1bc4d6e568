"""Values in the frames of a Schema Registry, written by Confluent's own serialisers, become events; broken ones become dead letters."""

import json
from collections.abc import Callable, Sequence
from typing import Any

import pytest
from confluent_kafka.schema_registry import SchemaRegistryClient, header_schema_id_serializer
from confluent_kafka.schema_registry.avro import AvroSerializer
from confluent_kafka.schema_registry.json_schema import JSONSerializer
from confluent_kafka.serialization import MessageField, SerializationContext
from hypothesis import given
from hypothesis import strategies as st

from tagstream.monitoring.observer import NullObserver
from tagstream.monitoring.vocabulary import Destination, Reason, Stage
from tagstream.stream.contract.event import Record
from tagstream.stream.contract.outcome import Publication, Tagged
from tagstream.stream.contract.refusal import Refusal
from tagstream.stream.decide.pipeline import Pipeline
from tagstream.stream.registry.unframing import Unframing, unframing_of
from tagstream.stream.settings.schema_registry import SchemaRegistry
from tagstream.stream.settings.settings import Settings
from tests.fakes import deciding
from tests.registry.server import Registry, guid_of

EVENT = {"id": "blog-17", "title": "deployment", "description": "of feature stores", "views": 3}
AVRO = json.dumps(
    {
        "type": "record",
        "name": "Content",
        "namespace": "org.example",
        "fields": [
            {"name": "id", "type": "string"},
            {"name": "title", "type": "string"},
            {"name": "description", "type": ["null", "string"], "default": None},
            {"name": "views", "type": "long"},
        ],
    }
)
JSON = json.dumps(
    {"$schema": "http://json-schema.org/draft-07/schema#", "title": "Content", "type": "object", "required": ["title"]}
)
Serialised = tuple[bytes, list[tuple[str, bytes]]]
Write = Callable[[Registry, dict[str, Any], bool], Serialised]


def serialised(kind: Callable[..., Any], schema: str) -> Write:
    """Writes events by a serialiser of Confluent; `in_header` names the schema there by its GUID."""

    def write(registry: Registry, event: dict[str, Any], in_header: bool) -> Serialised:
        headers: list[tuple[str, bytes]] = []
        conf = {"schema.id.serializer": header_schema_id_serializer} if in_header else {}
        with SchemaRegistryClient({"url": registry.url}) as client:
            # The two serialisers take schema and client in another order.
            writer = kind(schema_str=schema, schema_registry_client=client, conf=conf)
            value = writer(event, SerializationContext("content", MessageField.VALUE, headers))
        assert value is not None
        return bytes(value), headers

    return write


WRITERS: dict[str, Write] = {"avro": serialised(AvroSerializer, AVRO), "json": serialised(JSONSerializer, JSON)}


def unframing(registry: Registry, **given: Any) -> Unframing:
    """That of the settings, for this registry."""
    found = unframing_of(Settings(schema_registry=SchemaRegistry(url=registry.url, **given)))
    assert found is not None
    return found


def published(registry: Registry, records: Sequence[Record]) -> list[Publication]:
    """The pipeline's outcomes of records, with this registry."""
    pipeline = Pipeline(decider=deciding(), observer=NullObserver(), unframe=unframing(registry))
    return pipeline.publications(records)


def refusal(registry: Registry, value: bytes, headers: tuple[tuple[str, bytes], ...] = ()) -> Refusal:
    """Why a value is refused; its bytes are all in the dead letter."""
    record = Record(key=b"k", value=value, headers=headers)
    [found] = published(registry, [record])
    assert found.destination is Destination.DLQ
    assert (found.key, found.value, found.headers[: len(headers)]) == (b"k", value, headers)
    assert isinstance(found.outcome, Refusal)
    return found.outcome


def before_the_clock(publication: Publication) -> bytes:
    """The value without `tagged_at`."""
    return (publication.value or b"").rpartition(b',"tagged_at":')[0]


@pytest.mark.parametrize("in_header", [False, True], ids=["prefix", "header"])
@pytest.mark.parametrize("kind", WRITERS)
def test_an_event_in_a_frame_is_the_event(registry: Registry, kind: str, in_header: bool) -> None:
    """By both of Confluent's serialisers and in both frames: the decision is that of the same JSON without a frame, to the byte."""
    value, headers = WRITERS[kind](registry, EVENT, in_header)
    record = Record(key=b"k", value=value, headers=(("traceparent", b"00-1"), *headers))
    bare = Record(key=b"k", value=json.dumps(EVENT).encode(), headers=(("traceparent", b"00-1"),))
    found, expected = published(registry, [record, bare])
    assert isinstance(found.outcome, Tagged)
    assert before_the_clock(found) == before_the_clock(expected)
    assert (found.key, found.headers) == (expected.key, expected.headers)


@pytest.mark.parametrize("kind", WRITERS)
def test_an_event_without_an_id_gets_that_of_its_json(registry: Registry, kind: str) -> None:
    """A frame is no part of the event: a schema that is registered anew, under another id, changes no id of an event."""
    event = {name: value for name, value in EVENT.items() if name != "id"}
    schema = json.loads(AVRO)
    schema["fields"] = schema["fields"][1:]
    write = serialised(AvroSerializer, json.dumps(schema)) if kind == "avro" else WRITERS[kind]
    value, _ = write(registry, event, False)
    bare = value[5:] if kind == "json" else json.dumps(event, separators=(",", ":")).encode()
    found, expected = published(registry, [Record(key=None, value=value), Record(key=None, value=bare)])
    assert found.key == expected.key
    assert (found.key or b"").startswith(b"sha256-")


def test_bare_and_framed_events_go_through_one_topic(registry: Registry) -> None:
    """Producers move to a registry one by one; order and number of the outcomes are those of the records."""
    avro, _ = WRITERS["avro"](registry, EVENT, False)
    values = [b'{"title":"translation"}', avro, b"{", avro, None]
    found = published(registry, [Record(key=None, value=value) for value in values])
    assert [one.destination.value for one in found] == ["tagged", "tagged", "dlq", "tagged", "dlq"]


def test_a_schema_is_fetched_once(registry: Registry) -> None:
    """A worker asks for a schema when it first needs it, and keeps it."""
    value, _ = WRITERS["avro"](registry, EVENT, False)
    registry.asked.clear()
    unframed = unframing(registry)
    for _ in range(3):
        unframed([Record(key=None, value=value)] * 5)
    assert registry.asked == ["/schemas/ids/1"]


def test_an_unknown_schema_is_a_dead_letter_with_its_code(registry: Registry) -> None:
    """By id and by GUID; an id that no registry gives asks none."""
    assert refusal(registry, b"\0\0\0\0\7{}") == Refusal(
        stage=Stage.DECODE,
        reason=Reason.UNKNOWN_SCHEMA,
        message="the Schema Registry has no schema of id 7 for us: it is unknown to it",
    )
    guid = guid_of(7)
    found = refusal(registry, b"{}", (("__value_schema_id", b"\1" + bytes.fromhex(guid.replace("-", ""))),))
    assert (found.reason, guid in found.message) == (Reason.UNKNOWN_SCHEMA, True)
    registry.asked.clear()
    assert refusal(registry, b"\0\xff\xff\xff\xff{}").reason is Reason.UNKNOWN_SCHEMA
    assert registry.asked == []


def test_protobuf_is_refused_with_its_code(registry: Registry) -> None:
    """It could be read only by code that is made from its schema."""
    registry.register("content-value", 'syntax = "proto3"; message Content { string title = 1; }', "PROTOBUF")
    assert refusal(registry, b"\0\0\0\0\1\0\n\2Hi").reason is Reason.UNSUPPORTED_SCHEMA


@pytest.mark.parametrize(
    "headers",
    [(("__value_schema_id", b""),), (("__value_schema_id", b"\1short"),), (("__value_schema_id", b"\2" + bytes(16)),)],
)
def test_a_header_that_names_no_schema_is_refused(registry: Registry, headers: tuple[tuple[str, bytes], ...]) -> None:
    """Any value is refused: its reader would not know by which schema to read it."""
    assert refusal(registry, b'{"title":"Hi"}', headers).reason is Reason.INVALID_FRAME


@pytest.mark.parametrize("value", [b"\0", b"\0\0\0\1"])
def test_a_frame_that_ends_too_early_is_refused(registry: Registry, value: bytes) -> None:
    """There are four bytes behind the first."""
    assert refusal(registry, value).reason is Reason.INVALID_FRAME


def test_the_json_in_a_frame_is_as_strict_as_without_one(registry: Registry) -> None:
    """The frame's schema allows no key twice, no NaN and no list."""
    registry.register("content-value", JSON, "JSON")
    payloads = {
        b'{"title":"a","title":"b"}': "duplicate_key",
        b'{"title":"a","n":NaN}': "non_finite_number",
        b"[]": "not_an_object",
    }
    assert {payload: refusal(registry, b"\0\0\0\0\1" + payload).reason.value for payload in payloads} == payloads


def test_without_a_registry_the_message_names_the_setting() -> None:
    """Framed bytes are no JSON, and perhaps no UTF-8; the dead letter says what would read them."""
    for value, reason in {b"\0\0\0\0\7{}": Reason.INVALID_JSON, b"\0\0\0\1\xff{}": Reason.INVALID_UTF8}.items():
        [found] = Pipeline(decider=deciding(), observer=NullObserver()).publications([Record(key=None, value=value)])
        assert isinstance(found.outcome, Refusal)
        assert found.outcome.reason is reason
        assert "schema_registry.url" in found.outcome.message
    assert unframing_of(Settings()) is None


def test_a_value_that_is_too_large_is_not_looked_at(registry: Registry) -> None:
    """The refusal is that of the same value without a registry, and no schema is asked for."""
    assert refusal(registry, b"\0\0\0\0\1".ljust(900_001)).reason is Reason.TOO_LARGE
    assert registry.asked == []


@given(st.lists(st.binary(max_size=40) | st.binary(max_size=40).map(lambda tail: b"\0\0\0\0\1" + tail), max_size=8))
def test_any_bytes_become_one_outcome_each(values: list[bytes]) -> None:
    """No frame raises an error, and length and order are kept."""
    found = PIPELINE.publications([Record(key=None, value=value) for value in values])
    assert [one.value for one in found if one.destination is Destination.DLQ] == [
        value for value, one in zip(values, found, strict=True) if one.destination is Destination.DLQ
    ]
    assert len(found) == len(values)


class _Known:
    """Schemas of which every name is that of the one event."""

    def readers(self, names: Any) -> dict[Any, Any]:
        from tagstream.stream.registry.avro import reader_of

        return dict.fromkeys(names, reader_of(AVRO))


PIPELINE = Pipeline(decider=deciding(), observer=NullObserver(), unframe=Unframing(_Known(), 900_000))  # type: ignore[arg-type]

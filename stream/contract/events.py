"""The input contract: `decode` reads a record of the topic `content` and returns a `ContentEvent` or a `Refusal`.

It never drops a field, and converts one value only: an integer `id` becomes a string. Each other field keeps the bytes that came, so that
a number too large for a float is published as it arrived. No message contains text of the event.
"""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from monitoring.vocabulary import Reason
from stream.contract.limits import DEFAULT_LIMITS, Limits
from stream.contract.parsing.cloudevents import binary_attributes, is_structured, open_envelope
from stream.contract.parsing.strict_json import Fields, checked_object, encoded, fields_of, json_name
from stream.contract.record import CUT_HEADERS, UNREADABLE_HEADERS, Headers, Record
from stream.contract.refusal import Refusal, Refused, invalid, undecodable

# The first byte of a value that a serialiser of a Schema Registry wrote. A frame is taken off before (stream/registry), if one is set.
FIRST_OF_FRAME = 0
# Far more than the times by which an envelope that is copied into fields can grow; most events need no exact sum.
MOST_GROWTH = 32


@dataclass(frozen=True, slots=True, kw_only=True)
class ContentEvent:
    """
    A valid event.

    Attributes:
        record: Where it came from; its key and headers are published with the outcome.
        id: The producer's id, else one made from the record's bytes.
        title: Not blank.
        description: None where the event has none.
        source: The event's own, else that of its CloudEvents envelope.
        fields: Every field of the input by name, each as its own JSON bytes; `id` is always there.
    """

    record: Record
    id: str
    title: str = field(repr=False)
    description: str | None = field(repr=False)
    source: str | None
    fields: Fields = field(repr=False)


def decode(record: Record, limits: Limits = DEFAULT_LIMITS) -> ContentEvent | Refusal:
    """
    Read one record. For any bytes it returns one of the two, and it never raises.

    >>> decode(Record(key=None, value=b'{"id": "a", "title": "Hi"}')).title
    'Hi'
    >>> decode(Record(key=None, value=b"[]")).reason
    <Reason.NOT_AN_OBJECT: 'not_an_object'>
    """
    try:
        return _decode(record, limits)
    except Refused as refused:
        return refused.refusal


def _decode(record: Record, limits: Limits) -> ContentEvent:
    value = whole_value(record, limits.max_bytes)
    try:
        checked = checked_object(value, limits)
    except Refused as refused:
        raise _seen_framed(value, refused.refusal) from None
    fields = fields_of(value)
    attributes = binary_attributes(record.headers)
    if attributes is not None:
        fields = {"cloudevent": encoded(attributes), **fields}
    elif is_structured(record.headers, checked):
        attributes, checked, fields = open_envelope(checked, fields, limits)
    event = validated(record, checked, fields, attributes, limits)
    _check_carried(event, limits)
    return event


def _seen_framed(value: bytes, refusal: Refusal) -> Refused:
    """The refusal of bytes that are no JSON; its message says so where they begin as in the frame of a Schema Registry."""
    hint = (
        "; the first byte is 0, as in the frame of a Schema Registry: see schema_registry.url"
        if value[0] == FIRST_OF_FRAME
        else ""
    )
    return Refused(refusal.stage, refusal.reason, refusal.message + hint)


def whole_value(record: Record, max_bytes: int) -> bytes:
    """
    The value of a record.

    Raises:
        Refused: There is none, it is empty or too large, or the record was not read whole.
    """
    _check_headers(record.headers)
    value = record.value
    if value is None:
        raise undecodable(Reason.TOMBSTONE, "the record has no value (a tombstone)")
    if not value:
        raise undecodable(Reason.EMPTY, "the value has no bytes")
    if len(value) > max_bytes:
        raise undecodable(Reason.TOO_LARGE, f"the value has {len(value)} bytes, the limit is {max_bytes}")
    return value


def _check_headers(headers: Headers) -> None:
    """
    May the record be read? Its headers say so if the consumer could not keep it whole.

    Raises:
        Refused: It was cut or could not be read from its batch, or the name of a header is not UTF-8.
    """
    for name, _ in headers:
        if name == UNREADABLE_HEADERS[0]:
            raise undecodable(Reason.UNREADABLE_BATCH, "the record cannot be read from its batch; headers say why")
        if name == CUT_HEADERS[0]:
            raise undecodable(Reason.TOO_LARGE, "the record was too large to be read whole; headers say how large")
        if not (name.isascii() or _is_text(name)):
            raise undecodable(Reason.INVALID_UTF8, "the name of a header is not UTF-8")


def _is_text(name: str) -> bool:
    """Can it be written as UTF-8? The consumer hands over bytes that are not UTF-8 as lone surrogates (`stream/kafka/batches/records.py`)."""
    try:
        name.encode()
    except UnicodeEncodeError:
        return False
    return True


def _check_carried(event: ContentEvent, limits: Limits) -> None:
    """Key, headers and a copied envelope are published too; the broker must not refuse the outcome for its size, or the worker stops."""
    record = event.record
    headers = sum(len(name.encode()) + len(value or b"") for name, value in record.headers)
    # All is a copy of value and headers, plus an id. A character of them may become an escape of six, and a name goes before each.
    if MOST_GROWTH * (len(record.value or b"") + headers) + len(record.key or b"") + len(event.id) < limits.max_bytes:
        return
    kept = sum(len(name.encode()) + memoryview(value).nbytes for name, value in event.fields.items())
    carried, limit = len(record.key or b"") + headers + kept, limits.max_bytes + limits.max_added_bytes
    if carried > limit:
        raise undecodable(Reason.TOO_LARGE, f"key, headers and fields have {carried} bytes together, the limit is {limit}")


def validated(
    record: Record, checked: Mapping[str, Any], fields: Fields, attributes: Mapping[str, str] | None, limits: Limits
) -> ContentEvent:
    """
    The event in an object that is strict JSON.

    Args:
        record: Where it was read.
        checked: The object as `checked_object` gives it.
        fields: Its fields, as they came.
        attributes: Of its CloudEvents envelope; None where there is none, as in every record that tagstream published.
        limits: The longest id.

    Raises:
        Refused: It is no event of the contract.
    """
    title = checked.get("title")
    if title is None:
        raise invalid(Reason.MISSING_TITLE, "title is missing")
    if not isinstance(title, str):
        raise invalid(Reason.WRONG_TYPE, f"title is a JSON {json_name(title)}, a string is expected")
    if not title.strip():
        raise invalid(Reason.MISSING_TITLE, "title is blank")
    if _is_integer(checked, fields, "id"):
        # As a string, so that `6` and `"6"` are one event, and readers find one type.
        text = bytes(fields["id"]).decode()
        checked = {**checked, "id": "0" if text == "-0" else text}
        fields = {**fields, "id": encoded(checked["id"])}
    optional = {name: _optional_string(checked, name) for name in ("id", "description", "created_on", "source")}
    if attributes is not None:
        fields = _with_attributes(fields, optional, attributes)
    declared = attributes["id"] if attributes is not None and optional["id"] is None else optional["id"]
    event_id = _event_id(record, declared, limits)
    if optional["id"] is None:
        fields = {**fields, "id": encoded(event_id)}
    source = optional["source"] or (attributes["source"] if attributes is not None else None)
    return ContentEvent(
        record=record, id=event_id, title=title, description=optional["description"], source=source, fields=fields
    )


def _with_attributes(fields: Fields, optional: Mapping[str, str | None], attributes: Mapping[str, str]) -> Fields:
    """Take `source` and `created_on` from the CloudEvents envelope where the data has none."""
    own = {"source": attributes["source"], "created_on": attributes.get("time")}
    found = {name: encoded(value) for name, value in own.items() if value and optional[name] is None}
    return fields | found


def _is_integer(checked: Mapping[str, Any], fields: Fields, name: str) -> bool:
    # All numbers of `checked` are zero, so the field's own bytes are asked.
    value = checked.get(name)
    return isinstance(value, int) and not isinstance(value, bool) and bytes(fields[name]).lstrip(b"-").isdigit()


def _optional_string(checked: Mapping[str, Any], name: str) -> str | None:
    value = checked.get(name)
    if value is not None and not isinstance(value, str):
        expected = "a string or an integer" if name == "id" else "a string"
        raise invalid(Reason.WRONG_TYPE, f"{name} is a JSON {json_name(value)}, {expected} is expected")
    return value


def _event_id(record: Record, declared: str | None, limits: Limits) -> str:
    """The producer's id; without one, a hash of the record's key and value, which is the same at every delivery."""
    if declared is None:
        key = record.key or b""
        return "sha256-" + hashlib.sha256(b"%d:%b%b" % (len(key), key, record.value or b"")).hexdigest()[:32]
    if not declared.strip() or len(declared) > limits.max_id_characters:
        raise invalid(Reason.INVALID_ID, f"id must have 1 to {limits.max_id_characters} characters and not be blank")
    return declared

"""An event as it comes: the record that a producer wrote, strict JSON, CloudEvents, and `decode`, the input contract.

`decode` reads a record of the topic `content` and returns a `ContentEvent` or a `Refusal` for any bytes. It never drops a field, and converts
only one value: an integer `id` becomes a string. Every other field keeps its bytes, so a number too large for a float is published as it
arrived. No message contains text of the event.

**Strict JSON**: UTF-8, no key twice in an object, no NaN, no U+0000, no half surrogate pair, bounded depth and length of numbers. A
value is parsed twice. Python's parser sees every string, key and number and refuses; msgspec keeps the bytes of each field as they came.

**Shape**: if the settings say that fields lie elsewhere, `located` moves the fields to their places before they are checked.

**CloudEvents 1.0**: in structured mode the envelope is the value, in binary mode it is in `ce_*` headers.
"""

import base64
import binascii
import hashlib
import json
import math
import threading
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import msgspec

from tagstream.monitoring.hiding import Hiding
from tagstream.monitoring.vocabulary import Reason
from tagstream.stream.contract.refusal import Refusal, Refused, invalid, undecodable
from tagstream.stream.contract.shape import NAMES, PLAIN, Pointer, Shape, bytes_at, first, members, spelled, value_at

Fields = dict[str, msgspec.Raw]
"""The fields of an object by name, each as its own JSON bytes."""

STRUCTURED_CONTENT_TYPE = b"application/cloudevents+json"
CLOUDEVENT_PREFIX = "ce_"
# The first byte of a value from a Schema Registry's serialiser. If a registry is set, `stream/registry` removes the frame before decoding.
FIRST_OF_FRAME = 0
# A factor far above the growth of an envelope that is copied into fields: below it, an event needs no exact sum.
MOST_GROWTH = 32
# The most bytes of dead letters for each byte that the batch took on `content`. References come on top, about half a kilobyte each.
FACTOR = 3
# The bytes of its value that a dead letter keeps if it cannot be kept whole. An event of this size or less is always kept whole.
FIRST_BYTES = 256


class Budget:
    """
    The bytes that are left for the dead letters of one batch. Several threads may share a budget.

    The broker bounds only the compressed size of a batch: 1 MB may hold 1 GB of events. If all dead letters were kept whole, as many bytes
    would be written. A dead letter beyond the budget is kept as a reference: place, SHA-256, length, first bytes and reason.

    >>> budget = Budget(100)
    >>> budget.take(250), budget.take(100), budget.take(1)
    (True, False, True)
    """

    def __init__(self, batch_bytes: int) -> None:
        """`batch_bytes` is the size of the batch on `content`."""
        self._left = batch_bytes * FACTOR
        self._lock = threading.Lock()

    def take(self, count: int) -> bool:
        """Take `count` bytes. Returns False, and takes nothing, if fewer bytes are left."""
        with self._lock:
            if count > self._left:
                return False
            self._left -= count
            return True


Headers = tuple[tuple[str, bytes], ...]

# Headers of a record that was cut because of its size: the size in bytes, and the SHA-256 of the whole value.
CUT_HEADERS = ("x-dlq-original-bytes", "x-dlq-original-sha256")
# Headers of a record that could not be read from its batch: the reason, the offsets of such records, and the SHA-256 of the batch.
UNREADABLE_HEADERS = ("x-dlq-unreadable", "x-dlq-unreadable-offsets", "x-dlq-batch-sha256")
# The most bytes that Kafka adds to a batch of one record, to the record, and to each of its headers (KIP-98, varints at their longest).
BATCH_BYTES, RECORD_BYTES, HEADER_BYTES = 61, 36, 10
# The memory of a record, and of each of its headers, beside their bytes, from the poll to the acknowledgement: objects of CPython.
RECORD_MEMORY_BYTES, HEADER_MEMORY_BYTES = 1024, 128


# Structs and no dataclasses: some are made for every event, at an eighth of the time.
class Record(Hiding, frozen=True, kw_only=True):
    """
    A record as its bytes came, or as they are to be sent.

    Attributes:
        key: The producer's key; None if there is no key.
        value: The bytes of the event; None is a tombstone.
        headers: Name and bytes of each header, in order; a name may come more than once.
        topic: The topic on which the record was read, or to which it goes; empty for a row of a file or a request.
        partition: The partition of that topic; -1 if the record has no place in a topic, or no place yet.
        offset: The offset in that partition; -1 if the record has no place in a topic, or no place yet.
        timestamp_ms: The record's own time in Unix milliseconds; 0 if it has no time.
        budget: Bounds the dead letters of the record's batch; None if no bound is needed.
    """

    hidden = frozenset({"key", "value", "headers", "budget"})

    key: bytes | None
    value: bytes | None
    headers: Headers = ()
    topic: str = ""
    partition: int = -1
    offset: int = -1
    timestamp_ms: int = 0
    budget: Budget | None = None


def weight(key: bytes | None, value: bytes | None, headers: Headers) -> int:
    """
    The most bytes that one record takes in a batch of its own, uncompressed. Compare a topic's `max.message.bytes` with this size.

    Args:
        key: The key's bytes; None counts as no bytes.
        value: The value's bytes; None counts as no bytes.
        headers: Names and bytes.

    Returns:
        Bytes.

    >>> weight(b"k", b"{}", (("a", b"1"),))
    112
    """
    carried = sum(HEADER_BYTES + len(name.encode()) + len(content or b"") for name, content in headers)
    return BATCH_BYTES + RECORD_BYTES + len(key or b"") + len(value or b"") + carried


def memory_bytes(key: bytes | None, value: bytes | None, headers: Iterable[tuple[str, bytes | None]] | None) -> int:
    """
    The approximate memory of one record in bytes. A record without key and value takes memory, too.

    Args:
        key: The key's bytes; None counts as no bytes.
        value: The value's bytes; None counts as no bytes.
        headers: Names and bytes.

    >>> memory_bytes(None, b"four", [("h", b"1")]), memory_bytes(None, None, None)
    (1158, 1024)
    """
    carried = sum(HEADER_MEMORY_BYTES + len(name) + len(content or b"") for name, content in headers) if headers else 0
    return RECORD_MEMORY_BYTES + len(key or b"") + len(value or b"") + carried


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """
    The bounds on a value that is read as an event, the places of its fields, and the form of its outcome.

    `max_bytes` leaves room for the decision below Kafka's default of one megabyte a record.
    """

    max_bytes: int = 900_000
    max_depth: int = 32
    max_id_characters: int = 256
    max_number_digits: int = 1_000
    # The most that key, headers and a copied envelope may add to `max_bytes`; with the decision, the record stays below one megabyte.
    max_added_bytes: int = 100_000
    # The largest record of `tagged` and `review`, and of the dead letters: `max.message.bytes` of their topics.
    max_outcome_bytes: int = 1_048_588
    max_dead_letter_bytes: int = 2 * 1024 * 1024
    shape: Shape = field(default=PLAIN, repr=False)
    # The shape by topic, if several topics of events are read. Each event then has a source.
    shapes: Mapping[str, Shape] = field(default_factory=dict, repr=False)
    # The `source` of outcomes that are published as CloudEvents; None for plain records.
    cloudevents_source: str | None = field(default=None, repr=False)

    def shape_of(self, topic: str) -> Shape:
        """The shape of an event of this topic. The topic of a row of a file is empty."""
        return self.shapes.get(topic, self.shape) if self.shapes else self.shape


DEFAULT_LIMITS = Limits()


class ContentEvent(Hiding, frozen=True, kw_only=True):
    """
    A valid event.

    Attributes:
        record: The record of the event. Its key and headers are published with the outcome.
        id: The producer's id, or an id made from the record's bytes.
        title: The title, not blank.
        description: The description; None if the event has none.
        source: The event's own source, or the source of its CloudEvents envelope.
        fields: Every field of the input by name, each as its own JSON bytes; `id` is always there.
    """

    hidden = frozenset({"title", "description", "fields"})

    record: Record
    id: str
    title: str
    description: str | None
    source: str | None
    fields: Fields


def decode(record: Record, limits: Limits = DEFAULT_LIMITS) -> ContentEvent | Refusal:
    """
    Read one record. Returns an event or a refusal for any bytes, and never raises.

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
    checked, fields, attributes = opened_value(record, limits)
    shape = limits.shape_of(record.topic)
    if shape is not PLAIN:
        checked, fields = located(checked, fields, shape)
    event = validated(record, checked, fields, attributes, limits)
    _check_carried(event, limits)
    return event


def opened_value(record: Record, limits: Limits) -> tuple[dict[str, Any], Fields, dict[str, str] | None]:
    """
    The object in a record, taken out of its CloudEvents envelope.

    Returns:
        The object of `checked_object`, its fields as they came, and the attributes of the envelope; None if there is no envelope.

    Raises:
        Refused: The record holds no such object.
    """
    value = whole_value(record, limits.max_bytes)
    try:
        checked = checked_object(value, limits)
    except Refused as refused:
        raise _seen_framed(value, refused.refusal) from None
    fields = fields_of(value)
    attributes = binary_attributes(record.headers)
    if attributes is not None:
        fields = {"cloudevent": encoded(attributes), **fields}
    elif is_structured(record.headers, checked, limits.shape_of(record.topic)):
        attributes, checked, fields = open_envelope(checked, fields, limits)
    return checked, fields, attributes


def _seen_framed(value: bytes, refusal: Refusal) -> Refused:
    """The refusal of bytes that are not JSON. Its message names the Schema Registry if they begin like its frame."""
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
        Refused: The record has no value, the value is empty or too large, or the record was not read whole.
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
    Check by its headers that the consumer has read the record whole.

    Raises:
        Refused: The record was cut, or could not be read from its batch, or the name of a header is not UTF-8.
    """
    for name, _ in headers:
        if name == UNREADABLE_HEADERS[0]:
            raise undecodable(Reason.UNREADABLE_BATCH, "the record cannot be read from its batch; headers say why")
        if name == CUT_HEADERS[0]:
            raise undecodable(Reason.TOO_LARGE, "the record was too large to be read whole; headers say how large")
        if not (name.isascii() or _is_text(name)):
            raise undecodable(Reason.INVALID_UTF8, "the name of a header is not UTF-8")


def _is_text(name: str) -> bool:
    """True if the name is UTF-8. The consumer gives other bytes as lone surrogates (`stream/kafka/batches/records.py`)."""
    try:
        name.encode()
    except UnicodeEncodeError:
        return False
    return True


def _check_carried(event: ContentEvent, limits: Limits) -> None:
    """Refuse an event whose key, headers and copied envelope are too large: they are published too, and the broker must accept the outcome."""
    record = event.record
    headers = sum(len(name.encode()) + len(value or b"") for name, value in record.headers)
    # The fields are copies of value and headers, plus an id. A character may become an escape of six characters, with a name before each.
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
        record: The record of the object.
        checked: The object of `checked_object`.
        fields: The object's fields, as they came.
        attributes: The attributes of the CloudEvents envelope; None if there is no envelope, as in every record that tagstream published.
        limits: Have the longest id.

    Raises:
        Refused: The object is not an event of the contract.
    """
    title = checked.get("title")
    if title is None:
        raise _no_title(checked, PLAIN.title)
    if not isinstance(title, str):
        raise invalid(Reason.WRONG_TYPE, f"title is a JSON {json_name(title)}, a string is expected")
    if not title.strip():
        raise invalid(Reason.MISSING_TITLE, "title is blank; the first text of fields.text that is not blank can be the title")
    if _is_integer(checked, fields, "id"):
        # The id becomes a string, so that `6` and `"6"` are one event, and readers find one type.
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
    if source is None and record.topic in limits.shapes:
        source, fields = record.topic, {**fields, "source": encoded(record.topic)}
    return ContentEvent(
        record=record, id=event_id, title=title, description=optional["description"], source=source, fields=fields
    )


def located(checked: Mapping[str, Any], fields: Fields, shape: Shape) -> tuple[dict[str, Any], Fields]:
    """
    Bring an event of this shape into the contract's own shape, for `validated`.

    Each field of the contract that the shape finds is moved to the top, and every other member stays in its place. A different value at the
    top under the name of such a field is kept in the field `original`.

    Args:
        checked: The object of `checked_object`.
        fields: The object's fields, as they came.
        shape: The places of the contract's fields.

    Raises:
        Refused: There is no title, or a pointer finds a value of a wrong type.
    """
    found: Fields = {}
    values: dict[str, Any] = {}
    for name in NAMES:
        place = first(checked, getattr(shape, name), filled=name == "title")
        if place is not None:
            values[name] = value_at(checked, place)
            found[name] = fields[name] if place == (name,) else bytes_at(fields[place[0]], place[1:])
            if name != "id" and not isinstance(values[name], str):
                raise _not_a_string(values[name], place, name)
    if shape.text:
        joined = _joined(checked, shape)
        values |= joined
        found |= {name: encoded(text) for name, text in joined.items()}
    elif "title" not in found:
        raise _no_title(checked, shape.title)
    moved = {name: fields[name] for name in NAMES if name in fields and found.get(name) is not fields[name]}
    # Neither a null nor the value that was found counts as a different value.
    moved = {name: raw for name, raw in moved.items() if name in found or checked[name] is not None}
    moved = {
        name: raw for name, raw in moved.items() if not (isinstance(checked[name], str) and checked[name] == values.get(name))
    }
    if moved and "original" in fields:
        moved["original"] = fields["original"]
    if moved:
        found["original"] = encoded(moved)
    kept = {name: raw for name, raw in fields.items() if name not in moved}
    return {**{name: value for name, value in checked.items() if name not in moved}, **values}, kept | found


def _joined(checked: Mapping[str, Any], shape: Shape) -> dict[str, str]:
    """The title from the first text that the shape finds, and the description from the other texts, if there are any."""
    texts = []
    for parts in shape.text:
        value = value_at(checked, parts)
        if value is not None and not isinstance(value, str):
            raise _not_a_string(value, parts, "text")
        if value is not None and value.strip():
            texts.append(value)
    if not texts:
        raise _no_title(checked, shape.text)
    title, *others = texts
    return {"title": title, **({"description": "\n".join(others)} if others else {})}


def _no_title(checked: Mapping[str, Any], pointers: Sequence[Pointer]) -> Refused:
    places = " or ".join(map(spelled, pointers)) or "a place that no setting names"
    return invalid(Reason.MISSING_TITLE, f"title is missing: nothing at {places}; {members(checked, pointers)}")


def _not_a_string(value: object, place: Pointer, name: str) -> Refused:
    return invalid(Reason.WRONG_TYPE, f"{name} is a JSON {json_name(value)} at {spelled(place)}, a string is expected")


def _with_attributes(fields: Fields, optional: Mapping[str, str | None], attributes: Mapping[str, str]) -> Fields:
    """Take `source` and `created_on` from the CloudEvents envelope if the data lacks them."""
    own = {"source": attributes["source"], "created_on": attributes.get("time")}
    found = {name: encoded(value) for name, value in own.items() if value and optional[name] is None}
    return fields | found


def _is_integer(checked: Mapping[str, Any], fields: Fields, name: str) -> bool:
    # All numbers of `checked` are zero, so the field's own bytes are checked.
    value = checked.get(name)
    return isinstance(value, int) and not isinstance(value, bool) and bytes(fields[name]).lstrip(b"-").isdigit()


def _optional_string(checked: Mapping[str, Any], name: str) -> str | None:
    value = checked.get(name)
    if value is not None and not isinstance(value, str):
        expected = "a string or an integer" if name == "id" else "a string"
        raise invalid(Reason.WRONG_TYPE, f"{name} is a JSON {json_name(value)}, {expected} is expected")
    return value


def _event_id(record: Record, declared: str | None, limits: Limits) -> str:
    """The producer's id; if there is none, a hash of the record's key and value, which is the same at every delivery."""
    if declared is None:
        key = record.key or b""
        return "sha256-" + hashlib.sha256(b"%d:%b%b" % (len(key), key, record.value or b"")).hexdigest()[:32]
    if not declared.strip() or len(declared) > limits.max_id_characters:
        raise invalid(Reason.INVALID_ID, f"id must have 1 to {limits.max_id_characters} characters and not be blank")
    return declared


def checked_object(value: bytes, limits: Limits) -> dict[str, Any]:
    """
    The JSON object in `value`, with every number replaced by zero: only for checks of shape and strings.

    Raises:
        Refused: The value is not an object, not strict JSON, or beyond the limits.
    """
    try:
        text = value.decode("utf-8")
    except UnicodeDecodeError as error:
        raise undecodable(Reason.INVALID_UTF8, f"byte {error.start} is not UTF-8") from None
    decoder = _decoder(limits.max_number_digits)
    try:
        parsed = decoder.decode(text)
    except json.JSONDecodeError as error:
        raise undecodable(Reason.INVALID_JSON, f"not JSON at character {error.pos + 1}") from None
    except RecursionError:
        raise undecodable(Reason.TOO_DEEP, f"nested deeper than {limits.max_depth} levels") from None
    if not isinstance(parsed, dict):
        raise undecodable(Reason.NOT_AN_OBJECT, f"the value is a JSON {json_name(parsed)}, an object is expected")
    # A NUL or half a surrogate pair must be escaped, and nesting needs brackets: most events need no walk.
    if "\\u" in text or text.count("{") + text.count("[") > limits.max_depth:
        _walk(parsed, limits.max_depth)
    return parsed


def _decoder(max_digits: int) -> json.JSONDecoder:
    decoder = _DECODERS.get(max_digits)
    if decoder is None:
        decoder = _DECODERS[max_digits] = json.JSONDecoder(
            object_pairs_hook=_object,
            parse_constant=_constant,
            parse_float=lambda digits: _number(digits, max_digits),
            parse_int=lambda digits: _number(digits, max_digits),
        )
    return decoder


_DECODERS: dict[int, json.JSONDecoder] = {}


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    unique = dict(pairs)
    if len(unique) != len(pairs):
        raise undecodable(Reason.DUPLICATE_KEY, "an object names the same key twice")
    return unique


def _constant(name: str) -> float:
    raise undecodable(Reason.NON_FINITE_NUMBER, f"{name} is not a JSON number")


def _number(digits: str, max_digits: int) -> int:
    if len(digits) > max_digits:
        raise undecodable(Reason.NUMBER_TOO_LONG, f"a number has {len(digits)} characters, the limit is {max_digits}")
    if ("e" in digits or "E" in digits) and not math.isfinite(float(digits)):
        raise undecodable(Reason.NON_FINITE_NUMBER, "a number is too large for a float")
    return 0


def _walk(parsed: dict[str, Any], max_depth: int) -> None:
    level: list[Any] = [parsed]
    for _ in range(max_depth):
        strings, level = _next_level(level)
        for string in strings:
            _check_string(string)
        if not level:
            return
    raise undecodable(Reason.TOO_DEEP, f"nested deeper than {max_depth} levels")


def _next_level(containers: list[Any]) -> tuple[list[str], list[Any]]:
    strings: list[str] = []
    deeper: list[Any] = []
    for container in containers:
        if isinstance(container, dict):
            strings.extend(container)
        for child in container.values() if isinstance(container, dict) else container:
            if isinstance(child, str):
                strings.append(child)
            elif isinstance(child, dict | list):
                deeper.append(child)
    return strings, deeper


def _check_string(string: str) -> None:
    if "\0" in string:
        raise undecodable(Reason.NUL_CHARACTER, "a string holds U+0000, which databases and C programs cut at")
    try:
        string.encode("utf-8")
    except UnicodeEncodeError as error:
        raise undecodable(
            Reason.LONE_SURROGATE, f"a string holds half a surrogate pair at character {error.start + 1}"
        ) from None


def fields_of(value: bytes | msgspec.Raw) -> Fields:
    """
    The fields of a JSON object, as they came.

    Raises:
        Refused: Python's parser accepts the value and msgspec does not.
    """
    try:
        return msgspec.json.decode(value, type=dict[str, msgspec.Raw])
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        # In all our tests and fuzzing, the two parsers have agreed.
        raise undecodable(Reason.INVALID_JSON, "the JSON parsers disagree on this value") from None


def encoded(value: object) -> msgspec.Raw:
    """One of our own values as the bytes of a field."""
    return msgspec.Raw(msgspec.json.encode(value))


def json_name(value: object) -> str:
    """
    The JSON name of a parsed value's type.

    >>> json_name(None), json_name(1.5)
    ('null', 'number')
    """
    names = {type(None): "null", bool: "boolean", int: "number", float: "number", str: "string", list: "array", dict: "object"}
    return names[type(value)]


def binary_attributes(headers: Headers) -> dict[str, str] | None:
    """
    The attributes of a CloudEvent in binary mode; None if the record is not such an event.

    Raises:
        Refused: An attribute is missing, not UTF-8, or holds U+0000.
    """
    if not headers or not any(name == "ce_specversion" for name, _ in headers):
        return None
    attributes: dict[str, str] = {}
    for name, value in headers:
        if name.startswith(CLOUDEVENT_PREFIX) and value is not None:
            try:
                text = value.decode("utf-8")
            except UnicodeDecodeError:
                raise invalid(Reason.INVALID_CLOUDEVENT, f"header {_known_attribute(name)} is not UTF-8") from None
            if "\0" in name + text:
                raise invalid(Reason.INVALID_CLOUDEVENT, f"header {_known_attribute(name)} holds U+0000")
            attributes[name.removeprefix(CLOUDEVENT_PREFIX)] = text
    _check_attributes(attributes)
    return attributes


def is_structured(headers: Headers, checked: Mapping[str, Any], shape: Shape = PLAIN) -> bool:
    """True if the value is an envelope: by its content type, or because it has a `specversion` and no title."""
    declared = any(
        name.lower() == "content-type" and value and value.startswith(STRUCTURED_CONTENT_TYPE) for name, value in headers
    )
    return declared or ("specversion" in checked and not shape.has_title(checked))


def open_envelope(checked: Mapping[str, Any], fields: Fields, limits: Limits) -> tuple[dict[str, str], dict[str, Any], Fields]:
    """
    Open a CloudEvent in structured mode; the envelope becomes the field `cloudevent`.

    Args:
        checked: The envelope, strictly parsed.
        fields: The envelope's fields, as they came.
        limits: Bounds on data in base64.

    Returns:
        The attributes, the checked data, and the fields of the event.

    Raises:
        Refused: An attribute is missing, or the data is not an object within the limits.
    """
    attributes = {name: value for name, value in checked.items() if isinstance(value, str) and name != "data_base64"}
    _check_attributes(attributes)
    # Copied from the bytes that came, since an extension attribute may be a number or a boolean.
    whole = {"cloudevent": encoded({name: value for name, value in fields.items() if name not in ("data", "data_base64")})}
    if "data_base64" in checked:
        decoded = _base64(checked["data_base64"])
        return attributes, checked_object(decoded, limits), whole | fields_of(decoded)
    data = checked.get("data")
    if not isinstance(data, dict):
        raise invalid(Reason.INVALID_CLOUDEVENT, f"the envelope's data is a JSON {json_name(data)}, an object is expected")
    return attributes, data, whole | fields_of(fields["data"])


def _check_attributes(attributes: Mapping[str, str]) -> None:
    if attributes.get("specversion") != "1.0":
        raise invalid(Reason.INVALID_CLOUDEVENT, "specversion is not 1.0")
    for name in ("id", "source", "type"):
        if not attributes.get(name):
            raise invalid(Reason.INVALID_CLOUDEVENT, f"the CloudEvents attribute {name} is missing or not a string")


def _base64(text: object) -> bytes:
    if not isinstance(text, str):
        raise invalid(Reason.INVALID_CLOUDEVENT, "data_base64 is not a string")
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        raise invalid(Reason.INVALID_CLOUDEVENT, "data_base64 is not base64") from None


def _known_attribute(name: str) -> str:
    return name if name in {"ce_id", "ce_source", "ce_type", "ce_time", "ce_subject"} else "of an extension"

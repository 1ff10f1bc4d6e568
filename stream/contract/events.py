"""What arrives on `content`: raw bytes in, a `ContentEvent` or a `Rejected` out. `decode` is total.

Owns the input contract: bare JSON, CloudEvents 1.0 in structured mode (the envelope is the value) and in binary mode (the
envelope is in `ce_*` headers). Never coerces, never drops a field: the value of every field is kept as the bytes that came,
so that a number too large for a float leaves as it arrived. Never puts event text into a message.
"""

import base64
import binascii
import hashlib
import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import msgspec

from monitoring.vocabulary import Reason, Stage
from stream.contract.record import Headers, Record

Fields = dict[str, msgspec.Raw]

STRUCTURED_CONTENT_TYPE = b"application/cloudevents+json"
CLOUDEVENT_PREFIX = "ce_"
# On a record that did not fit into a worker's memory and is not whole: its size in bytes, and the SHA-256 of its value.
CUT_HEADERS = ("x-dlq-original-bytes", "x-dlq-original-sha256")


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """Bounds on one event. `max_bytes` leaves room for the decision below Kafka's default of one megabyte a record."""

    max_bytes: int = 900_000
    max_depth: int = 32
    max_id_characters: int = 256
    max_number_digits: int = 1_000
    # What key, headers and a copied envelope may add to `max_bytes`: with the decision the record stays below one megabyte.
    max_added_bytes: int = 100_000
    # What a record of `tagged` or `review`, and of the dead letters, may weigh: `max.message.bytes` of their topics.
    max_outcome_bytes: int = 1_048_588
    max_dead_letter_bytes: int = 2 * 1024 * 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class ContentEvent:
    """A valid event. `fields` holds every field of the input by name, each as its own JSON bytes, `id` always among them."""

    raw: Record
    id: str
    title: str = field(repr=False)
    description: str | None = field(repr=False)
    source: str | None
    fields: Fields = field(repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Rejected:
    """An event that no decision can be made for. `message` says what is wrong, without a word of the event itself."""

    raw: Record
    stage: Stage
    reason: Reason
    message: str
    # How often it was tried before it was given up.
    attempts: int = 1


class _Refusal(Exception):
    def __init__(self, stage: Stage, reason: Reason, message: str) -> None:
        super().__init__(message)
        self.rejected = (stage, reason, message)


DEFAULT_LIMITS = Limits()


def decode(raw: Record, limits: Limits = DEFAULT_LIMITS) -> ContentEvent | Rejected:
    """
    Read one record. Total: whatever the bytes, it returns one of the two and raises nothing.

    >>> raw = Record(topic="content", partition=0, offset=7, timestamp_ms=0, key=None, value=b'{"id": "a", "title": "Hi"}')
    >>> decode(raw).title
    'Hi'
    >>> decode(Record(topic="content", partition=0, offset=8, timestamp_ms=0, key=None, value=b"[]")).reason
    <Reason.NOT_AN_OBJECT: 'not_an_object'>
    """
    try:
        return _decode(raw, limits)
    except _Refusal as refusal:
        stage, reason, message = refusal.rejected
        return Rejected(raw=raw, stage=stage, reason=reason, message=message)


def _decode(raw: Record, limits: Limits) -> ContentEvent:
    _check_headers(raw.headers)
    value = raw.value
    if value is None:
        raise _undecodable(Reason.TOMBSTONE, "the record has no value (a tombstone)")
    if not value:
        raise _undecodable(Reason.EMPTY, "the value has no bytes")
    if len(value) > limits.max_bytes:
        raise _undecodable(Reason.TOO_LARGE, f"the value has {len(value)} bytes, the limit is {limits.max_bytes}")
    checked = _checked(value, limits)
    fields = _fields(value)
    attributes = _binary_attributes(raw.headers)
    if attributes is not None:
        fields = {"cloudevent": _raw(attributes), **fields}
    elif _is_structured(raw.headers, checked):
        attributes, checked, fields = _open_envelope(checked, fields, limits)
    event = _validated(raw, checked, fields, attributes, limits)
    _check_carried(event, limits)
    return event


def _check_headers(headers: Headers) -> None:
    for name, _ in headers:
        if name == CUT_HEADERS[0]:
            raise _undecodable(Reason.TOO_LARGE, "the record was too large to be read whole; headers say how large")
        if not (name.isascii() or _is_text(name)):
            raise _undecodable(Reason.INVALID_UTF8, "the name of a header is not UTF-8")


def _is_text(name: str) -> bool:
    """Whether it can be written as UTF-8: bytes that cannot be read come as lone surrogates (`stream/kafka/records.py`)."""
    try:
        name.encode()
    except UnicodeEncodeError:
        return False
    return True


def _check_carried(event: ContentEvent, limits: Limits) -> None:
    """An envelope is copied, key and headers go on: an outcome that the broker refuses for its size would stop the worker."""
    headers = sum(len(name.encode()) + len(value or b"") for name, value in event.raw.headers)
    kept = sum(len(name.encode()) + memoryview(value).nbytes for name, value in event.fields.items())
    carried, limit = len(event.raw.key or b"") + headers + kept, limits.max_bytes + limits.max_added_bytes
    if carried > limit:
        raise _undecodable(Reason.TOO_LARGE, f"key, headers and fields have {carried} bytes together, the limit is {limit}")


# --- bytes to JSON -----------------------------------------------------------------------------------------------------


def _checked(value: bytes, limits: Limits) -> dict[str, Any]:
    """The JSON object in `value`, with numbers replaced by zero: for checks on shape and strings only."""
    try:
        text = value.decode("utf-8")
    except UnicodeDecodeError as error:
        raise _undecodable(Reason.INVALID_UTF8, f"byte {error.start} is not UTF-8") from None
    decoder = _decoder(limits.max_number_digits)
    try:
        parsed = decoder.decode(text)
    except json.JSONDecodeError as error:
        raise _undecodable(Reason.INVALID_JSON, f"not JSON at character {error.pos}") from None
    except RecursionError:
        raise _undecodable(Reason.TOO_DEEP, f"nested deeper than {limits.max_depth} levels") from None
    if not isinstance(parsed, dict):
        raise _undecodable(Reason.NOT_AN_OBJECT, f"the value is a JSON {_json_name(parsed)}, an object is expected")
    # Only an escape can bring a NUL or half a surrogate pair, and only brackets can nest: most events need no walk.
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
        raise _undecodable(Reason.DUPLICATE_KEY, "an object names the same key twice")
    return unique


def _constant(name: str) -> float:
    raise _undecodable(Reason.NON_FINITE_NUMBER, f"{name} is not a JSON number")


def _number(digits: str, max_digits: int) -> int:
    if len(digits) > max_digits:
        raise _undecodable(Reason.NUMBER_TOO_LONG, f"a number has {len(digits)} characters, the limit is {max_digits}")
    if ("e" in digits or "E" in digits) and not math.isfinite(float(digits)):
        raise _undecodable(Reason.NON_FINITE_NUMBER, "a number is too large for a float")
    return 0


def _walk(parsed: dict[str, Any], max_depth: int) -> None:
    level: list[Any] = [parsed]
    for _ in range(max_depth):
        strings, level = _next_level(level)
        for string in strings:
            _check_string(string)
        if not level:
            return
    raise _undecodable(Reason.TOO_DEEP, f"nested deeper than {max_depth} levels")


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
        raise _undecodable(Reason.NUL_CHARACTER, "a string holds U+0000, which databases and C programs cut at")
    try:
        string.encode("utf-8")
    except UnicodeEncodeError as error:
        raise _undecodable(Reason.LONE_SURROGATE, f"a string holds half a surrogate pair at character {error.start}") from None


def _fields(value: bytes | msgspec.Raw) -> Fields:
    try:
        return msgspec.json.decode(value, type=dict[str, msgspec.Raw])
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        # The two parsers agree on all that our tests and fuzzers have tried; if they ever differ, it is the event's fault.
        raise _undecodable(Reason.INVALID_JSON, "the JSON parsers disagree on this value") from None


# --- CloudEvents -------------------------------------------------------------------------------------------------------


def _binary_attributes(headers: Headers) -> dict[str, str] | None:
    """The attributes of a CloudEvent in binary mode, or None if the record is not one."""
    if not any(name == "ce_specversion" for name, _ in headers):
        return None
    attributes: dict[str, str] = {}
    for name, value in headers:
        if name.startswith(CLOUDEVENT_PREFIX) and value is not None:
            try:
                text = value.decode("utf-8")
            except UnicodeDecodeError:
                raise _invalid(Reason.INVALID_CLOUDEVENT, f"header {_known_attribute(name)} is not UTF-8") from None
            if "\0" in name + text:
                raise _invalid(Reason.INVALID_CLOUDEVENT, f"header {_known_attribute(name)} holds U+0000")
            attributes[name.removeprefix(CLOUDEVENT_PREFIX)] = text
    _check_attributes(attributes)
    return attributes


def _is_structured(headers: Headers, checked: Mapping[str, Any]) -> bool:
    declared = any(
        name.lower() == "content-type" and value and value.startswith(STRUCTURED_CONTENT_TYPE) for name, value in headers
    )
    return declared or ("specversion" in checked and "title" not in checked)


def _open_envelope(checked: Mapping[str, Any], fields: Fields, limits: Limits) -> tuple[dict[str, str], dict[str, Any], Fields]:
    attributes = {name: value for name, value in checked.items() if isinstance(value, str) and name != "data_base64"}
    _check_attributes(attributes)
    # As it came: an extension attribute may be a number or a boolean.
    whole = {"cloudevent": _raw({name: value for name, value in fields.items() if name not in ("data", "data_base64")})}
    if "data_base64" in checked:
        decoded = _base64(checked["data_base64"])
        return attributes, _checked(decoded, limits), whole | _fields(decoded)
    data = checked.get("data")
    if not isinstance(data, dict):
        raise _invalid(Reason.INVALID_CLOUDEVENT, f"the envelope's data is a JSON {_json_name(data)}, an object is expected")
    return attributes, data, whole | _fields(fields["data"])


def _check_attributes(attributes: Mapping[str, str]) -> None:
    if attributes.get("specversion") != "1.0":
        raise _invalid(Reason.INVALID_CLOUDEVENT, "specversion is not 1.0")
    for name in ("id", "source", "type"):
        if not attributes.get(name):
            raise _invalid(Reason.INVALID_CLOUDEVENT, f"the CloudEvents attribute {name} is missing or not a string")


def _base64(text: object) -> bytes:
    if not isinstance(text, str):
        raise _invalid(Reason.INVALID_CLOUDEVENT, "data_base64 is not a string")
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        raise _invalid(Reason.INVALID_CLOUDEVENT, "data_base64 is not base64") from None


def _known_attribute(name: str) -> str:
    return name if name in {"ce_id", "ce_source", "ce_type", "ce_time", "ce_subject"} else "of an extension"


# --- JSON to an event --------------------------------------------------------------------------------------------------


def _validated(
    raw: Record, checked: Mapping[str, Any], fields: Fields, attributes: Mapping[str, str] | None, limits: Limits
) -> ContentEvent:
    title = checked.get("title")
    if title is None:
        raise _invalid(Reason.MISSING_TITLE, "title is missing")
    if not isinstance(title, str):
        raise _invalid(Reason.WRONG_TYPE, f"title is a JSON {_json_name(title)}, a string is expected")
    if not title.strip():
        raise _invalid(Reason.MISSING_TITLE, "title is blank")
    optional = {name: _optional_string(checked, name) for name in ("id", "description", "created_on", "source")}
    if attributes is not None:
        fields = _with_attributes(fields, optional, attributes)
    declared = attributes["id"] if attributes is not None and optional["id"] is None else optional["id"]
    event_id = _event_id(raw, declared, limits)
    if optional["id"] is None:
        fields = {**fields, "id": _raw(event_id)}
    source = optional["source"] or (attributes["source"] if attributes is not None else None)
    return ContentEvent(raw=raw, id=event_id, title=title, description=optional["description"], source=source, fields=fields)


def _with_attributes(fields: Fields, optional: Mapping[str, str | None], attributes: Mapping[str, str]) -> Fields:
    """What a CloudEvents envelope says, as our fields where the data is silent."""
    own = {"source": attributes["source"], "created_on": attributes.get("time")}
    found = {name: _raw(value) for name, value in own.items() if value and optional[name] is None}
    return fields | found


def _raw(value: object) -> msgspec.Raw:
    return msgspec.Raw(msgspec.json.encode(value))


def _optional_string(checked: Mapping[str, Any], name: str) -> str | None:
    value = checked.get(name)
    if value is not None and not isinstance(value, str):
        raise _invalid(Reason.WRONG_TYPE, f"{name} is a JSON {_json_name(value)}, a string is expected")
    return value


def _event_id(raw: Record, declared: str | None, limits: Limits) -> str:
    """The producer's id; where there is none, one made of the record's own bytes, the same at every delivery."""
    if declared is None:
        key = raw.key or b""
        return "sha256-" + hashlib.sha256(b"%d:%b%b" % (len(key), key, raw.value or b"")).hexdigest()[:32]
    if not declared.strip() or len(declared) > limits.max_id_characters:
        raise _invalid(Reason.INVALID_ID, f"id must have 1 to {limits.max_id_characters} characters and not be blank")
    return declared


def _json_name(value: object) -> str:
    names = {type(None): "null", bool: "boolean", int: "number", float: "number", str: "string", list: "array", dict: "object"}
    return names[type(value)]


def _undecodable(reason: Reason, message: str) -> _Refusal:
    return _Refusal(Stage.DECODE, reason, message)


def _invalid(reason: Reason, message: str) -> _Refusal:
    return _Refusal(Stage.VALIDATE, reason, message)

"""Reads Avro values as JSON. fastavro reads the writer's schema, and this module reads the values' bytes.

fastavro's own reader is native code that trusts the bytes. Ten thousand levels of a recursive schema overflow the stack and end the
process. A decimal of a megabyte holds the GIL for more than ten minutes. Four bytes can request a list of a trillion nulls. So any
writer of the topic could stop every worker. The reader here bounds depth and output. The tests check that it agrees with fastavro's
reader on all values that both can read (docs/decisions/0022-schema-registry.md).
"""

import json
import struct
import uuid
from base64 import b64encode
from collections.abc import Callable, Mapping, Sequence
from datetime import date, datetime, timedelta
from typing import Any

from tagstream.model_export.extras import install
from tagstream.monitoring.vocabulary import Reason
from tagstream.stream.contract.refusal import Refused, undecodable
from tagstream.stream.settings.loading import SettingsError

Read = Callable[[bytes], bytes]
"""Returns a payload as JSON. Raises `Refused` if the payload does not match its schema, or exceeds a limit."""
# The most nested calls of the reader. One level of JSON takes two or three calls; the decoder refuses more than 32 levels.
MOST_DEPTH = 100
# fastavro sets this key in a schema that it has checked, and does not check a schema that has the key.
CHECKED = "__fastavro_parsed__"
# The same limits as for numbers in JSON. The time to write a number grows with the square of its digits.
MOST_DECIMAL_BYTES, MOST_SCALE = 415, 1000
MOST_MICROSECONDS = 24 * 60 * 60 * 1_000_000
_EPOCH = datetime(1970, 1, 1)  # noqa: DTZ001 - local timestamps have no zone
_SPECS = {3: "milliseconds", 6: "microseconds"}
# A number of 64 bits takes 10 bytes with 7 bits each.
MOST_VARINT_BYTES = 10
# The highest bit of a byte: another byte follows.
MORE = 0x80
# The most fields of records and items of arrays and maps in one value: a null takes no byte of Avro.
MOST_VALUES = 10_000
# The largest JSON of a payload: FREE_BYTES for names and values that take no byte of Avro, plus MOST_GROWTH for each byte of the payload.
# Batches are bounded by the bytes on the topic, and all events of a batch are in memory as JSON at once.
FREE_BYTES, MOST_GROWTH = 64 * 1024, 4


class SchemaError(Exception):
    """A text is not an Avro schema, or this module cannot read it; the message says why."""


class MissingExtraError(SettingsError):
    """The extra `registry` is not installed."""


class Bytes(bytes):
    """A value of Avro's type `bytes` or `fixed`. Without a logical type, it becomes base64 in JSON."""

    __slots__ = ()


def decimal(value: Bytes, schema: Mapping[str, Any]) -> str | Bytes:
    r"""
    Return all digits of a decimal.

    >>> decimal(Bytes(b"\xff\x85"), {"scale": 2}), decimal(Bytes(b"\5"), {})
    ('-1.23', '5')

    Raises:
        ValueError: The decimal has more than `MOST_DECIMAL_BYTES` bytes, about a thousand digits.
    """
    scale = schema.get("scale", 0)
    if not isinstance(scale, int) or not 0 <= scale <= MOST_SCALE:
        return value
    if len(value) > MOST_DECIMAL_BYTES:
        msg = f"a decimal has {len(value)} bytes"
        raise ValueError(msg)
    unscaled = int.from_bytes(value, "big", signed=True)
    digits = str(abs(unscaled)).zfill(scale + 1)
    sign = "-" if unscaled < 0 else ""
    return f"{sign}{digits[:-scale]}.{digits[-scale:]}" if scale else sign + digits


def day(value: int, _: Mapping[str, Any]) -> str:
    """
    Return a date, from days since 1970-01-01.

    >>> day(20783, {})
    '2026-11-26'

    Raises:
        OverflowError: The date is not in the years 1 to 9999.
    """
    return (date(1970, 1, 1) + timedelta(days=value)).isoformat()


def time_of_day(digits: int) -> Callable[[int, Mapping[str, Any]], str]:
    """Return a reader of times of day with this number of decimals of a second: 3 for milliseconds, 6 for microseconds."""

    def read(value: int, _: Mapping[str, Any]) -> str:
        microseconds = value * 10 ** (6 - digits)
        if not 0 <= microseconds < MOST_MICROSECONDS:
            msg = "it is no time of a day"
            raise ValueError(msg)
        return (_EPOCH + timedelta(microseconds=microseconds)).time().isoformat(_SPECS[digits])

    return read


def moment(digits: int, zone: str) -> Callable[[int, Mapping[str, Any]], str]:
    """
    Return a reader of timestamps since 1970, with `digits` as in `time_of_day`. `zone` is appended to the text.

    >>> moment(3, "Z")(1700000000123, {})
    '2023-11-14T22:13:20.123Z'
    """

    def read(value: int, _: Mapping[str, Any]) -> str:
        return (_EPOCH + timedelta(microseconds=value * 10 ** (6 - digits))).isoformat(timespec=_SPECS[digits]) + zone

    return read


def uuid_of(value: Bytes, _: Mapping[str, Any]) -> str | Bytes:
    """
    Return a UUID of 16 bytes as text.

    >>> uuid_of(Bytes(bytes(16)), {})
    '00000000-0000-0000-0000-000000000000'
    """
    return str(uuid.UUID(bytes=bytes(value))) if len(value) == 16 else value  # noqa: PLR2004


# The readers by Avro's type and logical type. A UUID in a string stays that string.
LOGICAL: dict[tuple[str, str], Callable[[Any, Mapping[str, Any]], Any]] = {
    ("bytes", "decimal"): decimal,
    ("fixed", "decimal"): decimal,
    ("fixed", "uuid"): uuid_of,
    ("int", "date"): day,
    ("int", "time-millis"): time_of_day(3),
    ("long", "time-micros"): time_of_day(6),
    ("long", "timestamp-millis"): moment(3, "Z"),
    ("long", "timestamp-micros"): moment(6, "Z"),
    ("long", "local-timestamp-millis"): moment(3, ""),
    ("long", "local-timestamp-micros"): moment(6, ""),
}


class Cursor:
    r"""
    Reads one payload once. Every method raises `Refused` if the bytes are wrong or end too early.

    >>> cursor = Cursor(b"\4Hi\3", max_bytes=100)
    >>> cursor.string(), cursor.long()
    ('Hi', -2)
    """

    def __init__(self, payload: bytes, max_bytes: int) -> None:
        """`max_bytes`: the largest JSON of any value. The limit for this payload is `self.max_bytes`, less for a short payload."""
        self._payload = payload
        self._at = 0
        self.max_bytes = min(max_bytes, FREE_BYTES + MOST_GROWTH * len(payload))
        # Plus one: the count includes a comma after each value, and no comma follows the outermost value.
        self._left = self.max_bytes + 1
        self._values_left = MOST_VALUES

    def end(self) -> None:
        """Require that no byte is left."""
        if self._at != len(self._payload):
            raise wrong(len(self._payload) - self._at, "bytes follow the value")

    def take(self, count: int) -> bytes:
        """Return the next `count` bytes."""
        until = self._at + count
        if count < 0 or until > len(self._payload):
            raise undecodable(Reason.INVALID_AVRO, f"the value ends after {len(self._payload)} bytes, in the middle of a field")
        taken = self._payload[self._at : until]
        self._at = until
        return taken

    def long(self) -> int:
        """Read a number of Avro's types `int` and `long`: a zigzag varint, seven bits per byte, the lowest bits first."""
        found = 0
        for position in range(MOST_VARINT_BYTES):
            byte = self.take(1)[0]
            found |= (byte & ~MORE) << (7 * position)
            if byte < MORE:
                return (found >> 1) ^ -(found & 1)
        raise wrong(MOST_VARINT_BYTES, "bytes of a number say that more follow")

    def boolean(self) -> bool:
        """Read a boolean: one byte, 0 or 1."""
        byte = self.take(1)[0]
        if byte > 1:
            raise wrong(byte, "stands where a boolean is 0 or 1")
        return byte == 1

    def string(self) -> str:
        """Read a string: its length, then its UTF-8."""
        try:
            return self.take(self.long()).decode("utf-8")
        except UnicodeDecodeError:
            raise undecodable(Reason.INVALID_UTF8, "a string of the Avro value is not UTF-8") from None

    def block(self) -> int:
        """Read the number of items in the next block of an array or a map; 0 ends it. After a negative number comes the block's size."""
        count = self.long()
        if count < 0:
            self.long()
        self.hold(abs(count))
        return abs(count)

    def hold(self, count: int) -> None:
        """Count fields or items before they are read."""
        self._values_left -= count
        if self._values_left < 0:
            raise undecodable(
                Reason.TOO_LARGE, f"the Avro value has more than {MOST_VALUES} fields and items, which is the limit"
            )

    def spend(self, count: int) -> None:
        """Count `count` bytes of the future JSON, so that a few bytes of Avro cannot become a large value."""
        self._left -= count
        if self._left < 0:
            raise self.too_large()

    def too_large(self) -> Refused:
        """Return the refusal of a value that takes more than `max_bytes` as JSON."""
        return undecodable(
            Reason.TOO_LARGE,
            f"as JSON the value has more than {self.max_bytes} bytes, which is the limit for {len(self._payload)} bytes of Avro",
        )


def wrong(number: int, what: str) -> Refused:
    """Return the refusal of bytes that do not match their schema."""
    return undecodable(Reason.INVALID_AVRO, f"{number} {what}")


def require_fastavro() -> None:
    """
    Require that the extra `registry` is installed.

    Raises:
        MissingExtraError: The extra is not installed; the message has the command.
    """
    try:
        import fastavro  # noqa: F401
    except ImportError as error:
        msg = f"schema_registry.url is set, which needs the extra `registry` ({error}). Next: {install('registry')}"
        raise MissingExtraError(msg) from error


def reader_of(schema: str, references: Sequence[str] = (), max_bytes: int = 900_000) -> Read:
    r"""
    Return the function that reads the values of a schema.

    >>> read = reader_of('{"type": "record", "name": "E", "fields": [{"name": "title", "type": ["null", "string"]}]}')
    >>> read(b"\2\4Hi")
    b'{"title":"Hi"}'

    Args:
        schema: The writer's schema, as JSON.
        references: The schemas that the schema refers to, in the order of their dependencies.
        max_bytes: The largest JSON of a value; a larger value is refused.

    Raises:
        SchemaError: A text is not an Avro schema.
    """
    named: dict[str, Any] = {}
    for text in references:
        _parsed(text, named)
    parsed = _parsed(schema, named)

    def read(payload: bytes) -> bytes:
        cursor = Cursor(payload, max_bytes)
        value = _ValueReader(cursor, named).value(parsed, 0)
        cursor.end()
        # NaN is written as `NaN`, which the decoder refuses as in any JSON.
        found = json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode()
        # The count above took escapes and multi-byte letters as one byte each, so the size is checked again.
        if len(found) > cursor.max_bytes:
            raise cursor.too_large()
        return found

    return read


def _parsed(text: str, named: dict[str, Any]) -> Any:
    """Return fastavro's parsed schema with resolved names, and add the names that it defines to `named`."""
    from fastavro.schema import parse_schema

    try:
        given = json.loads(text)
        if isinstance(given, dict):
            given.pop(CHECKED, None)
        return parse_schema(given, named_schemas=named)
    # fastavro raises exceptions of any class for a text that is not a schema. None of them may stop the stream.
    except Exception as error:  # noqa: BLE001
        msg = f"it is no Avro schema ({type(error).__name__})"
        raise SchemaError(msg) from None


def _size(value: Any) -> int:
    """Return the size of a scalar value as JSON, in bytes; for a string the least possible size."""
    # Python's None, True and False are as long as JSON's null, true and false.
    return len(value) + 2 if isinstance(value, str) else len(repr(value))


class _ValueReader:
    """Reads values of any schema from one cursor."""

    def __init__(self, cursor: Cursor, named: Mapping[str, Any]) -> None:
        self._cursor = cursor
        self._named = named
        self._plain: dict[str, Callable[[Mapping[str, Any]], Any]] = {
            "null": lambda _: None,
            "boolean": lambda _: cursor.boolean(),
            "int": lambda _: cursor.long(),
            "long": lambda _: cursor.long(),
            "float": lambda _: struct.unpack("<f", cursor.take(4))[0],
            "double": lambda _: struct.unpack("<d", cursor.take(8))[0],
            "bytes": lambda _: Bytes(cursor.take(cursor.long())),
            "fixed": lambda schema: Bytes(cursor.take(schema["size"])),
            "string": lambda _: cursor.string(),
            "enum": lambda schema: self._chosen(schema["symbols"]),
        }
        self._nested: dict[str, Callable[[Mapping[str, Any], int], Any]] = {
            "record": self._record,
            "error": self._record,
            "array": self._array,
            "map": self._map,
        }

    def value(self, schema: Any, depth: int) -> Any:
        if depth > MOST_DEPTH:
            raise undecodable(Reason.TOO_DEEP, f"the Avro value is nested deeper than {MOST_DEPTH} types")
        if isinstance(schema, list):
            return self.value(self._chosen(schema), depth + 1)
        kind = schema if isinstance(schema, str) else schema["type"]
        if not isinstance(kind, str):
            return self.value(kind, depth + 1)
        if kind in self._plain:
            found = self._simple(kind, {} if isinstance(schema, str) else schema)
            # Plus one for the comma or bracket after the value.
            self._cursor.spend(_size(found) + 1)
            return found
        if kind in self._nested:
            # Two for both brackets. The last item was counted with a comma that it does not have: that pays for the comma after the
            # bracket.
            self._cursor.spend(2)
            inside = self._nested[kind](schema, depth + 1)
            if not inside:
                self._cursor.spend(1)
            return inside
        return self.value(self._named[kind], depth + 1)

    def _simple(self, kind: str, schema: Mapping[str, Any]) -> Any:
        found = self._plain[kind](schema)
        logical = LOGICAL.get((kind, str(schema.get("logicalType"))))
        if logical is not None:
            try:
                found = logical(found, schema)
            except (OverflowError, ValueError):
                raise undecodable(Reason.INVALID_AVRO, f"a {schema['logicalType']} is out of its range") from None
        return b64encode(found).decode("ascii") if isinstance(found, Bytes) else found

    def _record(self, schema: Mapping[str, Any], depth: int) -> dict[str, Any]:
        found: dict[str, Any] = {}
        self._cursor.hold(len(schema["fields"]))
        for field in schema["fields"]:
            # The name, its quotes and the colon.
            self._cursor.spend(len(field["name"]) + 3)
            found[field["name"]] = self.value(field["type"], depth)
        return found

    def _array(self, schema: Mapping[str, Any], depth: int) -> list[Any]:
        found: list[Any] = []
        while count := self._cursor.block():
            found.extend(self.value(schema["items"], depth) for _ in range(count))
        return found

    def _map(self, schema: Mapping[str, Any], depth: int) -> dict[str, Any]:
        found: dict[str, Any] = {}
        while count := self._cursor.block():
            for _ in range(count):
                name = self._cursor.string()
                self._cursor.spend(_size(name) + 1)
                if name in found:
                    raise undecodable(Reason.DUPLICATE_KEY, "a map names the same key twice")
                found[name] = self.value(schema["values"], depth)
        return found

    def _chosen(self, options: Sequence[Any]) -> Any:
        """Read the index of a union's branch or an enum's symbol, and return that option."""
        number = self._cursor.long()
        if not 0 <= number < len(options):
            raise wrong(len(options), "choices exist, and the value names another one")
        return options[number]

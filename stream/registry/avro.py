"""Avro values as JSON: the writer's schema is read by fastavro, the bytes here.

fastavro's own reader is native code that trusts the bytes: ten thousand levels of a schema that names itself overflow the stack and end
the process, a decimal of a megabyte holds Python's lock for more than ten minutes, and four bytes can ask for a list of a trillion
nulls. Whoever writes to the topic could stop every worker so. This reader is bounded in depth and in what it makes; the tests hold that
it agrees with fastavro's on what both read (docs/decisions/0022-schema-registry.md).
"""

import json
import struct
from base64 import b64encode
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from model_export.extras import install
from monitoring.vocabulary import Reason
from stream.contract.refusal import undecodable
from stream.registry.cursor import Cursor, wrong
from stream.registry.logical import LOGICAL, Bytes

Read = Callable[[bytes], bytes]
"""A payload as JSON. Raises `Refused` if the payload is not what its schema says, or not an event that fits."""

# Calls of the reader inside each other. One level of JSON takes two or three; the decoder refuses more than 32 levels.
MOST_DEPTH = 100
# fastavro sets it in a schema that it has checked, and checks no schema that has it.
CHECKED = "__fastavro_parsed__"


class SchemaError(Exception):
    """A text is no Avro schema that can be read here; the message says why."""


class MissingExtraError(Exception):
    """The extra `registry` is not installed."""

    exit_code = 2


def require_fastavro() -> None:
    """
    Check that the extra is installed.

    Raises:
        MissingExtraError: It is not; the message has the command.
    """
    try:
        import fastavro  # noqa: F401
    except ImportError as error:
        msg = f"schema_registry.url is set, which needs the extra `registry` ({error}). Next: {install('registry')}"
        raise MissingExtraError(msg) from error


def reader_of(schema: str, references: Sequence[str] = (), max_bytes: int = 900_000) -> Read:
    r"""
    The function that reads the values of a schema.

    >>> read = reader_of('{"type": "record", "name": "E", "fields": [{"name": "title", "type": ["null", "string"]}]}')
    >>> read(b"\2\4Hi")
    b'{"title":"Hi"}'

    Args:
        schema: The writer's schema, as JSON.
        references: The schemas that it refers to, those that others need before them.
        max_bytes: A value that takes more as JSON is refused.

    Raises:
        SchemaError: It is no Avro schema.
    """
    named: dict[str, Any] = {}
    for text in references:
        _parsed(text, named)
    parsed = _parsed(schema, named)

    def read(payload: bytes) -> bytes:
        cursor = Cursor(payload, max_bytes)
        value = _Reader(cursor, named).value(parsed, 0)
        cursor.end()
        # NaN is written as such, and the decoder refuses it as it refuses it in JSON.
        found = json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode()
        # Escapes and letters of several bytes were counted as one byte each.
        if len(found) > cursor.max_bytes:
            raise cursor.too_large()
        return found

    return read


def _parsed(text: str, named: dict[str, Any]) -> Any:
    """A schema as fastavro gives it, its names resolved; those that it defines are added to `named`."""
    from fastavro.schema import parse_schema

    try:
        given = json.loads(text)
        if isinstance(given, dict):
            given.pop(CHECKED, None)
        return parse_schema(given, named_schemas=named)
    # It raises exceptions of any class for a text that is no schema, and none may stop the stream.
    except Exception as error:  # noqa: BLE001
        msg = f"it is no Avro schema ({type(error).__name__})"
        raise SchemaError(msg) from None


def _size(value: Any) -> int:
    """The bytes that a value without others in it takes as JSON; of a string the least that it can take."""
    # Python's names of null, true and false are as long as those of JSON.
    return len(value) + 2 if isinstance(value, str) else len(repr(value))


class _Reader:
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
            # And the comma or bracket after it.
            self._cursor.spend(_size(found) + 1)
            return found
        if kind in self._nested:
            # Both brackets. The last item has no comma after it, and the one after the whole stands for that.
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
        """A branch of a union, or a symbol of an enum."""
        number = self._cursor.long()
        if not 0 <= number < len(options):
            raise wrong(len(options), "choices there are, and the value names another one")
        return options[number]

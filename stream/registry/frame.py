"""The two frames of a Schema Registry, which name the schema of a value before the value's bytes or in a header. Pure.

Before the bytes: `00`, then the schema's id in four bytes. In the header `__value_schema_id`: `01`, then the schema's GUID in 16 bytes.
The header is read first, as Confluent's readers do.
"""

import struct
import uuid
from dataclasses import dataclass, field

from tagstream.monitoring.vocabulary import Reason, Stage
from tagstream.stream.contract.event import FIRST_OF_FRAME, Headers, Record
from tagstream.stream.contract.refusal import Refusal

HEADER = "__value_schema_id"
FIRST_OF_GUID = 1
ID_BYTES, GUID_BYTES = 5, 17

SchemaName = int | uuid.UUID
"""The id or the GUID of a schema in its registry."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Framed:
    """
    A value that was in a frame.

    Attributes:
        schema: The id or GUID of the schema by which the value was written.
        payload: The value without the frame.
        headers: The record's headers without the frame's header, which would be wrong on an outcome: its value is JSON.
    """

    schema: SchemaName
    payload: bytes = field(repr=False)
    headers: Headers = field(repr=False)


def framed(record: Record) -> Framed | Refusal | None:
    r"""
    Return the framed value of a record; None if there is no frame, a refusal if the frame is broken.

    >>> found = framed(Record(key=None, value=b'\0\0\0\0\7{"title":"Hi"}'))
    >>> found.schema, found.payload
    (7, b'{"title":"Hi"}')
    >>> framed(Record(key=None, value=b'{"title":"Hi"}')) is None
    True
    """
    value = record.value or b""
    named = next((content for name, content in record.headers if name == HEADER), None)
    if named is not None or any(name == HEADER for name, _ in record.headers):
        schema = _named_by(named or b"")
        if schema is None:
            return _broken(f"the header {HEADER} has {len(named or b'')} bytes and names no schema")
        others = tuple((name, content) for name, content in record.headers if name != HEADER)
        return Framed(schema=schema, payload=value, headers=others)
    if not value or value[0] != FIRST_OF_FRAME:
        return None
    schema = _named_by(value[:ID_BYTES])
    if schema is None:
        return _broken(f"the value begins as a frame and ends after {len(value)} bytes")
    return Framed(schema=schema, payload=value[ID_BYTES:], headers=record.headers)


def _named_by(content: bytes) -> SchemaName | None:
    if len(content) == ID_BYTES and content[0] == FIRST_OF_FRAME:
        found: int = struct.unpack(">I", content[1:])[0]
        return found
    if len(content) == GUID_BYTES and content[0] == FIRST_OF_GUID:
        return uuid.UUID(bytes=content[1:])
    return None


def _broken(message: str) -> Refusal:
    return Refusal(stage=Stage.DECODE, reason=Reason.INVALID_FRAME, message=message)

"""Takes values out of the frames of a Schema Registry, so that the decoder sees JSON. A record without a frame is not changed."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import msgspec

from tagstream.stream.contract.event import Record, whole_value
from tagstream.stream.contract.refusal import Refusal, Refused
from tagstream.stream.registry.frame import Framed, framed
from tagstream.stream.settings.settings import Settings

if TYPE_CHECKING:
    from tagstream.stream.registry.schemas import Schemas


class Unframing:
    """Reads the frames of batches; see `Unframe`."""

    def __init__(self, schemas: "Schemas", max_bytes: int) -> None:
        """`schemas` reads payloads. Values of more than `max_bytes` bytes are not unframed."""
        self._schemas = schemas
        self._max_bytes = max_bytes

    def __call__(self, records: Sequence[Record]) -> list[Record | Refusal]:
        """
        Return each record with its value as JSON, or its refusal, in order.

        Raises:
            RegistryError: A schema is needed, and the registry does not answer in time, refuses us, or is not a Schema Registry.
        """
        frames = [self._frame(record) for record in records]
        readers = self._schemas.readers(frame.schema for frame in frames if isinstance(frame, Framed))
        found: list[Record | Refusal] = []
        for record, frame in zip(records, frames, strict=True):
            if not isinstance(frame, Framed):
                found.append(record if frame is None else frame)
                continue
            read = readers[frame.schema]
            if isinstance(read, Refusal):
                found.append(read)
                continue
            try:
                found.append(msgspec.structs.replace(record, value=read(frame.payload), headers=frame.headers))
            except Refused as refused:
                found.append(refused.refusal)
        return found

    def _frame(self, record: Record) -> Framed | Refusal | None:
        try:
            whole_value(record, self._max_bytes)
        except Refused:
            # The decoder refuses this record too, with or without a frame.
            return None
        return framed(record)


def unframing_of(settings: Settings) -> Unframing | None:
    """
    Return the unframing of the settings; None if no Schema Registry is set. The registry is not asked yet.

    Raises:
        SecurityError: A file of the settings cannot be used.
        MissingExtraError: The extra `registry` is not installed.
    """
    given = settings.schema_registry
    if given.url is None:
        return None
    # Imported only if a registry is set.
    from tagstream.stream.registry.avro import require_fastavro
    from tagstream.stream.registry.client import Client
    from tagstream.stream.registry.schemas import Schemas

    require_fastavro()
    # Schemas and model together take less than `inference_timeout_seconds`, after which the events of a batch become suspects.
    seconds = min(given.timeout_seconds, settings.inference_timeout_seconds / 2)
    schemas = Schemas(Client(given), seconds=seconds, most=given.cache_schemas, max_bytes=settings.max_event_bytes)
    return Unframing(schemas, settings.max_event_bytes)

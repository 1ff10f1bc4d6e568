"""The records that `tagstream tail` shows: those with a tag, a decider or an id."""

from dataclasses import dataclass
from typing import Any

import msgspec

from stream.contract.record import Record


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """
    A filter of records; a field that is None takes all.

    Attributes:
        tag: Takes decisions with this tag.
        decider: Takes decisions of this decider.
        id: Takes records with this id; a record that is no JSON object with an id is taken by its key.

    >>> wanted = Wanted(tag="mlops", id="7")
    >>> [wanted.takes(Record(key=b"7", value=value)) for value in (b'{"id":7,"tag":"mlops"}', b'{"tag":"mlops"}', b"[]")]
    [True, True, False]
    """

    tag: str | None = None
    decider: str | None = None
    id: str | None = None

    def takes(self, record: Record) -> bool:
        """Whether the filter takes this record."""
        if (self.tag, self.decider, self.id) == (None, None, None):
            return True
        fields = _fields(record.value)
        own = fields.get("id")
        event_id = (record.key or b"").decode("utf-8", errors="backslashreplace") if own is None else str(own)
        return (
            (self.tag is None or fields.get("tag") == self.tag)
            and (self.decider is None or fields.get("decider") == self.decider)
            and (self.id is None or event_id == self.id)
        )


def _fields(value: bytes | None) -> dict[str, Any]:
    try:
        found = msgspec.json.decode(value or b"{}")
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}

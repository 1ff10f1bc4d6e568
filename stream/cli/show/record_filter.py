"""The filter of `tagstream tail`: selects records by tag, decider or id."""

import difflib
from dataclasses import dataclass
from typing import Any

import msgspec

from tagstream.model_export.bundle.bundle import BundleError, read
from tagstream.monitoring.vocabulary import OFF_SUBJECT, few
from tagstream.stream.contract.event import Record
from tagstream.stream.settings.settings import Settings


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordFilter:
    """
    A filter of records. A field that is None does not filter.

    Attributes:
        tag: Select decisions with this tag.
        decider: Select decisions of this decider.
        id: Select records with this id. For a record that is not a JSON object with an id, the record's key is compared.

    >>> keep = RecordFilter(tag="mlops", id="7")
    >>> [keep.takes(Record(key=b"7", value=value)) for value in (b'{"id":7,"tag":"mlops"}', b'{"tag":"mlops"}', b"[]")]
    [True, True, False]
    """

    tag: str | None = None
    decider: str | None = None
    id: str | None = None

    def takes(self, record: Record) -> bool:
        """Return True if the filter selects this record."""
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


def unknown_tag(settings: Settings, tag: str) -> str | None:
    """
    Return a warning that names the most similar label, if the bundle of the settings does not have this label; else None.

    It is a warning and not an error, because another bundle or a reviewer may have written the records.
    """
    found = unknown_label(settings, tag)
    return found and f"{found}. The records are read all the same, since another model may have written them."


def unknown_label(settings: Settings, tag: str) -> str | None:
    """Return None if the bundle of the settings or a reviewer can give this tag; else a sentence about it, without its full stop."""
    if tag == OFF_SUBJECT:
        return None
    try:
        manifest = read(settings.bundle).manifest
    except BundleError as error:
        return f"the tag {tag!r} cannot be compared with the labels of the bundle: {error}"
    if tag in manifest.labels:
        return None
    near = difflib.get_close_matches(tag.lower(), manifest.labels, n=1)
    meant = f"the nearest one is {near[0]}" if near else f"it has {few(manifest.labels)}"
    return f"the bundle {manifest.name} {manifest.version} has no label {tag!r}; {meant}"


def _fields(value: bytes | None) -> dict[str, Any]:
    try:
        found = msgspec.json.decode(value or b"{}")
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}

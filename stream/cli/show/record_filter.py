"""The records that `tagstream tail` shows: those with a tag, a decider or an id."""

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
    A filter of records; a field that is None takes all.

    Attributes:
        tag: Takes decisions with this tag.
        decider: Takes decisions of this decider.
        id: Takes records with this id; a record that is no JSON object with an id is taken by its key.

    >>> keep = RecordFilter(tag="mlops", id="7")
    >>> [keep.takes(Record(key=b"7", value=value)) for value in (b'{"id":7,"tag":"mlops"}', b'{"tag":"mlops"}', b"[]")]
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


def unknown_tag(settings: Settings, tag: str) -> str | None:
    """
    A warning if the bundle of the settings has no such label, with the label that it resembles; None if it has.

    It is a warning and no error, since the records may be of another bundle, or of a reviewer.
    """
    found = unknown_label(settings, tag)
    return found and f"{found}. The records are read all the same, since another model may have written them."


def unknown_label(settings: Settings, tag: str) -> str | None:
    """A sentence without its full stop if neither the bundle of the settings nor a reviewer gives such a tag; None if one does."""
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

"""`tagstream tail`: prints the records of a topic as they come."""

import base64
import time
from collections.abc import Callable
from typing import Any

import msgspec
from rich.text import Text

from tagstream.stream.cli.show.findings import finding_line
from tagstream.stream.cli.show.record_filter import RecordFilter
from tagstream.stream.contract.distinct import ConflictError, Distinct
from tagstream.stream.contract.event import Record
from tagstream.stream.kafka.admin import require
from tagstream.stream.kafka.reading.tail import QUIET_SECONDS, read
from tagstream.stream.kafka.rights import Operation
from tagstream.stream.settings.settings import Settings
from tagstream.stream.terminal import console
from tagstream.stream.terminal.console import out, tag_style, visible
from tagstream.stream.terminal.text import counted

ALL = RecordFilter()
CONFLICTS_SHOWN = 20


def tail(
    settings: Settings,
    topic: str,
    *,
    as_json: bool,
    from_beginning: bool,
    max_records: int | None,
    idle_seconds: float | None,
    distinct: bool = False,
    keep: RecordFilter = ALL,
) -> int:
    """
    Print the records that the filter selects. It ends when `follow` ends.

    Args:
        settings: Topic names and brokers.
        topic: The name of a topic's setting, or any topic's own name.
        as_json: Print each record as a JSON object on one line.
        from_beginning: Begin with the oldest record; if false, with the next record that comes.
        max_records: The most records to print; None for no bound.
        idle_seconds: End after this number of seconds without a record; None waits without end.
        distinct: Print each outcome once.
        keep: The filter.

    Returns:
        The number of records that were printed.

    Raises:
        BrokerUnreachableError: No broker answered.
        TopicsMissingError: The topic does not exist.
        ConflictError: With `distinct`, outcomes of one id differ. It is raised after all records have been read.
    """
    sieve = _Sieve(keep, Distinct() if distinct else None)
    try:
        shown = follow(
            settings,
            topic,
            show=lambda record: print_record(record, as_json=as_json),
            keep=sieve.takes,
            from_beginning=from_beginning,
            max_records=max_records,
            idle_seconds=idle_seconds,
        )
        if max_records is not None or idle_seconds is not None:
            sieve.say_matches()
    finally:
        sieve.say_distinct()
    sieve.raise_conflicts()
    return shown


class _Sieve:
    """Chooses the records that a tail shows, counts all records, and prints one line for each of the first `CONFLICTS_SHOWN` conflicts."""

    def __init__(self, keep: RecordFilter, known: Distinct | None) -> None:
        self._keep = keep
        self._known = known
        self._read = self._matched = 0

    def takes(self, record: Record) -> bool:
        self._read += 1
        if not self._keep.takes(record):
            return False
        self._matched += 1
        if self._known is None:
            return True
        try:
            return self._known.admit(record)
        except ConflictError as error:
            if self._known.conflicts <= CONFLICTS_SHOWN:
                what, _, _ = str(error).partition(". Next: ")
                console.talk(f"conflict: {what}")
            return False

    def say_matches(self) -> None:
        if self._keep != ALL:
            console.talk(f"{self._matched} of {counted(self._read, 'record')} matched")
        elif not self._read:
            console.talk("0 records came")

    def say_distinct(self) -> None:
        if self._known is not None:
            replaced = f"{self._known.superseded} superseded dropped, " if self._known.superseded else ""
            console.talk(
                f"{counted(self._known.first, 'distinct outcome')}, {counted(self._known.duplicates, 'duplicate')} dropped, {replaced}"
                f"{counted(self._known.conflicts, 'conflict')}, "
                f"{counted(self._known.unidentified, 'record')} not written by tagstream"
            )

    def raise_conflicts(self) -> None:
        if self._known is not None and self._known.conflicts:
            msg = (
                f"{counted(self._known.conflicts, 'conflict')}: outcomes of one id that differ in more than the time; of each id "
                f"the first one was shown. Next: did two events have one id, or did settings change between two deliveries? "
                f"docs/consumers.md says what to do."
            )
            raise ConflictError(msg)


def follow(
    settings: Settings,
    topic: str,
    *,
    show: Callable[[Record], None],
    from_beginning: bool,
    max_records: int | None,
    idle_seconds: float | None,
    keep: Callable[[Record], bool],
) -> int:
    """
    Show the records that `keep` selects. It ends after `max_records`, after `idle_seconds` without a record, or with Ctrl-C.

    Args:
        settings: Topic names and brokers.
        topic: The name of a topic's setting, or any topic's own name.
        show: Called with each record that is shown.
        from_beginning: Begin with the oldest record; if false, with the next record that comes.
        max_records: The most records to show; None for no bound.
        idle_seconds: End after this number of seconds without a record; None waits without end.
        keep: Returns True for a record to show.

    Returns:
        The number of records that were shown.

    Raises:
        BrokerUnreachableError: No broker answered.
        TopicsMissingError: The topic does not exist.
    """
    names = settings.topic_names
    name = names.get(topic, topic)
    require(settings, {topic: name}, operations={topic: Operation.READ})
    shown = 0
    waits = idle_seconds is None
    # The idle time begins with the first read, so the time to connect does not count.
    last: float | None = None
    quiet = QUIET_SECONDS if idle_seconds is None else min(QUIET_SECONDS, idle_seconds / 2)
    try:
        for records in read(settings, [name], from_beginning=from_beginning, quiet_seconds=quiet):
            for record in filter(keep, records):
                show(record)
                shown += 1
                if max_records is not None and shown >= max_records:
                    return shown
            if waits and not records:
                waits = False
                older = "" if from_beginning else "; --from-beginning shows those that are there"
                console.talk(f"waiting for new records of {name}; Ctrl-C ends{older}")
            now = time.monotonic()
            if records or last is None:
                last = now
            elif idle_seconds is not None and now - last > idle_seconds:
                return shown
    except KeyboardInterrupt:
        console.talk(counted(shown, "record"))
    return shown


def print_record(record: Record, *, as_json: bool) -> None:
    """Print one record of a topic: a JSON object with the record's place, or a short line. A drift finding takes two lines."""
    value = _json_value(record.value)
    if as_json:
        shown = {
            "topic": record.topic,
            "partition": record.partition,
            "offset": record.offset,
            "timestamp_ms": record.timestamp_ms,
            "key": _text(record.key),
            "headers": [[name, _text(header)] for name, header in record.headers],
            "value": value,
        }
        console.show_json(shown)
        return
    place = f"{record.topic} {record.partition}/{record.offset}"
    what = _answer_line(value) or _decision_line(value) or finding_line(record.value)
    if what is None:
        codes = [visible(_text(header)) for name, header in record.headers if name == "x-dlq-code"]
        what = Text(f"{'[' + codes[-1] + ']  ' if codes else ''}{visible(_text(record.value))}")
    out.print(Text.assemble((f"{place:<23} ", "dim"), what))


def _decision_line(value: Any) -> Text | None:
    """Return a decision in short; None for another record, even if it has some fields of a decision."""
    if not isinstance(value, dict) or not isinstance(value.get("tag"), str) or not isinstance(value.get("confidence"), float):
        return None
    tag, reasons, title = visible(value["tag"]), value.get("reasons"), value.get("title")
    why = f"  [{visible(', '.join(map(str, reasons)))}]" if reasons and isinstance(reasons, list) else ""
    if value.get("decider") == "reviewer":
        why = f"  [a reviewer, version {visible(str(value.get('version')))}; the model said {visible(str(value.get('model_tag')))}]"
    shown = visible(title) if isinstance(title, str) else ""
    style = tag_style(value["tag"], list(_probabilities(value)))
    return Text.assemble(f"{value['confidence']:.4f}  ", (f"{tag:<27}", style), f"  {shown}{why}")


def _answer_line(value: Any) -> Text | None:
    """Return an answer of `reviewed` in short; None for another record."""
    if not isinstance(value, dict) or not all(isinstance(value.get(name), str) for name in ("tag", "reviewer", "asked_by")):
        return None
    tag, title = visible(value["tag"]), value.get("title")
    style = tag_style(value["tag"], list(_probabilities(value.get("before"))))
    who = f"{visible(value['reviewer'])}, version {visible(str(value.get('version')))}; the model said {visible(str(value.get('model_tag')))}"
    return Text.assemble((f"{tag:<27}", style), f"  {visible(title) if isinstance(title, str) else ''}  [{who}]")


def _probabilities(holder: Any) -> dict[str, Any]:
    found = holder.get("probabilities") if isinstance(holder, dict) else None
    return found if isinstance(found, dict) else {}


def _json_value(value: bytes | None) -> Any:
    if value is None:
        return None
    try:
        return msgspec.json.decode(value)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return {"base64": base64.b64encode(value).decode()}


def _text(value: bytes | None) -> str | None:
    return None if value is None else value.decode("utf-8", errors="backslashreplace")

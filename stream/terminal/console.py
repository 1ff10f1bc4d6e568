"""What people see on the terminal: outcomes, records, findings, settings. Data to stdout, talk to stderr."""

import base64
import contextlib
import sys
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import msgspec
from rich.console import Console
from rich.progress import MofNCompleteColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn
from rich.table import Table
from rich.text import Text

from monitoring.observer import ReviewReason
from stream.contract.events import Rejected
from stream.contract.outcomes import Decision, NeedsReview, Outcome, ReviewDecision
from stream.contract.record import Record
from stream.doctor.examine import Finding, Status
from stream.settings.security import Security, shown_path
from stream.settings.settings import Loaded, Settings, known_keys

out = Console(highlight=False, soft_wrap=True)
err = Console(stderr=True, highlight=False, soft_wrap=True)
TAG_STYLES = {"natural-language-processing": "cyan", "computer-vision": "magenta", "mlops": "yellow", "other": "blue"}
STATUS_STYLES = {Status.OK: "green", Status.WARN: "yellow", Status.FAIL: "bold red"}
BAR_CELLS = 24
# Of the column of the doctor's checks; a name may have 249 characters, and moves the text of its own line alone.
SHORTEST_NAMES, LONGEST_NAMES = 16, 40


def talk(message: str) -> None:
    """A sentence for the person, on stderr."""
    err.print(message)


def show(text: str) -> None:
    """Lines of data, on stdout, as they are."""
    out.print(text, markup=False)


def print_lines(lines: Iterable[str], *, as_json: bool) -> None:
    """Commands to run, one a line; as JSON each is an object."""
    for line in lines:
        sys.stdout.write(f"{msgspec.json.encode({'command': line}).decode()}\n" if as_json else f"{line}\n")
    sys.stdout.flush()


@contextlib.contextmanager
def progress(what: str, *, shown: bool) -> Iterator[Callable[[], None]]:
    """A counter of rows on a terminal, nothing elsewhere; yields what advances it by one."""
    if not (shown and err.is_terminal):
        yield lambda: None
        return
    columns = (SpinnerColumn(), TextColumn("{task.description}"), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=err, transient=True) as bar:
        task = bar.add_task(what, total=None)
        yield lambda: bar.advance(task)


def print_outcome(outcome: Outcome, *, line: int | None) -> None:
    """
    One outcome for people: of a file's row a line, of a text, which has no `line`, every probability.

    A row that is refused is found by its line, and in the JSON of the same input by its number.
    """
    whole = line is None
    if isinstance(outcome, Rejected):
        place = "" if whole else f"line {line} (row {outcome.raw.offset})  "
        out.print(Text.assemble(("rejected", "bold red"), f"  {place}{outcome.reason.value}: {outcome.message}"))
        return
    decision = outcome.decision
    unsure = isinstance(outcome, NeedsReview)
    door = Text("review", style="bold yellow") if unsure else Text("tagged", style="green")
    shown = Text.assemble(door, "  ", f"{decision.confidence:.4f}  ", (f"{decision.tag:<27}", TAG_STYLES.get(decision.tag, "")))
    out.print(shown if whole else shown.append(f"  {visible(outcome.event.title)}"))
    if whole:
        for label, probability in sorted(decision.probabilities.items(), key=lambda item: -item[1]):
            bar = "█" * round(probability * BAR_CELLS)
            out.print(Text.assemble(f"        {probability:.4f}  ", (f"{label:<27}", TAG_STYLES.get(label, "")), f"  {bar}"))
        if decision.tags:
            out.print(Text(f"        about {', '.join(decision.tags)}"))
        if unsure:
            out.print(Text(f"        {_why_asked(decision)}: a person would be asked", style="dim"))
        out.print(Text(f"        {decision.model.name} {decision.model.version}  {decision.model.digest[:12]}", style="dim"))


def _why_asked(decision: Decision) -> str:
    """The reasons in words; what is strange may be sure."""
    reasons = decision.reasons if isinstance(decision, ReviewDecision) else ()
    unsure = (
        f"the bundle leaves no {decision.tag} to the model"
        if decision.threshold > 1
        else f"below the threshold {decision.threshold} of {decision.tag}"
    )
    words = {ReviewReason.LOW_CONFIDENCE: unsure, ReviewReason.OUT_OF_DISTRIBUTION: "unlike what the model was made for"}
    return ", ".join(words.get(reason, reason.value.replace("_", " ")) for reason in reasons)


def print_record(record: Record, *, as_json: bool) -> None:
    """One record of a topic: a JSON object with its place, or a short line."""
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
        sys.stdout.buffer.write(msgspec.json.encode(shown) + b"\n")
        sys.stdout.flush()
        return
    place = f"{record.topic}/{record.partition}@{record.offset}"
    what = _decision_line(value)
    if what is None:
        codes = [visible(_text(header)) for name, header in record.headers if name == "x-dlq-code"]
        what = Text(f"{'[' + codes[-1] + ']  ' if codes else ''}{visible(_text(record.value))}")
    out.print(Text.assemble((f"{place:<24}", "dim"), what))


def _decision_line(value: Any) -> Text | None:
    """A decision in short; None for what is none, though a producer may have given it a decision's names."""
    if not isinstance(value, dict) or not isinstance(value.get("tag"), str) or not isinstance(value.get("confidence"), float):
        return None
    tag, reasons, title = visible(value["tag"]), value.get("reasons"), value.get("title")
    why = f"  [{visible(', '.join(map(str, reasons)))}]" if reasons and isinstance(reasons, list) else ""
    shown = visible(title) if isinstance(title, str) else ""
    return Text.assemble(f"{value['confidence']:.4f}  ", (f"{tag:<27}", TAG_STYLES.get(tag, "")), f"  {shown}{why}")


def _json_value(value: bytes | None) -> Any:
    if value is None:
        return None
    try:
        return msgspec.json.decode(value)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return {"base64": base64.b64encode(value).decode()}


def _text(value: bytes | None) -> str | None:
    return None if value is None else value.decode("utf-8", errors="backslashreplace")


def visible(text: str | None, limit: int = 160) -> str:
    r"""
    Event text for a terminal: what is invisible, moves the cursor or reorders is escaped, so that a record cannot draw on it.

    >>> print(visible("a\x1b[2Jb \u202ec"))
    a\x1b[2Jb \u202ec
    """
    if text is None:
        return "(no value)"
    shown = "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text[:limit])
    return shown + ("…" if len(text) > limit else "")


def finding(settings: Settings, *, as_json: bool) -> Callable[[Finding], None]:
    """What prints one finding of the doctor, in columns that have room for the names of these topics."""
    # Findings come one by one, and the longest names that they bear are known before.
    longest = max(len(f"topic {name}") for name in settings.topics.model_dump().values())
    names = min(max(SHORTEST_NAMES, longest), LONGEST_NAMES)

    def print_json(found: Finding) -> None:
        sys.stdout.buffer.write(msgspec.json.encode(found) + b"\n")
        sys.stdout.flush()

    def print_line(found: Finding) -> None:
        out.print(
            Text.assemble(
                (f"{found.status.value:<5}", STATUS_STYLES[found.status]), (f"{found.check:<{names}}  ", "bold"), found.detail
            )
        )
        if found.fix:
            out.print(Text(f"{'':<{names + 7}}next: {found.fix}", style="dim"))

    return print_json if as_json else print_line


def print_settings(loaded: Loaded, *, sources: bool, as_json: bool) -> None:
    """Every setting with its value, its origin if asked, and its meaning: a table on a terminal, elsewhere a line each."""
    rows = [(key, _lookup(loaded.settings, key), loaded.origins.get(key, "default")) for key in known_keys()]
    if as_json:
        for key, value, origin in rows:
            sys.stdout.buffer.write(msgspec.json.encode({"key": key, "value": value, "source": origin}) + b"\n")
        return
    if not sys.stdout.isatty():
        # A program reads it, or a file keeps it: a value is in one piece, however long.
        for key, value, origin in rows:
            shown = "-" if value is None else visible(str(value), limit=len(str(value)))
            sys.stdout.write(f"{key} = {shown}{f'  ({origin})' if sources else ''}  # {_meaning(key)}\n")
        sys.stdout.flush()
        return
    table = Table(box=None, pad_edge=False)
    for column in ("setting", "value", *(["source"] if sources else []), "meaning"):
        table.add_column(column, overflow="fold", no_wrap=column == "setting")
    for key, value, origin in rows:
        shown = "-" if value is None else str(value)
        table.add_row(key, shown, *([origin] if sources else []), _meaning(key))
    Console(highlight=False).print(table)


def _lookup(settings: Settings, key: str) -> Any:
    value: Any = settings
    for part in key.split("."):
        value = getattr(value, part)
    if isinstance(value, Path):
        return shown_path(key, value)
    return value if isinstance(value, str | int | float | None) else str(value)


def _meaning(key: str) -> str:
    if key.startswith("topics."):
        return f"name of the topic {key.removeprefix('topics.')}"
    if key.startswith("security."):
        return Security.model_fields[key.removeprefix("security.")].description or ""
    return Settings.model_fields[key].description or ""

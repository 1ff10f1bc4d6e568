"""
The samples of the demo: events, with malformed bytes at regular intervals.

The events are 441 events that were written for the demo, and the rows of the authored corpus that no bundle is trained on. A bundle's
reference is made from the same rows, so a stream of these rows does not drift.
"""

import base64
import itertools
import random
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from importlib.resources import files
from pathlib import Path

import msgspec

from tagstream.model_export.bundle.bundle import BundleError, read
from tagstream.model_export.data.corpus import CORPUS, NOT_ML, CorpusLine
from tagstream.model_export.data.madewithml import LABELS
from tagstream.model_export.data.reader import RowsError, rows_of
from tagstream.model_export.data.splits import part_of_topic
from tagstream.monitoring.vocabulary import Reason
from tagstream.stream.contract.answers import OFF_SUBJECT
from tagstream.stream.contract.event import Record, decode
from tagstream.stream.contract.refusal import Refusal
from tagstream.stream.settings.settings import Settings

# One record in 125 is malformed: the first arrives within seconds, and the share stays below the 1 % that raises an alarm.
EVENTS_PER_MALFORMED = 124
# A row of the corpus has a register but no source. This is the source for each register.
SOURCES = {
    "paper": "papers",
    "repository": "repositories",
    "release": "repositories",
    "question": "forum",
    "announcement": "announcements",
}
OTHER_SOURCE = "posts"


@dataclass(frozen=True, slots=True, kw_only=True)
class SampleRecord:
    """
    One record for `content`.

    Attributes:
        key: The key, unique within a run. The outcome of a sample is found by its key.
        value: The bytes to send.
        title: The title of an event, or the name of a malformed sample.
        code: The expected code of the dead letter; None for an event.
    """

    key: str
    value: bytes = field(repr=False)
    title: str
    code: Reason | None = None


class _Malformed(msgspec.Struct, frozen=True):
    name: str
    code: Reason
    base64: str


def load_events() -> list[dict[str, str]]:
    """Return the sample events as JSON objects, always in the same shuffled order."""
    written = msgspec.json.decode(b"[" + b",".join(_lines("samples.jsonl")) + b"]", type=list[dict[str, str]])
    held_out = [row for row in corpus_lines() if row.tag != NOT_ML and part_of_topic(row.topic) != "train"]
    events = [*written, *(_event(row, number) for number, row in enumerate(held_out, len(written) + 1))]
    random.Random("samples").shuffle(events)  # noqa: S311 - an order, not a secret
    return events


def events_of(path: Path) -> tuple[list[dict[str, str]], dict[str, str]]:
    """
    Return the events of a user's file, and the labels of its rows by title. The scripted reviewer answers with these labels.

    Args:
        path: CSV or JSON Lines, as for `tagstream send`. Of several rows with the same id, the last one is used.

    Raises:
        RowsError: The file cannot be read or has no rows, or a row would become a dead letter.
    """
    events, labels = {}, {}
    for row in rows_of(str(path)):
        found = decode(Record(key=None, value=row.value))
        if isinstance(found, Refusal):
            msg = f"line {row.line} of {path} would become a dead letter: {found.message}. Next: correct it, or give another file."
            raise RowsError(msg)
        optional = {"description": found.description, "source": found.source}
        events[found.id] = {"id": found.id, "title": found.title} | {name: value for name, value in optional.items() if value}
        tag = msgspec.json.decode(found.fields["tag"]) if "tag" in found.fields else None
        if isinstance(tag, str):
            labels[" ".join(found.title.split())] = tag
    if not events:
        msg = f"{path} has no row. Next: give a file with events."
        raise RowsError(msg)
    return list(events.values()), labels


def known_labels() -> dict[str, str]:
    """
    Return the right answer for each title of the corpus: a label, or `off_subject` for texts that are not about machine learning.

    Titles with two labels are left out. The events that were written for the demo have no label and are left out too.
    """
    found: defaultdict[str, set[str]] = defaultdict(set)
    for row in corpus_lines():
        found[" ".join(row.title.split())].add(OFF_SUBJECT if row.tag == NOT_ML else row.tag)
    return {title: tag for title, (tag, *others) in found.items() if not others}


def other_labels(settings: Settings) -> tuple[str, ...]:
    """Return the labels of the settings' bundle if they differ from the labels of the samples; empty if the bundle cannot be read."""
    try:
        labels = read(settings.bundle).manifest.labels
    except BundleError:
        # The demo's worker reports the error.
        return ()
    return () if set(labels) == set(LABELS) else labels


def load_malformed() -> list[SampleRecord]:
    """Return the malformed samples with the codes of their dead letters. Each code appears once before a code appears twice."""
    rows = [msgspec.json.decode(line, type=_Malformed) for line in _lines("malformed.jsonl")]
    by_code: dict[Reason, list[_Malformed]] = {}
    for row in rows:
        by_code.setdefault(row.code, []).append(row)
    turns = itertools.zip_longest(*by_code.values())
    return [
        SampleRecord(
            key=f"malformed-{row.name}", value=base64.b64decode(row.base64, validate=True), title=row.name, code=row.code
        )
        for turn in turns
        for row in turn
        if row is not None
    ]


def mix(events: Sequence[dict[str, str]], malformed: Sequence[SampleRecord], *, run: str = "") -> Iterator[SampleRecord]:
    """
    Yield samples without end: after every `EVENTS_PER_MALFORMED` events one malformed sample.

    When all events (or all malformed samples) are used up, they are repeated under new ids: `sample-0001` is `sample-0001-2` in the second
    round, because the stream takes a repeated id for a redelivery.

    Args:
        events: JSON objects with `id` and `title`.
        malformed: Malformed samples to mix in; may be empty.
        run: Added to every id, for runs that share a broker.
    """
    good = _rounds([event["id"] for event in events], run)
    bad = _rounds([sample.key for sample in malformed], run)
    while True:
        for key, position in itertools.islice(good, EVENTS_PER_MALFORMED):
            event = {**events[position], "id": key}
            yield SampleRecord(key=key, value=msgspec.json.encode(event), title=event["title"])
        for key, position in itertools.islice(bad, 1):
            sample = malformed[position]
            yield SampleRecord(key=key, value=sample.value, title=sample.title, code=sample.code)


def corpus_lines(files: str = "*.jsonl") -> Iterator[CorpusLine]:
    """Yield the lines of the authored corpus from the files that match a pattern."""
    for path in sorted(CORPUS.glob(files)):
        for line in path.read_bytes().splitlines():
            yield msgspec.json.decode(line, type=CorpusLine)


def _event(row: CorpusLine, number: int) -> dict[str, str]:
    described = {"description": row.description} if row.description else {}
    return {
        "id": f"sample-{number:04d}",
        "title": row.title,
        **described,
        "source": SOURCES.get(row.register, OTHER_SOURCE),
    }


def _rounds(ids: Sequence[str], run: str) -> Iterator[tuple[str, int]]:
    """Yield every id with its position, round after round. Each id ends with `run`, and from the second round on with the round's number."""
    for number in itertools.count(1) if ids else ():
        ending = "".join(f"-{part}" for part in ("" if number == 1 else str(number), run) if part)
        for position, name in enumerate(ids):
            yield name + ending, position


def _lines(name: str) -> list[bytes]:
    return files("tagstream.stream.demo").joinpath("data", name).read_bytes().splitlines()

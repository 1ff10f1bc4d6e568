"""The forms of an output file: CSV and JSON Lines; Parquet is in `stream/batch/parquet.py`. An output is written in parts, and a part is whole or not there."""

import csv
import io
import re
import shutil
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any, BinaryIO, Literal, Protocol

import msgspec

from tagstream.model_export.data.reader import Columns
from tagstream.stream.batch.run import Chunk, DecidedRow, RowSource
from tagstream.stream.contract.event import Fields
from tagstream.stream.contract.outcome import Decision
from tagstream.stream.decide.answer import MODEL_PARTS, OVERRIDDEN

FormatName = Literal["csv", "jsonl", "parquet"]
SUFFIXES: dict[str, FormatName] = {
    ".csv": "csv",
    ".jsonl": "jsonl",
    ".ndjson": "jsonl",
    ".parquet": "parquet",
    ".pq": "parquet",
}
# A spreadsheet computes a cell that begins so, unless it is a plain number: the list of OWASP, and the wide forms that some languages type.
FORMULA = re.compile(r"(?![+-]?\d+(\.\d+)?(e[+-]?\d+)?\Z)[=+\-@\t\r\n\uff1d\uff0b\uff0d\uff20]", re.IGNORECASE)
COLUMNS = (
    "event_id",
    "destination",
    *(
        column
        for name in Decision.__struct_fields__
        for column in ([f"model_{part}" for part in MODEL_PARTS] if name == "model" else [name])
    ),
    "tagged_at",
)


class Format(Protocol):
    """
    How decisions are written.

    Attributes:
        suffix: Of a file.
    """

    suffix: str

    def piece(self, chunk: Chunk, decided: list[DecidedRow]) -> Any:
        """The decisions of one chunk, as `write` takes them."""
        ...

    def write(self, part: Path, pieces: list[Any]) -> None:
        """Write a part: a whole file of this form."""
        ...

    def join(self, parts: list[Path], out: Path) -> None:
        """Write the rows of all parts, in order, into one file."""
        ...


class JsonLines:
    """The line of `classify --json` for each decision. Implements `Format`."""

    suffix = ".jsonl"

    def piece(self, chunk: Chunk, decided: list[DecidedRow]) -> bytes:
        """As of `Format`."""
        del chunk
        return b"".join(found.answer + b"\n" for found in decided)

    def write(self, part: Path, pieces: list[bytes]) -> None:
        """As of `Format`."""
        part.write_bytes(b"".join(pieces))

    def join(self, parts: list[Path], out: Path) -> None:
        """As of `Format`."""
        with out.open("wb") as whole:
            append(parts, whole)


class Csv:
    """
    The input's columns, then those of the decision. Implements `Format`.

    A cell is text: lists and objects are JSON, numbers have the digits of the JSON answer, and what is absent is empty.
    """

    suffix = ".csv"

    def __init__(self, source: RowSource, columns: Columns, *, escape_formulas: bool = False) -> None:
        """
        Take the header from the source.

        Args:
            source: Its columns come first.
            columns: The columns of the source that are fields of the event.
            escape_formulas: An apostrophe goes before a cell that a spreadsheet would compute.
        """
        self._cell: Callable[[str], str] = _not_a_formula if escape_formulas else str
        of_file = columns.of_file
        self._fields = [of_file.get(name, name) for name in source.columns]
        kept = [f"{OVERRIDDEN}{name}" if name.lower() in COLUMNS else name for name in source.columns]
        self._header = self._csv([[*kept, *COLUMNS]])

    def piece(self, chunk: Chunk, decided: list[DecidedRow]) -> bytes:
        """As of `Format`."""
        del chunk
        return self._csv(self._cells(found) for found in decided)

    def write(self, part: Path, pieces: list[bytes]) -> None:
        """As of `Format`."""
        part.write_bytes(b"".join([self._header, *pieces]))

    def join(self, parts: list[Path], out: Path) -> None:
        """As of `Format`."""
        with out.open("wb") as whole:
            whole.write(self._header)
            append(parts, whole, skip=len(self._header))

    def _cells(self, found: DecidedRow) -> list[str]:
        outcome = found.outcome
        published: Fields = msgspec.json.decode(found.publication.value or b"", type=Fields)
        model: Fields = msgspec.json.decode(published["model"], type=Fields)
        ours = {
            **{name: published[name] for name in COLUMNS if name in published and (name != "tags" or outcome.decision.tags)},
            **{f"model_{name}": value for name, value in model.items()},
        }
        return [
            *(cell_of(found, field) or "" for field in self._fields),
            outcome.event.id,
            found.publication.destination.value,
            *(_text(ours.get(name)) or "" for name in COLUMNS[2:]),
        ]

    def _csv(self, rows: Iterable[Sequence[str]]) -> bytes:
        text = io.StringIO(newline="")
        csv.writer(text, lineterminator="\n").writerows([self._cell(cell) for cell in row] for row in rows)
        return text.getvalue().encode()


def append(parts: list[Path], whole: BinaryIO, *, skip: int = 0) -> None:
    """
    Append files to one.

    Args:
        parts: In this order.
        whole: Open to be written.
        skip: So many bytes of the beginning of each are left out.
    """
    for part in parts:
        with part.open("rb") as content:
            content.seek(skip)
            shutil.copyfileobj(content, whole)


def cell_of(found: DecidedRow, field: str) -> str | None:
    """A field of the event as text: that of a string, and other values as they are written. None where it is null or absent."""
    return _text(found.outcome.event.fields.get(field))


def _text(raw: msgspec.Raw | None) -> str | None:
    if raw is None:
        return None
    text = bytes(raw).decode()
    if text.startswith('"'):
        return str(msgspec.json.decode(raw, type=str))
    return None if text == "null" else text


def _not_a_formula(cell: str) -> str:
    """
    A cell that a spreadsheet shows as it is.

    >>> [_not_a_formula(cell) for cell in ("=1+1", "-1.5e3", "-1+1", "a=1", "")]
    ["'=1+1", '-1.5e3', "'-1+1", 'a=1', '']
    """
    return f"'{cell}" if FORMULA.match(cell) else cell

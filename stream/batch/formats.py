"""The output formats CSV and JSON Lines (Parquet is in `stream/batch/parquet.py`). An output is written in parts."""

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
# Spreadsheets compute a cell that begins like this, unless it is a plain number. The characters are OWASP's list and their full-width
# forms.
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
    An output format.

    Attributes:
        suffix: The suffix of a file, with its dot.
    """

    suffix: str

    def piece(self, chunk: Chunk, decided: list[DecidedRow]) -> Any:
        """Return the decisions of one chunk in the form that `write` takes."""
        ...

    def write(self, part: Path, pieces: list[Any]) -> None:
        """Write a part, which is a complete file of this format."""
        ...

    def join(self, parts: list[Path], out: Path) -> None:
        """Write the rows of all parts, in order, into one file."""
        ...


class JsonLines:
    """JSON Lines: the line of `classify --json` for each decision. Implements `Format`."""

    suffix = ".jsonl"

    def piece(self, chunk: Chunk, decided: list[DecidedRow]) -> bytes:
        """See `Format`."""
        del chunk
        return b"".join(found.answer + b"\n" for found in decided)

    def write(self, part: Path, pieces: list[bytes]) -> None:
        """See `Format`."""
        part.write_bytes(b"".join(pieces))

    def join(self, parts: list[Path], out: Path) -> None:
        """See `Format`."""
        with out.open("wb") as whole:
            append(parts, whole)


class Csv:
    """
    CSV: the input's columns, then the decision's columns. Implements `Format`.

    Cells are text. Lists and objects are JSON, numbers have the digits of the JSON answer, and absent values are empty.
    """

    suffix = ".csv"

    def __init__(self, source: RowSource, columns: Columns, *, escape_formulas: bool = False) -> None:
        """
        Take the header from the source.

        Args:
            source: The input. Its columns come first.
            columns: The columns of the source that are fields of the event.
            escape_formulas: Put an apostrophe before a cell that a spreadsheet would compute.
        """
        self._cell: Callable[[str], str] = _not_a_formula if escape_formulas else str
        of_file = columns.of_file
        self._fields = [of_file.get(name, name) for name in source.columns]
        kept = [f"{OVERRIDDEN}{name}" if name.lower() in COLUMNS else name for name in source.columns]
        self._header = self._csv([[*kept, *COLUMNS]])

    def piece(self, chunk: Chunk, decided: list[DecidedRow]) -> bytes:
        """See `Format`."""
        del chunk
        return self._csv(self._cells(found) for found in decided)

    def write(self, part: Path, pieces: list[bytes]) -> None:
        """See `Format`."""
        part.write_bytes(b"".join([self._header, *pieces]))

    def join(self, parts: list[Path], out: Path) -> None:
        """See `Format`."""
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
    Append files to an open file.

    Args:
        parts: The files, in this order.
        whole: The file to append to, open for writing.
        skip: The number of bytes to leave out at the beginning of each file.
    """
    for part in parts:
        with part.open("rb") as content:
            content.seek(skip)
            shutil.copyfileobj(content, whole)


def cell_of(found: DecidedRow, field: str) -> str | None:
    """Return a field of the event as text: a string's text, other values as JSON. None if the field is null or absent."""
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
    Return a cell that a spreadsheet shows and does not compute.

    >>> [_not_a_formula(cell) for cell in ("=1+1", "-1.5e3", "-1+1", "a=1", "")]
    ["'=1+1", '-1.5e3', "'-1+1", 'a=1', '']
    """
    return f"'{cell}" if FORMULA.match(cell) else cell

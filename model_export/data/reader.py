"""
The reader of rows from CSV with a header, JSON Lines, standard input and Parquet.

All commands read rows with this module. `batch`, `classify`, `send` and `contract check` read events; `model train --data` and related
commands read labelled texts. So a file has the same rows, line numbers and errors in every command. A row of CSV or JSON Lines is a JSON
object as bytes. Parquet has typed columns, so its reader returns record batches. pyarrow comes with the extra `batch`, and is imported
only for Parquet.
"""

import contextlib
import csv
import io
import json
import sys
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, NamedTuple, Self

import msgspec

from tagstream.model_export.bundle.json_object import object_of
from tagstream.model_export.extras import install
from tagstream.monitoring.vocabulary import Reason

if TYPE_CHECKING:
    import pyarrow as pa

CSV_SUFFIXES = frozenset({".csv"})
JSON_SUFFIXES = frozenset({".jsonl", ".ndjson", ".json"})
PARQUET_SUFFIXES = frozenset({".parquet", ".pq"})
# The largest chunk in rows and in bytes. This bounds the memory for an input of any size.
ROWS_AT_ONCE = 256
BYTES_AT_ONCE = 4 * 1024 * 1024
# The largest row and the largest line. An unclosed quote joins the rest of a file to one row, and this row must not fill the memory.
MOST_BYTES = 64 * 1024 * 1024
# Columns whose empty cells count as missing. CSV has no null, so an event without an id has an empty cell. "" is a column without a
# name, as spreadsheets write it.
NONE_IF_EMPTY = frozenset({"", "id", "description"})
NOT_CSV = "not_csv"

csv.field_size_limit(2**31 - 1)


class RowsError(Exception):
    """A file cannot be read as rows, or its rows cannot be used. The message names the file, the place, the reason and the next step."""

    exit_code = 2


class Fault(NamedTuple):
    """
    An invalid row of a file.

    Attributes:
        code: The code of a dead letter, or `not_csv`.
        why: The reason, without the row's text.
        step: The next step.
    """

    code: str
    why: str
    step: str

    @property
    def message(self) -> str:
        """The reason and the next step as sentences."""
        return f"{self.why}. Next: {self.step}"


@dataclass(frozen=True, slots=True)
class InputRow:
    """
    One row of an input.

    Attributes:
        line: The number of the row's first line, from 1. Blank lines count, so an editor shows the same number. Of Parquet, the number of
            the row.
        value: A JSON object as bytes. A line of JSON Lines is passed on unchanged, even if it is not a JSON object.
        fault: The reason why the row is invalid; `value` is then the raw lines. None for a valid row. Set only if the reader continues
            after invalid rows.
    """

    line: int
    value: bytes
    fault: Fault | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Columns:
    """
    The column name of each event field in a file (`--title`, `--description`, `--id`). None: the column has the field's name.

    >>> Columns(title="Title", description="Body").of_file
    {'Title': 'title', 'Body': 'description'}
    """

    title: str | None = None
    description: str | None = None
    id: str | None = None

    def __post_init__(self) -> None:
        """
        Check that the column names are distinct.

        Raises:
            RowsError: A name is given for two fields, or a name is empty.
        """
        given = [name for field in fields(self) if (name := getattr(self, field.name)) is not None]
        for name in given:
            if not name or given.count(name) > 1:
                msg = f"{name!r} cannot be the name of {'two fields' if name else 'a field'}. Next: name a column of the file for each."
                raise RowsError(msg)

    @property
    def of_file(self) -> dict[str, str]:
        """The field of each renamed column, by column name. Columns that have the field's own name are not included."""
        given = {field.name: getattr(self, field.name) for field in fields(self)}
        return {name: field for field, name in given.items() if name not in {None, field}}

    def header(self, name: str, header: Sequence[str]) -> list[str]:
        """
        Return the columns of a file, renamed to event fields.

        Args:
            name: The name of the file, for the error.
            header: The columns of the file.

        Raises:
            RowsError: A column is missing, or two columns have the same field.

        >>> Columns(title="Headline").header("a.csv", ["id", "Headline"])
        ['id', 'title']
        """
        of_file = self.of_file
        for column, field in of_file.items():
            if column not in header:
                raise no_column(name, column, field, header)
        found = [of_file.get(column, column) for column in header]
        if "title" not in found:
            raise no_column(name, "title", "title", header)
        refuse_twice(name, found)
        return found

    def row(self, name: str, row: InputRow) -> InputRow:
        """
        Return a JSON row with its keys renamed to event fields. The values keep their bytes.

        The row gets a fault if its object has both a renamed column and the field of that column. A row that is not a strict JSON object
        is returned unchanged: the decoder rejects it later.

        >>> Columns(title="Headline").row("a.jsonl", InputRow(1, b'{"Headline": "Hi", "n": 1.10}')).value
        b'{"title":"Hi","n":1.10}'
        """
        of_file = self.of_file
        if not of_file:
            return row
        try:
            object_of(row.value)
            found = msgspec.json.decode(row.value, type=dict[str, msgspec.Raw])
        except (ValueError, msgspec.DecodeError, RecursionError):
            return row
        for column, field in of_file.items():
            if column in found and field in found and field not in of_file:
                why = f"{name}, line {row.line}: it has {column!r}, which --{field} names, and {field!r}"
                return replace(row, fault=Fault(Reason.DUPLICATE_KEY.value, why, "keep one of them."))
        return replace(row, value=msgspec.json.encode({of_file.get(key, key): value for key, value in found.items()}))


AS_THEY_ARE = Columns()


def no_column(name: str, column: str, field: str, there: Sequence[str]) -> RowsError:
    """
    Return the error for a missing column.

    Args:
        name: The name of the file.
        column: The missing column.
        field: The option that names the column, without hyphens.
        there: The columns of the file.

    >>> str(no_column("a.csv", "title", "title", ["id;title"]))
    "a.csv has no column 'title' (columns: id;title). Next: separate the columns by commas, not by ';'."
    """
    separator = next((said for sign, said in ((";", "';'"), ("\t", "tabs")) if len(there) == 1 and sign in there[0]), None)
    step = f"separate the columns by commas, not by {separator}." if separator else f"name the column: --{field} NAME."
    if not there:
        step = "write the names of the columns into the first line."
    return RowsError(f"{name} has no column {column!r} (columns: {', '.join(there) or 'none'}). Next: {step}")


def refuse_twice(name: str, header: Sequence[str]) -> None:
    """
    Check that no two columns have the same name. Columns without a name are allowed: spreadsheets write them, mostly without cells.

    Raises:
        RowsError: Two columns have the same name.
    """
    twice = sorted({column for column in header if column and header.count(column) > 1})
    if twice:
        msg = f"{name}: the column {twice[0]!r} is there twice, and of its cells only one could be kept. Next: name each column once."
        raise RowsError(msg)


class LineFile:
    """
    An open CSV or JSON Lines file. The suffix sets the format. Without a known suffix, the file is CSV if its first non-blank line is a
    header with the title column, else JSON Lines.

    Attributes:
        header: The columns as in the file; None for JSON Lines.
        done: The bytes read so far, including the header.
    """

    def __init__(self, name: str, stream: BinaryIO, columns: Columns | None = AS_THEY_ARE, *, strict: bool = False) -> None:
        """
        Read the header.

        Args:
            name: The name of the file, or `standard input`. Its suffix sets the format.
            stream: The bytes of the file.
            columns: The column names of the event fields. None: the rows are not events, and the columns keep their names.
            strict: A CSV row must have one cell for each column, and no text may follow a closing quote. A file without a known suffix is CSV
                unless it begins like a JSON object. Labelled rows are read with `strict`, so no cell is guessed.

        Raises:
            RowsError: The header is not CSV, not UTF-8 or too long.
        """
        self._name, self._stream, self._columns, self._strict = name, stream, columns, strict
        # Skip blank lines above the first row, in both formats.
        self._above, self._first = 0, self._line(1)
        while self._first and not self._first.strip():
            self._above, self._first = self._above + 1, self._line(1)
        self.done = 0
        self._begin()
        # `_ended`: the CSV reader has asked for a line after the last one. `_goes_on`: a line that is not UTF-8 is a fault of its row and
        # does not end the reading.
        self._ended = self._goes_on = False
        self._csv = csv.reader(self._text(), strict=strict)
        self.header = self._header() if self._is_csv() else None

    def rows(self, *, go_on: bool = False) -> Iterator[InputRow]:
        """
        Yield the rows, in order. Blank lines are skipped.

        Args:
            go_on: Yield an invalid row as a row with a fault, and continue with the next row.

        Raises:
            RowsError: A column is missing or occurs twice, a quote is not closed, or a row is not CSV, too long or not UTF-8.
        """
        columns = self._columns
        if self.header is not None:
            names = self.header if columns is None else columns.header(self._name, self.header)
            refuse_twice(self._name, names)
            yield from self._csv_rows(names, go_on=go_on)
            return
        for number, raw in enumerate(self._lines(), start=self._above + 1):
            line = raw.rstrip(b"\r\n")
            if line.strip():
                row = InputRow(number, line) if columns is None else columns.row(self._name, InputRow(number, line))
                if row.fault is not None and not go_on:
                    raise RowsError(row.fault.message)
                yield row

    def _csv_rows(self, names: Sequence[str], *, go_on: bool) -> Iterator[InputRow]:
        self._goes_on = go_on
        while True:
            # A row spans several lines if a quoted cell contains line breaks.
            line = self._above + self._csv.line_num + 1
            self._begin()
            try:
                cells = next(self._csv, None)
                fault = self._fault or (None if cells is None else self._fault_of(cells, names))
            except csv.Error as error:
                cells, fault = [], self._fault or Fault(NOT_CSV, f"not CSV ({error})", "correct that line.")
            if cells is None:
                return
            if self._ended:
                # The quote was not closed before the end of the file: the rest of the file is one cell.
                fault = Fault(NOT_CSV, "not CSV (a quote is opened and not closed)", "correct that line.")
            if fault is not None:
                if not go_on or (self._ended and not self._strict):
                    msg = f"{self._name}, line {line}: {fault.message}"
                    raise RowsError(msg)
                yield InputRow(line, b"".join(self._row), fault)
            elif cells:
                # A row that is shorter than the header lacks its last fields. An empty cell is an empty string, except in `NONE_IF_EMPTY`.
                present = {name: cell for name, cell in zip(names, cells, strict=False) if cell or name not in NONE_IF_EMPTY}
                yield InputRow(line, json.dumps(present, ensure_ascii=False, separators=(",", ":")).encode())

    def _fault_of(self, cells: list[str], names: Sequence[str]) -> Fault | None:
        if self._strict and cells and len(cells) != len(names):
            why = f"{len(cells)} cell{'s' * (len(cells) != 1)} where the header has {len(names)}; quote cells that hold commas"
            return Fault(NOT_CSV, why, "correct that line.")
        if len(cells) > len(names):
            return Fault(NOT_CSV, "more fields than the header has columns", "quote fields that hold commas.")
        if sum(bool(cell) for name, cell in zip(names, cells, strict=False) if not name) > 1 and not self._strict:
            return Fault(NOT_CSV, "cells of two columns that have no name", "name the columns in the first line.")
        return None

    def _header(self) -> list[str]:
        try:
            found = next(self._csv, [])
        except csv.Error as error:
            msg = f"{self._name}, line {self._above + 1}: not CSV ({error}). Next: correct that line."
            raise RowsError(msg) from error
        return [column.strip() for column in found] if self._strict else found

    def _is_csv(self) -> bool:
        suffix = Path(self._name).suffix.lower()
        if suffix in CSV_SUFFIXES | JSON_SUFFIXES:
            return suffix in CSV_SUFFIXES
        header = self._first.decode("utf-8-sig", errors="replace").strip().lower()
        if header.startswith("{") or (header.startswith("[") and not self._strict):
            return False
        if self._strict:
            return True
        title = (self._columns or AS_THEY_ARE).title or "title"
        try:
            return title.lower() in next(csv.reader([header]), [])
        except csv.Error:
            # For example, a file with the line ends of old Macs.
            return False

    def _begin(self) -> None:
        """Begin a CSV row: clear the raw lines of the row, their size and the fault."""
        self._row: list[bytes] = []
        self._row_bytes = 0
        self._fault: Fault | None = None

    def _text(self) -> Iterator[str]:
        """Yield the lines of CSV as text."""
        for number, line in enumerate(self._lines(), start=self._above + 1):
            self._row.append(line)
            self._row_bytes += len(line)
            if self._row_bytes > MOST_BYTES:
                msg = (
                    f"{self._name}, line {number}: a row of more than {MOST_BYTES} bytes goes on here. Next: is there a quote above "
                    f"that is not closed?"
                )
                raise RowsError(msg)
            text = self._decoded(number, line)
            text = text.removeprefix("\ufeff") if number == self._above + 1 else text
            if self._strict:
                # StringIO also splits at the line ends of old Macs.
                yield from io.StringIO(text, newline="")
            else:
                yield text
        self._ended = True

    def _decoded(self, number: int, line: bytes) -> str:
        try:
            return line.decode("utf-8")
        except UnicodeDecodeError as error:
            fault = Fault(Reason.INVALID_UTF8.value, f"not UTF-8 (byte {error.start})", "convert the file to UTF-8.")
            if not self._goes_on:
                msg = f"{self._name}, line {number}: {fault.message}"
                raise RowsError(msg) from error
            self._fault = fault
            return line.decode("utf-8", errors="surrogateescape")

    def _lines(self) -> Iterator[bytes]:
        line, number = self._first, self._above + 1
        while line:
            self.done += len(line)
            yield line
            number += 1
            line = self._line(number)

    def _line(self, number: int) -> bytes:
        try:
            line = self._stream.readline(MOST_BYTES + 1)
        except OSError as error:
            raise _unreadable(self._name, error) from error
        if len(line) > MOST_BYTES:
            msg = f"{self._name}, line {number}: longer than {MOST_BYTES} bytes. Next: give CSV, or JSON Lines with an event in each line."
            raise RowsError(msg)
        return line


@contextlib.contextmanager
def open_lines(argument: str, columns: Columns = AS_THEY_ARE) -> Iterator[LineFile]:
    """
    Open a CSV or JSON Lines file of events.

    Args:
        argument: The file, or `-` for standard input.
        columns: The column names of the event fields.

    Raises:
        RowsError: The file cannot be opened or read, or `LineFile` refuses the file.
    """
    name = name_of(argument)
    if argument == "-":
        if sys.stdin is None:
            msg = "standard input is closed. Next: give it something to read (`<`, `|`), or name a file in the place of -."
            raise RowsError(msg)
        yield LineFile(name, sys.stdin.buffer, columns)
        return
    try:
        stream = Path(argument).open("rb")  # noqa: SIM115 - what is done with the rows has errors of its own
    except OSError as error:
        raise _unreadable(name, error) from error
    with stream:
        yield LineFile(name, stream, columns)


def _unreadable(name: str, error: OSError) -> RowsError:
    return RowsError(
        f"{name} cannot be read: {error.strerror}. Next: give a CSV or JSON Lines file that exists, or - for standard input."
    )


def rows_of(argument: str, columns: Columns = AS_THEY_ARE) -> Iterator[InputRow]:
    """Yield the rows of a CSV or JSON Lines file of events; arguments and errors as of `open_lines` and `LineFile.rows`."""
    with open_lines(argument, columns) as file:
        yield from file.rows()


def name_of(argument: str) -> str:
    """Return the name of the input for messages."""
    return "standard input" if argument == "-" else argument


def can_be_read_twice(argument: str) -> bool:
    """Return False for standard input, a pipe or a device. Return True for a file or folder, and for a path that does not exist."""
    path = Path(argument)
    return argument != "-" and (path.is_file() or path.is_dir() or not path.exists())


def in_chunks(rows: Iterable[InputRow]) -> Iterator[list[InputRow]]:
    """
    Yield the rows in lists. A list has at most `ROWS_AT_ONCE` rows and about `BYTES_AT_ONCE` bytes.

    Raises:
        RowsError: `rows` raised the error. The rows before the error are yielded first.
    """
    chunk: list[InputRow] = []
    weight = 0
    try:
        for row in rows:
            chunk.append(row)
            weight += len(row.value)
            if len(chunk) == ROWS_AT_ONCE or weight >= BYTES_AT_ONCE:
                yield chunk
                chunk, weight = [], 0
    except RowsError:
        if chunk:
            yield chunk
        raise
    if chunk:
        yield chunk


class ParquetFile:
    """
    An open Parquet file.

    Attributes:
        schema: The columns with their types, a `pyarrow.Schema`.
        rows: The number of rows.
    """

    def __init__(self, name: str, source: Path | BinaryIO) -> None:
        """
        Read the footer.

        Raises:
            RowsError: pyarrow is not installed, or the file is not Parquet.
        """
        try:
            import pyarrow as pa
            from pyarrow import parquet
        except ModuleNotFoundError as error:
            msg = f"{name} is Parquet, which needs pyarrow. Next: {install('batch')}, or give CSV or JSON Lines."
            raise RowsError(msg) from error
        self._name, self._arrow_error = name, pa.ArrowException
        with self._reading():
            self._file = parquet.ParquetFile(source)
        self.schema: pa.Schema = self._file.schema_arrow.remove_metadata()
        self.rows: int = self._file.metadata.num_rows

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    def batches(self, columns: Sequence[str] | None = None) -> "Iterator[pa.RecordBatch]":
        """
        Yield all rows, in order, in record batches. A batch has 1 to `ROWS_AT_ONCE` rows and about `BYTES_AT_ONCE` bytes or less.

        Args:
            columns: The columns to read; None: all columns.

        Raises:
            RowsError: The file cannot be read further. The batches before the fault are yielded first.
        """
        metadata = self._file.metadata
        groups = [metadata.row_group(number) for number in range(metadata.num_row_groups)]
        largest = max((group.total_byte_size // max(group.num_rows, 1) for group in groups), default=0)
        # Read fewer rows at once if the rows are large. The metadata has only the encoded size, so each batch is measured and halved, too.
        at_once = min(ROWS_AT_ONCE, max(1, BYTES_AT_ONCE // max(largest, 1)))
        with self._reading():
            for read in self._file.iter_batches(batch_size=at_once, columns=columns):
                for batch in _in_bounds(read):
                    if batch.num_rows:
                        yield batch.replace_schema_metadata(None)

    @contextlib.contextmanager
    def _reading(self) -> Iterator[None]:
        try:
            yield
        except (OSError, self._arrow_error) as error:
            msg = f"{self._name} cannot be read as Parquet ({error}). Next: give a Parquet file that exists and is whole."
            raise RowsError(msg) from error


def _in_bounds(batch: "pa.RecordBatch") -> "Iterator[pa.RecordBatch]":
    """Yield the batch, halved until each piece has at most `BYTES_AT_ONCE` bytes or one row."""
    if batch.num_rows < 2 or sum(map(_bytes, batch.columns)) <= BYTES_AT_ONCE:  # noqa: PLR2004 - a half has a row
        yield batch
        return
    half = batch.num_rows // 2
    yield from _in_bounds(batch.slice(0, half))
    yield from _in_bounds(batch.slice(half))


def _bytes(column: "pa.Array") -> int:
    # The values of a dictionary column are in memory once, for any number of rows. So only the indices count.
    return int(getattr(column, "indices", column).nbytes)

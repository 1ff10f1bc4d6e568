"""
The reader of rows: CSV with a header, JSON Lines, standard input, and Parquet.

All commands read rows through here: `batch`, `classify`, `send` and `contract check` as events, `model train --data` and its
neighbours as labelled texts. So a file has the same rows, lines and faults for all of them. Of CSV and JSON Lines a row is a JSON object
as bytes; Parquet gives record batches, since its columns have types. pyarrow comes with the extra `batch`, and is loaded where it is used.
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
# So many rows are used at once, or fewer where they are large: this bounds the memory, whatever the input's size.
ROWS_AT_ONCE = 256
BYTES_AT_ONCE = 4 * 1024 * 1024
# A quote that is never closed makes one row of the rest of the file, which must not fill the memory; nor must a line without an end.
MOST_BYTES = 64 * 1024 * 1024
# A cell cannot be null: an event without an id has an empty cell, and spreadsheets write columns without a name.
NONE_IF_EMPTY = frozenset({"", "id", "description"})
NOT_CSV = "not_csv"

csv.field_size_limit(2**31 - 1)


class RowsError(Exception):
    """A file cannot be read as rows, or its rows cannot be used: the message has the file, the place, the reason and the next step."""

    exit_code = 2


class Fault(NamedTuple):
    """Why some lines of a file are no row: the code of a dead letter, or `not_csv`, the reason without their text, and the next step."""

    code: str
    why: str
    step: str

    @property
    def message(self) -> str:
        """Reason and next step as sentences."""
        return f"{self.why}. Next: {self.step}"


@dataclass(frozen=True, slots=True)
class InputRow:
    """
    One row of an input.

    Attributes:
        line: The line on which it begins, from 1, blank ones counted: where an editor finds it. Of a table the number of the row.
        value: A JSON object as bytes. A line of JSON Lines is passed on as it is, also where it is none.
        fault: Why it is no row, where the reader was told to go on behind such lines; `value` then is the lines as they came.
    """

    line: int
    value: bytes
    fault: Fault | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Columns:
    """
    The name that each field of an event has in a file (`--title`, `--description`, `--id`), None where it is the field's own.

    >>> Columns(title="Title", description="Body").of_file
    {'Title': 'title', 'Body': 'description'}
    """

    title: str | None = None
    description: str | None = None
    id: str | None = None

    def __post_init__(self) -> None:
        """
        Refuse one name for two fields.

        Raises:
            RowsError: The same name is given twice, or an empty one.
        """
        given = [name for field in fields(self) if (name := getattr(self, field.name)) is not None]
        for name in given:
            if not name or given.count(name) > 1:
                msg = f"{name!r} cannot be the name of {'two fields' if name else 'a field'}. Next: name a column of the file for each."
                raise RowsError(msg)

    @property
    def of_file(self) -> dict[str, str]:
        """The event's field by its name in the file, of those that have another one there."""
        given = {field.name: getattr(self, field.name) for field in fields(self)}
        return {name: field for field, name in given.items() if name not in {None, field}}

    def header(self, name: str, header: Sequence[str]) -> list[str]:
        """
        The columns of a file with the event's names.

        Args:
            name: The file's name, for the error.
            header: Its columns.

        Raises:
            RowsError: A column is missing, or there are two for one field.

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
        A JSON row with the event's names, its values byte for byte; a fault where an object has two fields for one.

        A row that is no strict JSON object is left to the decoder.

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
    The error for a column that a file lacks.

    Args:
        name: The file's.
        column: The column that is missing.
        field: The option that names the column, without its hyphens.
        there: The columns that the file has.

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
    Refuse two columns of one name. Spreadsheets write columns without a name, and mostly without a cell.

    Raises:
        RowsError: A name is there twice.
    """
    twice = sorted({column for column in header if column and header.count(column) > 1})
    if twice:
        msg = f"{name}: the column {twice[0]!r} is there twice, and of its cells only one could be kept. Next: name each column once."
        raise RowsError(msg)


class LineFile:
    """
    An open file of lines: CSV if its suffix says so or its first line that is not blank is a header with the title, else JSON Lines.

    Attributes:
        header: The columns as the file has them; None of JSON Lines.
        done: How many bytes the rows so far have, and the header.
    """

    def __init__(self, name: str, stream: BinaryIO, columns: Columns | None = AS_THEY_ARE, *, strict: bool = False) -> None:
        """
        Read the header.

        Args:
            name: The file's, or `standard input`; its suffix says the form.
            stream: Its bytes.
            columns: The file's names for fields of the event; None: rows are no events, and keep the file's names.
            strict: CSV has a cell for each column and no text behind a closing quote, and a file without a known suffix is CSV unless
                it begins like an object. So labelled rows are read: no cell of theirs is guessed.

        Raises:
            RowsError: The header is no CSV, not UTF-8 or too long.
        """
        self._name, self._stream, self._columns, self._strict = name, stream, columns, strict
        # Blank lines occur above both forms.
        self._above, self._first = 0, self._line(1)
        while self._first and not self._first.strip():
            self._above, self._first = self._above + 1, self._line(1)
        self.done = 0
        self._begin()
        # The reader has asked for one more line than there is; a line that is not UTF-8 is a fault of its row and not the end.
        self._ended = self._goes_on = False
        self._csv = csv.reader(self._text(), strict=strict)
        self.header = self._header() if self._is_csv() else None

    def rows(self, *, go_on: bool = False) -> Iterator[InputRow]:
        """
        The rows, in order. Blank lines are none.

        Args:
            go_on: Lines that are no row are given as a row with a fault, and the reading goes on behind them.

        Raises:
            RowsError: A column is missing or there twice, a quote is not closed, or a row is no CSV, too long or not UTF-8.
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
            # A row goes over several lines where a quoted cell holds line ends; a blank line is no row.
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
                # The reader looks for the closing quote, so the rest of the file would be one cell.
                fault = Fault(NOT_CSV, "not CSV (a quote is opened and not closed)", "correct that line.")
            if fault is not None:
                if not go_on or (self._ended and not self._strict):
                    msg = f"{self._name}, line {line}: {fault.message}"
                    raise RowsError(msg)
                yield InputRow(line, b"".join(self._row), fault)
            elif cells:
                # A row shorter than the header lacks its last fields; an empty cell is an empty string, in these columns no field.
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
            # Line ends of old Macs, for one.
            return False

    def _begin(self) -> None:
        """Begin a row of CSV: its lines as they came, and why they are not text."""
        self._row: list[bytes] = []
        self._row_bytes = 0
        self._fault: Fault | None = None

    def _text(self) -> Iterator[str]:
        """The lines of CSV as text."""
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
                # With the line ends of old Macs.
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
    A file of lines, `-` for standard input, whose rows are events.

    Args:
        argument: The file, or `-`.
        columns: The file's names for fields of the event.

    Raises:
        RowsError: The file cannot be opened or read; and as of `LineFile`.
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
    """The rows of a file of lines as events; arguments and errors as of `open_lines` and `LineFile.rows`."""
    with open_lines(argument, columns) as file:
        yield from file.rows()


def name_of(argument: str) -> str:
    """The name of the input in sentences."""
    return "standard input" if argument == "-" else argument


def can_be_read_twice(argument: str) -> bool:
    """Is it no standard input, pipe or device? A file that does not exist is none of these."""
    path = Path(argument)
    return argument != "-" and (path.is_file() or path.is_dir() or not path.exists())


def in_chunks(rows: Iterable[InputRow]) -> Iterator[list[InputRow]]:
    """
    The rows in lists of a bounded number and of about a bounded number of bytes.

    Raises:
        RowsError: The rows end in one; it is raised behind the rows before it.
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
        schema: Its columns with their types, a `pyarrow.Schema`.
        rows: How many there are.
    """

    def __init__(self, name: str, source: Path | BinaryIO) -> None:
        """
        Read the footer.

        Raises:
            RowsError: pyarrow is not installed, or it is no Parquet.
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
        All rows, in order, in record batches of a bounded number of rows and of about a bounded number of bytes; none is empty.

        Args:
            columns: Those that are read; all if None.

        Raises:
            RowsError: It cannot be read on; raised behind the batches before the fault.
        """
        metadata = self._file.metadata
        groups = [metadata.row_group(number) for number in range(metadata.num_row_groups)]
        largest = max((group.total_byte_size // max(group.num_rows, 1) for group in groups), default=0)
        # Few rows at a time where they are large: the file says the size of compressed rows, so that each batch is looked at too.
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
    """The batch, or its halves, until each has no more than the bytes that are used at once."""
    if batch.num_rows < 2 or sum(map(_bytes, batch.columns)) <= BYTES_AT_ONCE:  # noqa: PLR2004 - a half has a row
        yield batch
        return
    half = batch.num_rows // 2
    yield from _in_bounds(batch.slice(0, half))
    yield from _in_bounds(batch.slice(half))


def _bytes(column: "pa.Array") -> int:
    # The values of a dictionary are in memory once, however few rows there are.
    return int(getattr(column, "indices", column).nbytes)

"""CSV with a header as rows: every row is a JSON object of its cells, all of them strings."""

import csv
import json
from collections.abc import Iterator

from monitoring.vocabulary import Reason
from stream.batch.rows.columns import Columns
from stream.batch.rows.row import Fault, Row, RowsError

csv.field_size_limit(2**31 - 1)

# A cell cannot be null: an event without an id has an empty cell, and spreadsheets write columns without a name.
NONE_IF_EMPTY = frozenset({"", "id", "description"})
# A quote that is never closed makes one row of the rest of the file, which must not fill the memory.
MOST_ROW_BYTES = 64 * 1024 * 1024
NOT_CSV = "not_csv"


def csv_rows(name: str, lines: Iterator[bytes], columns: Columns, *, above: int, go_on: bool = False) -> Iterator[Row]:
    """
    The rows of a CSV file.

    Args:
        name: The file's name, for errors.
        lines: Its lines, the header first.
        columns: The names of the columns that become the event's fields.
        above: How many lines stand above the header.
        go_on: Lines that are no row are given as a row with a fault, wherever the reader can go on behind them.

    Raises:
        RowsError: A column is missing or there twice, a quote is not closed, or a row is no CSV, too long or not UTF-8.
    """
    text = _Text(name, lines, above)
    reader = csv.reader(text)
    header = columns.header(name, _header(name, reader, above))
    text.may_be_undecodable = go_on
    while True:
        # A row goes over several lines where a quoted cell holds line ends; a blank line is no row.
        line = above + reader.line_num + 1
        text.begin()
        try:
            cells = next(reader, None)
            fault = text.fault or (None if cells is None else _fault(cells, header))
        except csv.Error as error:
            cells, fault = [], text.fault or Fault(NOT_CSV, f"not CSV ({error}). Next: correct that line.")
        if cells is None:
            return
        if text.ended:
            # The reader looks for the closing quote, so the rest of the file would be one cell.
            msg = f"{name}, line {line}: not CSV (a quote is opened and not closed). Next: correct that line."
            raise RowsError(msg)
        if fault is not None:
            if not go_on:
                msg = f"{name}, line {line}: {fault.message}"
                raise RowsError(msg)
            yield Row(line, b"".join(text.row), fault)
        elif cells:
            # A row shorter than the header lacks its last fields; an empty cell is an empty string, in these columns no field.
            present = {column: cell for column, cell in zip(header, cells, strict=False) if cell or column not in NONE_IF_EMPTY}
            yield Row(line, json.dumps(present, ensure_ascii=False, separators=(",", ":")).encode())


def raw_header(name: str, lines: Iterator[bytes], *, above: int) -> list[str]:
    """
    The header of a CSV file as it is written there; arguments as of `csv_rows`.

    Raises:
        RowsError: It is no CSV or not UTF-8.
    """
    return _header(name, csv.reader(_Text(name, lines, above)), above)


def _header(name: str, reader: Iterator[list[str]], above: int) -> list[str]:
    try:
        return next(reader, [])
    except csv.Error as error:
        msg = f"{name}, line {above + 1}: not CSV ({error}). Next: correct that line."
        raise RowsError(msg) from error


def _fault(cells: list[str], header: list[str]) -> Fault | None:
    if len(cells) > len(header):
        return Fault(NOT_CSV, "more fields than the header has columns. Next: quote fields that hold commas.")
    if sum(bool(cell) for column, cell in zip(header, cells, strict=False) if not column) > 1:
        return Fault(NOT_CSV, "cells of two columns that have no name. Next: name the columns in the first line.")
    return None


class _Text:
    """
    Lines as text.

    Attributes:
        row: The lines of the present row, as they came.
        fault: Why the present row is not text, if it may be so.
        ended: The reader has asked for one more line than there is.
        may_be_undecodable: A line that is not UTF-8 is a fault of its row and not the end.
    """

    def __init__(self, name: str, lines: Iterator[bytes], above: int) -> None:
        self._name, self._lines, self._above = name, lines, above
        self.may_be_undecodable = self.ended = False
        self.begin()

    def begin(self) -> None:
        """Begin a row."""
        self.row: list[bytes] = []
        self.fault: Fault | None = None
        self._bytes = 0

    def __iter__(self) -> Iterator[str]:
        for number, line in enumerate(self._lines, start=self._above + 1):
            self.row.append(line)
            self._bytes += len(line)
            if self._bytes > MOST_ROW_BYTES:
                msg = (
                    f"{self._name}, line {number}: a row of more than {MOST_ROW_BYTES} bytes goes on here. Next: is there a quote "
                    f"above that is not closed?"
                )
                raise RowsError(msg)
            text = self._decoded(number, line)
            yield text.removeprefix("\ufeff") if number == self._above + 1 else text
        self.ended = True

    def _decoded(self, number: int, line: bytes) -> str:
        try:
            return line.decode("utf-8")
        except UnicodeDecodeError as error:
            said = f"not UTF-8 (byte {error.start}). Next: convert the file to UTF-8."
            if not self.may_be_undecodable:
                msg = f"{self._name}, line {number}: {said}"
                raise RowsError(msg) from error
            self.fault = Fault(Reason.INVALID_UTF8.value, said)
            return line.decode("utf-8", errors="surrogateescape")

"""CSV with a header as rows: every row is a JSON object of its cells, all of them strings."""

import csv
import json
from collections.abc import Iterator

from stream.batch.rows.columns import Columns
from stream.batch.rows.row import Row, RowsError

csv.field_size_limit(2**31 - 1)

# A cell cannot be null: an event without an id has an empty cell, and spreadsheets write columns without a name.
NONE_IF_EMPTY = frozenset({"", "id"})


def csv_rows(name: str, lines: Iterator[bytes], columns: Columns, *, above: int) -> Iterator[Row]:
    """
    The rows of a CSV file.

    Args:
        name: The file's name, for errors.
        lines: Its lines, the header first.
        columns: The names of the columns that become the event's fields.
        above: How many lines stand above the header.

    Raises:
        RowsError: A column is missing or there twice, or a row is no CSV, too long or not UTF-8.
    """
    text = _Ending(_text(name, lines, above))
    reader = csv.reader(text)
    after = above
    try:
        header = columns.header(name, next(reader, []))
        after = above + reader.line_num
        for cells in reader:
            # A row goes over several lines where a quoted cell holds line ends; a blank line is no row.
            line, after = after + 1, above + reader.line_num
            if text.ended:
                # The reader looks for the closing quote, so the rest of the file would be one cell.
                msg = f"{name}, line {line}: not CSV (a quote is opened and not closed). Next: correct that line."
                raise RowsError(msg)
            if not cells:
                continue
            if len(cells) > len(header):
                msg = f"{name}, line {line}: more fields than the header has columns. Next: quote fields that hold commas."
                raise RowsError(msg)
            # A row shorter than the header lacks its last fields; an empty cell is an empty string, in these columns no field.
            present = {column: cell for column, cell in zip(header, cells, strict=False) if cell or column not in NONE_IF_EMPTY}
            if sum(bool(cell) for column, cell in zip(header, cells, strict=False) if not column) > 1:
                msg = f"{name}, line {line}: cells of two columns that have no name. Next: name the columns in the first line."
                raise RowsError(msg)
            yield Row(line, json.dumps(present, ensure_ascii=False, separators=(",", ":")).encode())
    except csv.Error as error:
        msg = f"{name}, line {after + 1}: not CSV ({error}). Next: correct that line."
        raise RowsError(msg) from error


class _Ending:
    """Lines, and whether the reader has asked for one more line than there is."""

    def __init__(self, lines: Iterator[str]) -> None:
        self._lines = lines
        self.ended = False

    def __iter__(self) -> Iterator[str]:
        yield from self._lines
        self.ended = True


def _text(name: str, lines: Iterator[bytes], above: int) -> Iterator[str]:
    for number, line in enumerate(lines, start=above + 1):
        try:
            text = line.decode("utf-8")
        except UnicodeDecodeError as error:
            msg = f"{name}, line {number}: not UTF-8 (byte {error.start}). Next: convert the file to UTF-8."
            raise RowsError(msg) from error
        yield text.removeprefix("\ufeff") if number == above + 1 else text

"""Files of content as events: CSV with a header, or JSON Lines, or standard input. One event value a row, in the file's order.

`tagstream classify` and `tagstream send` read through here, so that a file gives the same bytes with and without Kafka.
"""

import contextlib
import csv
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import BinaryIO

from monitoring.vocabulary import Reason
from stream.batch.rows.columns import Columns
from stream.batch.rows.csv_rows import csv_rows, raw_header
from stream.batch.rows.row import Fault, Row, RowsError, name_of

CSV_SUFFIXES = frozenset({".csv"})
JSON_SUFFIXES = frozenset({".jsonl", ".ndjson", ".json"})
AS_THEY_ARE = Columns()
MOST_LINE_BYTES = 64 * 1024 * 1024


def read(argument: str) -> Iterator[bytes]:
    """The event values of a file; argument and errors as of `rows_of`."""
    for row in rows_of(argument):
        yield row.value


def rows_of(
    argument: str, columns: Columns = AS_THEY_ARE, *, go_on: bool = False, seen: Callable[[int], None] = lambda _: None
) -> Iterator[Row]:
    """
    The rows of a file, `-` for standard input: CSV if its first line that is not blank is a header with the title, else JSON Lines.

    JSON lines are passed on byte for byte, also where they are not JSON: the decoder has the say. Blank lines are skipped.

    Args:
        argument: The file, or `-`.
        columns: Names of the file for fields of the event.
        go_on: Lines that are no row are given as a row with a fault, and the reading goes on behind them.
        seen: Told of the size of each line, in bytes, as it is read.

    Raises:
        RowsError: The file cannot be opened, is CSV without a title or with a column twice, or a row is no CSV or too long.
    """
    name = name_of(argument)
    with _open(argument) as stream:
        blank, first = _first_line(name, stream)
        rest = _lines(name, first, stream, blank, seen)
        if _is_csv(argument, first, columns.title or "title"):
            yield from csv_rows(name, rest, columns, above=blank, go_on=go_on)
            return
        for number, raw in enumerate(rest, start=blank + 1):
            line = raw.rstrip(b"\r\n")
            if line.strip():
                yield _named(name, columns, Row(number, line), go_on=go_on)


def header_of(argument: str, columns: Columns = AS_THEY_ARE) -> list[str] | None:
    """
    The columns of a file as its header names them; None of JSON Lines.

    Raises:
        RowsError: As of `rows_of`, for the header.
    """
    name = name_of(argument)
    with _open(argument) as stream:
        blank, first = _first_line(name, stream)
        if not _is_csv(argument, first, columns.title or "title"):
            return None
        return raw_header(name, _lines(name, first, stream, blank, lambda _: None), above=blank)


def can_be_read_twice(argument: str) -> bool:
    """Is it no standard input, pipe or device? A file that does not exist is none of these."""
    path = Path(argument)
    return argument != "-" and (path.is_file() or path.is_dir() or not path.exists())


@contextlib.contextmanager
def _open(argument: str) -> Iterator[BinaryIO]:
    try:
        if argument != "-":
            with Path(argument).open("rb") as stream:
                yield stream
        elif sys.stdin is None:
            msg = "standard input is closed. Next: give it something to read (`<`, `|`), or name a file in the place of -."
            raise RowsError(msg)
        else:
            yield sys.stdin.buffer
    except OSError as error:
        msg = (
            f"{name_of(argument)} cannot be read: {error.strerror}. Next: give a CSV or JSON Lines file that exists, or - for "
            f"standard input."
        )
        raise RowsError(msg) from error


def _named(name: str, columns: Columns, row: Row, *, go_on: bool) -> Row:
    try:
        return columns.row(name, row)
    except RowsError as error:
        if not go_on:
            raise
        return replace(row, fault=Fault(Reason.DUPLICATE_KEY.value, str(error)))


def _first_line(name: str, stream: BinaryIO) -> tuple[int, bytes]:
    """How many blank lines the file begins with, since they occur in both forms, and the line after them."""
    blank, first = 0, _line(name, stream)
    while first and not first.strip():
        blank, first = blank + 1, _line(name, stream)
    return blank, first


def _lines(name: str, first: bytes, stream: BinaryIO, blank: int, seen: Callable[[int], None]) -> Iterator[bytes]:
    line, number = first, blank + 1
    while line:
        seen(len(line))
        yield line
        number += 1
        line = _line(name, stream, number)


def _line(name: str, stream: BinaryIO, number: int = 1) -> bytes:
    """A line, which must not fill the memory."""
    line = stream.readline(MOST_LINE_BYTES + 1)
    if len(line) > MOST_LINE_BYTES:
        msg = f"{name}, line {number}: longer than {MOST_LINE_BYTES} bytes. Next: give CSV, or JSON Lines with an event in each line."
        raise RowsError(msg)
    return line


def _is_csv(argument: str, first: bytes, title: str) -> bool:
    suffix = Path(argument).suffix.lower()
    if suffix in CSV_SUFFIXES | JSON_SUFFIXES:
        return suffix in CSV_SUFFIXES
    header = first.decode("utf-8-sig", errors="replace").strip().lower()
    if header.startswith(("{", "[")):
        return False
    try:
        return title.lower() in next(csv.reader([header]), [])
    except csv.Error:
        # Line ends of old Macs, for one.
        return False

"""Files of content as events: CSV with a header, or JSON Lines, or standard input. One event value a row, in the file's order.

`tagstream classify` and `tagstream send` read through here, so that a file gives the same bytes with and without Kafka.
"""

import contextlib
import csv
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from stream.batch.rows.columns import Columns
from stream.batch.rows.csv_rows import csv_rows
from stream.batch.rows.row import Row, RowsError, name_of

CSV_SUFFIXES = frozenset({".csv"})
JSON_SUFFIXES = frozenset({".jsonl", ".ndjson", ".json"})
AS_THEY_ARE = Columns()


def read(argument: str) -> Iterator[bytes]:
    """The event values of a file; argument and errors as of `rows_of`."""
    for row in rows_of(argument):
        yield row.value


def rows_of(argument: str, columns: Columns = AS_THEY_ARE) -> Iterator[Row]:
    """
    The rows of a file, `-` for standard input: CSV if its first line that is not blank is a header with the title, else JSON Lines.

    JSON lines are passed on byte for byte, also where they are not JSON: the decoder has the say. Blank lines are skipped.

    Args:
        argument: The file, or `-`.
        columns: Names of the file for fields of the event.

    Raises:
        RowsError: The file cannot be opened, is CSV without a title or with a column twice, or a row is no CSV or too long.
    """
    name = name_of(argument)
    with _open(argument) as stream:
        blank, first = 0, stream.readline()
        # Blank lines occur in both forms.
        while first and not first.strip():
            blank, first = blank + 1, stream.readline()
        rest = _chain(first, stream)
        if _is_csv(argument, first, columns.title or "title"):
            yield from csv_rows(name, rest, columns, above=blank)
            return
        for number, raw in enumerate(rest, start=blank + 1):
            line = raw.rstrip(b"\r\n")
            if line.strip():
                yield columns.row(name, Row(number, line))


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


def _chain(first: bytes, stream: BinaryIO) -> Iterator[bytes]:
    if first:
        yield first
    yield from stream


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

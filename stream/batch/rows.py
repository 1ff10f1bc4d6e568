"""Files of content as events: CSV with a header, or JSON Lines, or standard input. One event value a row, in the file's order.

`tagstream classify` and `tagstream send` read through here, so that a file gives the same bytes with and without Kafka.
"""

import contextlib
import csv
import itertools
import json
import os
import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

CSV_SUFFIXES = frozenset({".csv"})
JSON_SUFFIXES = frozenset({".jsonl", ".ndjson", ".json"})
SUFFIXES = ", ".join(sorted(CSV_SUFFIXES | JSON_SUFFIXES))
_ENDS_LIKE_A_FILE = re.compile(r"\.[A-Za-z]{2,8}$")
csv.field_size_limit(2**31 - 1)


class RowsError(Exception):
    """The file cannot be read as rows: the message says which file, where, why, and what to do."""

    exit_code = 2


def is_file(argument: str) -> bool:
    """
    Does this argument name a file (or standard input) rather than being a text to classify?

    Raises:
        RowsError: It names a folder.
    """
    path = Path(argument)
    if argument == "-" or path.suffix.lower() in CSV_SUFFIXES | JSON_SUFFIXES:
        return True
    # An empty path is the working directory, and an empty text is a text.
    if not argument or not _exists(path):
        return False
    if path.is_dir():
        msg = (
            f"{argument} is a folder. Next: give a file in it ({SUFFIXES}); should it be a text, give it as an event: "
            f"""echo '{{"title": "..."}}' | tagstream classify -."""
        )
        raise RowsError(msg)
    # A file of another suffix, or a pipe: its first line shows the format.
    return True


def looks_like_a_path(argument: str) -> bool:
    """
    Does an argument that names no existing file look like a path?

    A text may contain a slash. An argument of several words is a path only if it begins like one or its folder exists.

    >>> [looks_like_a_path(text) for text in ("papers.parquet", "data/papers", "/no/such file", "TCP/IP")]
    [True, True, True, True]
    >>> [looks_like_a_path(text) for text in ("A/B tests for models", "Is it 3.5?", "What is MLOps", "")]
    [False, False, False, False]
    """
    if _ENDS_LIKE_A_FILE.search(argument):
        return True
    if os.sep not in argument:
        return False
    begins_so = argument.startswith((os.sep, f".{os.sep}", f"..{os.sep}", f"~{os.sep}"))
    return begins_so or not any(map(str.isspace, argument)) or _exists(Path(argument).parent)


def _exists(path: Path) -> bool:
    try:
        return path.exists()
    except (OSError, ValueError):
        # Too long for a name, or with a NUL: a text.
        return False


@dataclass(frozen=True, slots=True)
class Row:
    """
    One event value of a file.

    Attributes:
        line: The line on which it begins, from 1, blank ones counted: where an editor finds it.
        value: Its bytes.
    """

    line: int
    value: bytes


def read(argument: str) -> Iterator[bytes]:
    """The event values of a file; argument and errors as of `rows_of`."""
    for row in rows_of(argument):
        yield row.value


def rows_of(argument: str) -> Iterator[Row]:
    """
    The rows of a file, `-` for standard input: CSV if its first line that is not blank is a header with `title`, else JSON Lines.

    JSON lines are passed on byte for byte, also where they are not JSON: the decoder has the say. Blank lines are skipped.

    Raises:
        RowsError: The file cannot be opened, is CSV without a `title` or with a column twice, or a row is no CSV or too long.
    """
    with _open(argument) as stream:
        blank, first = 0, stream.readline()
        # Blank lines are none of either form, and say nothing of which it is.
        while first and not first.strip():
            blank, first = blank + 1, stream.readline()
        name = "standard input" if argument == "-" else argument
        rest = _chain(first, stream)
        if _is_csv(argument, first):
            yield from _csv_rows(name, rest, above=blank)
            return
        for number, raw in enumerate(rest, start=blank + 1):
            line = raw.rstrip(b"\r\n")
            if line.strip():
                yield Row(number, line)


def begun(argument: str) -> Iterator[bytes]:
    """
    As `read`, with the first row of a file read already: what is wrong with the file is heard before anything is begun for it.

    Standard input is not read ahead, since its first row may come late.

    Raises:
        RowsError: As `read`.
    """
    values = read(argument)
    return values if argument == "-" else itertools.chain(list(itertools.islice(values, 1)), values)


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
        name = "standard input" if argument == "-" else argument
        msg = f"{name} cannot be read: {error.strerror}. Next: give a CSV or JSON Lines file that exists, or - for standard input."
        raise RowsError(msg) from error


def _chain(first: bytes, stream: BinaryIO) -> Iterator[bytes]:
    if first:
        yield first
    yield from stream


def _is_csv(argument: str, first: bytes) -> bool:
    suffix = Path(argument).suffix.lower()
    if suffix in CSV_SUFFIXES | JSON_SUFFIXES:
        return suffix in CSV_SUFFIXES
    header = first.decode("utf-8-sig", errors="replace").strip().lower()
    if header.startswith(("{", "[")):
        return False
    try:
        return "title" in next(csv.reader([header]), [])
    except csv.Error:
        # Line ends of old Macs, for one.
        return False


def _csv_rows(name: str, lines: Iterator[bytes], *, above: int) -> Iterator[Row]:
    text = _Ending(_text(name, lines, above))
    reader = csv.reader(text)
    after = above
    try:
        header = next(reader, [])
        if "title" not in header:
            msg = f"{name} has no column 'title' (columns: {', '.join(header) or 'none'}). Next: name the columns in the first line."
            raise RowsError(msg)
        # Spreadsheets write columns without a name, and mostly without a cell.
        twice = sorted({column for column in header if column and header.count(column) > 1})
        if twice:
            msg = f"{name}: the column {twice[0]!r} is there twice, and of its cells only one could be kept. Next: name each column once."
            raise RowsError(msg)
        after = above + reader.line_num
        for cells in reader:
            # A row goes over several lines where a quoted cell holds line ends; a blank line is no row.
            line, after = after + 1, above + reader.line_num
            if text.ended:
                # It looked for more: what follows the quote, to the end of the file, would be one cell.
                msg = f"{name}, line {line}: not CSV (a quote is opened and not closed). Next: correct that line."
                raise RowsError(msg)
            if not cells:
                continue
            if len(cells) > len(header):
                msg = f"{name}, line {line}: more fields than the header has columns. Next: quote fields that hold commas."
                raise RowsError(msg)
            # A row shorter than the header lacks its last fields; an empty cell is an empty string.
            present = {column: cell for column, cell in zip(header, cells, strict=False) if column or cell}
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


def of_text(text: str) -> bytes:
    """
    The event of a bare title.

    Raises:
        RowsError: The text was not UTF-8 on the command line.
    """
    # How Python keeps the bytes of an argument that are no text.
    strange = next((place for place, character in enumerate(text, start=1) if "\ud800" <= character <= "\udfff"), None)
    if strange is not None:
        msg = f"the text is not UTF-8 (character {strange}). Next: convert it, or set the terminal to UTF-8."
        raise RowsError(msg)
    return json.dumps({"title": text}, ensure_ascii=False).encode()

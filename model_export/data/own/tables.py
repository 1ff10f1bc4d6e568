"""Records of a CSV, JSON Lines or Parquet file: text by column, with the line on which each begins.

Every line that is no record is found before anything is refused, so that a file is corrected once. pyarrow comes with the
extra `batch`, and is imported where it is used.
"""

import csv
import importlib.util
import io
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from model_export import extras
from model_export.data.own.rows import MOST_LINES_NAMED, OwnDataError, places

# As in `stream.batch.rows.csv_rows`: the limit is one of the process.
csv.field_size_limit(2**31 - 1)


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    """
    The records of a file.

    Attributes:
        columns: Every column that a record can have, in order.
        records: The line of each record, and its values as the file has them; a column that a record lacks is not in it.
        unit: The unit of the lines: `line`, or `row` of Parquet.
    """

    columns: tuple[str, ...]
    records: list[tuple[int, dict[str, Any]]]
    unit: str = "line"


def of_csv(name: str, text: str) -> Table:
    """
    The records of CSV with a header (RFC 4180).

    Raises:
        OwnDataError: A column is there twice, a quote is not closed, or a row has not one cell a column.
    """
    reader = csv.reader(io.StringIO(text, newline=""), strict=True)
    header: list[str] = []
    records: list[tuple[int, dict[str, Any]]] = []
    faults: list[tuple[int, str]] = []
    while True:
        line = reader.line_num + 1
        try:
            cells = next(reader, None)
        except csv.Error as error:
            faults.append((line, _said(str(error))))
            continue
        if cells is None:
            break
        if not cells:
            continue
        if not header:
            header = [cell.strip() for cell in cells]
            _refuse_twice(name, header)
        elif len(cells) != len(header):
            faults.append((line, f"{_cells(len(cells))} where the header has {len(header)}; quote cells that hold commas"))
        else:
            records.append((line, dict(zip(header, cells, strict=True))))
    refuse(name, faults)
    return Table(columns=tuple(header), records=records)


def of_json_lines(name: str, text: str) -> Table:
    """
    The records of JSON Lines: an object a line.

    Raises:
        OwnDataError: A line is no object.
    """
    records: list[tuple[int, dict[str, Any]]] = []
    faults: list[tuple[int, str]] = []
    for line, raw in enumerate(text.split("\n"), start=1):
        if not raw.strip():
            continue
        try:
            value = json.loads(raw, object_pairs_hook=_once)
        except RecursionError:
            faults.append((line, "no JSON object: too deep"))
        except ValueError as error:
            faults.append((line, f"no JSON object: {error}"))
        else:
            if isinstance(value, dict):
                records.append((line, value))
            else:
                faults.append((line, "no JSON object"))
    refuse(name, faults)
    return Table(columns=tuple(dict.fromkeys(column for _, record in records for column in record)), records=records)


def of_parquet(path: Path) -> Table:
    """
    The records of a Parquet file; the place of a record is its number, from 1.

    Raises:
        OwnDataError: pyarrow is not installed, or the file is no Parquet.
    """
    if importlib.util.find_spec("pyarrow") is None:
        msg = f"{path} is Parquet, which needs pyarrow. Next: {extras.install('batch')}, or give CSV or JSON Lines."
        raise OwnDataError(msg)
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        table = pq.read_table(path)
    except (OSError, pa.ArrowException) as error:
        msg = f"{path} cannot be read as Parquet ({error}). Next: give a Parquet file that exists and is whole."
        raise OwnDataError(msg) from error
    records = list(enumerate(table.to_pylist(), start=1))
    return Table(columns=tuple(table.column_names), records=records, unit="row")


def text_of(column: str, value: Any) -> str:
    """
    A value of a record as text: null is empty, and a whole number is its digits.

    Raises:
        ValueError: It is something else.

    >>> text_of("title", "Refund"), text_of("id", 7), text_of("description", None)
    ('Refund', '7', '')
    """
    if value is None:
        return ""
    if isinstance(value, bool) or not isinstance(value, str | int):
        msg = f"{column!r} is neither text nor a whole number"
        raise ValueError(msg)  # noqa: TRY004 - a fault of the file, not of the caller
    text = str(value)
    # Half of a surrogate pair, which JSON can name, is no character that a tokenizer takes.
    if not text.isascii() and any("\ud800" <= character <= "\udfff" for character in text):
        msg = f"{column!r} holds half a character"
        raise ValueError(msg)
    return text


def refuse(name: str, faults: list[tuple[int, str]], unit: str = "line") -> None:
    """
    Refuse a file with faults.

    Raises:
        OwnDataError: There are faults; the first ten are said, each with its line.
    """
    if not faults:
        return
    told = "; ".join(f"{unit} {line}: {why}" for line, why in faults[:MOST_LINES_NAMED])
    more = f"; and {len(faults) - MOST_LINES_NAMED:,} more" if len(faults) > MOST_LINES_NAMED else ""
    places_ = places([line for line, _ in faults], unit)
    msg = f"{name} cannot be read. {told}{more}. Next: correct {places_}; nothing was written."
    raise OwnDataError(msg)


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        names = [name for name, _ in pairs]
        msg = f"{next(name for name in names if names.count(name) > 1)!r} is there twice"
        raise ValueError(msg)
    return found


def _refuse_twice(name: str, header: list[str]) -> None:
    twice = sorted({column for column in header if column and header.count(column) > 1})
    if twice:
        msg = f"{name} has the column {twice[0]!r} twice, and of its cells only one could be kept. Next: name each column once."
        raise OwnDataError(msg)


def _cells(count: int) -> str:
    return f"{count} cell{'s' * (count != 1)}"


def _said(why: str) -> str:
    return "a quote is opened and not closed" if "unexpected end of data" in why else f"not CSV ({why})"

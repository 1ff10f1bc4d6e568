"""Read a user's own labelled rows: CSV with a header, JSON Lines, or Parquet."""

import hashlib
from pathlib import Path

from model_export.bundle.files import read_whole
from model_export.bundle.text import compose, is_described
from model_export.data.own.columns import OwnColumns
from model_export.data.own.rows import LEAST_LABELS, MOST_LABELS, OwnDataError, OwnRow, OwnRows
from model_export.data.own.tables import Table, of_csv, of_json_lines, of_parquet, refuse, text_of
from model_export.data.row import Row

OWN = "own"
TRAIN, CALIBRATION, TEST = "train", "calibration", "test"
# The names that other programs give the parts.
SPLITS = {
    "train": TRAIN,
    "training": TRAIN,
    "calibration": CALIBRATION,
    "validation": CALIBRATION,
    "valid": CALIBRATION,
    "val": CALIBRATION,
    "dev": CALIBRATION,
    "test": TEST,
    "holdout": TEST,
}
JSON_SUFFIXES = frozenset({".jsonl", ".ndjson", ".json"})
PARQUET_SUFFIX, PARQUET_START = ".parquet", b"PAR1"
AS_THEY_ARE = OwnColumns()


def read_own(path: Path, columns: OwnColumns = AS_THEY_ARE) -> OwnRows:
    """
    Read every row of a file.

    Args:
        path: CSV with a header, JSON Lines or Parquet; the ending of the name says which, and where it does not, the beginning
            of the file.
        columns: The file's names for the fields.

    Raises:
        OwnDataError: The file cannot be read, lacks a column or a row, has more labels than any model, or a line is no row; the message
            names the lines.
    """
    name = str(path)
    try:
        raw = read_whole(path)
    except OSError as error:
        msg = f"{name} cannot be read: {error.strerror}. Next: give a CSV, JSON Lines or Parquet file that exists."
        raise OwnDataError(msg) from error
    table = _table(path, raw)
    if not table.records:
        msg = f"{name} holds no rows. Next: give a file with a header and a row a line, or JSON Lines."
        raise OwnDataError(msg)
    fields = columns.of_file(name, table.columns)
    records = _texts(name, table, {*fields.values(), *columns.slices})
    _refuse_many_labels(name, records, fields["tag"])
    _refuse_unknown_splits(name, table.unit, records, fields)
    return OwnRows(
        name=name,
        unit=table.unit,
        rows=tuple(_row(line, record, fields, columns.slices) for line, record in records),
        digests={path.name: hashlib.sha256(raw).hexdigest()},
    )


def _table(path: Path, raw: bytes) -> Table:
    suffix, name = path.suffix.lower(), str(path)
    if suffix == PARQUET_SUFFIX or raw.startswith(PARQUET_START):
        return of_parquet(path)
    try:
        text = raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = raw.count(b"\n", 0, error.start) + 1
        msg = f"{name}, line {line}: not UTF-8 (byte {error.start} of the file). Next: convert the file to UTF-8."
        raise OwnDataError(msg) from error
    if suffix in JSON_SUFFIXES or (suffix != ".csv" and text.lstrip().startswith("{")):
        return of_json_lines(name, text)
    return of_csv(name, text)


def _texts(name: str, table: Table, used: set[str]) -> list[tuple[int, dict[str, str]]]:
    """The columns that are used, as text; others may hold anything."""
    records, faults = [], []
    for line, record in table.records:
        try:
            records.append((line, {column: text_of(column, value) for column, value in record.items() if column in used}))
        except ValueError as error:
            faults.append((line, str(error)))
    refuse(name, faults, table.unit)
    return records


def _refuse_many_labels(name: str, records: list[tuple[int, dict[str, str]]], column: str) -> None:
    """An id that was taken for the label has as many values as there are rows, and every look at them would take minutes."""
    labels = {record.get(column, "") for _, record in records} - {""}
    if len(labels) > MOST_LABELS:
        msg = (
            f"{name} has {len(labels):,} different values in the column {column!r}, and a model has {LEAST_LABELS} to {MOST_LABELS} labels. "
            "Next: name the column that holds the labels: --tag NAME."
        )
        raise OwnDataError(msg)


def _refuse_unknown_splits(name: str, unit: str, records: list[tuple[int, dict[str, str]]], fields: dict[str, str]) -> None:
    column = fields.get("split")
    if column is None:
        return
    known = f"none of {', '.join(SPLITS)}"
    refuse(
        name,
        [
            (line, f"its {column} is {record.get(column, '')!r}, {known}")
            for line, record in records
            if _split(record.get(column, "")) is None
        ],
        unit,
    )


def _split(value: str) -> str | None:
    return SPLITS.get(value.strip().lower())


def _row(line: int, record: dict[str, str], fields: dict[str, str], slices: tuple[str, ...]) -> OwnRow:
    def field(name: str) -> str:
        return record.get(fields[name], "") if name in fields else ""

    title, description, group = field("title"), field("description"), field("group")
    text = compose(title, description or None)
    return OwnRow(
        line=line,
        row=Row(
            text=text,
            tag=field("tag"),
            source=field("source") or OWN,
            topic=f"group:{group}" if group else f"text:{hashlib.sha256(text.encode()).hexdigest()[:16]}",
            described=is_described(description),
            title=title,
            columns=tuple((column, record.get(fields.get(column, column), "")) for column in slices),
        ),
        id=field("id"),
        split=_split(field("split")),
    )

"""Read a user's own labelled rows: CSV with a header, JSON Lines, or Parquet."""

import hashlib
import io
from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

import msgspec

from tagstream.model_export.bundle.files import read_whole
from tagstream.model_export.bundle.json_object import object_of
from tagstream.model_export.bundle.text import compose, is_described
from tagstream.model_export.data.own.rows import LEAST_LABELS, MOST_LABELS, MOST_LINES_NAMED, OwnRow, OwnRows, places
from tagstream.model_export.data.reader import PARQUET_SUFFIXES, LineFile, ParquetFile, RowsError, no_column
from tagstream.model_export.data.row import Row
from tagstream.monitoring.vocabulary import OFF_SUBJECT

OWN = "own"
TRAIN, CALIBRATION, TEST = "train", "calibration", "test"
# The part by its name in the column `split`, including names that other programs use.
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
PARQUET_START = b"PAR1"
# Alternative column names of a field. They are used if the file has no column with the field's name.
ALSO = {"tag": ("label",)}
REQUIRED = ("title", "tag")
# Fields that are read only if the user names their column.
NAMED_ALONE = ("tags",)
SEPARATOR = ";"
Record = tuple[int, dict[str, str]]
"""The line number of a row, and its values as text, by column. A column without a value in the row is missing."""


@dataclass(frozen=True, slots=True, kw_only=True)
class OwnColumns:
    """
    The column name of each field. None: the column has the field's name, and the column may be missing unless the field is required.

    Attributes:
        title: The title or the whole text. Required.
        description: The rest of the text.
        tag: The label. Required. If the file has no column `tag`, the column `label` is used.
        split: The part of a row: train, calibration or test.
        group: Rows of one group are in the same part, for example all messages of one person.
        source: The kind of text. Figures can be sliced by source.
        id: The id of the row.
        tags: All labels of a text. The column is read only if it is named here: in many files, `tags` has another meaning.
        slices: Further columns for slices of the figures. A field's name stands for the column of the field.
        optional: The fields whose named column may be missing.
        labelled: The rows have labels. If False, the label column is not read.
    """

    title: str | None = None
    description: str | None = None
    tag: str | None = None
    split: str | None = None
    group: str | None = None
    source: str | None = None
    id: str | None = None
    tags: str | None = None
    slices: tuple[str, ...] = ()
    optional: tuple[str, ...] = ()
    labelled: bool = True

    def of_gold(self) -> "OwnColumns":
        """
        Return the columns for rows outside the training file, such as a gold set.

        These rows have no parts and no groups. Their ids, sources and `tags` are optional.
        """
        return replace(self, split=None, group=None, optional=("id", "source", "tags"))

    def of_none(self) -> "OwnColumns":
        """Return the columns for texts of none of the labels. Only the title is required."""
        return replace(
            self, split=None, tags=None, slices=(), labelled=False, optional=("description", "group", "source", "id")
        )

    def of_file(self, name: str, there: Sequence[str]) -> dict[str, str]:
        """
        Return the columns of the fields that a file has, by field.

        Args:
            name: The name of the file, for the error.
            there: The columns of the file.

        Raises:
            RowsError: A named or required column is missing.

        >>> OwnColumns(title="subject").of_file("a.csv", ["id", "subject", "label"])
        {'title': 'subject', 'tag': 'label', 'id': 'id'}
        """
        found = {}
        for field in fields(self):
            if field.name in {"slices", "optional", "labelled"} or (field.name == "tag" and not self.labelled):
                continue
            given = getattr(self, field.name)
            if given is None and field.name in NAMED_ALONE:
                continue
            names = (field.name, *ALSO.get(field.name, ())) if given is None else (given,)
            column = next((each for each in names if each in there), None)
            if column is not None:
                found[field.name] = column
            elif field.name in REQUIRED or (given is not None and field.name not in self.optional):
                raise no_column(name, names[0], field.name, there)
        for column in self.slices:
            if column not in there and column not in found:
                raise no_column(name, column, "slice", there)
        return found


AS_THEY_ARE = OwnColumns()


def read_own(path: Path, columns: OwnColumns = AS_THEY_ARE) -> OwnRows:
    """
    Read every row of a file.

    Args:
        path: CSV with a header, JSON Lines or Parquet. The suffix of the name sets the format; without a known suffix, the beginning of the
            file does.
        columns: The column names of the fields.

    Raises:
        RowsError: The file cannot be read, lacks a column, has no rows, has more labels than a model can have, or a line is not a row. The
            message names the lines.
    """
    name = str(path)
    try:
        raw = read_whole(path)
    except OSError as error:
        msg = f"{name} cannot be read: {error.strerror}. Next: give a CSV, JSON Lines or Parquet file that exists."
        raise RowsError(msg) from error
    is_parquet = path.suffix.lower() in PARQUET_SUFFIXES or raw.startswith(PARQUET_START)
    unit = "row" if is_parquet else "line"
    there, values = _of_parquet(name, raw) if is_parquet else _of_lines(name, raw)
    if not values:
        msg = f"{name} holds no rows. Next: give a file with a header and a row a line, or JSON Lines."
        raise RowsError(msg)
    column_of = columns.of_file(name, there)
    records = _texts(name, values, {*column_of.values(), *columns.slices}, unit, of_labels=column_of.get("tags"))
    if columns.labelled:
        _refuse_many_labels(name, records, column_of["tag"])
    _refuse_unknown_splits(name, unit, records, column_of)
    return OwnRows(
        name=name,
        unit=unit,
        rows=tuple(_row(line, record, column_of, columns) for line, record in records),
        digests={path.name: hashlib.sha256(raw).hexdigest()},
    )


def _of_lines(name: str, raw: bytes) -> tuple[list[str], list[tuple[int, dict[str, Any]]]]:
    """Return the columns of CSV or JSON Lines, and the line number and values of each row. One error names all invalid lines."""
    file = LineFile(name, io.BytesIO(raw), None, strict=True)
    values, faults = [], []
    for row in file.rows(go_on=True):
        if row.fault is not None:
            faults.append((row.line, row.fault.why))
            continue
        try:
            values.append((row.line, object_of(row.value)))
        except ValueError as error:
            faults.append((row.line, str(error)))
    _refuse(name, faults)
    if file.header is not None:
        return file.header, values
    return list(dict.fromkeys(column for _, record in values for column in record)), values


def _of_parquet(name: str, raw: bytes) -> tuple[list[str], list[tuple[int, dict[str, Any]]]]:
    """Return the columns of Parquet, and the number and values of each row."""
    with ParquetFile(name, io.BytesIO(raw)) as file:
        rows = (row for batch in file.batches() for row in batch.to_pylist())
        return file.schema.names, list(enumerate(rows, start=1))


def _texts(
    name: str, values: list[tuple[int, dict[str, Any]]], used: set[str], unit: str, *, of_labels: str | None
) -> list[Record]:
    """Return the values of the used columns as text; the column of several labels as JSON. Unused columns may have values of any type."""
    records, faults = [], []
    for line, record in values:
        try:
            taken = {column: value for column, value in record.items() if column in used}
            records.append(
                (line, {key: (labels_of if key == of_labels else text_of)(key, value) for key, value in taken.items()})
            )
        except ValueError as error:
            faults.append((line, str(error)))
    _refuse(name, faults, unit)
    return records


def text_of(column: str, value: Any) -> str:
    """
    Return a value as text. Null becomes an empty text, and an integer becomes its digits.

    Raises:
        ValueError: The value has another type or contains half of a surrogate pair.

    >>> text_of("title", "Refund"), text_of("id", 7), text_of("description", None)
    ('Refund', '7', '')
    """
    if value is None:
        return ""
    if isinstance(value, bool) or not isinstance(value, str | int):
        msg = f"{column!r} is neither text nor a whole number"
        raise ValueError(msg)  # noqa: TRY004 - a fault of the file, not of the caller
    text = str(value)
    # JSON can contain half of a surrogate pair. A tokenizer does not accept it.
    if not text.isascii() and any("\ud800" <= character <= "\udfff" for character in text):
        msg = f"{column!r} holds half a character"
        raise ValueError(msg)
    return text


def labels_of(column: str, value: Any) -> str:
    """
    Return the labels of a value as a JSON list. The value is a list, a JSON list as text, or labels separated by semicolons.

    Raises:
        ValueError: The value is something else.

    >>> labels_of("tags", "billing; bug"), labels_of("tags", '["bug"]'), labels_of("tags", ["bug"]), labels_of("tags", None)
    ('["billing","bug"]', '["bug"]', '["bug"]', '[]')
    """
    try:
        found = msgspec.json.decode(value) if isinstance(value, str) and value.lstrip().startswith("[") else value
    except msgspec.DecodeError as error:
        msg = f"{column!r} begins like a JSON list and is none: {error}"
        raise ValueError(msg) from error
    given = found if isinstance(found, list) else text_of(column, found).split(SEPARATOR)
    labels = [text_of(column, each).strip() for each in given]
    return msgspec.json.encode([label for label in labels if label]).decode()


def _refuse(name: str, faults: list[tuple[int, str]], unit: str = "line") -> None:
    """Raise an error if there are faults. The message has the first ten faults with their lines."""
    if not faults:
        return
    told = "; ".join(f"{unit} {line}: {why}" for line, why in faults[:MOST_LINES_NAMED])
    more = f"; and {len(faults) - MOST_LINES_NAMED:,} more" if len(faults) > MOST_LINES_NAMED else ""
    msg = (
        f"{name} cannot be read. {told}{more}. Next: correct {places([line for line, _ in faults], unit)}; nothing was written."
    )
    raise RowsError(msg)


def _refuse_many_labels(name: str, records: list[Record], column: str) -> None:
    """Check the number of labels. If a column of ids is read as labels, each row has its own label, and the checks would take minutes."""
    labels = {record.get(column, "") for _, record in records} - {"", OFF_SUBJECT}
    if len(labels) > MOST_LABELS:
        msg = (
            f"{name} has {len(labels):,} different values in the column {column!r}, and a model has {LEAST_LABELS} to {MOST_LABELS} labels. "
            "Next: name the column that holds the labels: --tag NAME."
        )
        raise RowsError(msg)


def _refuse_unknown_splits(name: str, unit: str, records: list[Record], column_of: dict[str, str]) -> None:
    column = column_of.get("split")
    if column is None:
        return
    known = f"none of {', '.join(SPLITS)}"
    _refuse(
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


def _row(line: int, record: dict[str, str], column_of: dict[str, str], columns: OwnColumns) -> OwnRow:
    def field(name: str) -> str:
        return record.get(column_of[name], "") if name in column_of else ""

    title, description, group = field("title"), field("description"), field("group")
    tag = field("tag") if columns.labelled else OFF_SUBJECT
    text = compose(title, description or None)
    others = [label for label in msgspec.json.decode(field("tags") or "[]", type=list[str]) if label != tag]
    return OwnRow(
        line=line,
        row=Row(
            text=text,
            tag=tag,
            source=field("source") or OWN,
            topic=f"group:{group}" if group else f"text:{hashlib.sha256(text.encode()).hexdigest()[:16]}",
            described=is_described(description),
            title=title,
            tags=(tag, *dict.fromkeys(others)) if others else (),
            columns=tuple((column, record.get(column_of.get(column, column), "")) for column in columns.slices),
        ),
        id=field("id"),
        split=_split(field("split")),
    )

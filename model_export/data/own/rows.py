"""The rows of a user's own file with their line numbers, and the refusal of unusable rows."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from tagstream.model_export.bundle.manifest import Manifest
from tagstream.model_export.data import madewithml
from tagstream.model_export.data.reader import RowsError
from tagstream.model_export.data.row import Row
from tagstream.monitoring.vocabulary import OFF_SUBJECT, few

LEAST_LABELS, MOST_LABELS = 2, 100
# The most line numbers in a message; further lines are only counted.
MOST_LINES_NAMED = 10


@dataclass(frozen=True, slots=True, kw_only=True)
class OwnRow:
    """
    One row of a file.

    Attributes:
        line: The number of the row's first line, from 1, including blank lines. Of Parquet, the number of the row, from 1.
        row: The text and the label. The label `OFF_SUBJECT` means that a person found none of the labels. The topic is the row's group, or
            a hash of the text if the file has no groups.
        id: The id of the row; empty if the file has no ids.
        split: The part of the row in the file: `train`, `calibration` or `test`. None if the file has no parts.
    """

    line: int
    row: Row
    id: str = ""
    split: str | None = None

    @property
    def is_labelled(self) -> bool:
        """True if the row has a label."""
        return bool(self.row.tag.strip()) and not self.is_off_subject

    @property
    def is_off_subject(self) -> bool:
        """True if a person found none of the labels (`tagstream review --export` writes `OFF_SUBJECT`)."""
        return self.row.tag == OFF_SUBJECT


@dataclass(frozen=True, slots=True, kw_only=True)
class OwnRows:
    """
    All rows of a file, in its order.

    Attributes:
        name: The name of the file in messages.
        unit: The unit of `OwnRow.line`: `line`, or `row` for Parquet.
        rows: The rows.
        digests: The SHA-256 of the file, by file name, for a manifest.
    """

    name: str
    unit: str
    rows: tuple[OwnRow, ...]
    digests: dict[str, str]

    @property
    def labels(self) -> tuple[str, ...]:
        """The distinct labels, in alphabetical order. Empty labels and `OFF_SUBJECT` are not included."""
        return tuple(sorted({own.row.tag for own in self.rows if own.row.tag and not own.is_off_subject}))

    def at(self, rows: Iterable[OwnRow]) -> str:
        """Return the file name and the line numbers of rows, for a message."""
        return f"{self.name}, {places([own.line for own in rows], self.unit)}"


def places(lines: Sequence[int], unit: str = "line") -> str:
    """
    Return line numbers for a message: the first ten, and the number of further lines.

    >>> places([3]), places([3, 9, 12])
    ('line 3', 'lines 3, 9 and 12')
    >>> places(range(1, 14), "row")
    'rows 1, 2, 3, 4, 5, 6, 7, 8, 9, 10 and 3 more'
    """
    named = [str(line) for line in lines[:MOST_LINES_NAMED]]
    more = len(lines) - len(named)
    if more:
        return f"{unit}s {', '.join(named)} and {more:,} more"
    if len(named) == 1:
        return f"{unit} {named[0]}"
    return f"{unit}s {', '.join(named[:-1])} and {named[-1]}"


def refuse_unusable(rows: OwnRows, labels: Sequence[str], folder: str) -> None:
    """
    Check that a bundle can be measured and calibrated on the rows.

    Args:
        rows: The rows.
        labels: The labels of the bundle.
        folder: The name of the bundle in messages.

    Raises:
        RowsError: A row has no text, or the bundle does not have the row's label.
    """
    empty = [own for own in rows.rows if not own.row.text.strip()]
    if empty:
        msg = f"{rows.at(empty)}: no text. Next: fill it in, or delete the row."
        raise RowsError(msg)
    refuse_unknown(rows, rows.rows, labels, folder)


def refuse_unknown(rows: OwnRows, of_these: Iterable[OwnRow], labels: Sequence[str], folder: str) -> None:
    """
    Check that a bundle has the labels of the rows.

    Args:
        rows: All rows that were read, for the file name and the unit in the message.
        of_these: The rows to check.
        labels: The labels of the bundle.
        folder: The name of the bundle in messages.

    Raises:
        RowsError: The bundle does not have the label of a row.
    """
    unknown = [own for own in of_these if own.row.tag not in labels]
    if unknown:
        names = ", ".join(sorted({repr(own.row.tag) for own in unknown}))
        msg = (
            f"{rows.at(unknown)}: {folder} does not have the label {names}, so it is always wrong on these rows. Its labels are "
            f"{few(labels)}. Next: correct the label, or delete the row."
        )
        raise RowsError(msg)


def learned_files(manifest: Manifest) -> frozenset[str]:
    """Return the SHA-256 of each of a bundle's training files. Made With ML's holdout is in the record too, but is not a training file."""
    data = manifest.training.get("data")
    found = data.get("sha256") if isinstance(data, dict) else None
    digests = frozenset(found.values()) if isinstance(found, dict) else frozenset()
    return digests - {madewithml.SHA256[madewithml.HOLDOUT]}


def refuse_learned(rows: OwnRows, manifest: Manifest, folder: str) -> None:
    """
    Check that a bundle was not trained on a file. A file that was saved again with other bytes is not recognised.

    Args:
        rows: The rows of the file.
        manifest: The manifest of the bundle.
        folder: The name of the bundle in messages.

    Raises:
        RowsError: The bundle was trained on this file.
    """
    if learned_files(manifest) & set(rows.digests.values()):
        msg = (
            f"{rows.name} is a file that {folder} has learned from, so figures on these rows prove nothing. Next: give labelled "
            "rows that the bundle has not learned from."
        )
        raise RowsError(msg)

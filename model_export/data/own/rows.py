"""The rows of a user's own file, each with the place where an editor finds it, and the refusal of rows that cannot be used."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from tagstream.model_export.bundle.manifest import Manifest
from tagstream.model_export.data import madewithml
from tagstream.model_export.data.reader import RowsError
from tagstream.model_export.data.row import Row
from tagstream.monitoring.vocabulary import OFF_SUBJECT, few

LEAST_LABELS, MOST_LABELS = 2, 100
# A sentence names so many lines; the rest are counted.
MOST_LINES_NAMED = 10


@dataclass(frozen=True, slots=True, kw_only=True)
class OwnRow:
    """
    One row of a file.

    Attributes:
        line: The line on which it begins, from 1, blank ones counted; of Parquet the number of the row, from 1.
        row: Its text and label, or a person's word that it has none (`OFF_SUBJECT`). The topic is its group, or a hash of its text
            where the file names no groups.
        id: Its id; empty where the file has none.
        split: The part that the file gives it, `train`, `calibration` or `test`; None where the file gives none.
    """

    line: int
    row: Row
    id: str = ""
    split: str | None = None

    @property
    def is_labelled(self) -> bool:
        """It has a label."""
        return bool(self.row.tag.strip()) and not self.is_off_subject

    @property
    def is_off_subject(self) -> bool:
        """A person said that it has none of the labels, as `tagstream review --export` writes it."""
        return self.row.tag == OFF_SUBJECT


@dataclass(frozen=True, slots=True, kw_only=True)
class OwnRows:
    """
    All rows of a file, in its order.

    Attributes:
        name: The file, as sentences call it.
        unit: The unit of `OwnRow.line`: `line`, or `row` of Parquet.
        rows: The rows.
        digests: The SHA-256 of the file, by its name; a manifest keeps it.
    """

    name: str
    unit: str
    rows: tuple[OwnRow, ...]
    digests: dict[str, str]

    @property
    def labels(self) -> tuple[str, ...]:
        """The different labels, in alphabetical order; a row without one counts for none, and so does one of none of them."""
        return tuple(sorted({own.row.tag for own in self.rows if own.row.tag and not own.is_off_subject}))

    def at(self, rows: Iterable[OwnRow]) -> str:
        """The place of some rows as a sentence names it: file and lines."""
        return f"{self.name}, {places([own.line for own in rows], self.unit)}"


def places(lines: Sequence[int], unit: str = "line") -> str:
    """
    Line numbers as a sentence names them: the first ten, then how many more there are.

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
    Refuse rows that a bundle can be neither measured nor calibrated on.

    Args:
        rows: The rows.
        labels: The bundle's labels.
        folder: The bundle, as the sentence calls it.

    Raises:
        RowsError: A row has no text, or a label that the bundle does not have.
    """
    empty = [own for own in rows.rows if not own.row.text.strip()]
    if empty:
        msg = f"{rows.at(empty)}: no text. Next: fill it in, or delete the row."
        raise RowsError(msg)
    refuse_unknown(rows, rows.rows, labels, folder)


def refuse_unknown(rows: OwnRows, of_these: Iterable[OwnRow], labels: Sequence[str], folder: str) -> None:
    """
    Refuse rows whose label a bundle does not have.

    Args:
        rows: All rows that were read, for the places in the message.
        of_these: The rows to look at.
        labels: Those of the bundle.
        folder: The bundle, as the sentence calls it.

    Raises:
        RowsError: A row has another label.
    """
    unknown = [own for own in of_these if own.row.tag not in labels]
    if unknown:
        names = ", ".join(sorted({repr(own.row.tag) for own in unknown}))
        msg = (
            f"{rows.at(unknown)}: {folder} does not have the label {names}, so that it can only be wrong there. Its labels are "
            f"{few(labels)}. Next: correct the label, or delete the row."
        )
        raise RowsError(msg)


def learned_files(manifest: Manifest) -> frozenset[str]:
    """The SHA-256 of every file that a bundle has learned from. Made With ML's holdout is in the record, but only measured on."""
    data = manifest.training.get("data")
    found = data.get("sha256") if isinstance(data, dict) else None
    digests = frozenset(found.values()) if isinstance(found, dict) else frozenset()
    return digests - {madewithml.SHA256[madewithml.HOLDOUT]}


def refuse_learned(rows: OwnRows, manifest: Manifest, folder: str) -> None:
    """
    Refuse the file that a bundle has learned from; one that was saved anew has another digest and is not recognised.

    Args:
        rows: The rows.
        manifest: The bundle's.
        folder: The bundle, as the sentence calls it.

    Raises:
        RowsError: The bundle has learned from this file.
    """
    if learned_files(manifest) & set(rows.digests.values()):
        msg = (
            f"{rows.name} is a file that {folder} has learned from, so its word on these rows proves nothing. Next: give "
            "labelled rows that it has not seen."
        )
        raise RowsError(msg)

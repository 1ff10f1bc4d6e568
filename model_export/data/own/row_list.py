"""
The list of a user's rows that a bundle was trained on. With it, a later training can say which rows came, went or changed their label.

The list has a mark of each text, and not the text. Whoever has a mark, salted or not, can test whether it is of a text that they guess, and a
short title is soon guessed. So the list lies beside the bundle's folder and stays with the owner of the rows; a bundle that is given away
has only the list's SHA-256.
"""

import hashlib
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import msgspec

from tagstream.model_export.bundle.files import read_whole
from tagstream.model_export.bundle.manifest import Manifest
from tagstream.model_export.data.own.rows import OwnRows
from tagstream.model_export.data.own.split import folded
from tagstream.model_export.data.reader import RowsError

SUFFIX = ".rows.jsonl"
# The hexadecimal digits of a mark: two of a million different texts have the same mark in one of forty million lists.
MARK_DIGITS = 16


class ListedRow(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """
    One row.

    Attributes:
        file: The name of the file, as in the manifest's digests: people's answers have `answers/` before it.
        line: The number of the row in the file, as in `OwnRow`.
        id: The id of the row; empty if the file has no ids.
        tag: The label.
        mark: The first `MARK_DIGITS` digits of the SHA-256 of the folded text.
    """

    file: str
    line: int
    id: str = ""
    tag: str
    mark: str


class MoveCounts(msgspec.Struct, frozen=True, kw_only=True):
    """The number of texts by what became of them, as `Moves` has them."""

    came: int
    went: int
    relabelled: int
    stayed: int

    def __str__(self) -> str:
        """Return the numbers in words."""
        return f"{self.came:,} came, {self.went:,} went, {self.relabelled:,} changed their label, {self.stayed:,} stayed"


@dataclass(frozen=True, slots=True, kw_only=True)
class Moves:
    """
    The difference of two lists. A text counts once, however many rows have it.

    Attributes:
        came: The rows whose text only the newer list has.
        went: The rows whose text only the older list has.
        relabelled: The rows of the newer list whose text has other labels in the older list, with these labels.
        stayed: The number of texts with the same labels in both lists.
    """

    came: tuple[ListedRow, ...]
    went: tuple[ListedRow, ...]
    relabelled: tuple[tuple[ListedRow, str], ...]
    stayed: int

    def counts(self) -> MoveCounts:
        """Return the number of texts by what became of them."""
        return MoveCounts(came=len(self.came), went=len(self.went), relabelled=len(self.relabelled), stayed=self.stayed)


def of(*files: OwnRows) -> tuple[ListedRow, ...]:
    """Return the list of all rows with a text and a label. Of rows with the same text and label, the first is listed."""
    rows: dict[tuple[str, str], ListedRow] = {}
    for given in files:
        name = next(iter(given.digests))
        for own in given.rows:
            if own.row.text.strip() and own.is_labelled:
                mark = hashlib.sha256(folded(own.row.text).encode()).hexdigest()[:MARK_DIGITS]
                listed = ListedRow(file=name, line=own.line, id=own.id, tag=own.row.tag, mark=mark)
                rows.setdefault((mark, own.row.tag), listed)
    return tuple(rows.values())


def compare(old: Sequence[ListedRow], new: Sequence[ListedRow]) -> Moves:
    """Return what became of the rows of the older list."""
    before, after = _by_mark(old), _by_mark(new)
    relabelled, stayed = [], 0
    for mark in after.keys() & before.keys():
        was, now = ({row.tag for row in rows} for rows in (before[mark], after[mark]))
        if was == now:
            stayed += 1
        else:
            row = next((row for row in after[mark] if row.tag not in was), after[mark][0])
            relabelled.append((row, " or ".join(sorted(was))))
    return Moves(
        came=tuple(rows[0] for mark, rows in after.items() if mark not in before),
        went=tuple(rows[0] for mark, rows in before.items() if mark not in after),
        relabelled=tuple(sorted(relabelled, key=lambda pair: (pair[0].file, pair[0].line))),
        stayed=stayed,
    )


def digest(rows: Sequence[ListedRow]) -> str:
    """Return the SHA-256 of the file of a list."""
    return hashlib.sha256(_lines(rows)).hexdigest()


def write(folder: Path, rows: Sequence[ListedRow]) -> Path:
    """Write the list beside a bundle's folder, in place of an older list. Return its file."""
    place = _place(folder)
    place.write_bytes(_lines(rows))
    return place


def find(folder: Path, manifest: Manifest) -> tuple[ListedRow, ...] | None:
    """
    Return the list of a bundle, from any list beside the bundle's folder: the folder may have another name now.

    Args:
        folder: The folder of the bundle.
        manifest: The manifest of the bundle.

    Returns:
        The list; None if the bundle has none, or if it is not there.

    Raises:
        RowsError: A list cannot be read.
    """
    data = manifest.training.get("data")
    wanted = data.get("listed") if isinstance(data, dict) else None
    own = _place(folder)
    for place in sorted(own.parent.glob(f"*{SUFFIX}"), key=lambda place: (place != own, place)) if wanted else ():
        try:
            raw = read_whole(place)
        except OSError as error:
            msg = f"the list of rows {place} cannot be read: {error.strerror}. Next: make it readable, or move it away."
            raise RowsError(msg) from error
        if hashlib.sha256(raw).hexdigest() == wanted:
            return tuple(msgspec.json.Decoder(ListedRow).decode_lines(raw))
    return None


def _by_mark(rows: Sequence[ListedRow]) -> dict[str, list[ListedRow]]:
    found: defaultdict[str, list[ListedRow]] = defaultdict(list)
    for row in rows:
        found[row.mark].append(row)
    return dict(found)


def _lines(rows: Sequence[ListedRow]) -> bytes:
    return msgspec.json.Encoder().encode_lines(rows)


def _place(folder: Path) -> Path:
    resolved = folder.resolve()
    return resolved.with_name(resolved.name + SUFFIX)

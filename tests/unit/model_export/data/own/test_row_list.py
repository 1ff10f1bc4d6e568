"""The list of a bundle's rows: what came, went or changed its label is said without the older file, and no text is kept."""

import hashlib
from pathlib import Path

import msgspec
import pytest

from tagstream.model_export.bundle.bundle import Bundle
from tagstream.model_export.bundle.manifest import Manifest
from tagstream.model_export.data.own import row_list
from tagstream.model_export.data.own.read import read_own
from tagstream.model_export.data.own.row_list import ListedRow, MoveCounts
from tagstream.model_export.data.own.rows import OwnRows
from tagstream.model_export.data.reader import RowsError


def rows(folder: Path, *lines: str) -> OwnRows:
    """The rows of a file with ids."""
    path = folder / "rows.csv"
    path.write_text("\n".join(["id,title,tag", *lines]), encoding="utf-8")
    return read_own(path)


def listing(manifest: Manifest, listed: str) -> Manifest:
    """The manifest of a bundle with this list."""
    return msgspec.structs.replace(manifest, training={"data": {"listed": listed}})


def test_rows_that_came_went_and_changed_their_label_are_told_apart(tmp_path: Path) -> None:
    """Whatever their order, and however white space and case are written; a text with several rows counts once."""
    old = row_list.of(rows(tmp_path, "1,Refund please,billing", "2,it crashes,bug", "3,cannot sign in,access", "4,twice,bug"))
    new = row_list.of(
        rows(tmp_path, "7,it  CRASHES,access", "8,refund please,billing", "9,new one,bug", "9,new one,bug", "4,twice,bug")
    )
    moves = row_list.compare(old, new)
    assert [(row.line, row.id, row.tag) for row in moves.came] == [(4, "9", "bug")]
    assert [(row.line, row.id, row.tag) for row in moves.went] == [(4, "3", "access")]
    assert [(row.line, row.tag, was) for row, was in moves.relabelled] == [(2, "access", "bug")]
    assert moves.counts() == MoveCounts(came=1, went=1, relabelled=1, stayed=2)
    assert row_list.compare(old, old).counts() == MoveCounts(came=0, went=0, relabelled=0, stayed=4)


def test_a_text_with_two_labels_is_compared_by_both(tmp_path: Path) -> None:
    """A label more and a label less are changes, and the row with the new label is named."""
    one, two = ["1,same,bug"], ["1,same,bug", "2,same,access"]
    more = row_list.compare(row_list.of(rows(tmp_path, *one)), row_list.of(rows(tmp_path, *two)))
    less = row_list.compare(row_list.of(rows(tmp_path, *two)), row_list.of(rows(tmp_path, *one)))
    assert [(row.tag, was) for row, was in more.relabelled] == [("access", "bug")]
    assert [(row.tag, was) for row, was in less.relabelled] == [("bug", "access or bug")]


def test_the_list_has_no_text_and_only_rows_that_teach_a_label(tmp_path: Path) -> None:
    """Neither a word of a text nor a row without text or label is in the file; an answer of none of the labels is not either."""
    given = rows(tmp_path, "1,unmistakable words,bug", "2,,bug", "3,unlabelled,", "4,strange,off_subject")
    place = row_list.write(tmp_path / "bundle", row_list.of(given))
    assert place == tmp_path / "bundle.rows.jsonl"
    raw = place.read_bytes()
    assert b"unmistakable" not in raw.lower()
    (row,) = msgspec.json.Decoder(ListedRow).decode_lines(raw)
    mark = hashlib.sha256(b"unmistakable words").hexdigest()[:16]
    assert row == ListedRow(file="rows.csv", line=2, id="1", tag="bug", mark=mark)


def test_the_list_is_found_by_its_sum(tmp_path: Path, tiny_bundle: Bundle) -> None:
    """After the bundle's folder was renamed, and beside other lists; the list of another bundle in its place is not taken."""
    listed, other = (row_list.of(rows(tmp_path, f"1,{title},bug")) for title in ("one", "another"))
    manifest = listing(tiny_bundle.manifest, row_list.digest(listed))
    row_list.write(tmp_path / "earlier-name", listed)
    row_list.write(tmp_path / "bundle", other)
    assert row_list.find(tmp_path / "bundle", manifest) == listed
    row_list.write(tmp_path / "earlier-name", other)
    assert row_list.find(tmp_path / "bundle", manifest) is None
    assert row_list.find(tmp_path / "bundle", tiny_bundle.manifest) is None


def test_a_list_that_cannot_be_read_is_named(tmp_path: Path, tiny_bundle: Bundle) -> None:
    """Its rows would otherwise count as unknown."""
    (tmp_path / "bundle.rows.jsonl").mkdir()
    with pytest.raises(RowsError, match=r"list of rows .*bundle\.rows\.jsonl cannot be read: Is a directory\. Next: "):
        row_list.find(tmp_path / "bundle", listing(tiny_bundle.manifest, "0" * 64))

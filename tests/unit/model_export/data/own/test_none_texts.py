"""Texts of none of a user's labels: read without labels, kept apart from labelled rows, and tagstream's own where there are no others."""

from pathlib import Path

import pytest

from tagstream.model_export.data.own.none_texts import gather, read_none
from tagstream.model_export.data.own.read import OwnColumns
from tagstream.model_export.data.own.rows import OwnRow, OwnRows
from tagstream.model_export.data.reader import RowsError
from tagstream.model_export.data.row import Row
from tagstream.monitoring.vocabulary import OFF_SUBJECT
from tests.replacing import replace

LABELLED = [Row(text="Refund please", tag="billing", source="own", topic="t")]


def written(folder: Path, content: str, name: str = "none.csv") -> Path:
    """A file with this content."""
    file = folder / name
    file.write_text(content, encoding="utf-8")
    return file


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("none.csv", "subject,tag,description\nLost cat,animals,Grey\nFlat to let,,\n"),
        ("none.jsonl", '{"subject": "Lost cat", "description": "Grey", "tag": 7.5}\n{"subject": "Flat to let"}\n'),
    ],
)
def test_a_file_needs_no_labels_and_those_that_it_has_are_not_read(tmp_path: Path, name: str, content: str) -> None:
    """Titles are enough, by the column that the labelled rows have for them; a label of another kind is no label of ours."""
    found = read_none(written(tmp_path, content, name), OwnColumns(title="subject", tag="category", split="part"))
    assert [(own.row.text, own.row.tag, own.split) for own in found.rows] == [
        ("Lost cat Grey", OFF_SUBJECT, None),
        ("Flat to let", OFF_SUBJECT, None),
    ]
    assert found.labels == ()


def test_a_file_without_titles_is_refused(tmp_path: Path) -> None:
    """The message names the file, the column and the next step."""
    with pytest.raises(RowsError, match=r"none\.csv.*title.*Next:"):
        read_none(written(tmp_path, "text\nLost cat\n"), OwnColumns())


def test_a_text_with_a_label_is_not_one_of_none(tmp_path: Path) -> None:
    """Case and spaces aside: a gate that learned it as strange would send the label's own texts to people. Each text counts once."""
    given = read_none(written(tmp_path, "title\nrefund  PLEASE\nLost cat\nlost cat\n"), OwnColumns())
    found = gather(given, (), LABELLED)
    assert [row.text for row in found.rows] == ["lost cat"]
    assert [own.line for own in found.labelled] == [2]
    assert not found.generic
    assert set(found.digests) == {"none/none.csv"}


def test_what_people_said_has_no_label_is_learned_too() -> None:
    """An answer `off_subject` is a text of none of the labels, with a file or without one."""
    said = OwnRow(line=1, row=Row(text="Lost cat", tag=OFF_SUBJECT, source="own", topic="t"))
    given = OwnRows(name="none.csv", unit="line", rows=(replace(said, row=replace(said.row, text="Flat to let")),), digests={})
    assert [row.text for row in gather(None, [said], LABELLED).rows] == ["Lost cat"]
    assert [row.text for row in gather(given, [said], LABELLED).rows] == ["Flat to let", "Lost cat"]


def test_without_any_tagstreams_own_texts_stand_for_them() -> None:
    """They are authored, ship with the package and say of themselves that they are generic; a labelled text is not among them."""
    found = gather(None, (), LABELLED)
    assert found.generic
    assert len(found.rows) > 400
    without = gather(None, (), [replace(LABELLED[0], text=found.rows[0].text.upper())])
    assert len(without.rows) == len(found.rows) - 1

"""Names of a file for the fields of an event."""

import json
from pathlib import Path

import pytest

from tagstream.model_export.data.reader import Columns, InputRow, RowsError, rows_of
from tagstream.monitoring.vocabulary import Reason
from tagstream.stream.contract.event import ContentEvent, decode
from tagstream.stream.contract.refusal import Refusal
from tests.fakes import raw

MAPPED = Columns(title="Title", description="Body", id="Key")


def values(folder: Path, name: str, content: bytes, columns: Columns = MAPPED) -> list[bytes]:
    """The event values of a file with this content."""
    path = folder / name
    path.write_bytes(content)
    return [row.value for row in rows_of(str(path), columns)]


@pytest.mark.parametrize("name", ["a.csv", "papers"])
def test_columns_of_a_csv_file_become_the_events_fields(tmp_path: Path, name: str) -> None:
    """The other columns pass through, and a file without a suffix is known for CSV by its title's column."""
    (value,) = values(tmp_path, name, b"Key,Title,Body,Year\n7,a,b,2020\n")
    assert json.loads(value) == {"id": "7", "title": "a", "description": "b", "Year": "2020"}


@pytest.mark.parametrize("columns", [Columns(), Columns(id="Ref")])
def test_an_empty_cell_in_the_column_of_the_id_is_no_id(tmp_path: Path, columns: Columns) -> None:
    """A cell of CSV cannot be null, so an empty one means a missing id; an empty id in JSON is still the producer's word."""
    column = (columns.id or "id").encode()
    rows_of_csv = values(tmp_path, "a.csv", column + b",title,note\n,a,\n7,b,\n", columns)
    assert [json.loads(value) for value in rows_of_csv] == [{"title": "a", "note": ""}, {"id": "7", "title": "b", "note": ""}]
    assert isinstance(decode(raw(rows_of_csv[0])), ContentEvent)
    (row_of_json,) = values(tmp_path, "a.jsonl", b'{"' + column + b'":"","title":"a"}\n', columns)
    refused = decode(raw(row_of_json))
    assert isinstance(refused, Refusal)
    assert refused.reason is Reason.INVALID_ID


def test_fields_of_json_lines_become_the_events_fields(tmp_path: Path) -> None:
    """Values keep their bytes, and a row without such a field, or that is no object, is passed on as it is."""
    content = b'{"Title": "a", "n": 1.10, "Body": null}\n{"title": "b"}\nno json\n{"Title":1,"Title":2}\n'
    assert values(tmp_path, "a.jsonl", content) == [
        b'{"title":"a","n":1.10,"description":null}',
        b'{"title":"b"}',
        b"no json",
        b'{"Title":1,"Title":2}',
    ]


def test_rows_are_untouched_without_other_names() -> None:
    """The fields' own names are no mapping, and the bytes stay."""
    row = InputRow(1, b'{"title": "a" }')
    assert Columns(title="title").row("a", row) is row


def test_two_fields_may_swap_their_names(tmp_path: Path) -> None:
    """A column that is itself named for another field is not in the way."""
    (value,) = values(tmp_path, "a.csv", b"title,description\na,b\n", Columns(title="description", description="title"))
    assert json.loads(value) == {"description": "a", "title": "b"}


@pytest.mark.parametrize(
    ("name", "content", "says"),
    [
        (
            "a.csv",
            b"Title,Key\na,1\n",
            "has no column 'Body' (columns: Title, Key). Next: name the column: --description NAME.",
        ),
        ("a.csv", b"Title,Body,Key,title\na,b,1,c\n", "the column 'title' is there twice"),
        ("a.jsonl", b'{"title":"a"}\n{"Title":"a","title":"b"}\n', "line 2: it has 'Title', which --title names, and 'title'"),
    ],
)
def test_a_name_that_does_not_fit_is_refused(tmp_path: Path, name: str, content: bytes, says: str) -> None:
    """A missing column and two columns for one field: no data is dropped in silence."""
    with pytest.raises(RowsError) as caught:
        values(tmp_path, name, content)
    assert says in str(caught.value)
    assert "Next: " in str(caught.value)


@pytest.mark.parametrize("names", [{"title": ""}, {"title": "a", "description": "a"}])
def test_names_that_cannot_be_meant_are_refused(names: dict[str, str]) -> None:
    """An empty name, and one column for two fields."""
    with pytest.raises(RowsError, match=r"cannot be the name of .*Next: "):
        Columns(**names)


def test_a_file_with_semicolons_is_told_so_before_its_names_are_asked_for(tmp_path: Path) -> None:
    """With `--title Headline` too, the error is about what separates the columns."""
    with pytest.raises(RowsError, match=r"no column 'Headline'.*Next: separate the columns by commas, not by ';'"):
        values(tmp_path, "a.csv", b"Ref;Headline\n1;a\n", Columns(title="Headline"))


def test_csv_without_a_title_says_how_to_name_it(tmp_path: Path) -> None:
    """The error of a CSV file with other names gives the options."""
    with pytest.raises(RowsError, match=r"no column 'title' \(columns: Title\).*--title NAME"):
        values(tmp_path, "a.csv", b"Title\na\n", Columns())

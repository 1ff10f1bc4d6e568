"""The reader of rows: every row gives one value, in order, and an unreadable file is refused with the reason."""

import csv
import io
import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tagstream.model_export.data import reader
from tagstream.model_export.data.reader import Columns, RowsError, open_lines, rows_of

# The cells of a CSV file: no NUL, and no `\r`, which alone ends no line here.
CELLS = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0\r"), max_size=12)


class Standard:
    """Standard input with these bytes."""

    def __init__(self, content: bytes) -> None:
        """Keep the bytes where `sys.stdin` has its own."""
        self.buffer = io.BytesIO(content)


def read(content: bytes, monkeypatch: pytest.MonkeyPatch) -> list[bytes]:
    """The values of standard input."""
    monkeypatch.setattr("sys.stdin", Standard(content))
    return [row.value for row in rows_of("-")]


def written(folder: Path, name: str, content: bytes) -> str:
    """A file with this content."""
    path = folder / name
    path.write_bytes(content)
    return str(path)


@pytest.mark.parametrize("name", ["a.jsonl", "a.ndjson", "a.json", "a.JSONL", "no-suffix"])
def test_json_lines_are_passed_on_byte_for_byte(tmp_path: Path, name: str) -> None:
    """Each line that is not blank gives its bytes, valid JSON or not, and the last needs no line end."""
    content = b'{"title": 1.10 }\n\n  \r\nnot json\xff\r\n{"title":"b"}'
    assert [row.value for row in rows_of(written(tmp_path, name, content))] == [
        b'{"title": 1.10 }',
        b"not json\xff",
        b'{"title":"b"}',
    ]


def test_a_csv_row_is_an_object_of_its_cells(tmp_path: Path) -> None:
    """A short row lacks its last fields, an empty cell is an empty string, and quotes hold commas and line ends."""
    content = b'\xef\xbb\xbfid,title,description\n1,"a, b","c\nd"\n2,e\n3,"\xc3\xa9 ""f""",\n'
    assert [json.loads(row.value) for row in rows_of(written(tmp_path, "a.csv", content))] == [
        {"id": "1", "title": "a, b", "description": "c\nd"},
        {"id": "2", "title": "e"},
        {"id": "3", "title": '\u00e9 "f"'},
    ]


def test_a_column_without_a_name_is_a_field_without_a_name(tmp_path: Path) -> None:
    """The index column of an exported table has an empty name and is not counted as surplus."""
    assert [row.value for row in rows_of(written(tmp_path, "a.csv", b",title\n0,a\n1,b\n"))] == [
        b'{"":"0","title":"a"}',
        b'{"":"1","title":"b"}',
    ]


@given(st.lists(st.tuples(CELLS, CELLS), max_size=6))
def test_csv_from_the_standard_writer_is_read_back_unchanged(cells: list[tuple[str, str]]) -> None:
    """Any cells that the standard library's writer has written are read back unchanged."""
    text = io.StringIO(newline="")
    writer = csv.writer(text, lineterminator="\r\n")
    writer.writerows([("title", "x"), *cells])
    with pytest.MonkeyPatch.context() as patch:
        found = [json.loads(value) for value in read(text.getvalue().encode(), patch)]
    assert found == [{"title": title, "x": x} for title, x in cells]


@pytest.mark.parametrize("header", [b"\n \r\ntitle", b"title", b"id,title", b'"id","title"', b"\xef\xbb\xbftitle,id"])
def test_standard_input_with_a_header_is_csv(header: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    """A first line with a title column, quoted or not, after blank lines or not, makes the input CSV."""
    (value,) = read(header + b"\na,a\n" if b"," in header else header + b"\na\n", monkeypatch)
    assert json.loads(value)["title"] == "a"


def test_standard_input_otherwise_is_json_lines(monkeypatch: pytest.MonkeyPatch) -> None:
    """Any other standard input is JSON Lines, also an empty one and one whose text mentions a title."""
    assert read(b"", monkeypatch) == []
    assert read(b'{"a":1,title,"b":2}\n', monkeypatch) == [b'{"a":1,title,"b":2}']
    assert read(b'[\n{"title":"a"}]\n', monkeypatch) == [b"[", b'{"title":"a"}]']


def test_csv_as_other_programs_write_it_is_read(tmp_path: Path) -> None:
    """Columns without a name and without a cell, an index without a name, and text behind a closing quote."""
    path = written(tmp_path, "a.csv", b'title,,\na,,\n"b" c,1,\n"d"e,,\n"f\n\ng",,')
    assert [json.loads(row.value) for row in rows_of(str(path))] == [
        {"title": "a"},
        {"title": "b c", "": "1"},
        {"title": "de"},
        {"title": "f\n\ng"},
    ]


def test_a_file_with_old_line_ends_and_no_suffix_is_passed_on_as_one_row(tmp_path: Path) -> None:
    """Such a file is not known for CSV, and the decoder refuses its one row."""
    assert [row.value for row in rows_of(str(written(tmp_path, "papers", b"title\rfoo\rbar\n")))] == [b"title\rfoo\rbar"]


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"", "has no column 'title' (columns: none)"),
        (b"id,name\n1,a\n", "has no column 'title' (columns: id, name)"),
        (
            b"Ref;Headline\n1;a\n",
            "has no column 'title' (columns: Ref;Headline). Next: separate the columns by commas, not by ';'",
        ),
        (b"id\ttitle\n1\ta\n", "Next: separate the columns by commas, not by tabs"),
        (b"id,title\n1,a\n2,b,c\n", "line 3: more fields"),
        (b'id,title\n\n1,"a\nb"\n2,"b\nc",c\n', "line 5: more fields"),
        (b"title\na\n\xff\n", "line 3: not UTF-8 (byte 0)"),
        (b"title\na\rb\n", "line 2: not CSV"),
        (b"title\ra\rb\n", "line 1: not CSV"),
        (b'title\na\n"b\nc\nd\n', "line 3: not CSV (a quote is opened and not closed)"),
        (b"title,,\na,b,\nc,d,e\n", "line 3: cells of two columns that have no name"),
        (b'\n\ntitle\na\n"b\nc\n', "line 5: not CSV"),
        (b"\ntitle\n\xff\n", "line 3: not UTF-8 (byte 0)"),
        (b"\nid,title\n1,b,c\n", "line 3: more fields"),
        (b"title,title\na,b\n", "the column 'title' is there twice"),
        (b"id,title,x,x\n1,a,,\n", "the column 'x' is there twice"),
    ],
)
def test_a_file_that_is_no_csv_is_refused_with_the_place_and_the_next_step(tmp_path: Path, content: bytes, says: str) -> None:
    """The error has the file, the line, the reason and the next step."""
    path = written(tmp_path, "a.csv", content)
    with pytest.raises(RowsError) as caught:
        [row.value for row in rows_of(path)]
    assert path in str(caught.value)
    assert says in str(caught.value)
    assert "Next: " in str(caught.value)


def test_a_file_that_is_not_there_is_refused_with_the_next_step(tmp_path: Path) -> None:
    """A missing file or folder is refused with the next step."""
    (tmp_path / "folder.csv").mkdir()
    for name in ("none.csv", "folder.csv"):
        with pytest.raises(RowsError, match=r"cannot be read: .*Next: "):
            [row.value for row in rows_of(str(tmp_path / name))]


@pytest.mark.parametrize("argument", ["-", "a.csv"])
def test_an_error_of_what_is_done_with_the_rows_is_none_of_the_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, argument: str
) -> None:
    """A pipe that is closed, or a broker that is away, is not told as a file that cannot be read."""
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(b"title\na\n")))
    name = argument if argument == "-" else written(tmp_path, argument, b"title\na\n")
    with pytest.raises(BrokenPipeError), open_lines(name):
        raise BrokenPipeError


BAD_LINES = b"title,n\nimage,1\nwide,2,3\nlat\xe9in,4\nimage,5\n"


def test_lines_that_are_no_row_are_given_with_their_fault(tmp_path: Path) -> None:
    """A reader that goes on behind them has their line, their bytes and the reason, and the rows between them."""
    with open_lines(written(tmp_path, "a.csv", BAD_LINES)) as file:
        found = list(file.rows(go_on=True))
    assert [(row.line, row.fault and row.fault.code) for row in found] == [
        (2, None),
        (3, "not_csv"),
        (4, "invalid_utf8"),
        (5, None),
    ]
    assert [row.value for row in found[1:3]] == [b"wide,2,3\n", b"lat\xe9in,4\n"]
    assert file.done == len(BAD_LINES)


@pytest.mark.parametrize("rows", [b"title\n" + b'"' + b"x" * 70 + b"\n" * 40, b'{"title":"' + b"x" * 120])
def test_a_row_does_not_fill_the_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, rows: bytes) -> None:
    """A quote that is not closed, and a line without an end, are given up at a bound."""
    monkeypatch.setattr(reader, "MOST_BYTES", 100)
    with pytest.raises(RowsError, match=r"line \d+: (a row of more|longer) than 100 bytes"):
        list(rows_of(written(tmp_path, "a", rows)))


def test_a_row_with_two_fields_for_one_is_set_aside(tmp_path: Path) -> None:
    """A reader that goes on behind faults gets such a row with its fault."""
    path = written(tmp_path, "a.jsonl", b'{"Headline":"a","title":"b"}\n{"Headline":"c"}')
    with open_lines(path, Columns(title="Headline")) as file:
        first, second = file.rows(go_on=True)
    assert first.fault is not None
    assert (first.fault.code, first.value, second.fault) == ("duplicate_key", b'{"Headline":"a","title":"b"}', None)


def test_a_header_has_the_names_of_the_file(tmp_path: Path) -> None:
    """The header is given as it stands there; JSON Lines have none."""
    with open_lines(written(tmp_path, "a.csv", "\n\ufeffTitle,b\n".encode())) as file:
        assert file.header == ["Title", "b"]
    with open_lines(written(tmp_path, "a.jsonl", b'{"title":"a"}')) as file:
        assert file.header is None

"""A user's file is read row by row with the line of each, and everything in it that cannot be read is said."""

import csv
import io
import json
import os
import sys
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tagstream.model_export.bundle.files import MOST_BYTES
from tagstream.model_export.bundle.json_object import object_of
from tagstream.model_export.data.own.read import OwnColumns, read_own
from tagstream.model_export.data.own.rows import OwnRows
from tagstream.model_export.data.reader import Columns, LineFile, RowsError

# Without surrogates, which UTF-8 does not have.
TEXTS = st.text(st.characters(exclude_categories=("Cs",)), max_size=20)


def read(folder: Path, text: str | bytes, name: str = "rows.csv", columns: OwnColumns | None = None) -> OwnRows:
    """Read this content of a file."""
    path = folder / name
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return read_own(path, columns or OwnColumns())


@given(st.lists(st.tuples(TEXTS, TEXTS), min_size=1, max_size=8))
def test_every_text_survives_csv_with_the_line_of_its_row(cells: list[tuple[str, str]]) -> None:
    """Commas, quotes and line ends in cells change no text, and a row's line is the one on which it begins."""
    written = io.StringIO(newline="")
    writer = csv.writer(written, quoting=csv.QUOTE_ALL)
    writer.writerow(["title", "tag"])
    lines = []
    for row in cells:
        # Every line end of a cell is one, be it CR, LF or both.
        lines.append(len(io.StringIO(written.getvalue(), newline="").readlines()) + 1)
        writer.writerow(row)
    file = LineFile("rows.csv", io.BytesIO(written.getvalue().encode()), None, strict=True)
    found = [(row.line, object_of(row.value)) for row in file.rows()]
    assert [(line, (record["title"], record["tag"])) for line, record in found] == list(zip(lines, cells, strict=True))


@given(st.lists(st.tuples(TEXTS, TEXTS), min_size=1, max_size=8), st.integers(0, 3))
def test_every_text_survives_json_lines(cells: list[tuple[str, str]], blank: int) -> None:
    """A row's line counts the blank ones above it."""
    lines = [json.dumps({"title": title, "tag": tag}) for title, tag in cells]
    file = LineFile("rows.jsonl", io.BytesIO(("\n" * blank + "\n".join(lines)).encode()), None, strict=True)
    wanted = [(number + blank, {"title": title, "tag": tag}) for number, (title, tag) in enumerate(cells, start=1)]
    assert [(row.line, object_of(row.value)) for row in file.rows()] == wanted


@given(st.lists(st.tuples(TEXTS, TEXTS), min_size=1, max_size=8))
def test_a_file_has_the_same_rows_for_events_and_for_labels(cells: list[tuple[str, str]]) -> None:
    """A file read as events and to learn from has the same lines and texts, since one reader has read it."""
    written = io.StringIO(newline="")
    csv.writer(written, quoting=csv.QUOTE_ALL, lineterminator="\n").writerows([("title", "tag"), *cells])
    content = written.getvalue().encode()
    as_events, as_labelled = (
        [(row.line, row.value) for row in LineFile("rows.csv", io.BytesIO(content), columns).rows()]
        for columns in (Columns(), None)
    )
    assert as_events == as_labelled


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("rows.csv", " title , tag \nHi,a\nHo,b\n"),
        ("rows.csv", "title,tag\rHi,a\rHo,b\r"),
        ("rows.txt", "title,tag\nHi,a\nHo,b\n"),
        ("rows.txt", '{"title":"Hi","tag":"a"}\n{"title":"Ho","tag":"b"}'),
        ("rows.jsonl", '\ufeff{"title":"Hi","tag":"a"}\n{"title":"Ho","tag":"b","score":NaN}'),
    ],
)
def test_a_file_as_other_programs_write_it_is_read(tmp_path: Path, name: str, content: str) -> None:
    """White space around names, line ends of old Macs, other suffixes, a byte order mark, and a column that is not used."""
    assert [(own.row.text, own.row.tag) for own in read(tmp_path, content, name).rows] == [("Hi", "a"), ("Ho", "b")]


def test_the_forms_give_the_same_rows(tmp_path: Path) -> None:
    """CSV with a byte order mark and Windows line ends, JSON Lines and Parquet; an id that is a number is its digits."""
    records = [
        {"id": 7, "title": "Refund", "description": "I paid twice", "label": "billing"},
        {"id": 8, "title": "Login", "description": None, "label": "access"},
    ]
    path = tmp_path / "rows.parquet"
    pq.write_table(pa.Table.from_pylist(records), path)
    forms = [
        read(tmp_path, "\ufeffid,title,description,label\r\n7,Refund,I paid twice,billing\r\n8,Login,,access\r\n"),
        read(tmp_path, "\n".join(map(json.dumps, records)), "rows.jsonl"),
        read_own(path),
    ]
    assert [[(own.id, own.row) for own in form.rows] for form in forms[1:]] == [[(o.id, o.row) for o in forms[0].rows]] * 2
    assert [[own.line for own in form.rows] for form in forms] == [[2, 3], [1, 2], [1, 2]]
    assert [form.unit for form in forms] == ["line", "line", "row"]
    first, second = (own.row for own in forms[0].rows)
    assert (first.text, first.tag, first.described) == ("Refund I paid twice", "billing", True)
    assert (second.text, second.described, second.source) == ("Login", False, "own")


def test_columns_that_are_not_used_may_hold_anything(tmp_path: Path) -> None:
    """A score, a list and an object beside the text are left alone."""
    record = {"title": "Hi", "tag": "a", "score": 0.5, "words": ["Hi"], "by": {"name": "x"}, "done": True}
    path = tmp_path / "rows.parquet"
    pq.write_table(pa.Table.from_pylist([record]), path)
    for found in (read(tmp_path, json.dumps(record), "rows.jsonl"), read_own(path)):
        assert [(own.row.text, own.row.tag) for own in found.rows] == [("Hi", "a")]


def test_further_labels_are_read_where_they_are_asked_for(tmp_path: Path) -> None:
    """A list, a JSON list or text with semicolons say the same; the label is among them, and it alone is no further label."""
    records: list[dict[str, object]] = [
        {"title": "Refund", "tag": "billing", "all": ["bug", "billing", "bug"]},
        {"title": "Login", "tag": "access", "all": ["access"]},
        {"title": "Hello", "tag": "access", "all": None},
    ]
    path = tmp_path / "rows.parquet"
    pq.write_table(pa.Table.from_pylist(records), path)
    asked = OwnColumns(tags="all")
    text = "title,tag,all\nRefund,billing,bug; billing;bug;\nLogin,access,access\nHello,access,\n"
    forms = [
        read_own(path, asked),
        read(tmp_path, "\n".join(map(json.dumps, records)), "rows.jsonl", asked),
        read(tmp_path, text, columns=asked),
        read(tmp_path, text.replace("bug; billing;bug;", '"[""bug"", ""billing""]"'), columns=asked),
    ]
    for form in forms:
        assert [own.row.tags for own in form.rows] == [("billing", "bug"), (), ()]
    assert [own.row.tags for own in read(tmp_path, text.replace("all", "tags")).rows] == [(), (), ()]


@pytest.mark.parametrize(
    ("cell", "said"), [('"[bug"', "begins like a JSON list and is none"), ('"[[1]]"', "is neither text nor a whole")]
)
def test_further_labels_that_are_none_are_said_with_their_line(cell: str, said: str, tmp_path: Path) -> None:
    """A list that is broken off, and a list in a list."""
    with pytest.raises(RowsError, match=rf"line 2: 'tags' {said}"):
        read(tmp_path, f"title,tag,tags\nRefund,billing,{cell}\n", columns=OwnColumns(tags="tags"))


def test_columns_are_named_by_option(tmp_path: Path) -> None:
    """The title, label, group, source and slices can have any names; a group is the topic."""
    columns = OwnColumns(title="subject", tag="queue", group="customer", source="channel", slices=("region",))
    found = read(tmp_path, "subject,queue,customer,channel,region\nHi,sales,c1,chat,EU\n", columns=columns)
    row = found.rows[0].row
    assert (row.text, row.tag, row.topic, row.source, row.columns) == ("Hi", "sales", "group:c1", "chat", (("region", "EU"),))


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("rows.csv", "title,label\nHi,a\nHi,a,b\n\nonly\n", "line 3: 3 cells where the header has 2; quote cells that hold commas; line 5"),
        ("rows.csv", 'title,tag\nHi,a\n"open,a\nHi,b\n', "line 3: not CSV (a quote is opened and not closed)"),
        ("rows.csv", 'title,tag\n"Hi"x,a\n', "line 2: not CSV"),
        ("rows.csv", b"title,tag\nHi,a\n\xff,b\n", "line 3: not UTF-8 (byte 0). Next: correct line 3"),
        ("rows.csv", "title,topic\nHi,a\n", "no column 'tag' (columns: title, topic). Next: name the column: --tag NAME."),
        ("rows.csv", "title;tag\nHi;a\n", "Next: separate the columns by commas, not by ';'."),
        ("rows.csv", "title,tag,tag\nHi,a,b\n", "the column 'tag' is there twice"),
        ("rows.csv", "title,tag,split\nHi,a,train\nHi,b,later\n", "line 3: its split is 'later', none of train, "),
        ("rows.csv", "title,tag\n", "holds no rows"),
        ("rows.csv", "", "holds no rows"),
        ("rows.jsonl", '{"title": "Hi", "tag": "a"}\n[1]', "line 2: no JSON object. Next: "),
        ("rows.jsonl", '{"title": "Hi", "tag": "a"}\n{"title": 1.5, "tag": "a"}', "line 2: 'title' is neither text nor a whole number"),
        ("rows.jsonl", '{"title": "Hi"', "line 1: no JSON object: Expecting"),
        ("rows.jsonl", '{"tag": "a", "tag": "b"}', "line 1: no JSON object: 'tag' is there twice"),
        ("rows.jsonl", '{"title": "\\ud800", "tag": "b"}', "line 1: 'title' holds half a character"),
        ("rows.jsonl", "[" * 100_000, "line 1: no JSON object"),
        ("rows.parquet", b"PAR1 and nothing", "cannot be read as Parquet"),
    ],
)  # fmt: skip
def test_what_cannot_be_read_is_said_with_its_line(name: str, content: str | bytes, said: str, tmp_path: Path) -> None:
    """The error has the lines, the reason and the next step, and ends the command with code 2."""
    with pytest.raises(RowsError) as error:
        read(tmp_path, content, name)
    assert said in str(error.value)
    assert "Next: " in str(error.value)
    assert error.value.exit_code == 2


def test_the_first_ten_faults_are_said_and_the_rest_counted(tmp_path: Path) -> None:
    """A long list of faults stays a sentence."""
    with pytest.raises(RowsError, match=r"; and 3 more\. Next: correct lines 2, .* 11 and 3 more; nothing was written"):
        read(tmp_path, "title,tag\n" + "a,b,c\n" * 13)


def test_a_file_that_is_not_there_is_said(tmp_path: Path) -> None:
    """A missing file and a folder are sentences."""
    for path in (tmp_path / "none.csv", tmp_path):
        with pytest.raises(RowsError, match=r"cannot be read: .* Next: give a CSV"):
            read_own(path)


def test_a_pipe_a_device_and_a_file_beyond_memory_are_refused_at_once(tmp_path: Path) -> None:
    """Neither is waited for or read; the sparse file has more bytes than rows may have."""
    os.mkfifo(tmp_path / "rows.csv")
    (tmp_path / "large.csv").touch()
    os.truncate(tmp_path / "large.csv", MOST_BYTES + 1)
    for path, said in (
        (tmp_path / "rows.csv", "no regular file"),
        (Path("/dev/zero"), "no regular file"),
        (tmp_path / "large.csv", r"1,073,741,825 bytes, the limit is 1,073,741,824"),
    ):
        with pytest.raises(RowsError, match=rf"cannot be read: .*{said}.* Next: give"):
            read_own(path)


def test_an_id_that_is_taken_for_the_label_is_one_sentence(tmp_path: Path) -> None:
    """A hundred labels are read; with more nothing is looked at further, and no list of them is made."""
    assert len(read(tmp_path, "title,tag\n" + "".join(f"a,{number}\n" for number in range(100))).labels) == 100
    with pytest.raises(
        RowsError, match=r"has 101 different values in the column 'tag', and a model has 2 to 100 labels\. Next: name"
    ):
        read(tmp_path, "title,tag\n" + "".join(f"a,{number}\n" for number in range(101)))


def test_parquet_without_pyarrow_says_how_to_have_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The extra is named."""
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(RowsError, match=r"needs pyarrow\. Next: .*\[batch\]"):
        read(tmp_path, b"PAR1", "rows.parquet")

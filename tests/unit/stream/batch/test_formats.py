"""The forms of an output: CSV, and whatever the input's columns are called."""

import csv
import io
import json
from pathlib import Path

import pytest

from tagstream.model_export.data.reader import Columns, RowsError
from tagstream.stream.batch.file_out import FileOut, Paths
from tagstream.stream.batch.formats import COLUMNS, Csv, JsonLines
from tagstream.stream.batch.run import run
from tagstream.stream.batch.sources import FIELDS, LineFiles, files_of, source_of
from tagstream.stream.decide.pipeline import Pipeline


def as_csv(
    path: Path, pipeline: Pipeline, columns: Columns | None = None, *, escape_formulas: bool = False
) -> list[dict[str, str]]:
    """The rows of a CSV output."""
    columns = columns or Columns()
    out = path.with_name("out.csv")
    rows = LineFiles([path], columns)
    form = Csv(rows, columns, escape_formulas=escape_formulas)
    run(pipeline, rows, FileOut(Paths(out), form, {}, folder=False, fresh=True))
    return list(csv.DictReader(io.StringIO(out.read_text(encoding="utf-8"), newline="")))


def test_csv_keeps_the_columns_of_the_input(tmp_path: Path, pipeline: Pipeline) -> None:
    """The input's columns come first, under their own names and with their own text; a name of ours is kept as `overridden_`."""
    path = tmp_path / "in.csv"
    path.write_text('Headline,n,tag\n"an image , ""of"" a\ncat",1.10,mine\ndeployment,,\n', encoding="utf-8")
    rows = as_csv(path, pipeline, Columns(title="Headline"))
    assert list(rows[0]) == ["Headline", "n", "overridden_tag", *COLUMNS]
    assert [rows[0][name] for name in ("Headline", "n", "overridden_tag")] == ['an image , "of" a\ncat', "1.10", "mine"]
    assert [row["tag"] for row in rows] == ["computer-vision", "mlops"]
    assert rows[1]["n"] == rows[1]["overridden_tag"] == ""


def test_formulas_are_escaped_where_that_is_asked_for(tmp_path: Path, pipeline: Pipeline) -> None:
    """An apostrophe before them, in the header too; numbers and all other cells stay, and without the option every cell does."""
    path = tmp_path / "in.csv"
    odd = ["=1+1", "+A1", "-2+3", "@SUM(A1)", "\t=1", "\uff1d1"]
    plain = ["-1.5", "+3e-7", "a=1", " =1", "'=1"]
    path.write_text("title,=x\n" + "".join(f'image,"{cell}"\n' for cell in [*odd, *plain]), encoding="utf-8")
    assert [row["=x"] for row in as_csv(path, pipeline)] == [*odd, *plain]
    escaped = as_csv(path, pipeline, escape_formulas=True)
    assert [row["'=x"] for row in escaped] == [*(f"'{cell}" for cell in odd), *plain]


def test_csv_has_the_digits_and_the_reasons_of_the_answer(tmp_path: Path, pipeline: Pipeline) -> None:
    """Each cell of ours is the value of the JSON answer: text as it is, other values as JSON."""
    path = tmp_path / "in.jsonl"
    path.write_text('{"id":7,"title":"maybe image","extra":[1.10]}', encoding="utf-8")
    (row,) = as_csv(path, pipeline)
    rows = LineFiles([path], Columns())
    out = tmp_path / "out.jsonl"
    run(pipeline, rows, FileOut(Paths(out), JsonLines(), {}, folder=False))
    answer = json.loads(out.read_bytes())
    assert list(row) == [*FIELDS, *COLUMNS]
    assert (row["id"], row["event_id"], row["destination"]) == ("7", "7", "review")
    assert row["confidence"] == json.dumps(answer["confidence"])
    assert json.loads(row["probabilities"]) == answer["probabilities"]
    assert json.loads(row["reasons"]) == answer["reasons"] == ["low_confidence"]
    assert row["model_digest"] == answer["model"]["digest"]
    assert row["model_arithmetic"] == row["tags"] == row["text_flags"] == ""


def test_columns_of_several_files_are_joined(tmp_path: Path, pipeline: Pipeline) -> None:
    """A column that only one of the files has is empty in the rows of the other."""
    (tmp_path / "a.csv").write_text("title,x\nimage,1\n", encoding="utf-8")
    (tmp_path / "b.csv").write_text("y,title\n2,image\n", encoding="utf-8")
    rows = LineFiles([tmp_path / "a.csv", tmp_path / "b.csv"], Columns())
    out = tmp_path / "out.csv"
    run(pipeline, rows, FileOut(Paths(out), Csv(rows, Columns()), {}, folder=False))
    found = list(csv.DictReader(out.read_text(encoding="utf-8").splitlines()))
    assert [(row["title"], row["x"], row["y"]) for row in found] == [("image", "1", ""), ("image", "", "2")]


def test_a_folder_is_its_files_that_can_be_read(tmp_path: Path) -> None:
    """Files below a folder are taken in the order of their names; those of other programs are left out."""
    for name in ("b.jsonl", "a/c.CSV", "_SUCCESS", "_temporary/d.csv", ".e.csv", "notes.txt"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("title\n", encoding="utf-8")
    assert [path.relative_to(tmp_path).as_posix() for path in files_of(str(tmp_path))] == ["a/c.CSV", "b.jsonl"]
    assert [path.name for path in files_of(f"{tmp_path}/**/*.jsonl")] == ["b.jsonl"]


@pytest.mark.parametrize("name", ["", "*.csv"])
def test_nothing_to_read_is_said(tmp_path: Path, name: str) -> None:
    """A folder or a glob without a file is refused with the next step."""
    with pytest.raises(RowsError, match=r"names no file to read\. Next: "):
        files_of(f"{tmp_path}/{name}")


@pytest.mark.parametrize("name", ["absent.csv", "folder.csv"])
def test_a_file_that_cannot_be_read_twice_is_refused(tmp_path: Path, name: str) -> None:
    """A file that is not there, and one that is none, are refused."""
    (tmp_path / "folder.csv").mkdir()
    with pytest.raises(RowsError, match=r"Next: "):
        LineFiles([tmp_path / name], Columns())


def test_parquet_and_other_files_are_not_mixed(tmp_path: Path) -> None:
    """A folder with both is refused, and both are named."""
    with pytest.raises(RowsError, match=r"a.parquet is Parquet and .*b.csv is not"):
        source_of([tmp_path / "a.parquet", tmp_path / "b.csv"], Columns())

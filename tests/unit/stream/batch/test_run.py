"""The run of a batch: every row in the output or in the side file, and few rows in memory."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tagstream.model_export.data import reader
from tagstream.model_export.data.reader import ROWS_AT_ONCE, Columns, InputRow, RowsError, in_chunks, rows_of
from tagstream.stream.batch.file_out import FileOut, Paths
from tagstream.stream.batch.formats import JsonLines
from tagstream.stream.batch.run import Chunk, Tally, decided, run
from tagstream.stream.batch.sources import LineFiles
from tagstream.stream.decide.pipeline import Pipeline

BAD_CSV = (
    b"id,title,description\n"
    b"1,deployment,of models\n"
    b"2,image,of pixels,too many\n"
    b"3,caf\xe9,latin\n"
    b"4,,no title\n"
    b'5,"translation, of ""words""",a\n'
    b"6,deployment\n"
)


def tagged(pipeline: Pipeline, source: Any, out: Path, rows_a_part: int = 10_000) -> Tally:
    """A run into a file of JSON Lines."""
    return run(pipeline, source, FileOut(Paths(out), JsonLines(), {}, folder=False, rows_a_part=rows_a_part))


def test_every_row_is_in_the_output_or_in_the_side_file(tmp_path: Path, pipeline: Pipeline) -> None:
    """Rows that are no CSV, no text or no event are set aside with line, code and bytes, and the others are tagged."""
    path, out = tmp_path / "in.csv", tmp_path / "out.jsonl"
    path.write_bytes(BAD_CSV)
    assert tagged(pipeline, LineFiles([path], Columns()), out) == Tally(rows=6, tagged=3, rejected=3)
    assert [json.loads(line)["id"] for line in out.read_bytes().splitlines()] == ["1", "5", "6"]
    wide, latin, empty = [json.loads(line) for line in Paths(out).rejected.read_bytes().splitlines()]
    assert (wide["line"], wide["row"], wide["code"], wide["value"]) == (3, 1, "not_csv", "2,image,of pixels,too many\n")
    assert (latin["line"], latin["code"], latin["value_base64"]) == (4, "invalid_utf8", "MyxjYWbpLGxhdGluCg==")
    assert (empty["line"], empty["code"], json.loads(empty["value"])["id"]) == (5, "missing_title", "4")


def test_a_decision_is_that_of_classify(tmp_path: Path, pipeline: Pipeline) -> None:
    """The bytes before `tagged_at` are those of `classify --json`."""
    path, out = tmp_path / "in.csv", tmp_path / "out.jsonl"
    path.write_bytes(b"id,title,n\n" + b"".join(b"%d,maybe image %d,1.10\n" % (number, number) for number in range(600)))
    tagged(pipeline, LineFiles([path], Columns()), out)
    wanted = [row.answer.rpartition(b',"tagged_at"')[0] for row in decided(pipeline, rows_of(str(path)))]
    assert [line.rpartition(b',"tagged_at"')[0] for line in out.read_bytes().splitlines()] == wanted


def test_rows_above_one_that_cannot_be_read_are_kept_for_the_next_run(tmp_path: Path, pipeline: Pipeline) -> None:
    """A quote that is never closed ends the run with its line; corrected, the same command goes on behind the rows above it."""
    path, out = tmp_path / "in.csv", tmp_path / "out.jsonl"
    above = b"id,title\n" + b"".join(b"%d,deployment\n" % number for number in range(1_000))
    path.write_bytes(above + b'1000,"image\n')
    source = LineFiles([path], Columns())
    sink = FileOut(Paths(out), JsonLines(), {}, folder=False, rows_a_part=300)
    with pytest.raises(RowsError, match=r"line 1002: .*not closed"):
        run(pipeline, source, sink)
    sink.let_go()
    path.write_bytes(above + b'1000,"image"\n')
    assert tagged(pipeline, LineFiles([path], Columns()), out).rows == 1_001
    assert [json.loads(line)["id"] for line in out.read_bytes().splitlines()] == [str(number) for number in range(1_001)]


def test_several_files_are_one_input(tmp_path: Path, pipeline: Pipeline) -> None:
    """Rows of several files stand in the order of the files; the side file names the file and the line in it."""
    for name in ("b", "a"):
        (tmp_path / f"{name}.jsonl").write_bytes(b'{"id":"%b","title":"image"}\nbad\n' % name.encode())
    out = tmp_path / "out.jsonl"
    tagged(pipeline, LineFiles([tmp_path / "a.jsonl", tmp_path / "b.jsonl"], Columns()), out)
    assert [json.loads(line)["id"] for line in out.read_bytes().splitlines()] == ["a", "b"]
    found = [json.loads(line) for line in Paths(out).rejected.read_bytes().splitlines()]
    assert [(Path(one["source"]).name, one["line"], one["row"]) for one in found] == [("a.jsonl", 2, 1), ("b.jsonl", 2, 3)]


class Counted(InputRow):
    """A row that counts how many of its kind there are."""

    alive = most = 0

    def __init__(self, line: int, value: bytes) -> None:
        super().__init__(line, value)
        Counted.alive += 1
        Counted.most = max(Counted.most, Counted.alive)

    def __del__(self) -> None:
        Counted.alive -= 1


class Endless:
    """Many rows, of which none is kept by the source."""

    columns = ("title",)
    schema = None
    size = 0.0

    def chunks(self) -> Iterator[Chunk]:
        """Twenty thousand rows."""
        rows = (Counted(number, b'{"id":"%d","title":"image"}' % number) for number in range(20_000))
        for chunk in in_chunks(rows):
            yield Chunk(source="endless", rows=chunk, done=0)


def test_memory_does_not_grow_with_the_input(tmp_path: Path, pipeline: Pipeline) -> None:
    """Of many rows, no more than three chunks are in memory at a time: the one that is decided, and those beside it."""
    assert tagged(pipeline, Endless(), tmp_path / "out.jsonl", rows_a_part=2_000).rows == 20_000
    assert Counted.most <= 3 * ROWS_AT_ONCE


def test_large_rows_are_decided_in_smaller_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    """A chunk ends by its bytes too."""
    monkeypatch.setattr(reader, "BYTES_AT_ONCE", 100)
    assert [len(chunk) for chunk in in_chunks(InputRow(number, b"x" * 40) for number in range(7))] == [3, 3, 1]


def test_no_rows_give_an_output_without_rows(tmp_path: Path, pipeline: Pipeline) -> None:
    """An empty input has an output too, so that whatever comes next finds it."""
    path = tmp_path / "in.jsonl"
    path.write_bytes(b"\n")
    assert tagged(pipeline, LineFiles([path], Columns()), tmp_path / "out.jsonl") == Tally()
    assert (tmp_path / "out.jsonl").read_bytes() == b""

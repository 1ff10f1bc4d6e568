"""Parquet as the input and the output of a batch."""

import json
import time
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tagstream.model_export.data import reader
from tagstream.model_export.data.reader import Columns, RowsError
from tagstream.stream.arrow import ANSWER_SCHEMA, tag_table
from tagstream.stream.batch.file_out import FileOut, Paths
from tagstream.stream.batch.formats import COLUMNS, JsonLines
from tagstream.stream.batch.parquet import Parquet
from tagstream.stream.batch.run import Tally, run
from tagstream.stream.batch.sources import source_of
from tagstream.stream.decide.pipeline import Pipeline

ROWS = 70
TABLE = pa.table(
    {
        "id": pa.array(range(ROWS), pa.int64()),
        "title": pa.array([("image", "maybe deployment", None)[number % 3] for number in range(ROWS)]),
        "year": pa.array([2000 + number for number in range(ROWS)], pa.int16()),
        "tag": pa.array([["a", "b"]] * ROWS),
    }
)


@pytest.fixture(autouse=True)
def _small_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Several chunks a part, and several parts."""
    monkeypatch.setattr(reader, "ROWS_AT_ONCE", 16)


def tagged(files: list[Path], out: Path, pipeline: Pipeline, columns: Columns | None = None, **given: Any) -> Tally:
    """A run into Parquet."""
    columns = columns or Columns()
    rows = source_of(files, columns)
    return run(pipeline, rows, FileOut(Paths(out), Parquet(rows, columns), {}, **{"folder": False, "rows_a_part": 32, **given}))


def without_clock(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Rows of an output that can be compared."""
    return [
        {
            **row,
            "tagged_at": None,
            "answer": row["answer"].rpartition(',"tagged_at"')[0],
            "probabilities": dict(row["probabilities"]),
        }
        for row in rows
    ]


@pytest.mark.parametrize("folder", [True, False])
def test_parquet_has_the_rows_of_tag_table(tmp_path: Path, pipeline: Pipeline, folder: bool) -> None:
    """The columns and their types are those of `tag_table`, and so is each row that is an event."""
    pq.write_table(TABLE, tmp_path / "in.parquet", row_group_size=20)
    out = tmp_path / "out.parquet"
    assert tagged([tmp_path / "in.parquet"], out, pipeline, folder=folder) == Tally(
        rows=ROWS, tagged=24, review=23, rejected=23
    )
    found = pq.read_table(out)
    wanted = tag_table(pipeline, TABLE, Columns(), clock=time.time)
    assert found.schema == wanted.schema
    assert without_clock(found.to_pylist()) == without_clock([row for row in wanted.to_pylist() if row["error"] is None])
    bad = [json.loads(line) for line in Paths(out).rejected.read_bytes().splitlines()]
    assert [(one["line"], one["row"]) for one in bad] == [(number + 1, number) for number in range(2, ROWS, 3)]
    if folder:
        assert len(list(out.iterdir())) == 3


def test_text_columns_are_kept_as_text(tmp_path: Path, pipeline: Pipeline) -> None:
    """From CSV the columns are text in Parquet, under the names of the file, and an absent cell is null."""
    (tmp_path / "in.csv").write_text("Headline,n\nimage,1.10\ndeployment\n", encoding="utf-8")
    tagged([tmp_path / "in.csv"], tmp_path / "out.parquet", pipeline, Columns(title="Headline"))
    found = pq.read_table(tmp_path / "out.parquet")
    assert found.schema.names == ["Headline", "n", *ANSWER_SCHEMA.names]
    assert [(row["Headline"], row["n"], row["tag"]) for row in found.to_pylist()] == [
        ("image", "1.10", "computer-vision"),
        ("deployment", None, "mlops"),
    ]


def test_a_part_without_a_decision_is_one_too(tmp_path: Path, pipeline: Pipeline) -> None:
    """Where all rows are rejected, the output has its columns and no row."""
    (tmp_path / "in.jsonl").write_bytes(b"bad\n" * 3)
    assert tagged([tmp_path / "in.jsonl"], tmp_path / "out.parquet", pipeline).rejected == 3
    assert pq.read_table(tmp_path / "out.parquet").num_rows == 0
    (tmp_path / "none.jsonl").write_bytes(b"\n")
    tagged([tmp_path / "none.jsonl"], tmp_path / "none.parquet", pipeline)
    assert pq.read_table(tmp_path / "none.parquet").schema == pq.read_table(tmp_path / "out.parquet").schema


def test_a_chunk_of_parquet_without_a_decision_is_one_too(tmp_path: Path, pipeline: Pipeline) -> None:
    """Where a file of Parquet has no event, in a chunk or at all, its columns and types are kept."""
    pq.write_table(TABLE.set_column(1, "title", pa.nulls(ROWS, pa.string())), tmp_path / "in.parquet")
    assert tagged([tmp_path / "in.parquet"], tmp_path / "out.parquet", pipeline).rejected == ROWS
    assert pq.read_table(tmp_path / "out.parquet").num_rows == 0


def test_large_rows_of_parquet_are_decided_in_smaller_chunks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A chunk ends by its bytes, also where the file is far smaller than its rows, and the rows are those of the file, each once."""
    monkeypatch.setattr(reader, "BYTES_AT_ONCE", 20_000)
    title = pa.array(["x" * 5_000 if 20 <= number < 40 else "x" for number in range(ROWS)])
    pq.write_table(pa.table({"id": range(ROWS), "title": title, "kind": title.dictionary_encode()}), tmp_path / "in.parquet")
    chunks = list(source_of([tmp_path / "in.parquet"], Columns()).chunks())
    assert [row.line for chunk in chunks for row in chunk.rows] == list(range(1, ROWS + 1))
    assert max(sum(len(json.loads(row.value)["title"]) for row in chunk.rows) for chunk in chunks) <= 20_000
    assert all(chunk.table.num_rows == len(chunk.rows) for chunk in chunks)


def test_a_run_goes_on_amid_a_file(tmp_path: Path, pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch) -> None:
    """The parts that were whole are kept, and the output is that of one run."""
    pq.write_table(TABLE, tmp_path / "in.parquet")
    publications, calls = pipeline.publications, 0

    def ending(records: Any, **named: Any) -> Any:
        nonlocal calls
        calls += 1
        if calls == 4:
            raise MemoryError
        return publications(records, **named)

    rows = source_of([tmp_path / "in.parquet"], Columns())
    out = FileOut(Paths(tmp_path / "out.parquet"), Parquet(rows, Columns()), {}, folder=False, rows_a_part=32)
    with monkeypatch.context() as patch:
        patch.setattr(pipeline, "publications", ending)
        with pytest.raises(MemoryError):
            run(pipeline, rows, out)
    out.let_go()
    tagged([tmp_path / "in.parquet"], tmp_path / "out.parquet", pipeline)
    tagged([tmp_path / "in.parquet"], tmp_path / "wanted.parquet", pipeline)
    found, wanted = (without_clock(pq.read_table(tmp_path / name).to_pylist()) for name in ("out.parquet", "wanted.parquet"))
    assert found == wanted


def test_files_with_other_columns_are_refused(tmp_path: Path) -> None:
    """Two files of one input have the same columns; what is no Parquet is named."""
    pq.write_table(TABLE, tmp_path / "a.parquet")
    pq.write_table(TABLE.drop_columns(["year"]), tmp_path / "b.parquet")
    with pytest.raises(RowsError, match=r"b.parquet has other columns than .*a.parquet"):
        source_of([tmp_path / "a.parquet", tmp_path / "b.parquet"], Columns())
    (tmp_path / "c.parquet").write_bytes(b"no Parquet")
    with pytest.raises(RowsError, match=r"c.parquet cannot be read as Parquet"):
        source_of([tmp_path / "c.parquet"], Columns())
    with pytest.raises(RowsError, match=r"no column 'Headline'"):
        source_of([tmp_path / "a.parquet"], Columns(title="Headline"))


def test_csv_names_the_columns_of_the_answer_as_parquet_does() -> None:
    """The columns of CSV are those of Parquet, with the model's parts side by side; CSV has no whole answer."""
    flat = [name for name in COLUMNS if not name.startswith("model_")]
    assert flat == [name for name in ANSWER_SCHEMA.names if name not in {"model", "error", "answer"}]
    assert [f"model_{field.name}" for field in ANSWER_SCHEMA.field("model").type] == [
        name for name in COLUMNS if name not in flat
    ]
    assert [field.name for field in ANSWER_SCHEMA.field("model").type] == ["name", "version", "digest", "arithmetic"]


def test_a_line_of_json_is_the_column_answer(tmp_path: Path, pipeline: Pipeline) -> None:
    """JSON Lines of a Parquet file hold what its column `answer` would."""
    pq.write_table(TABLE, tmp_path / "in.parquet")
    rows = source_of([tmp_path / "in.parquet"], Columns())
    run(pipeline, rows, FileOut(Paths(tmp_path / "out.jsonl"), JsonLines(), {}, folder=False))
    tagged([tmp_path / "in.parquet"], tmp_path / "out.parquet", pipeline)
    lines = [line.decode().rpartition(',"tagged_at"')[0] for line in (tmp_path / "out.jsonl").read_bytes().splitlines()]
    assert lines == [row["answer"] for row in without_clock(pq.read_table(tmp_path / "out.parquet").to_pylist())]

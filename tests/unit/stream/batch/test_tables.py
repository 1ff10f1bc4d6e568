"""Tables as the input and the output of a batch; each test runs on SQLite and on PostgreSQL."""

import json
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import text

from tagstream.model_export.data import reader
from tagstream.model_export.data.reader import Columns, RowsError
from tagstream.stream.batch.order import Order, OrderError, run_order
from tagstream.stream.batch.run import Tally
from tagstream.stream.database.database import Purpose, open_database
from tagstream.stream.settings.settings import Settings
from tagstream.stream.tables.predictions import Predictions

ANY = Purpose(noun="table", option="--table")
TITLES = ("deployment of models", "image segmentation", "attention for video", "")


@pytest.fixture(autouse=True)
def _small_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Several chunks for few rows."""
    monkeypatch.setattr(reader, "ROWS_AT_ONCE", 8)


@pytest.fixture
def chosen(tiny_bundle_folder: Path) -> Settings:
    """The settings of every run."""
    return Settings(bundle=tiny_bundle_folder)


def asked(url: str, query: str) -> list[tuple[Any, ...]]:
    """What another program reads."""
    database = open_database(url, ANY)
    with database.reading() as connection:
        found = [tuple(row) for row in connection.execute(text(query))]
    database.close()
    return found


def changed(url: str, *statements: str) -> None:
    """Another program writes."""
    database = open_database(url, ANY)
    with database.writing() as connection:
        for statement in statements:
            connection.execute(text(statement))
    database.close()


def events(path: Path, count: int = 40) -> Path:
    """Events of which two have the id of an earlier one, with another text, and a quarter have no title."""
    rows = [{"id": str(number % 37), "title": TITLES[number % 4], "n": number} for number in range(count)]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


def held(url: str, table: str = "predictions") -> list[tuple[Any, ...]]:
    """The decisions of a table without their clocks."""
    query = f"SELECT prediction_id, event_id, destination, tag, answer FROM {table} ORDER BY prediction_id"  # noqa: S608 - our name
    return [(*row[:4], row[4].rpartition(',"tagged_at"')[0]) for row in asked(url, query)]


class Killed(BaseException):
    """The process ends here."""


@pytest.mark.parametrize("behind", [True, False], ids=["behind a transaction", "before a transaction"])
def test_a_kill_at_any_transaction_changes_nothing(
    tmp_path: Path, url: str, chosen: Settings, monkeypatch: pytest.MonkeyPatch, behind: bool
) -> None:
    """A run that was killed at each transaction in turn leaves what one run leaves, and decides on no row twice but for the last ones."""
    path = events(tmp_path / "in.jsonl")
    tally = run_order(
        chosen, Order(source=str(path), out=f"{url}#wanted", columns=Columns(), rejected=tmp_path / "wanted.jsonl")
    )
    assert (tally.rows, tally.rejected, tally.kept) == (40, 10, 0)
    upsert, runs = Predictions.upsert, 0
    order = Order(source=str(path), out=f"{url}#mine", columns=Columns(), rejected=tmp_path / "mine.jsonl")
    written: list[int] = []

    def killed(self: Predictions, rows: Any, reached: Any = None) -> int:
        if behind:
            written.append(upsert(self, list(rows), reached))
        raise Killed

    while True:
        runs += 1
        with monkeypatch.context() as patch:
            # Each run gets one transaction further.
            left = [runs - 1]

            def counted(self: Predictions, rows: Any, reached: Any = None, left: list[int] = left) -> int:
                if not left[0]:
                    return killed(self, rows, reached)
                left[0] -= 1
                written.append(upsert(self, list(rows), reached))
                return written[-1]

            patch.setattr(Predictions, "upsert", counted)
            try:
                run_order(chosen, order)
            except Killed:
                continue
            break
    assert runs > 3
    assert held(url, "mine") == held(url, "wanted")
    assert len((tmp_path / "mine.jsonl").read_bytes().splitlines()) == 10
    # Two ids come twice with two texts: such a row may be decided again, once a run, and no other.
    assert sum(written) <= 30 + 4 * runs


@pytest.mark.parametrize("fresh", [True, False])
def test_of_rows_with_one_id_the_last_one_stays(tmp_path: Path, url: str, chosen: Settings, fresh: bool) -> None:
    """Within a chunk and over two of them, in the first run and in the next: the last text, and the first row that has it."""
    titles = ["image", "deployment", "deployment", *[f"graph {number}" for number in range(7)], "image", "image", "audio"]
    rows = [
        {"id": "a" if number in {0, 1, 2, 10, 11} else str(number), "title": title, "n": number}
        for number, title in enumerate(titles)
    ]
    path = tmp_path / "in.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    for again in (False, True):
        run_order(chosen, Order(source=str(path), out=url, columns=Columns(), rejected=tmp_path / "bad", fresh=fresh and again))
        (answer,) = [row[4] for row in held(url) if row[1] == "a"]
        assert json.loads(f"{answer}}}")["n"] == 10


def test_rows_that_are_in_the_table_are_not_decided_again(tmp_path: Path, url: str, chosen: Settings) -> None:
    """The same command behind a run that has ended decides nothing; a corrected text is decided, and --fresh decides all."""
    path = events(tmp_path / "in.jsonl", count=30)
    order = Order(source=str(path), out=url, columns=Columns(), rejected=tmp_path / "bad.jsonl")
    first = run_order(chosen, order)
    before = held(url)
    again = run_order(chosen, order)
    assert (again.rows, again.kept, again.tagged + again.review, again.rejected) == (
        30,
        first.rows - first.rejected,
        0,
        first.rejected,
    )
    assert held(url) == before
    path.write_text(path.read_text(encoding="utf-8").replace("image segmentation", "translation of texts", 1), encoding="utf-8")
    corrected = run_order(chosen, order)
    assert corrected.tagged + corrected.review == 1
    assert len(held(url)) == len(before)
    assert ("1", "natural-language-processing") in {(row[1], row[3]) for row in held(url)}
    fresh = run_order(chosen, Order(source=str(path), out=url, columns=Columns(), rejected=tmp_path / "bad.jsonl", fresh=True))
    assert fresh.kept == 0
    assert fresh.tagged + fresh.review == 30 - first.rejected


def test_a_table_gives_the_decisions_of_a_file_with_its_rows(tmp_path: Path, url: str, chosen: Settings) -> None:
    """A table is read in the order of its key into a file, its columns named by options; the bytes are those of such JSON lines."""
    changed(
        url,
        "CREATE TABLE papers (nr INTEGER PRIMARY KEY, headline TEXT, abstract TEXT)",
        *(f"INSERT INTO papers VALUES ({nr}, 'image {nr}', NULL)" for nr in range(20, 0, -1)),  # noqa: S608 - our own numbers
        "INSERT INTO papers VALUES (21, NULL, 'no title')",
    )
    columns = Columns(title="headline", description="abstract", id="nr")
    out = tmp_path / "out.jsonl"
    assert run_order(chosen, Order(source=f"{url}#papers", out=str(out), columns=columns)) == Tally(
        rows=21, review=20, rejected=1
    )
    rows = "".join(json.dumps({"id": nr, "title": f"image {nr}"}) + "\n" for nr in range(1, 21))
    (tmp_path / "in.jsonl").write_text(rows, encoding="utf-8")
    run_order(chosen, Order(source=str(tmp_path / "in.jsonl"), out=str(tmp_path / "wanted.jsonl"), columns=Columns()))
    found, wanted = (
        [line.rpartition(b',"tagged_at"')[0] for line in (tmp_path / name).read_bytes().splitlines()]
        for name in ("out.jsonl", "wanted.jsonl")
    )
    assert found == wanted
    (bad,) = [json.loads(line) for line in (tmp_path / "out.jsonl.rejected.jsonl").read_bytes().splitlines()]
    assert (bad["line"], bad["code"], json.loads(bad["value"])) == (21, "missing_title", {"id": 21, "description": "no title"})
    assert "secret" not in bad["source"]


def test_an_input_that_cannot_be_meant_is_refused(tmp_path: Path, url: str, chosen: Settings) -> None:
    """A URL without a table, and a table without a title, are refused with the next step."""
    with pytest.raises(OrderError, match=r"names no table\. Next: "):
        run_order(chosen, Order(source=url, out=str(tmp_path / "a.csv"), columns=Columns()))
    changed(url, "CREATE TABLE papers (nr INTEGER PRIMARY KEY, headline TEXT)")
    with pytest.raises(RowsError, match=r"no column 'title'"):
        run_order(chosen, Order(source=f"{url}#papers", out=str(tmp_path / "a.csv"), columns=Columns()))

"""The rows of any table as events: each once, in the order of the key, with its values as JSON; nothing in the table changes."""

import json
import sqlite3
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import text

from tagstream.stream.database.database import DatabaseUnavailableError, Purpose, open_database
from tagstream.stream.tables import source
from tagstream.stream.tables.schema import TableError
from tagstream.stream.tables.source import TableSource, open_source
from tests.postgres import Postgres

WRITER = Purpose(noun="table", option="--table")


def write(url: str, *statements: str) -> None:
    """Another program fills its table."""
    database = open_database(url, WRITER)
    with database.writing() as connection:
        for statement in statements:
            connection.execute(text(statement))
    database.close()


@pytest.fixture
def small_pages(monkeypatch: pytest.MonkeyPatch) -> None:
    """Three rows at a time."""
    monkeypatch.setattr(source, "ROWS_AT_ONCE", 3)


def texts(count: int) -> Iterator[str]:
    """Statements that make a table of texts with a key of two columns."""
    yield "CREATE TABLE texts (part TEXT, number INTEGER, title TEXT, PRIMARY KEY (part, number))"
    for number in range(count):
        yield f"INSERT INTO texts VALUES ('{'ab'[number % 2]}', {number}, 'Title {number}')"  # noqa: S608 - our own numbers


def titles(found: TableSource, after: Sequence[object] | None = None) -> list[str]:
    """The titles in the order of the key."""
    return [
        json.loads(row.value)["headline"] for row in found.rows({"title": "headline"}, None if after is None else tuple(after))
    ]


@pytest.mark.usefixtures("small_pages")
@pytest.mark.parametrize("count", [0, 1, 3, 6, 10])
def test_each_row_comes_once_in_the_order_of_the_key(url: str, count: int) -> None:
    """Also where a page ends with the table, and from the row behind any key, which may have been kept as text."""
    write(url, *texts(count))
    found = open_source(url, "texts")
    expected = [f"Title {number}" for number in [*range(0, count, 2), *range(1, count, 2)]]
    assert (found.key, found.columns, found.count()) == (("part", "number"), ("part", "number", "title"), count)
    assert titles(found) == expected
    keys = [row.key for row in found.rows({"title": "title"})]
    for number, key in enumerate(keys):
        assert titles(found, key) == expected[number + 1 :]
        assert titles(found, json.loads(json.dumps(key))) == expected[number + 1 :]
    found.close()


def test_a_page_ends_by_its_bytes(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of large rows a page holds few, and each comes once."""
    write(
        url,
        "CREATE TABLE texts (id INTEGER PRIMARY KEY, title TEXT)",
        *(f"INSERT INTO texts VALUES ({nr}, '{'x' * 100}')" for nr in range(9)),  # noqa: S608 - our own numbers
    )
    monkeypatch.setattr(source, "BYTES_AT_ONCE", 250)
    pages: list[int] = []
    page = TableSource._page

    def counted(self: TableSource, *given: Any) -> Any:
        found = page(self, *given)
        pages.append(len(found[0]))
        return found

    monkeypatch.setattr(TableSource, "_page", counted)
    found = open_source(url, "texts")
    assert [row.key for row in found.rows({"title": "title"})] == [(number,) for number in range(9)]
    assert pages == [3, 3, 3, 0]
    found.close()


def test_an_empty_cell_is_no_field(url: str) -> None:
    """A description that is NULL is none, and an empty one is empty."""
    write(
        url,
        "CREATE TABLE texts (id INTEGER PRIMARY KEY, title TEXT, description TEXT)",
        "INSERT INTO texts VALUES (1, 'One', NULL), (2, 'Two', '')",
    )
    found = open_source(url, "texts")
    rows = [row.value for row in found.rows({"id": "id", "title": "title", "description": "description"})]
    assert rows == [b'{"id":1,"title":"One"}', b'{"id":2,"title":"Two","description":""}']
    found.close()


@pytest.mark.usefixtures("small_pages")
def test_the_types_of_postgres_have_a_form_in_json(server: Postgres) -> None:
    """A number keeps its digits, a time is RFC 3339, and what JSON has no form for is text. A key of any type can be read on."""
    url = server.fresh()
    write(
        url,
        "CREATE SCHEMA news",
        "CREATE TABLE news.texts (id UUID PRIMARY KEY, price NUMERIC, at TIMESTAMPTZ, tags TEXT[], more JSONB, host INET, raw BYTEA, "
        "share DOUBLE PRECISION)",
        "INSERT INTO news.texts SELECT ('00000000-0000-0000-0000-00000000000' || number)::uuid, 1.10, '2026-01-02T03:04:05Z', "
        "ARRAY['x'], '{\"y\": [1]}', '10.0.0.1', 'abc', 0.1 FROM generate_series(0, 4) AS number",
    )
    found = open_source(url, "news.texts")
    names = {name: name for name in found.columns}
    rows = list(found.rows(names))
    assert rows[0].value == (
        b'{"id":"00000000-0000-0000-0000-000000000000","price":1.10,"at":"2026-01-02T03:04:05Z","tags":["x"],"more":{"y":[1]},'
        b'"host":"10.0.0.1","raw":"YWJj","share":0.1}'
    )
    assert len(rows) == 5
    assert [row.value for row in found.rows(names, (str(rows[1].key[0]),))] == [row.value for row in rows[2:]]
    assert found.name.endswith("#news.texts")
    assert "secret-of-tests" not in found.name
    found.close()


def test_a_table_without_a_key_is_refused(url: str) -> None:
    """It could not be read on: the message says what to do. A table that is not there is told with those that are."""
    write(url, "CREATE TABLE texts (title TEXT)")
    with pytest.raises(TableError, match=r"texts has no primary key.*Next:"):
        open_source(url, "texts")
    with pytest.raises(TableError, match=r"no table text in .*\(tables: texts\)"):
        open_source(url, "text")


def test_a_key_that_is_empty_is_told(tmp_path: Path) -> None:
    """SQLite allows NULL in a key; the rows behind such a one could be left out in silence."""
    write(
        f"sqlite:///{tmp_path}/a.db",
        "CREATE TABLE texts (id TEXT PRIMARY KEY, title TEXT)",
        "INSERT INTO texts VALUES (NULL, 'x')",
    )
    found = open_source(f"sqlite:///{tmp_path}/a.db", "texts")
    with pytest.raises(TableError, match=r"key \(id\) is empty"):
        list(found.rows({"title": "title"}))
    found.close()


def test_a_source_is_only_read(tmp_path: Path) -> None:
    """The file of another program stays as it is, and one that is not there is not made."""
    path = tmp_path / "theirs.db"
    with sqlite3.connect(path) as connection:
        connection.execute("CREATE TABLE texts (id INTEGER PRIMARY KEY, title TEXT)")
        connection.execute("INSERT INTO texts VALUES (1, 'One')")
    connection.close()
    before = path.read_bytes()
    found = open_source(str(path), "texts")
    assert [row.value for row in found.rows({"title": "title"})] == [b'{"title":"One"}']
    found.close()
    assert path.read_bytes() == before
    with pytest.raises(DatabaseUnavailableError, match="no file that is there"):
        open_source(str(tmp_path / "gone.db"), "texts")


def test_a_table_that_goes_is_told(url: str) -> None:
    """In the database's own words; the number of its rows is then unknown."""
    write(url, *texts(1))
    found = open_source(url, "texts")
    write(url, "DROP TABLE texts")
    with pytest.raises(DatabaseUnavailableError, match="texts"):
        list(found.rows({"title": "title"}))
    assert found.count() is None
    found.close()

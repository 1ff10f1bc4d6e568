"""A database by its URL: what is read only stays as it is, and errors say the next step. `review/store` tests the rest."""

import sqlite3
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from sqlalchemy import text

from stream.database.database import Database, DatabaseUnavailableError, DatabaseUrlError, Purpose, open_database

TABLE = Purpose(noun="table", option="--table", loss="what was lost is made again", lock=1)


def filled(url: str) -> None:
    """Make a table with one row."""
    database = open_database(url, TABLE)
    with database.writing() as connection:
        connection.execute(text("CREATE TABLE notes (id INTEGER PRIMARY KEY, word TEXT)"))
        connection.execute(text("INSERT INTO notes VALUES (1, 'one')"))
    database.close()


def word(database: Database) -> str:
    """The word of the row."""
    with database.reading() as connection:
        return str(connection.execute(text("SELECT word FROM notes")).scalar())


def test_what_is_read_only_cannot_be_written(url: str) -> None:
    """The database itself refuses, with its own words in the message."""
    filled(url)
    database = open_database(url, TABLE, read_only=True)
    assert word(database) == "one"
    with (
        pytest.raises(DatabaseUnavailableError, match=r"read-?only.*what was lost is made again\."),
        database.writing() as connection,
    ):
        connection.execute(text("DELETE FROM notes"))
    assert word(database) == "one"
    database.close()


def test_a_file_that_is_read_keeps_its_journal(tmp_path: Path) -> None:
    """It may be another program's: no journal of another kind, and no file beside it."""
    path = tmp_path / "100 %?#.db"
    with sqlite3.connect(path) as connection:
        connection.execute("CREATE TABLE notes (word TEXT)")
        connection.execute("INSERT INTO notes VALUES ('one')")
    connection.close()
    before = path.read_bytes()
    database = open_database(str(path), TABLE, read_only=True)
    assert word(database) == "one"
    database.close()
    assert path.read_bytes() == before
    assert [found.name for found in tmp_path.iterdir()] == [path.name]


def test_a_file_that_is_to_be_read_is_not_made(tmp_path: Path) -> None:
    """A misspelt path is told, with the option."""
    with pytest.raises(DatabaseUnavailableError, match=r"gone\.db is no file.*--table"):
        open_database(f"sqlite:///{tmp_path}/gone.db", TABLE, read_only=True)
    assert not (tmp_path / "gone.db").exists()


@pytest.mark.parametrize("url", ["mysql://u:secret@h/d", "sqlite://", "sqlite:///:memory:", "postgresql+:/x://"])
def test_another_kind_of_url_is_refused(url: str) -> None:
    """The message says which kinds there are, without the password."""
    with pytest.raises(DatabaseUrlError, match="sqlite:///FILE") as refused:
        open_database(url, TABLE)
    assert "secret" not in str(refused.value)


def test_transactions_alone_wait_for_each_other(url: str) -> None:
    """Eight programs add one to a number that each has read before: no addition is lost."""
    filled(url)
    databases = [open_database(url, TABLE) for _ in range(8)]

    def add(database: Database) -> None:
        with database.alone() as connection:
            seen = connection.execute(text("SELECT count(*) FROM notes")).scalar() or 0
            connection.execute(text("INSERT INTO notes VALUES (:id, 'more')"), {"id": seen + 1})

    with ThreadPoolExecutor(8) as threads:
        list(threads.map(add, databases))
    with databases[0].reading() as connection:
        assert connection.execute(text("SELECT max(id) FROM notes")).scalar() == 1 + len(databases)
    for database in databases:
        database.close()

"""A database by its URL: what is read only stays as it is, and errors say the next step. `review/store` tests the rest."""

import sqlite3
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from sqlalchemy import text

from tagstream.stream.database.database import (
    Database,
    DatabaseInUseError,
    DatabaseRefusedError,
    DatabaseUnavailableError,
    DatabaseUrlError,
    Purpose,
    open_database,
)
from tests.postgres import Postgres

TABLE = Purpose(noun="table", option="--table", loss="what was lost is made again", lock=1)
VANISHING = "&keepalives_interval=7&options=-c%20work_mem%3D5MB%20-c%20statement_timeout%3D0"


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


def test_a_new_file_waits_for_another_writers_first_transaction(tmp_path: Path) -> None:
    """Two programs begin on one file: neither is told that it is locked, and both write."""
    path = tmp_path / "new.db"
    first = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
    first.execute("BEGIN IMMEDIATE")
    first.execute("CREATE TABLE others (word TEXT)")
    ending = threading.Timer(0.5, first.execute, ["COMMIT"])
    ending.start()
    filled(str(path))
    ending.join()
    first.close()
    with sqlite3.connect(path) as connection:
        assert connection.execute("PRAGMA journal_mode").fetchone() == ("wal",)
        assert {name for (name,) in connection.execute("SELECT name FROM sqlite_master")} == {"others", "notes"}
    connection.close()


def test_a_file_is_of_one_program(url: str) -> None:
    """A second one is refused while the first one runs, and told what to do; PostgreSQL takes both."""
    one, other = open_database(url, TABLE), open_database(url, TABLE)
    with one.of_one("console"):
        if url.startswith("postgres"):
            with other.of_one("console"):
                pass
        else:
            with (
                pytest.raises(DatabaseInUseError, match=r"another console .* is for one\. Next: .*postgresql://"),
                other.of_one("console"),
            ):
                pass
            with other.of_one("report"):
                pass
    with other.of_one("console"):
        pass
    one.close()
    other.close()


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


@pytest.mark.parametrize("place", ["tagstream:secret@h/d", "h/d?user=tagstream&password=secret&sslpassword=secret"])
def test_no_password_is_shown(place: str) -> None:
    """Wherever it stands in the URL."""
    database = open_database(f"postgresql://{place}", TABLE)
    assert "secret" not in database.name
    assert "h/d" in database.name
    database.close()


def test_a_postgres_that_vanishes_is_found_out(server: Postgres) -> None:
    """The connection itself has bounds, what the URL says of them stands, and its own options hold beside ours."""
    database = open_database(f"{server.fresh()}{VANISHING}", TABLE)
    with database.reading() as connection:
        shown = {name: connection.execute(text(f"SHOW {name}")).scalar() for name in ("statement_timeout", "work_mem")}
        given = connection.connection.driver_connection.info.get_parameters()  # type: ignore[union-attr]
    database.close()
    assert shown == {"statement_timeout": "30s", "work_mem": "5MB"}
    assert {name: given[name] for name in ("keepalives_idle", "keepalives_interval", "tcp_user_timeout")} == {
        "keepalives_idle": "10",
        "keepalives_interval": "7",
        "tcp_user_timeout": "30000",
    }


def test_a_value_that_is_refused_is_told_from_a_database_that_is_away(url: str) -> None:
    """A writer may go on without it."""
    filled(url)
    database = open_database(url, TABLE)
    with pytest.raises(DatabaseRefusedError, match="does not take a value"), database.writing() as connection:
        connection.execute(text("INSERT INTO notes VALUES (1, 'again')"))
    with pytest.raises(DatabaseUnavailableError) as missing, database.reading() as connection:
        connection.execute(text("SELECT * FROM gone"))
    database.close()
    assert not isinstance(missing.value, DatabaseRefusedError)

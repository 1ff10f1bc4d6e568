"""The database of the store, with its tables: those of another version are dropped, since the topics fill them again."""

import sqlite3
from contextlib import closing
from pathlib import Path

from sqlalchemy import Connection, select

from stream.database.database import Database, Purpose, open_database
from stream.review.store.database.tables import METADATA, SCHEMA_VERSION, about

# A console of an older version may be writing.
STORE_SECONDS = 10.0
# One filler at a time: what follows from answers and reports is computed from all of them.
STORE = Purpose(
    noun="store",
    option="--store",
    loss="the store can be deleted at any time, since the topics fill it again",
    lock=7_260_411,
)


def file_of(folder: Path, stem: str) -> Path:
    """
    The console's own SQLite file in a folder: one for each cluster, group and topic, since places in one log mean nothing in another.

    An older version had one file for all, `review.sqlite`. It stays in use where it is, by the first that asks for its own.

    Args:
        folder: `state_folder`.
        stem: Names cluster, group and topic.
    """
    older = folder / "review.sqlite"
    return older if older.exists() and _belongs(older, stem) else folder / f"review-{stem}.sqlite"


def _belongs(file: Path, stem: str) -> bool:
    try:
        with closing(sqlite3.connect(f"file:{file}?mode=rw", uri=True, timeout=STORE_SECONDS)) as connection, connection:
            connection.execute("CREATE TABLE IF NOT EXISTS belongs_to (stem TEXT NOT NULL)")
            connection.execute("INSERT INTO belongs_to SELECT ? WHERE NOT EXISTS (SELECT 1 FROM belongs_to)", (stem,))
            return bool(connection.execute("SELECT stem = ? FROM belongs_to", (stem,)).fetchone()[0])
    except sqlite3.Error:
        # The file is damaged, or may not be written: opening it as the store says so, with the next step.
        return True


def open_store_database(url: str) -> Database:
    """
    The database of this URL with the store's tables. Tables of another version are dropped.

    Args:
        url: `sqlite:///FILE`, `postgresql://USER:PASSWORD@HOST/NAME`, or a path, which is a file of SQLite.

    Raises:
        DatabaseUrlError: It is none of these.
        DatabaseUnavailableError: The database cannot be had.
    """
    database = open_database(url, STORE)
    try:
        with database.alone() as connection:
            _prepare(connection)
    except BaseException:
        database.close()
        raise
    return database


def _prepare(connection: Connection) -> None:
    METADATA.create_all(connection, tables=[about])
    found = connection.execute(select(about.c.value).where(about.c.name == "schema")).scalar()
    if found == str(SCHEMA_VERSION):
        return
    METADATA.drop_all(connection)
    METADATA.create_all(connection)
    connection.execute(about.insert().values(name="schema", value=str(SCHEMA_VERSION)))

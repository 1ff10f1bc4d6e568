"""The database of the store, with its tables: those of another version are dropped, since the topics fill them again."""

from sqlalchemy import Connection, select

from stream.database.database import Database, Purpose, open_database
from stream.review.store.database.tables import METADATA, SCHEMA_VERSION, about

# One filler at a time: what follows from answers and reports is computed from all of them.
STORE = Purpose(
    noun="store",
    option="--store",
    loss="the store can be deleted at any time, since the topics fill it again",
    lock=7_260_411,
)


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

"""The store of the review console: a database that can be deleted at any time, since the topics fill it again."""

import sqlite3
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

from sqlalchemy import Connection, delete, select

from tagstream.stream.database.database import Database, Purpose, open_database
from tagstream.stream.logs import logger
from tagstream.stream.review.store.filling import Filling
from tagstream.stream.review.store.queue import Queue
from tagstream.stream.review.store.records import unix_ms
from tagstream.stream.review.store.sampling import Samples
from tagstream.stream.review.store.schema import METADATA, SCHEMA_VERSION, about
from tagstream.stream.review.store.upgrading import OLDER, WITHOUT_ARMS, name_arms, set_aside, tell_again

SECOND_OPINION_RATE = 0.05
# A console of an older version may be writing.
STORE_SECONDS = 10.0
# One filler at a time: what follows from answers and reports is computed from all of them.
STORE = Purpose(
    noun="store",
    option="--store",
    loss="the store can be deleted at any time, since the topics fill it again",
    lock=7_260_411,
)

log = logger("tagstream.review")


@dataclass(frozen=True, slots=True, kw_only=True)
class Store:
    """
    An open store.

    Attributes:
        database: It has the tables of the store.
        queue: For reviewers, and for what saves their answers.
        filling: Takes what the topics say.
        samples: For estimates.
    """

    database: Database
    queue: Queue
    filling: Filling
    samples: Samples

    @property
    def name(self) -> str:
        """The URL without its password."""
        return self.database.name

    def close(self) -> None:
        """Close all connections."""
        self.database.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()


def open_store(url: str, *, clock: Callable[[], int] = unix_ms, second_opinion_rate: float = SECOND_OPINION_RATE) -> Store:
    """
    The store at this URL; it is made if it is not there. One of an older version is taken on, one of any other made anew.

    Args:
        url: `sqlite:///FILE` or a path for one console, `postgresql://USER:PASSWORD@HOST/NAME` for several.
        clock: Unix milliseconds.
        second_opinion_rate: The part of the answers on which a second person is asked, 0 to 1.

    Raises:
        DatabaseUrlError: The URL is of another kind.
        DatabaseUnavailableError: The database cannot be had.
    """
    database = open_database(url, STORE)
    try:
        with database.alone() as connection:
            _prepare(connection)
        filling = Filling(database, clock, second_opinion_rate)
        tell_again(database, filling)
    except BaseException:
        database.close()
        raise
    return Store(
        database=database,
        queue=Queue(database, clock),
        filling=filling,
        samples=Samples(database),
    )


def _prepare(connection: Connection) -> None:
    METADATA.create_all(connection, tables=[about])
    found = connection.execute(select(about.c.value).where(about.c.name == "schema")).scalar()
    if found == str(SCHEMA_VERSION):
        return
    if found == OLDER:
        set_aside(connection)
    elif found == WITHOUT_ARMS:
        name_arms(connection)
    elif found is not None:
        log.warning("store_emptied", version=found, next="the topics fill it again, as far as they still have its records")
        METADATA.drop_all(connection)
    METADATA.create_all(connection)
    connection.execute(delete(about).where(about.c.name == "schema"))
    connection.execute(about.insert().values(name="schema", value=str(SCHEMA_VERSION)))


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

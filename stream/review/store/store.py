"""The store of the review console: a database that can be deleted at any time, because the topics fill it again."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

from sqlalchemy import select

from tagstream.stream.database.database import Database, Purpose, open_database
from tagstream.stream.review.store.queue import Queue
from tagstream.stream.review.store.records import unix_ms
from tagstream.stream.review.store.sampling import Samples
from tagstream.stream.review.store.schema import METADATA, SCHEMA_VERSION, about
from tagstream.stream.review.store.store_writer import StoreWriter
from tagstream.stream.review.store.votes import Votes
from tagstream.stream.review.store.work import Work

SECOND_OPINION_RATE = 0.05
# Only one transaction fills the store at a time, because an event's state is computed from all of its answers and reports.
STORE = Purpose(
    noun="store",
    option="--store",
    loss="the store can be deleted at any time, since the topics fill it again",
    lock=7_260_411,
)


class StoreVersionError(Exception):
    """Another version of tagstream made the store, so it stays unchanged. The message names the store and the next step."""

    exit_code = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class Store:
    """
    An open store.

    Attributes:
        database: The database, which has the tables of the store.
        queue: The queue, for reviewers and for the saver of their answers.
        writer: Adds facts from the topics.
        samples: The samples for estimates.
        work: The times and numbers of people's answers.
        votes: The numbers of viewers' answers.
    """

    database: Database
    queue: Queue
    writer: StoreWriter
    samples: Samples
    work: Work
    votes: Votes

    @property
    def name(self) -> str:
        """The store's URL without its password."""
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
    Open the store at this URL. A missing store is created.

    Args:
        url: `sqlite:///FILE` or a path for one console, `postgresql://USER:PASSWORD@HOST/NAME` for several.
        clock: Returns Unix milliseconds.
        second_opinion_rate: The share of the answers on which a second person is asked, 0 to 1.

    Raises:
        DatabaseUrlError: The URL is of another kind.
        DatabaseUnavailableError: The database cannot be opened.
        StoreVersionError: Another version of tagstream made the store.
    """
    database = open_database(url, STORE)
    try:
        _prepare(database)
    except BaseException:
        database.close()
        raise
    return Store(
        database=database,
        queue=Queue(database, clock),
        writer=StoreWriter(database, clock, second_opinion_rate),
        samples=Samples(database),
        work=Work(database),
        votes=Votes(database),
    )


def _prepare(database: Database) -> None:
    with database.alone() as connection:
        METADATA.create_all(connection, tables=[about])
        found = connection.execute(select(about.c.value).where(about.c.name == "schema")).scalar()
        if found in {None, str(SCHEMA_VERSION)}:
            METADATA.create_all(connection)
        if found is None:
            connection.execute(about.insert().values(name="schema", value=str(SCHEMA_VERSION)))
        elif found != str(SCHEMA_VERSION):
            msg = (
                f"the store {database.name} has the version {found}, and this tagstream reads the version {SCHEMA_VERSION}; nothing was changed. "
                f"Next: open it with the tagstream that made it, or give {STORE.option} a new place, which the topics fill."
            )
            raise StoreVersionError(msg)


def file_of(folder: Path, stem: str) -> Path:
    """
    Return the path of the console's own SQLite file in a folder.

    Each cluster, group and topic has a file of its own, because offsets in one log mean nothing in another log.

    Args:
        folder: `state_folder`.
        stem: Names cluster, group and topic.
    """
    return folder / f"review-{stem}.sqlite"

"""A database by its URL: SQLite in a file, or PostgreSQL. Every wait has a bound, and a database that is away is one kind of error."""

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, create_engine, event, select, text
from sqlalchemy.engine import URL, Engine, make_url
from sqlalchemy.exc import ArgumentError, DBAPIError, SQLAlchemyError

from stream.review.store.database.tables import METADATA, SCHEMA_VERSION, about

# Another process may hold SQLite's one lock for so long, and a connection may take so long to be had.
BUSY_SECONDS = 10
# The most that one statement of PostgreSQL may take; and a lock of it.
STATEMENT_MS, LOCK_MS = 30_000, 10_000
# One filler at a time: what follows from answers and reports is computed from all of them.
FILLING_LOCK = 7_260_411


class StoreUnavailableError(Exception):
    """The database of the store cannot be had, or does not answer: the message says which, why and the next step."""

    exit_code = 1


class StoreUrlError(ValueError):
    """The URL names no database that the store can use: the message says which it can."""

    exit_code = 2


class Database:
    """Transactions on one database. Safe for threads; other processes may use the same database."""

    def __init__(self, engine: Engine) -> None:
        """Use an engine; see `open_database`."""
        self._engine = engine
        self.name = engine.url.render_as_string(hide_password=True)
        self.is_postgres = engine.dialect.name == "postgresql"

    @contextlib.contextmanager
    def reading(self) -> Iterator[Connection]:
        """A transaction that writes nothing."""
        with self._translated(), self._engine.begin() as connection:
            yield connection

    @contextlib.contextmanager
    def writing(self) -> Iterator[Connection]:
        """A transaction that may write. SQLite has one at a time."""
        with (
            self._translated(),
            self._engine.execution_options(tagstream_writes=True).begin() as connection,
        ):
            yield connection

    @contextlib.contextmanager
    def filling(self) -> Iterator[Connection]:
        """A transaction that adds facts; there is one at a time over all processes."""
        with self.writing() as connection:
            if self.is_postgres:
                connection.execute(text("SELECT pg_advisory_xact_lock(:lock)"), {"lock": FILLING_LOCK})
            yield connection

    def close(self) -> None:
        """Close all connections."""
        self._engine.dispose()

    @contextlib.contextmanager
    def _translated(self) -> Iterator[None]:
        try:
            yield
        except SQLAlchemyError as error:
            cause = error.orig if isinstance(error, DBAPIError) else error
            reason = " ".join(str(cause).split())[:300]
            msg = (
                f"the store {self.name} does not answer as it should ({type(cause).__name__}: {reason}). Next: check that the "
                f"database runs and takes this user; the store can be deleted at any time, since the topics fill it again."
            )
            raise StoreUnavailableError(msg) from error


def open_database(url: str) -> Database:
    """
    The database of this URL with its tables. Tables of another version are dropped, since the topics fill them again.

    Args:
        url: `sqlite:///FILE`, `postgresql://USER:PASSWORD@HOST/NAME`, or a path, which is a file of SQLite.

    Raises:
        StoreUrlError: It is none of these.
        StoreUnavailableError: The database cannot be had.
    """
    database = Database(_engine(_parsed(url)))
    try:
        with database.filling() as connection:
            _prepare(connection)
    except BaseException:
        database.close()
        raise
    return database


def _parsed(url: str) -> URL:
    try:
        parsed = make_url(url if "://" in url else f"sqlite:///{Path(url).expanduser().absolute()}")
    except ArgumentError as error:
        msg = "the store's URL cannot be read. Next: give sqlite:///FILE or postgresql://USER:PASSWORD@HOST/NAME"
        raise StoreUrlError(msg) from error
    kind = parsed.get_backend_name()
    if kind == "postgresql":
        return parsed.set(drivername="postgresql+psycopg")
    if kind == "sqlite" and parsed.database and parsed.database != ":memory:":
        return parsed.set(drivername="sqlite+pysqlite", database=str(Path(parsed.database).expanduser()))
    msg = (
        f"a store in {kind}{'' if parsed.database else ' without a file'} cannot be used. Next: give sqlite:///FILE for one "
        f"console, or postgresql://USER:PASSWORD@HOST/NAME for several"
    )
    raise StoreUrlError(msg)


def _engine(url: URL) -> Engine:
    if url.get_backend_name() == "postgresql":
        options = f"-c statement_timeout={STATEMENT_MS} -c lock_timeout={LOCK_MS} -c idle_in_transaction_session_timeout={STATEMENT_MS}"
        return create_engine(
            url,
            pool_pre_ping=True,
            pool_timeout=BUSY_SECONDS,
            connect_args={"connect_timeout": BUSY_SECONDS, "options": options},
        )
    try:
        Path(str(url.database)).parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        msg = f"the folder of the store {url.database} cannot be made ({error}). Next: give another file by --store"
        raise StoreUnavailableError(msg) from error
    engine = create_engine(url, pool_timeout=BUSY_SECONDS, connect_args={"timeout": BUSY_SECONDS, "check_same_thread": False})
    event.listen(engine, "connect", _prepare_sqlite)
    event.listen(engine, "begin", _begin_sqlite)
    return engine


def _prepare_sqlite(connection: Any, _: object) -> None:
    # Python's own transactions begin too late for a lease: see "pysqlite" in SQLAlchemy's documentation.
    connection.isolation_level = None
    # Readers do not wait for the writer. A power cut may take the last transactions, and the topics bring them back.
    connection.execute("PRAGMA journal_mode=WAL")
    connection.execute("PRAGMA synchronous=NORMAL")


def _begin_sqlite(connection: Connection) -> None:
    # A transaction that begins by reading cannot always write later: another one may have written in between.
    writes = connection.get_execution_options().get("tagstream_writes", False)
    connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")


def _prepare(connection: Connection) -> None:
    METADATA.create_all(connection, tables=[about])
    found = connection.execute(select(about.c.value).where(about.c.name == "schema")).scalar()
    if found == str(SCHEMA_VERSION):
        return
    METADATA.drop_all(connection)
    METADATA.create_all(connection)
    connection.execute(about.insert().values(name="schema", value=str(SCHEMA_VERSION)))

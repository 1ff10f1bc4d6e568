"""A database by its URL: SQLite in a file, or PostgreSQL. Every wait has a bound, and a database that is away is one kind of error.

All that differs between the kinds of database is in this file.
"""

import contextlib
import fcntl
import sqlite3
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sqlalchemy import ColumnCollection, ColumnElement, Connection, Table, Text, create_engine, event, text
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.engine import URL, Engine, make_url
from sqlalchemy.exc import ArgumentError, DataError, DBAPIError, IntegrityError, SQLAlchemyError

from tagstream.model_export.extras import install

# Another process may hold SQLite's one lock for so long, and a connection may take so long to be had.
BUSY_SECONDS = 10
BUSY_PAUSE_SECONDS = 0.02
# The most that one statement of PostgreSQL may take; and a lock of it.
STATEMENT_MS, LOCK_MS = 30_000, 10_000
# A host that vanishes sends no word, so that the connection itself must find out: within 25 s where it is idle, 30 s where it was
# asked. Values of these in the URL stand.
VANISHED = {
    "keepalives": 1,
    "keepalives_idle": 10,
    "keepalives_interval": 5,
    "keepalives_count": 3,
    "tcp_user_timeout": 30_000,
}
# "program_limit_exceeded": a value that is too long for an index.
TOO_LONG = "54000"
Row = dict[str, Any]
"""The values of a row by column."""
Columns = ColumnCollection[str, Any]
"""The columns of a row by name."""


class DatabaseUnavailableError(Exception):
    """The database cannot be had, or does not answer: the message says which, why and the next step."""

    exit_code = 1


class DatabaseRefusedError(DatabaseUnavailableError):
    """The database answers, and does not take a value: the same would be refused again."""


class DatabaseInUseError(Exception):
    """Another program of the kind has the file: the message says what to do."""

    exit_code = 2


class DatabaseUrlError(ValueError):
    """The URL names no database that can be used: the message says which can."""

    exit_code = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class Purpose:
    """
    The use of a database, as messages say it.

    Attributes:
        noun: Names its content, without an article: "store".
        option: The option that gives the URL: "--store".
        loss: A clause on what a loss of it costs; messages end with it.
        lock: A number of its own: who holds it is alone, see `Database.alone`.
    """

    noun: str
    option: str
    loss: str = ""
    lock: int = 0


class Database:
    """Transactions on one database. Safe for threads; other processes may use the same database."""

    def __init__(self, engine: Engine, purpose: Purpose) -> None:
        """Use an engine; see `open_database`."""
        self._engine = engine
        self._purpose = purpose
        # A password may stand in the URL's query too; a host there tells a socket.
        shown = {name: value for name, value in engine.url.query.items() if name == "host"}
        self.name = engine.url.set(query=shown).render_as_string(hide_password=True)

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
    def alone(self) -> Iterator[Connection]:
        """A transaction that may write; of those with this purpose there is one at a time over all processes."""
        with self.writing() as connection:
            lock(connection, self._purpose.lock)
            yield connection

    @contextlib.contextmanager
    def of_one(self, program: str) -> Iterator[None]:
        """
        Keep a second program of this kind from a file of SQLite, until the block or the process ends. PostgreSQL is for several.

        Args:
            program: Its name; a file of this name beside the database's is locked.

        Raises:
            DatabaseInUseError: Another one has the file.
        """
        url = self._engine.url
        if url.get_backend_name() != "sqlite":
            yield
            return
        with Path(f"{url.database}-{program}").open("a") as held:
            try:
                fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError as error:
                msg = (
                    f"another {program} uses the {self._purpose.noun} {url.database}, and a file is for one. Next: open or end that {program}, or give "
                    f"{self._purpose.option} postgresql://USER:PASSWORD@HOST/NAME to all of them."
                )
                raise DatabaseInUseError(msg) from error
            yield

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
            loss = f"; {self._purpose.loss}" if self._purpose.loss else ""
            if isinstance(error, DataError | IntegrityError) or getattr(cause, "sqlstate", None) == TOO_LONG:
                msg = (
                    f"the {self._purpose.noun} {self.name} does not take a value ({type(cause).__name__}: {reason}). Next: see what "
                    f"was written, and the constraints of the table."
                )
                raise DatabaseRefusedError(msg) from error
            msg = (
                f"the {self._purpose.noun} {self.name} does not answer as it should ({type(cause).__name__}: {reason}). Next: check "
                f"that the database runs and takes this user{loss}."
            )
            raise DatabaseUnavailableError(msg) from error


def open_database(url: str, purpose: Purpose, *, read_only: bool = False) -> Database:
    """
    The database of this URL. It is asked nothing yet, so the first transaction tells that it is away.

    Args:
        url: `sqlite:///FILE`, `postgresql://USER:PASSWORD@HOST/NAME`, or a path, which is a file of SQLite.
        purpose: Its use.
        read_only: Change nothing: neither a row nor the kind of a file's journal. The file must be there.

    Raises:
        DatabaseUrlError: It is none of these.
        DatabaseUnavailableError: The file's folder cannot be made, or the file that is to be read is not there.
    """
    parsed = _parsed(url, purpose)
    kind = KINDS[parsed.get_backend_name()]
    engine = kind.engine(parsed.set(drivername=kind.driver), purpose, read_only=read_only)
    return Database(engine, purpose)


def _parsed(url: str, purpose: Purpose) -> URL:
    try:
        # A path is no URL: a question mark in it begins no query.
        parsed = make_url(url) if "://" in url else URL.create("sqlite", database=str(Path(url).expanduser().absolute()))
    except ArgumentError as error:
        msg = f"the {purpose.noun}'s URL cannot be read. Next: give sqlite:///FILE or postgresql://USER:PASSWORD@HOST/NAME"
        raise DatabaseUrlError(msg) from error
    kind, in_memory = parsed.get_backend_name(), parsed.database in {None, "", ":memory:"}
    if kind not in KINDS or (kind == "sqlite" and in_memory):
        msg = (
            f"a {purpose.noun} in {kind}{'' if parsed.database else ' without a file'} cannot be used. Next: give sqlite:///FILE for "
            f"programs of one machine, or postgresql://USER:PASSWORD@HOST/NAME for those of several"
        )
        raise DatabaseUrlError(msg)
    return parsed


def _postgres(url: URL, purpose: Purpose, *, read_only: bool) -> Engine:
    given = url.normalized_query
    # Of two values for one setting the last one holds.
    options = (
        f"{''.join(f'{one} ' for one in given.get('options', ()))}-c statement_timeout={STATEMENT_MS} -c lock_timeout={LOCK_MS} -c idle_in_transaction_session_timeout={STATEMENT_MS}"
        f"{' -c default_transaction_read_only=on' if read_only else ''}"
    )
    try:
        return create_engine(
            url,
            pool_pre_ping=True,
            pool_timeout=BUSY_SECONDS,
            connect_args={
                **{name: value for name, value in VANISHED.items() if name not in given},
                "connect_timeout": BUSY_SECONDS,
                "options": options,
            },
        )
    except ModuleNotFoundError as error:
        msg = f"a {purpose.noun} in PostgreSQL needs the extra `batch` ({error}). Next: {install('batch')}"
        raise DatabaseUrlError(msg) from error


def _sqlite(url: URL, purpose: Purpose, *, read_only: bool) -> Engine:
    path = Path(str(url.database)).expanduser()
    if read_only:
        if not path.is_file():
            msg = f"the {purpose.noun} {path} is no file that is there. Next: is the path right? Give it by {purpose.option}."
            raise DatabaseUnavailableError(msg)
        # A file that is read may be anyone's: its journal keeps its kind.
        readable = url.set(database=f"file:{_quoted(path)}").update_query_dict({"mode": "ro", "uri": "true"})
    else:
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            msg = (
                f"the folder of the {purpose.noun} {path} cannot be made ({error}). Next: give another file by {purpose.option}"
            )
            raise DatabaseUnavailableError(msg) from error
        readable = url.set(database=str(path))
    engine = create_engine(
        readable, pool_timeout=BUSY_SECONDS, connect_args={"timeout": BUSY_SECONDS, "check_same_thread": False}
    )
    event.listen(engine, "connect", _prepare_to_read if read_only else _prepare_to_write)
    event.listen(engine, "begin", _begin_sqlite)
    return engine


def _quoted(path: Path) -> str:
    """A path as SQLite reads it in a URI."""
    return str(path.absolute()).replace("%", "%25").replace("?", "%3f").replace("#", "%23")


def _prepare_to_read(connection: Any, _: object) -> None:
    # Python's own transactions begin too late for a lease: see "pysqlite" in SQLAlchemy's documentation.
    connection.isolation_level = None


def _prepare_to_write(connection: Any, _: object) -> None:
    connection.isolation_level = None
    # Readers do not wait for the writer. A power cut may take the last transactions, and whoever wrote them can write them again.
    _keep_a_log_of_writes(connection)
    connection.execute("PRAGMA synchronous=NORMAL")


def _keep_a_log_of_writes(connection: Any) -> None:
    """SQLite waits for a lock everywhere but here: beside another writer's first transaction it refuses the change of journal at once."""
    end = time.monotonic() + BUSY_SECONDS
    while True:
        try:
            connection.execute("PRAGMA journal_mode=WAL")
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode != sqlite3.SQLITE_BUSY or time.monotonic() > end:
                raise
            time.sleep(BUSY_PAUSE_SECONDS)
        else:
            return


def _begin_sqlite(connection: Connection) -> None:
    # A transaction that begins by reading cannot always write later: another one may have written in between.
    writes = connection.get_execution_options().get("tagstream_writes", False)
    connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")


@dataclass(frozen=True, slots=True, kw_only=True)
class Kind:
    """
    A kind of database: all that statements of SQLAlchemy do not say for each of them alike.

    Attributes:
        driver: As in a URL of SQLAlchemy.
        engine: Makes an engine for a URL with this driver.
        insert: An insert that says what becomes of a row whose key is there.
        collation: Of text that is compared byte by byte; None where all text is.
        lock: A statement that holds `:number` to the end of its transaction; None where one transaction writes at a time.
    """

    driver: str
    engine: Callable[..., Engine]
    insert: Callable[[Table], Any]
    collation: str | None
    lock: str | None


KINDS = {
    "postgresql": Kind(
        driver="postgresql+psycopg",
        engine=_postgres,
        insert=postgresql.insert,
        collation="C",
        lock="SELECT pg_advisory_xact_lock(:number)",
    ),
    "sqlite": Kind(driver="sqlite+pysqlite", engine=_sqlite, insert=sqlite.insert, collation=None, lock=None),
}
"""By the name that SQLAlchemy gives them."""


def bytewise() -> Text:
    """The type of text that is compared byte by byte, so that each kind gives two decisions of one moment the same order."""
    found = Text()
    for name, kind in KINDS.items():
        found = found.with_variant(Text(collation=kind.collation), name)
    return found


def lock(connection: Connection, number: int) -> None:
    """Hold a number of 64 bits to the end of a transaction that may write: another one that asks for it waits until then."""
    statement = KINDS[connection.dialect.name].lock
    if statement is not None:
        connection.execute(text(statement), {"number": number})


def only_where(condition: str) -> dict[str, Any]:
    """Options of an `Index` that has the rows of this condition alone."""
    return {f"{kind}_where": text(condition) for kind in KINDS}


def insert_new(connection: Connection, table: Table, rows: Iterable[Row]) -> None:
    """
    Insert rows whose key is not there yet.

    Args:
        connection: In a transaction that may write.
        table: With a primary key.
        rows: Any number.
    """
    found = list(rows)
    if found:
        connection.execute(KINDS[connection.dialect.name].insert(table).on_conflict_do_nothing(), found)


def upsert(
    connection: Connection,
    table: Table,
    rows: Sequence[Row],
    columns: Iterable[str] = (),
    *,
    only_if: Callable[[Columns, Columns], ColumnElement[bool]] | None = None,
) -> int:
    """
    Insert rows, or replace those whose key is there.

    Args:
        connection: In a transaction that may write.
        table: With a primary key.
        rows: Each key once.
        columns: Are set where the key is there; all that are not of the key unless given.
        only_if: Of the new row and of the one that is there: whether it is replaced; always unless given.

    Returns:
        How many rows are new or were replaced.
    """
    if not rows:
        return 0
    statement = KINDS[connection.dialect.name].insert(table)
    names = tuple(columns) or [column.name for column in table.columns if not column.primary_key]
    replacing = statement.on_conflict_do_update(
        index_elements=list(table.primary_key),
        set_={name: statement.excluded[name] for name in names},
        where=None if only_if is None else only_if(statement.excluded, table.c),
    )
    return connection.execution_options(preserve_rowcount=True).execute(replacing, rows).rowcount

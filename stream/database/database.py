"""A database by its URL: SQLite in a file, or PostgreSQL. Every wait has a bound, and a database that is away is one kind of error."""

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, create_engine, event, text
from sqlalchemy.engine import URL, Engine, make_url
from sqlalchemy.exc import ArgumentError, DataError, DBAPIError, IntegrityError, SQLAlchemyError

from model_export.extras import install

# Another process may hold SQLite's one lock for so long, and a connection may take so long to be had.
BUSY_SECONDS = 10
# The most that one statement of PostgreSQL may take; and a lock of it.
STATEMENT_MS, LOCK_MS = 30_000, 10_000
# A host that vanishes sends no word, so that the connection itself must find out: within 25 s where it is idle, 30 s where it was
# asked. What the URL says of these stands.
VANISHED = {
    "keepalives": 1,
    "keepalives_idle": 10,
    "keepalives_interval": 5,
    "keepalives_count": 3,
    "tcp_user_timeout": 30_000,
}
# "program_limit_exceeded": a value that is too long for an index.
TOO_LONG = "54000"


class DatabaseUnavailableError(Exception):
    """The database cannot be had, or does not answer: the message says which, why and the next step."""

    exit_code = 1


class DatabaseRefusedError(DatabaseUnavailableError):
    """The database answers, and does not take a value: the same would be refused again."""


class DatabaseUrlError(ValueError):
    """The URL names no database that can be used: the message says which can."""

    exit_code = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class Purpose:
    """
    What a database is for, as messages say it.

    Attributes:
        noun: What lies in it, without an article: "store".
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
    def alone(self) -> Iterator[Connection]:
        """A transaction that may write; of those with this purpose there is one at a time over all processes."""
        with self.writing() as connection:
            if self.is_postgres:
                connection.execute(text("SELECT pg_advisory_xact_lock(:lock)"), {"lock": self._purpose.lock})
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
    The database of this URL. Nothing is asked of it yet, so that one that is away is told by the first transaction.

    Args:
        url: `sqlite:///FILE`, `postgresql://USER:PASSWORD@HOST/NAME`, or a path, which is a file of SQLite.
        purpose: What it is for.
        read_only: Change nothing: neither a row nor the kind of a file's journal. The file must be there.

    Raises:
        DatabaseUrlError: It is none of these.
        DatabaseUnavailableError: The file's folder cannot be made, or the file that is to be read is not there.
    """
    parsed = _parsed(url, purpose)
    if parsed.get_backend_name() == "postgresql":
        return Database(_postgres(parsed, purpose, read_only=read_only), purpose)
    return Database(_sqlite(parsed, purpose, read_only=read_only), purpose)


def _parsed(url: str, purpose: Purpose) -> URL:
    try:
        # A path is no URL: a question mark in it begins no query.
        parsed = make_url(url) if "://" in url else URL.create("sqlite", database=str(Path(url).expanduser().absolute()))
    except ArgumentError as error:
        msg = f"the {purpose.noun}'s URL cannot be read. Next: give sqlite:///FILE or postgresql://USER:PASSWORD@HOST/NAME"
        raise DatabaseUrlError(msg) from error
    kind = parsed.get_backend_name()
    if kind == "postgresql":
        return parsed.set(drivername="postgresql+psycopg")
    if kind == "sqlite" and parsed.database and parsed.database != ":memory:":
        return parsed.set(drivername="sqlite+pysqlite", database=str(Path(parsed.database).expanduser()))
    msg = (
        f"a {purpose.noun} in {kind}{'' if parsed.database else ' without a file'} cannot be used. Next: give sqlite:///FILE for "
        f"programs of one machine, or postgresql://USER:PASSWORD@HOST/NAME for those of several"
    )
    raise DatabaseUrlError(msg)


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
    path = Path(str(url.database))
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
        readable = url
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
    connection.execute("PRAGMA journal_mode=WAL")
    connection.execute("PRAGMA synchronous=NORMAL")


def _begin_sqlite(connection: Connection) -> None:
    # A transaction that begins by reading cannot always write later: another one may have written in between.
    writes = connection.get_execution_options().get("tagstream_writes", False)
    connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")

"""Opens a database by its URL: SQLite in a file, or PostgreSQL. Every wait is bounded, and an unavailable database is one kind of error.

All differences between the kinds of database are in this file.
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

# The longest wait for SQLite's one lock, and the longest wait for a connection.
BUSY_SECONDS = 10
BUSY_PAUSE_SECONDS = 0.02
# The most time for one statement of PostgreSQL, and the longest wait for a lock.
STATEMENT_MS, LOCK_MS = 30_000, 10_000
# A host that vanishes sends nothing, so the connection itself must detect it: within 25 s if it is idle, within 30 s after a query.
# Values of these options in the URL take precedence.
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
    """The database cannot be opened, or does not answer. The message names the database, the reason and the next step."""

    exit_code = 1


class DatabaseRefusedError(DatabaseUnavailableError):
    """The database answers, but refuses a value. A retry would be refused, too."""


class DatabaseInUseError(Exception):
    """Another program of the same kind uses the file. The message gives the next step."""

    exit_code = 2


class DatabaseUrlError(ValueError):
    """The URL does not name a usable database. The message gives the usable kinds."""

    exit_code = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class Purpose:
    """
    The use of a database, in the words of messages.

    Attributes:
        noun: The database's content, without an article: "store".
        option: The option that gives the URL: "--store".
        loss: A clause about the cost of losing the database, at the end of messages.
        lock: The number of the lock of `Database.alone`. Each purpose has its own number.
    """

    noun: str
    option: str
    loss: str = ""
    lock: int = 0


class Database:
    """Transactions on one database. Safe for threads; other processes may use the same database."""

    def __init__(self, engine: Engine, purpose: Purpose) -> None:
        """Use an engine from `open_database`."""
        self._engine = engine
        self._purpose = purpose
        # The URL's query may have a password too. Only its `host`, which names a socket, is shown.
        shown = {name: value for name, value in engine.url.query.items() if name == "host"}
        self.name = engine.url.set(query=shown).render_as_string(hide_password=True)

    @contextlib.contextmanager
    def reading(self) -> Iterator[Connection]:
        """Open a transaction that only reads."""
        with self._translated(), self._engine.begin() as connection:
            yield connection

    @contextlib.contextmanager
    def writing(self) -> Iterator[Connection]:
        """Open a transaction that may write. SQLite has one such transaction at a time."""
        with (
            self._translated(),
            self._engine.execution_options(tagstream_writes=True).begin() as connection,
        ):
            yield connection

    @contextlib.contextmanager
    def alone(self) -> Iterator[Connection]:
        """Open a transaction that may write. Over all processes, only one such transaction of this purpose runs at a time."""
        with self.writing() as connection:
            lock(connection, self._purpose.lock)
            yield connection

    @contextlib.contextmanager
    def of_one(self, program: str) -> Iterator[None]:
        """
        Lock an SQLite file against a second program of this kind, until the block or the process ends. PostgreSQL takes several programs.

        Args:
            program: The program's name. The locked file lies beside the database's file and ends with this name.

        Raises:
            DatabaseInUseError: Another program of this kind uses the file.
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
    Return the database of this URL. No query is sent yet, so an unavailable database shows only at the first transaction.

    Args:
        url: `sqlite:///FILE`, `postgresql://USER:PASSWORD@HOST/NAME`, or the path of an SQLite file.
        purpose: The use of the database.
        read_only: Change neither a row nor the journal mode of a file. An SQLite file must exist.

    Raises:
        DatabaseUrlError: The URL has another form.
        DatabaseUnavailableError: The file's folder cannot be made, or a file to read is missing.
    """
    parsed = _parsed(url, purpose)
    kind = KINDS[parsed.get_backend_name()]
    engine = kind.engine(parsed.set(drivername=kind.driver), purpose, read_only=read_only)
    return Database(engine, purpose)


def _parsed(url: str, purpose: Purpose) -> URL:
    try:
        # A path is not parsed as a URL, because a question mark in a path does not start a query.
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
    # If a setting has two values, PostgreSQL takes the last value.
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
        # A file to read may belong to another program, so its journal mode is not changed.
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
    """Return a path as SQLite reads it in a URI."""
    return str(path.absolute()).replace("%", "%25").replace("?", "%3f").replace("#", "%23")


def _prepare_to_read(connection: Any, _: object) -> None:
    # The transactions of Python's sqlite3 begin too late for a lease: see "pysqlite" in SQLAlchemy's documentation.
    connection.isolation_level = None


def _prepare_to_write(connection: Any, _: object) -> None:
    connection.isolation_level = None
    # With these modes readers do not wait for the writer. A power cut may lose the last transactions, which their writers can write again.
    _keep_a_log_of_writes(connection)
    connection.execute("PRAGMA synchronous=NORMAL")


def _keep_a_log_of_writes(connection: Any) -> None:
    """
    Switch the journal to WAL, with a wait of its own.

    SQLite waits for a lock everywhere but here: during another writer's first transaction it refuses the change of journal at once.
    """
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
    # A transaction that begins with a read cannot always write later, because another transaction may have written in between.
    writes = connection.get_execution_options().get("tagstream_writes", False)
    connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")


@dataclass(frozen=True, slots=True, kw_only=True)
class Kind:
    """
    A kind of database: the parts that differ between databases in SQLAlchemy.

    Attributes:
        driver: The driver in a URL of SQLAlchemy.
        engine: Makes an engine for a URL with this driver.
        insert: Makes an insert statement with a clause for rows whose key exists.
        replace_view: A statement for each step that puts the view `{name}` with the query `{query}` in the place of one with fewer columns,
            or of none.
        collation: The collation of text that is compared byte by byte; None if all text is compared so.
        lock: A statement that locks `:number` to the end of its transaction; None if only one transaction writes at a time.
    """

    driver: str
    engine: Callable[..., Engine]
    insert: Callable[[Table], Any]
    replace_view: tuple[str, ...]
    collation: str | None
    lock: str | None


KINDS = {
    "postgresql": Kind(
        driver="postgresql+psycopg",
        engine=_postgres,
        insert=postgresql.insert,
        # Rights on the view, and views that read it, stay.
        replace_view=("CREATE OR REPLACE VIEW {name} AS {query}",),
        collation="C",
        lock="SELECT pg_advisory_xact_lock(:number)",
    ),
    "sqlite": Kind(
        driver="sqlite+pysqlite",
        engine=_sqlite,
        insert=sqlite.insert,
        replace_view=("DROP VIEW IF EXISTS {name}", "CREATE VIEW {name} AS {query}"),
        collation=None,
        lock=None,
    ),
}
"""The kinds of database, by the names in SQLAlchemy."""


def bytewise() -> Text:
    """Return the type of text that is compared byte by byte, so that all databases order two decisions of one moment alike."""
    found = Text()
    for name, kind in KINDS.items():
        found = found.with_variant(Text(collation=kind.collation), name)
    return found


def lock(connection: Connection, number: int) -> None:
    """Lock a 64-bit number until the end of a writing transaction. Another transaction that locks the number waits until then."""
    statement = KINDS[connection.dialect.name].lock
    if statement is not None:
        connection.execute(text(statement), {"number": number})


def replace_view(connection: Connection, name: str, query: str) -> None:
    """
    Make a view, in the place of one of this name with fewer columns at its end.

    Args:
        connection: A connection in a transaction that may write.
        name: The name of the view.
        query: The query of the view, with all its values in it.
    """
    quoted = connection.dialect.identifier_preparer.quote(name)
    for statement in KINDS[connection.dialect.name].replace_view:
        connection.exec_driver_sql(statement.format(name=quoted, query=query))


def only_where(condition: str) -> dict[str, Any]:
    """Return the options of an `Index` that has only the rows of this condition."""
    return {f"{kind}_where": text(condition) for kind in KINDS}


def insert_new(connection: Connection, table: Table, rows: Iterable[Row]) -> None:
    """
    Insert the rows whose keys are not in the table yet.

    Args:
        connection: A connection in a transaction that may write.
        table: A table with a primary key.
        rows: Any number of rows.
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
    Insert rows, or update the existing rows with the same keys.

    Args:
        connection: A connection in a transaction that may write.
        table: A table with a primary key.
        rows: Rows with distinct keys.
        columns: The columns that are set in an existing row; by default all columns outside the key.
        only_if: Gets the columns of the new and of the existing row, and returns the condition for the update; None for always.

    Returns:
        The number of inserted and updated rows.
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

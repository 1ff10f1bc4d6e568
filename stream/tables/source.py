"""Reads the rows of any table as events, page by page in the order of its key. So memory and the time of a statement stay bounded."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import msgspec
from sqlalchemy import Connection, Select, bindparam, column, func, inspect, select, table, tuple_
from sqlalchemy.sql.expression import ColumnClause
from sqlalchemy.types import NullType

from tagstream.stream.database.database import Database, DatabaseUnavailableError, Purpose, open_database
from tagstream.stream.tables.schema import TableError

SOURCE = Purpose(noun="table", option="the URL", loss="nothing was changed in it")
# The most rows of a page, the bytes after which a page of large rows ends, and the number of rows that the driver fetches at once.
ROWS_AT_ONCE = 2_000
BYTES_AT_ONCE = 4 * 1024 * 1024
FETCHED_ROWS = 16
# A number of PostgreSQL's type `numeric` keeps its digits. Times are RFC 3339, bytes are base64, and other types without a JSON form are
# text.
ENCODER = msgspec.json.Encoder(decimal_format="number", enc_hook=str)
Key = tuple[Any, ...]
"""The values of a row's key."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TableRow:
    """
    One row.

    Attributes:
        key: The row's key. The next page begins after the key of the last row (`after`).
        value: A JSON object of the row's columns: the value of an event. A NULL cell is left out.
    """

    key: Key
    value: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class TableSource:
    """
    A table that is read.

    Attributes:
        name: The URL without its password, and the table's name, for messages.
        columns: All columns of the table.
        key: The columns of the table's primary key.
    """

    name: str
    columns: tuple[str, ...]
    key: tuple[str, ...]
    database: Database
    named: str
    schema: str | None

    def count(self) -> int | None:
        """Return the number of rows now; None if the database cannot count them within the time of a statement."""
        try:
            with self.database.reading() as connection:
                return int(connection.execute(select(func.count()).select_from(self._table())).scalar_one())
        except DatabaseUnavailableError:
            return None

    def rows(self, names: dict[str, str], after: Key | None = None) -> Iterator[TableRow]:
        """
        Yield the rows in the order of the key.

        Args:
            names: The columns to read, and the event field for each.
            after: Begin after the row with this key; None: begin at the first row.

        Raises:
            DatabaseUnavailableError: The database does not answer within its bound.
            TableError: The key of a row is NULL.
        """
        read: list[ColumnClause[Any]] = [column(name) for name in names]
        key: list[ColumnClause[Any]] = [column(name) for name in self.key]
        query = select(*key, *read).select_from(self._table()).order_by(*key).limit(ROWS_AT_ONCE)
        fields = tuple(names.values())
        while True:
            page = query if after is None else query.where(tuple_(*key) > tuple_(*map(_bound, after)))
            found, is_last = self._page(page, len(key), fields)
            for row in found:
                if None in row.key:
                    # SQLite allows a NULL key, and then there is no order in which the next page could be read.
                    msg = f"{self.name} has a row whose key ({', '.join(self.key)}) is empty. Next: give each row a key, or take that row out."
                    raise TableError(msg)
                yield row
            if is_last:
                return
            after = found[-1].key

    def close(self) -> None:
        """Close all connections."""
        self.database.close()

    def _page(self, page: Select[Any], keys: int, fields: tuple[str, ...]) -> tuple[list[TableRow], bool]:
        """Return the rows of a page, and whether it is the last page. The transaction ends before the rows are used."""
        found: list[TableRow] = []
        weight = 0
        with (
            self.database.reading() as connection,
            connection.execute(page, execution_options={"yield_per": FETCHED_ROWS}) as rows,
        ):
            for row in rows:
                cells = zip(fields, row[keys:], strict=True)
                value = ENCODER.encode({field: cell for field, cell in cells if cell is not None})
                found.append(TableRow(key=tuple(row[:keys]), value=value))
                weight += len(value)
                if weight >= BYTES_AT_ONCE:
                    return found, False
        return found, len(found) < ROWS_AT_ONCE

    def _table(self) -> Any:
        return table(self.named, schema=self.schema)


def open_source(url: str, name: str) -> TableSource:
    """
    Open a table for reading. The database is not changed.

    Args:
        url: `sqlite:///FILE`, `postgresql://USER:PASSWORD@HOST/NAME` or a path.
        name: The table's name, optionally with a schema before it: `news.articles`.

    Raises:
        DatabaseUrlError: The URL does not have one of these forms.
        DatabaseUnavailableError: The database cannot be reached or opened.
        TableError: There is no such table, or it has no primary key.
    """
    database = open_database(url, SOURCE, read_only=True)
    try:
        with database.reading() as connection:
            return _found(connection, database, name)
    except BaseException:
        database.close()
        raise


def _found(connection: Connection, database: Database, name: str) -> TableSource:
    schema, _, bare = name.rpartition(".")
    where = {"schema": schema or None}
    found, shown = inspect(connection), f"{database.name}#{name}"
    if not found.has_table(bare, **where):
        there = ", ".join(found.get_table_names(**where)) or "none"
        msg = f"there is no table {name} in {database.name} (tables: {there}). Next: name one of them."
        raise TableError(msg)
    key = tuple(found.get_pk_constraint(bare, **where)["constrained_columns"])
    if not key:
        msg = (
            f"{shown} has no primary key, and without one it cannot be read page by page. Next: give it one, or write its rows to a "
            f"file and give that."
        )
        raise TableError(msg)
    columns = tuple(str(one["name"]) for one in found.get_columns(bare, **where))
    return TableSource(name=shown, columns=columns, key=key, database=database, named=bare, schema=schema or None)


def _bound(value: object) -> Any:
    """Bind a value without a type: the database uses the column's type, even if the key was kept as text."""
    return bindparam(None, value, NullType(), unique=True)

"""Inserts that meet a row of the same key. SQLite and PostgreSQL have the same words for it, each in its own dialect."""

from collections.abc import Iterable, Sequence
from typing import Any

from sqlalchemy import Connection, Table
from sqlalchemy.dialects import postgresql, sqlite

Row = dict[str, Any]


def insert(connection: Connection, table: Table) -> Any:
    """An insert in the database's dialect."""
    return postgresql.insert(table) if connection.dialect.name == "postgresql" else sqlite.insert(table)


def insert_new(connection: Connection, table: Table, rows: Iterable[Row]) -> None:
    """Insert rows whose key is not there yet."""
    found = list(rows)
    if found:
        connection.execute(insert(connection, table).on_conflict_do_nothing(), found)


def upsert(connection: Connection, table: Table, rows: Sequence[Row], columns: Iterable[str] = ()) -> None:
    """Insert rows, or set these columns where the key is there; without columns, all that are not of the key."""
    if not rows:
        return
    statement = insert(connection, table)
    keys = [column.name for column in table.primary_key]
    names = tuple(columns) or [column.name for column in table.columns if column.name not in keys]
    values = {name: statement.excluded[name] for name in names}
    connection.execute(statement.on_conflict_do_update(index_elements=keys, set_=values), rows)

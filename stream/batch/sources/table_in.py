"""A table of SQLite or PostgreSQL as the input of a batch."""

from collections.abc import Iterator
from typing import Any

from stream.batch.rows.columns import Columns
from stream.batch.rows.row import Row
from stream.batch.sources.source import Chunk, in_chunks
from stream.tables.source import TableSource


class TableIn:
    """A table's rows in the order of its key. Implements `Source`; its size is in rows."""

    schema: Any = None

    def __init__(self, table: TableSource, columns: Columns) -> None:
        """
        Read no row yet.

        Raises:
            RowsError: A column that is needed is missing.
        """
        self._table = table
        self.columns = table.columns
        self._names = dict(zip(table.columns, columns.header(table.name, table.columns), strict=True))
        self.size = float(table.count() or 0)

    def chunks(self) -> Iterator[Chunk]:
        """As of `Source`. A row's line is its number in the order of the key, from 1."""
        done = 0
        rows = (Row(number, found.value) for number, found in enumerate(self._table.rows(self._names), start=1))
        for chunk in in_chunks(rows):
            done += len(chunk)
            yield Chunk(source=self._table.name, rows=chunk, done=done)

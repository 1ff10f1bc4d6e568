"""The rows that a batch reads, a few hundred at a time, from wherever they come."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol

from stream.batch.rows.row import Row, RowsError

# As many rows are decided at once, or fewer where they are large: this bounds the memory, whatever the input's size.
ROWS_AT_ONCE = 256
BYTES_AT_ONCE = 4 * 1024 * 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class Chunk:
    """
    Rows that are decided together.

    Attributes:
        source: The file or table that they are from.
        rows: The rows, one or more.
        done: How much of the input has been read behind them, in the unit of `Source.size`.
        table: The same rows as a `pyarrow.RecordBatch`, where they are from columns with types; else None.
        numbers: The place of each row among all rows of the input, from 0.
    """

    source: str
    rows: list[Row]
    done: float
    table: Any = None
    numbers: Sequence[int] = ()

    def numbered(self, first: int) -> "Chunk":
        """The chunk with the number of its first row."""
        return replace(self, numbers=range(first, first + len(self.rows)))

    def after(self, count: int) -> "Chunk":
        """The chunk without its first rows."""
        table = None if self.table is None else self.table.slice(count)
        return replace(self, rows=self.rows[count:], numbers=self.numbers[count:], table=table)

    def only(self, places: Sequence[int]) -> "Chunk":
        """The chunk with the rows of these places alone."""
        table = None if self.table is None else self.table.take(places)
        rows, numbers = [self.rows[place] for place in places], [self.numbers[place] for place in places]
        return replace(self, rows=rows, numbers=numbers, table=table)


class Source(Protocol):
    """
    An input that can be read again, and then has the same rows in the same order.

    Attributes:
        columns: The names of its columns, as the input has them; of JSON Lines the fields of the contract.
        schema: The types of its columns, a `pyarrow.Schema`; None where it has none.
        size: Its size in bytes or rows; 0 where it is not known.
    """

    columns: tuple[str, ...]
    schema: Any
    size: float

    def chunks(self) -> Iterator[Chunk]:
        """
        All its rows.

        Raises:
            RowsError: It cannot be read; raised behind the chunks of the rows before the fault.
        """
        ...


def in_chunks(rows: Iterable[Row]) -> Iterator[list[Row]]:
    """
    The rows in lists of a bounded number and of about a bounded number of bytes.

    Raises:
        RowsError: The rows end in one; it is raised behind the rows before it.
    """
    chunk: list[Row] = []
    weight = 0
    try:
        for row in rows:
            chunk.append(row)
            weight += len(row.value)
            if len(chunk) == ROWS_AT_ONCE or weight >= BYTES_AT_ONCE:
                yield chunk
                chunk, weight = [], 0
    except RowsError:
        if chunk:
            yield chunk
        raise
    if chunk:
        yield chunk

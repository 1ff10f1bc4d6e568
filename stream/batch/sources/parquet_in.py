"""Parquet files as the input of a batch: record batches of a few hundred rows, with the types of their columns."""

from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from stream.batch.arrow import events_of, output_schema
from stream.batch.rows.columns import Columns
from stream.batch.rows.row import Row, RowsError
from stream.batch.sources.source import BYTES_AT_ONCE, ROWS_AT_ONCE, Chunk


class ParquetFiles:
    """Parquet files with the same columns, one after the other. Implements `Source`; its size is in rows."""

    def __init__(self, files: list[Path], columns: Columns) -> None:
        """
        Read the files' footers.

        Raises:
            RowsError: A file is no Parquet, has other columns than the first, or columns that are no event's.
        """
        self._files, self._columns = files, columns
        self.size = 0.0
        schemas = []
        for file in files:
            with _reading(file), pq.ParquetFile(file) as content:
                schemas.append(content.schema_arrow.remove_metadata())
                self.size += content.metadata.num_rows
        for file, schema in zip(files, schemas, strict=True):
            if not schema.equals(schemas[0]):
                msg = f"{file} has other columns than {files[0]}, and one output has one set. Next: run a batch for each."
                raise RowsError(msg)
        self.schema: pa.Schema = schemas[0]
        self.columns = tuple(self.schema.names)
        output_schema(self.schema, columns)

    def chunks(self) -> Iterator[Chunk]:
        """As of `Source`. A row's line is its number in the file, from 1."""
        done = 0
        for file in self._files:
            line = 1
            with _reading(file), pq.ParquetFile(file) as content:
                # Few rows at a time where they are large: what the file says of them is compressed, so that each batch is looked at too.
                for read in content.iter_batches(batch_size=_rows_at_once(content.metadata)):
                    for batch in _in_bounds(read):
                        rows = [Row(number, value) for number, value in enumerate(events_of(batch, self._columns), start=line)]
                        line += len(rows)
                        done += len(rows)
                        if rows:
                            yield Chunk(source=str(file), rows=rows, done=done, table=batch.replace_schema_metadata(None))


def _rows_at_once(metadata: pq.FileMetaData) -> int:
    groups = [metadata.row_group(number) for number in range(metadata.num_row_groups)]
    largest = max((group.total_byte_size // max(group.num_rows, 1) for group in groups), default=0)
    return min(ROWS_AT_ONCE, max(1, BYTES_AT_ONCE // max(largest, 1)))


def _in_bounds(batch: pa.RecordBatch) -> Iterator[pa.RecordBatch]:
    """The batch, or its halves, until each has no more than the bytes that are decided at once."""
    if batch.num_rows < 2 or sum(map(_bytes, batch.columns)) <= BYTES_AT_ONCE:  # noqa: PLR2004 - a half has a row
        yield batch
        return
    half = batch.num_rows // 2
    yield from _in_bounds(batch.slice(0, half))
    yield from _in_bounds(batch.slice(half))


def _bytes(column: pa.Array) -> int:
    # The values of a dictionary are in memory once, however few rows there are.
    return int(column.indices.nbytes if isinstance(column, pa.DictionaryArray) else column.nbytes)


class _reading:  # noqa: N801 - a verb, as a context manager made by a function would have
    def __init__(self, file: Path) -> None:
        self._file = file

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: object) -> None:
        if isinstance(error, OSError | pa.ArrowException):
            msg = f"{self._file} cannot be read as Parquet ({error}). Next: give a Parquet file that exists and is whole."
            raise RowsError(msg) from error

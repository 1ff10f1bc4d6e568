"""Parquet files as the input of a batch: record batches of a few hundred rows, with the types of their columns."""

from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from stream.batch.arrow import events_of, output_schema
from stream.batch.rows.columns import Columns
from stream.batch.rows.row import Row, RowsError
from stream.batch.sources.source import ROWS_AT_ONCE, Chunk


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
                for batch in content.iter_batches(batch_size=ROWS_AT_ONCE):
                    rows = [Row(number, value) for number, value in enumerate(events_of(batch, self._columns), start=line)]
                    line += len(rows)
                    done += len(rows)
                    if rows:
                        yield Chunk(source=str(file), rows=rows, done=done, table=batch.replace_schema_metadata(None))


class _reading:  # noqa: N801 - a verb, as a context manager made by a function would have
    def __init__(self, file: Path) -> None:
        self._file = file

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: object) -> None:
        if isinstance(error, OSError | pa.ArrowException):
            msg = f"{self._file} cannot be read as Parquet ({error}). Next: give a Parquet file that exists and is whole."
            raise RowsError(msg) from error

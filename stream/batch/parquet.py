"""Parquet files as the input and the output of a batch."""

from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from tagstream.model_export.data.reader import Columns, InputRow, ParquetFile, RowsError
from tagstream.stream.arrow import answer_row, answers, events_of, output_schema
from tagstream.stream.batch.formats import cell_of
from tagstream.stream.batch.run import Chunk, DecidedRow, RowSource

COMPRESSION = "zstd"


class ParquetFiles:
    """Parquet files with the same columns, one after the other. Implements `RowSource`; its size is in rows."""

    as_in_topic = False

    def __init__(self, files: list[Path], columns: Columns) -> None:
        """
        Read the files' footers.

        Raises:
            RowsError: A file is not Parquet, its columns differ from the first file's, or its columns cannot be an event's.
        """
        self._files, self._columns = files, columns
        self.size = 0.0
        self.schema: pa.Schema = None
        for file in files:
            with ParquetFile(str(file), file) as content:
                self.size += content.rows
                if self.schema is not None and not content.schema.equals(self.schema):
                    msg = f"{file} has other columns than {files[0]}, and one output has one set. Next: run a batch for each."
                    raise RowsError(msg)
                self.schema = content.schema
        self.columns = tuple(self.schema.names)
        output_schema(self.schema, columns)

    def chunks(self) -> Iterator[Chunk]:
        """See `RowSource`. A row's line is its number in the file, from 1."""
        done = 0
        for file in self._files:
            line = 1
            with ParquetFile(str(file), file) as content:
                for batch in content.batches():
                    rows = [InputRow(number, value) for number, value in enumerate(events_of(batch, self._columns), start=line)]
                    line += len(rows)
                    done += len(rows)
                    yield Chunk(source=str(file), rows=rows, done=done, table=batch)


class Parquet:
    """
    Parquet: the input's columns with their types, then the answer's columns. Implements `Format`.

    Columns from CSV and JSON Lines have no types, so they are text here. Absent values are null.
    """

    suffix = ".parquet"

    def __init__(self, source: RowSource, columns: Columns) -> None:
        """
        Take the columns from the source.

        Raises:
            RowsError: The output would have two columns with the same name.
        """
        of_file = columns.of_file
        self._fields = [of_file.get(name, name) for name in source.columns]
        untyped = pa.schema([pa.field(name, pa.string()) for name in source.columns])
        self._kept: pa.Schema = source.schema or untyped
        self._schema = output_schema(self._kept, columns)

    def piece(self, chunk: Chunk, decided: list[DecidedRow]) -> pa.Table:
        """See `Format`."""
        rows = (answer_row(one.publication, line=one.row.line, row=one.number, at=one.at) for one in decided)
        ours = pa.Table.from_batches([answers(rows)])
        kept = self._columns(chunk, decided)
        return pa.Table.from_arrays([*kept.columns, *ours.columns], schema=self._schema)

    def write(self, part: Path, pieces: list[pa.Table]) -> None:
        """See `Format`."""
        pq.write_table(pa.concat_tables(pieces).combine_chunks(), part, compression=COMPRESSION)

    def join(self, parts: list[Path], out: Path) -> None:
        """See `Format`."""
        with pq.ParquetWriter(out, self._schema, compression=COMPRESSION) as whole:
            for part in parts:
                whole.write_table(pq.read_table(part))

    def _columns(self, chunk: Chunk, decided: list[DecidedRow]) -> pa.Table:
        if chunk.table is not None:
            # The type is given: without it, an empty list would be an array of type null, which `take` refuses.
            places = pa.array([one.place for one in decided], type=pa.int64())
            return pa.Table.from_batches([chunk.table], schema=self._kept).take(places)
        cells = [[cell_of(one, field) for one in decided] for field in self._fields]
        return pa.Table.from_arrays([pa.array(column, type=pa.string()) for column in cells], schema=self._kept)

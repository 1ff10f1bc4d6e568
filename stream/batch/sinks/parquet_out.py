"""Parquet as the form of a batch's output: the columns of `stream/batch/arrow.py`, a row group for each part."""

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from stream.batch.arrow import ANSWER_SCHEMA, answers, output_schema
from stream.batch.rows.columns import Columns
from stream.batch.sinks.formats import cell_of
from stream.batch.sinks.sink import Decided
from stream.batch.sources.source import Chunk, Source

COMPRESSION = "zstd"


class Parquet:
    """
    The input's columns with their types, then those of the answer. Implements `Format`.

    The columns of CSV and JSON Lines have no types, so they are text here, and what is absent is null.
    """

    suffix = ".parquet"

    def __init__(self, source: Source, columns: Columns) -> None:
        """
        Take the columns from the source.

        Raises:
            RowsError: The output would have two columns of one name.
        """
        of_file = columns.of_file
        self._fields = [of_file.get(name, name) for name in source.columns]
        untyped = pa.schema([pa.field(name, pa.string()) for name in source.columns])
        self._kept: pa.Schema = source.schema or untyped
        self._schema = output_schema(self._kept, columns)

    def piece(self, chunk: Chunk, decided: list[Decided]) -> pa.Table:
        """As of `Format`."""
        found = [answers([one.publication], first_row=chunk.numbers[one.place], tagged_at=one.decided_at) for one in decided]
        ours = pa.Table.from_batches(found, schema=ANSWER_SCHEMA)
        kept = self._columns(chunk, decided)
        return pa.Table.from_arrays([*kept.columns, *ours.columns], schema=self._schema)

    def write(self, part: Path, pieces: list[pa.Table]) -> None:
        """As of `Format`."""
        pq.write_table(pa.concat_tables(pieces).combine_chunks(), part, compression=COMPRESSION)

    def join(self, parts: list[Path], out: Path) -> None:
        """As of `Format`."""
        with pq.ParquetWriter(out, self._schema, compression=COMPRESSION) as whole:
            for part in parts:
                whole.write_table(pq.read_table(part))

    def _columns(self, chunk: Chunk, decided: list[Decided]) -> pa.Table:
        if chunk.table is not None:
            # With a type: without one, no place is an array of nulls, and `take` has none for them.
            places = pa.array([one.place for one in decided], type=pa.int64())
            return pa.Table.from_batches([chunk.table], schema=self._kept).take(places)
        cells = [[cell_of(one, field) for one in decided] for field in self._fields]
        return pa.Table.from_arrays([pa.array(column, type=pa.string()) for column in cells], schema=self._kept)

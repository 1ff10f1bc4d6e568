"""
Tables of SQLite and PostgreSQL as the input and the output of a batch.

The table of predictions itself shows which rows are already decided, so there is no other state.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tagstream.model_export.data.reader import Columns, InputRow, in_chunks
from tagstream.stream.batch import side_file
from tagstream.stream.batch.run import Chunk, DecidedRow, Outcomes, Rejected, Tally
from tagstream.stream.batch.side_file import rejected_line, writing
from tagstream.stream.contract.event import Limits, Record, decode
from tagstream.stream.contract.outcome import prediction_id
from tagstream.stream.contract.refusal import Refusal
from tagstream.stream.tables.predictions import Predictions
from tagstream.stream.tables.row import hash_of_text, row_of
from tagstream.stream.tables.source import TableSource


class TableIn:
    """A table's rows in the order of its key. Implements `RowSource`; its size is in rows."""

    schema: Any = None
    as_in_topic = False

    def __init__(self, table: TableSource, columns: Columns) -> None:
        """
        Read no row yet.

        Raises:
            RowsError: A required column is missing.
        """
        self._table = table
        self.columns = table.columns
        self._names = dict(zip(table.columns, columns.header(table.name, table.columns), strict=True))
        self.size = float(table.count() or 0)

    def chunks(self) -> Iterator[Chunk]:
        """See `RowSource`. A row's line is its number in the order of the key, from 1."""
        done = 0
        rows = (InputRow(number, found.value) for number, found in enumerate(self._table.rows(self._names), start=1))
        for chunk in in_chunks(rows):
            done += len(chunk)
            yield Chunk(source=self._table.name, rows=chunk, done=done)


class TableOut:
    """
    A `Sink` that writes a table of predictions, with one transaction per chunk.

    A row is not decided again if the table has this model's decision on its event with the same text. Of several rows with one id and
    different texts, the last row stays.

    Attributes:
        tally: The counts of the rows so far.
    """

    def __init__(self, predictions: Predictions, *, model: str, limits: Limits, rejected: Path, fresh: bool = False) -> None:
        """
        Write into an open table.

        Args:
            predictions: The table.
            model: The model that decides, in its epoch (`ModelRef.in_epoch`).
            limits: The pipeline's limits.
            rejected: The side file. Each run writes it anew, since each run reads all rows.
            fresh: Decide all rows again.

        Raises:
            BatchError: Another run writes this side file, or the file cannot be written.
        """
        self._predictions, self._model, self._limits, self._fresh = predictions, model, limits, fresh
        self._rejected = rejected
        self._lines = side_file.grow(rejected)
        self.tally = Tally()

    def missing(self, chunk: Chunk) -> Chunk | None:
        """See `Sink`."""
        texts: dict[int, tuple[str, str]] = {}
        # Of several rows with one id, the last row stays; of rows with one id and one text, the first. It is the same across chunks.
        holding: dict[str, int] = {}
        for place, row in enumerate(chunk.rows):
            event = decode(Record(key=None, value=row.value), self._limits)
            if row.fault is None and not isinstance(event, Refusal):
                name, text = prediction_id(event.id, self._model), hash_of_text(event.title, event.description)
                texts[place] = name, text
                if name not in holding or texts[holding[name]][1] != text:
                    holding[name] = place
        known = {} if self._fresh else self._predictions.known_texts(holding)
        needed = {place for name, place in holding.items() if known.get(name) != texts[place][1]}
        undecided = [place for place in range(len(chunk.rows)) if place not in texts or place in needed]
        self.tally.rows += len(chunk.rows) - len(undecided)
        self.tally.kept += len(chunk.rows) - len(undecided)
        return chunk.only(undecided) if undecided else None

    def put(self, chunk: Chunk, outcomes: Outcomes) -> None:
        """
        See `Sink`.

        Raises:
            DatabaseUnavailableError: The database does not answer within its bound.
        """
        rows = [row for found in outcomes if isinstance(found, DecidedRow) and (row := row_of(found.publication)) is not None]
        self._predictions.upsert(rows)
        self.tally.count(outcomes)
        with writing(side_file.unfinished(self._rejected)):
            self._lines.writelines(rejected_line(chunk.source, found) for found in outcomes if isinstance(found, Rejected))

    def finish(self) -> None:
        """See `Sink`."""
        with writing(self._rejected):
            if self.tally.rejected:
                side_file.put(self._rejected, self._lines)
            else:
                side_file.remove(self._rejected)
        self.let_go()

    def let_go(self) -> None:
        """Close the side file, even if the run has not finished."""
        self._lines.close()

"""
The run of a batch: the pipeline decides the rows of a source, and a sink writes them. The sink knows which rows it has.

A row that is already in the output is not decided again, so the same command continues a batch that was killed. Memory holds one chunk
of rows, and the rows that the sink collects for its next part. `classify` uses `decided` of this module.
"""

import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import count
from typing import Any, Protocol

from tagstream.model_export.data.reader import InputRow, in_chunks
from tagstream.monitoring.vocabulary import Stage
from tagstream.stream.contract.event import Record
from tagstream.stream.contract.outcome import NeedsReview, Publication, Tagged
from tagstream.stream.contract.refusal import Refusal
from tagstream.stream.decide.answer import answer_of, error_of
from tagstream.stream.decide.pipeline import Pipeline


class BatchError(Exception):
    """The batch cannot continue, but its written rows are kept: the message says why, and the next step."""

    exit_code = 1


class ChangedError(BatchError):
    """The output was begun by a different command: the message names the difference."""

    exit_code = 2


@dataclass(slots=True, kw_only=True)
class Tally:
    """
    The numbers of rows by result. Every row counts in `rows` and in exactly one other number.

    Attributes:
        rows: The number of rows of the input so far.
        tagged: The number of rows that the model is sure of.
        review: The number of rows that a person should see.
        rejected: The number of rows that are not events. They are in the side file.
        kept: The number of rows that need no decision in a table: the table has one, or a later row has the same id.
    """

    rows: int = 0
    tagged: int = 0
    review: int = 0
    rejected: int = 0
    kept: int = 0

    def count(self, outcomes: "Outcomes") -> None:
        """Count the outcomes of rows."""
        self.rows += len(outcomes)
        for found in outcomes:
            if isinstance(found, Rejected):
                self.rejected += 1
            elif isinstance(found.outcome, NeedsReview):
                self.review += 1
            else:
                self.tagged += 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Chunk:
    """
    Rows that are decided together.

    Attributes:
        source: The file or table of the rows.
        rows: The rows, one or more.
        done: How much of the input has been read up to the end of these rows, in the unit of `RowSource.size`.
        table: The same rows as a `pyarrow.RecordBatch` if the input's columns have types; else None.
        numbers: The number of each row among all rows of the input, from 0.
    """

    source: str
    rows: list[InputRow]
    done: float
    table: Any = None
    numbers: Sequence[int] = ()

    def numbered(self, first: int) -> "Chunk":
        """Return the chunk with numbers for its rows, from `first` on."""
        return replace(self, numbers=range(first, first + len(self.rows)))

    def after(self, count: int) -> "Chunk":
        """Return the chunk without its first `count` rows."""
        table = None if self.table is None else self.table.slice(count)
        return replace(self, rows=self.rows[count:], numbers=self.numbers[count:], table=table)

    def only(self, places: Sequence[int]) -> "Chunk":
        """Return the chunk with only the rows at these places, from 0."""
        table = None if self.table is None else self.table.take(places)
        rows, numbers = [self.rows[place] for place in places], [self.numbers[place] for place in places]
        return replace(self, rows=rows, numbers=numbers, table=table)


class RowSource(Protocol):
    """
    An input that can be read again, with the same rows in the same order.

    Attributes:
        columns: The names of the input's columns; for JSON Lines, the fields of the contract.
        schema: The types of the columns, a `pyarrow.Schema`; None without types.
        size: The size of the input in bytes or rows; 0 if it is not known.
        as_in_topic: True if rows have the shape of the events in the topic; False if they have the contract's field names.
    """

    as_in_topic: bool
    columns: tuple[str, ...]
    schema: Any
    size: float

    def chunks(self) -> Iterator[Chunk]:
        """
        Yield all rows.

        Raises:
            RowsError: The input cannot be read. It is raised after the chunks of the rows before the fault.
        """
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class DecidedRow:
    """
    One row with a decision.

    Attributes:
        row: The row.
        place: The row's place among the rows that were decided together, from 0.
        number: The row's number among all rows of the input, from 0.
        at: The time of the decision, Unix seconds, published as `tagged_at`.
        publication: The record that the stream would publish for the row.
        outcome: The decision.
    """

    row: InputRow
    place: int
    number: int
    at: float
    publication: Publication
    outcome: Tagged | NeedsReview

    @property
    def answer(self) -> bytes:
        """The line of `classify --json`, without its end."""
        return answer_of(self.publication, line=self.row.line, row=self.number)


@dataclass(frozen=True, slots=True, kw_only=True)
class Rejected:
    """
    One row that is not an event.

    Attributes:
        row: The row.
        number: The row's number among all rows of the input, from 0.
        publication: The dead letter that the stream would publish; None if the row has a fault of its own (`InputRow.fault`).
        refusal: Why the row is not an event; None if the row has a fault of its own.
    """

    row: InputRow
    number: int
    publication: Publication | None
    refusal: Refusal | None

    @property
    def error(self) -> dict[str, str]:
        """Stage, code and message of the error. They do not quote the row."""
        if self.refusal is not None:
            return error_of(self.refusal)
        if self.row.fault is not None:
            return {"stage": Stage.DECODE.value, "code": self.row.fault.code, "message": self.row.fault.message}
        msg = "a row that is rejected has a reason"
        raise ValueError(msg)

    @property
    def answer(self) -> bytes:
        """
        The line of `classify --json`, without its end.

        Raises:
            ValueError: The row has a fault of its own, so it has no outcome.
        """
        if self.publication is None:
            msg = f"line {self.row.line} is no row"
            raise ValueError(msg)
        return answer_of(self.publication, line=self.row.line, row=self.number)


Outcomes = list[DecidedRow | Rejected]
"""The outcome of each row, in order."""


class Sink(Protocol):
    """
    An output that knows which rows it has, even after a kill at any moment.

    Attributes:
        tally: The counts of all rows that the output has, or has taken.
    """

    tally: Tally

    def missing(self, chunk: Chunk) -> Chunk | None:
        """
        Return the rows of a chunk that the output does not have yet; None if it has all.

        Raises:
            ChangedError: The output has rows of another input.
        """
        ...

    def put(self, chunk: Chunk, outcomes: Outcomes) -> None:
        """
        Take the outcomes of the missing rows of a chunk.

        Args:
            chunk: The chunk that `missing` returned.
            outcomes: The outcomes of its rows.

        Raises:
            BatchError: The outcomes cannot be written.
        """
        ...

    def finish(self) -> None:
        """
        Complete the output after the last row.

        Raises:
            BatchError: The output cannot be written.
            ChangedError: The output has more rows than the input.
        """
        ...


def decide(
    pipeline: Pipeline, rows: Sequence[InputRow], numbers: Iterable[int], *, clock: Callable[[], float] = time.time
) -> Outcomes:
    """
    Decide rows together. Rows with a fault of their own are not given to the pipeline.

    Args:
        pipeline: The pipeline that decides.
        rows: The rows.
        numbers: The number of each row among all rows of the input, from 0.
        clock: Returns Unix seconds.

    Raises:
        Exception: A machine failure; see `Pipeline.decide`.
    """
    now = clock()
    publications = iter(
        pipeline.publications([Record(key=None, value=row.value) for row in rows if row.fault is None], clock=lambda: now)
    )
    found: Outcomes = []
    for place, (row, number) in enumerate(zip(rows, numbers, strict=False)):
        if row.fault is not None:
            found.append(Rejected(row=row, number=number, publication=None, refusal=None))
            continue
        publication = next(publications)
        outcome = publication.outcome
        if isinstance(outcome, Refusal):
            found.append(Rejected(row=row, number=number, publication=publication, refusal=outcome))
        else:
            found.append(DecidedRow(row=row, place=place, number=number, at=now, publication=publication, outcome=outcome))
    return found


def decided(pipeline: Pipeline, rows: Iterable[InputRow]) -> Iterator[DecidedRow | Rejected]:
    """
    Yield the outcome of each row, in order. The pipeline decides a few hundred rows at a time.

    Raises:
        RowsError: The rows end in an error. It is raised after the outcomes of the rows before it.
    """
    numbers = count()
    for chunk in in_chunks(rows):
        yield from decide(pipeline, chunk, numbers)


def run(pipeline: Pipeline, source: RowSource, sink: Sink, *, told: Callable[[Chunk, int], None] = lambda *_: None) -> Tally:
    """
    Decide all rows that the sink lacks, and complete the output.

    Args:
        pipeline: The pipeline that decides.
        source: The input.
        sink: The output.
        told: Called with each chunk that was read, and the number of its rows that were decided now.

    Returns:
        The counts of the whole output, earlier runs included.

    Raises:
        RowsError: The source cannot be read further. The rows before are decided, and kept for the next run.
        BatchError: The sink cannot be written, or another command began it.
        Exception: A machine failure; see `Pipeline.decide`.
    """
    first = 0
    for read in source.chunks():
        chunk = read.numbered(first)
        missing = sink.missing(chunk)
        if missing is not None:
            sink.put(missing, decide(pipeline, missing.rows, missing.numbers))
        first += len(chunk.rows)
        told(chunk, 0 if missing is None else len(missing.rows))
    sink.finish()
    return sink.tally

"""
The run of a batch: the rows of a source through the one pipeline into a sink that knows what it holds.

A row that is in the output already is not decided again, so a batch that was killed goes on by the same command. At no time are more
rows in memory than a chunk, and what the sink gathers for its next part. `classify` takes `decided` from here.
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
    """The batch cannot go on, and nothing that it has written is lost: the message says why and the next step."""

    exit_code = 1


class ChangedError(BatchError):
    """The command is another one than the one that it would go on with: the message names the difference."""

    exit_code = 2


@dataclass(slots=True, kw_only=True)
class Tally:
    """
    How many rows there were and what became of them; every row is counted in one of the others.

    Attributes:
        rows: Rows of the input so far.
        tagged: Rows that the model is sure of.
        review: Rows that a person should see.
        rejected: Rows that are no event; they are in the side file.
        kept: Rows for which a table needs no decision: it holds one, or a later row has the id.
    """

    rows: int = 0
    tagged: int = 0
    review: int = 0
    rejected: int = 0
    kept: int = 0

    def count(self, outcomes: "Outcomes") -> None:
        """Count rows."""
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
        source: The file or table that they are from.
        rows: The rows, one or more.
        done: How much of the input has been read behind them, in the unit of `RowSource.size`.
        table: The same rows as a `pyarrow.RecordBatch`, where they are from columns with types; else None.
        numbers: The place of each row among all rows of the input, from 0.
    """

    source: str
    rows: list[InputRow]
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


class RowSource(Protocol):
    """
    An input that can be read again, and then has the same rows in the same order.

    Attributes:
        columns: The names of its columns, as the input has them; of JSON Lines the fields of the contract.
        schema: The types of its columns, a `pyarrow.Schema`; None where it has none.
        size: Its size in bytes or rows; 0 where it is not known.
        as_in_topic: Whether its rows have the shape of the events in the topic; else their columns have the contract's names.
    """

    as_in_topic: bool
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


@dataclass(frozen=True, slots=True, kw_only=True)
class DecidedRow:
    """
    One row with a decision.

    Attributes:
        row: The row.
        place: Its place among the rows that were decided together, from 0.
        number: Its place among all rows of the input, from 0.
        at: Unix seconds, published as `tagged_at`.
        publication: The record that the stream would publish for it.
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
    One row that is no event.

    Attributes:
        row: The row.
        number: Its place among all rows of the input, from 0.
        publication: The dead letter that the stream would publish; None where the row's own fault says why it is no event.
        refusal: Why it is none; None where the row's own fault says it.
    """

    row: InputRow
    number: int
    publication: Publication | None
    refusal: Refusal | None

    @property
    def error(self) -> dict[str, str]:
        """Stage, code and message, none of which has text of the row."""
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
            ValueError: The row has a fault, so that there is no outcome to show.
        """
        if self.publication is None:
            msg = f"line {self.row.line} is no row"
            raise ValueError(msg)
        return answer_of(self.publication, line=self.row.line, row=self.number)


Outcomes = list[DecidedRow | Rejected]
"""One for each row, in order."""


class Sink(Protocol):
    """
    An output that knows what is in it, also after a kill at any moment.

    Attributes:
        tally: Counts of all rows that are in the output, or are taken for it.
    """

    tally: Tally

    def missing(self, chunk: Chunk) -> Chunk | None:
        """
        The rows of a chunk that are not in the output yet; None if all are.

        Raises:
            ChangedError: The output holds rows of another input.
        """
        ...

    def put(self, chunk: Chunk, outcomes: Outcomes) -> None:
        """
        Take the outcomes of all rows of a chunk that were missing.

        Args:
            chunk: As `missing` gave it.
            outcomes: Of its rows.

        Raises:
            BatchError: They cannot be written.
        """
        ...

    def finish(self) -> None:
        """
        Make the output whole. No row comes after it.

        Raises:
            BatchError: It cannot be written.
            ChangedError: The output holds more rows than there were.
        """
        ...


def decide(
    pipeline: Pipeline, rows: Sequence[InputRow], numbers: Iterable[int], *, clock: Callable[[], float] = time.time
) -> Outcomes:
    """
    Decide rows together; those with a fault are none for the pipeline.

    Args:
        pipeline: Decides.
        rows: The rows.
        numbers: The place of each among all rows of the input, from 0.
        clock: Gives Unix seconds.

    Raises:
        Exception: The machine is broken; see `Pipeline.decide`.
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
    Every row's outcome, in order, a few hundred rows at a time.

    Raises:
        RowsError: The rows end in an error; it is raised after the outcomes of the rows before it.
    """
    numbers = count()
    for chunk in in_chunks(rows):
        yield from decide(pipeline, chunk, numbers)


def run(pipeline: Pipeline, source: RowSource, sink: Sink, *, told: Callable[[Chunk, int], None] = lambda *_: None) -> Tally:
    """
    Decide on all rows that are missing in the sink, and make the output whole.

    Args:
        pipeline: Decides.
        source: The rows.
        sink: The output.
        told: Told of each chunk that was read, and how many of its rows were decided now.

    Returns:
        The counts of the whole output, earlier runs included.

    Raises:
        RowsError: The source cannot be read on; what was read before is decided, and kept for the next run.
        BatchError: The sink cannot be written, or is of another command.
        Exception: The machine is broken; see `Pipeline.decide`.
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

"""`tagstream classify`: the stream's own pipeline over a text or a file, without Kafka."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from stream.batch.rows.row import Row, RowsError
from stream.contract.decisions import Outcome
from stream.contract.record import Record
from stream.decide.answer import answer_of
from stream.decide.pipeline import Pipeline

ROWS_AT_ONCE = 256


@dataclass(frozen=True, slots=True, kw_only=True)
class Classified:
    """
    One row's outcome.

    Attributes:
        outcome: The decision, or the refusal, on the row.
        row: The row.
        line: Its JSON object, as `--json` prints it.
    """

    outcome: Outcome
    row: Row
    line: bytes


def classify(pipeline: Pipeline, rows: Iterable[Row]) -> Iterator[Classified]:
    """
    Every row's outcome, in order, a few hundred rows at a time.

    Raises:
        RowsError: The rows end in an error; it is raised after the outcomes of the rows before it.
    """
    for chunk in _chunks(enumerate(rows)):
        publications = pipeline.publications([Record(key=None, value=row.value) for _, row in chunk])
        for (number, row), publication in zip(chunk, publications, strict=True):
            line = answer_of(publication, line=row.line, row=number)
            yield Classified(outcome=publication.outcome, row=row, line=line)


def _chunks(rows: Iterator[tuple[int, Row]]) -> Iterator[list[tuple[int, Row]]]:
    chunk: list[tuple[int, Row]] = []
    try:
        for row in rows:
            chunk.append(row)
            if len(chunk) == ROWS_AT_ONCE:
                yield chunk
                chunk = []
    except RowsError:
        # The rows above the one that cannot be read are decided too.
        if chunk:
            yield chunk
        raise
    if chunk:
        yield chunk

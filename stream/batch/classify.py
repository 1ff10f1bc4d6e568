"""`tagstream classify`: the stream's own pipeline over a text or a file, without Kafka."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import msgspec

from monitoring.vocabulary import Destination
from stream.batch.row import Row, RowsError
from stream.contract.decisions import Outcome
from stream.contract.publication import Publication
from stream.contract.record import Record
from stream.contract.refusal import Refusal
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
            yield Classified(outcome=publication.outcome, row=row, line=_line(number, row, publication))


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


def _line(number: int, row: Row, publication: Publication) -> bytes:
    outcome, value = publication.outcome, publication.value or b""
    if isinstance(outcome, Refusal):
        return msgspec.json.encode(_rejection(number, row, outcome))
    return value[:-1] + b',"destination":"%b"}' % publication.destination.value.encode()


def _rejection(number: int, row: Row, refusal: Refusal) -> dict[str, object]:
    """The place of a row that has no fields to show: `line` as in an editor, `row` as the place among the output's lines, from 0."""
    return {
        "destination": Destination.DLQ.value,
        "line": row.line,
        "row": number,
        "error": {"stage": refusal.stage.value, "code": refusal.reason.value, "message": refusal.message},
    }

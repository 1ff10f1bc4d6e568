"""`tagstream classify`: the stream's own pipeline over a text or a file, without Kafka."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import msgspec

from monitoring.vocabulary import Destination
from stream.batch.look import EXPECTED
from stream.batch.row import Row, RowsError
from stream.contract.decisions import Outcome
from stream.contract.publication import Publication
from stream.contract.record import Record
from stream.contract.refusal import Refusal
from stream.decide.pipeline import Pipeline

ROWS_AT_ONCE = 256
FORM = f"{EXPECTED}; a plain text is an argument: tagstream classify 'TEXT'."


@dataclass(frozen=True, slots=True, kw_only=True)
class Classified:
    """
    One row's outcome.

    Attributes:
        outcome: The decision, or the refusal, on the row.
        number: The number of the row, from 0; a header and blank lines are not counted. The JSON object of a rejected row has it as `row`.
        begins: The line of the input on which the row begins, from 1.
        line: Its JSON object, as `--json` prints it.
    """

    outcome: Outcome
    number: int
    begins: int
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
            yield Classified(outcome=publication.outcome, number=number, begins=row.line, line=_line(number, publication))


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


def _line(number: int, publication: Publication) -> bytes:
    outcome, value = publication.outcome, publication.value or b""
    if isinstance(outcome, Refusal):
        return msgspec.json.encode(_rejection(number, outcome))
    return value[:-1] + b',"destination":"%b"}' % publication.destination.value.encode()


def _rejection(number: int, refusal: Refusal) -> dict[str, object]:
    return {
        "destination": Destination.DLQ.value,
        "row": number,
        "error": {"stage": refusal.stage.value, "code": refusal.reason.value, "message": refusal.message},
    }

"""`tagstream classify`: the stream's own pipeline over a text or a file, without Kafka."""

import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import msgspec

from monitoring.observer import NullObserver
from monitoring.vocabulary import Destination, Reason
from stream.batch.rows import Row, RowsError
from stream.contract.events import Rejected
from stream.contract.outcomes import NeedsReview, Outcome, publish_all
from stream.contract.record import Record
from stream.decide.decider import decider_of
from stream.decide.pipeline import Pipeline
from stream.settings.settings import Settings

ROWS_AT_ONCE = 256
# What lines of a plain text, or of a file of another kind, are refused for.
NOT_JSON_LINES = frozenset({Reason.INVALID_UTF8, Reason.INVALID_JSON, Reason.NOT_AN_OBJECT})
FORM = (
    "Expected are JSON Lines, an object with a `title` in each line, or CSV whose first line names a column `title`; a plain text "
    "is an argument: tagstream classify 'TEXT'."
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Classified:
    """
    One row's outcome.

    Attributes:
        outcome: What became of it.
        line: Its JSON object, as `--json` prints it.
        begins: The line of the input on which the row begins, from 1. The JSON object has `row`, from 0, which counts rows alone.
    """

    outcome: Outcome
    line: bytes
    begins: int


def load_pipeline(settings: Settings) -> Pipeline:
    """
    The pipeline of whoever decides by the settings, unobserved.

    Raises:
        BundleError: The bundle is refused.
    """
    decider = decider_of(settings)
    return Pipeline(
        classifier=decider.classifier,
        router=decider.router,
        observer=NullObserver(),
        limits=settings.limits,
    )


def classify(pipeline: Pipeline, rows: Iterable[Row]) -> Iterator[Classified]:
    """Every row's outcome, in order, a few hundred rows at a time; where the rows end in an error, so does this, behind them."""
    for chunk in _chunks(enumerate(rows)):
        now_ms = int(time.time() * 1000)
        events = [
            Record(topic="content", partition=0, offset=number, timestamp_ms=now_ms, key=None, value=row.value)
            for number, row in chunk
        ]
        outcomes = pipeline.decide(events)
        publications = publish_all(outcomes, now_ms, pipeline.limits)
        for (_, row), outcome, publication in zip(chunk, outcomes, publications, strict=True):
            left = publication.rejected or outcome
            yield Classified(outcome=left, line=_line(left, publication.value), begins=row.line)


def _chunks(rows: Iterator[tuple[int, Row]]) -> Iterator[list[tuple[int, Row]]]:
    chunk: list[tuple[int, Row]] = []
    try:
        for row in rows:
            chunk.append(row)
            if len(chunk) == ROWS_AT_ONCE:
                yield chunk
                chunk = []
    except RowsError:
        # The rows above the one that cannot be read are as good as those of the chunks before.
        if chunk:
            yield chunk
        raise
    if chunk:
        yield chunk


def _line(outcome: Outcome, value: bytes | None) -> bytes:
    if isinstance(outcome, Rejected):
        return msgspec.json.encode(_rejection(outcome))
    destination = Destination.REVIEW if isinstance(outcome, NeedsReview) else Destination.TAGGED
    return (value or b"")[:-1] + b',"destination":"%b"}' % destination.value.encode()


def _rejection(rejected: Rejected) -> dict[str, object]:
    return {
        "destination": Destination.DLQ.value,
        "row": rejected.raw.offset,
        "error": {"stage": rejected.stage.value, "code": rejected.reason.value, "message": rejected.message},
    }

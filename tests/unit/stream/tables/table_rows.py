"""Decisions as they lie on `tagged` and `review`, and their rows."""

from tagstream.stream.contract.answers import Answer, AnsweredEvent, read_answer, tagged_by_reviewer
from tagstream.stream.contract.event import Record
from tagstream.stream.contract.outcome import ModelRef
from tagstream.stream.tables.row import PredictionRow, row_of_record
from tests.answering import MODEL, NOW_MS, answer, decided, published, reviewed

SECOND_MS = 1000


def model(event_id: str = "e-1", text: str = "maybe deployment", *, at_ms: int = NOW_MS, by: ModelRef = MODEL) -> Record:
    """The record of a model's decision."""
    return decided(f'{{"id":"{event_id}","title":"{text}"}}'.encode(), now_ms=at_ms, by=by)


def person(
    of: Record, tag: str = "other", *, previous: Answer | None = None, at_ms: int = NOW_MS + 60_000
) -> tuple[Record, Answer]:
    """The record of a person's decision on `tagged`, and the answer that it follows from."""
    given = answer(of, tag, now_ms=at_ms, previous=previous)
    read = read_answer(reviewed(of, given))
    assert isinstance(read, AnsweredEvent), read
    key, value, headers, _ = tagged_by_reviewer(read, at_ms + SECOND_MS)
    return Record(topic="tagged", partition=1, offset=7, key=key, value=value, headers=headers), given


def row(record: Record) -> PredictionRow:
    """The row of a record."""
    return row_of_record(published(record))


def corrected(event_id: str, tags: list[str]) -> list[Record]:
    """A model's decision, and one person's after the other, each a correction of the one before."""
    records = [model(event_id)]
    previous = None
    for number, tag in enumerate(tags):
        record, previous = person(records[0], tag, previous=previous, at_ms=NOW_MS + 60_000 * (number + 1))
        records.append(record)
    return records

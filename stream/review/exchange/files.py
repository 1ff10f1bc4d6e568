"""Writes answers into files: records of `reviewed` as JSON Lines, rows to train on, or tasks for Label Studio."""

from collections.abc import Iterable, Iterator, Sequence
from enum import StrEnum
from pathlib import Path

import msgspec

from tagstream.stream.contract.answers import AnsweredEvent, answer_id, order
from tagstream.stream.contract.published import DecidedEvent, PublishedDecision
from tagstream.stream.review.exchange import label_studio
from tagstream.stream.review.exchange.lines import MissingFileError

# In JSON a line break is only white space between values, so a space can replace it.
ONE_LINE = bytes.maketrans(b"\r\n", b"  ")


class Form(StrEnum):
    """The form of a file: all answers as they are on the topic, the newest answers as labelled rows, or tasks for Label Studio."""

    LINES = "lines"
    ROWS = "rows"
    LABEL_STUDIO = "label-studio"


def distinct(answered: Iterable[AnsweredEvent]) -> list[AnsweredEvent]:
    """Return every answer once, in the order of time."""
    found = {answer_id(one.answer): one for one in answered}
    return sorted(found.values(), key=lambda one: (one.answer.decided_at, order(one.answer)))


def newest(answered: Iterable[AnsweredEvent]) -> dict[str, AnsweredEvent]:
    """Return the answers that hold, by event id."""
    found: dict[str, AnsweredEvent] = {}
    for one in answered:
        held = found.get(one.answer.event_id)
        if held is None or order(held.answer) < order(one.answer):
            found[one.answer.event_id] = one
    return found


def waiting(asked: Iterable[PublishedDecision], answered: Iterable[AnsweredEvent]) -> list[DecidedEvent]:
    """Return the decisions that wait for a person: for each event its newest decision."""
    done = {one.answer.event_id for one in answered}
    found = {one.event.id: one for one in asked if isinstance(one, DecidedEvent) and one.event.id not in done}
    return list(found.values())


def content(form: Form, answered: Sequence[AnsweredEvent], open_: Sequence[DecidedEvent] = ()) -> bytes:
    """
    Return the bytes of a file.

    Args:
        form: The form of the file.
        answered: The answers, in any order, repeated or not.
        open_: Decisions that wait for an answer. Only Label Studio's form has a place for these decisions.
    """
    match form:
        case Form.LINES:
            return b"".join((one.event.record.value or b"").translate(ONE_LINE) + b"\n" for one in distinct(answered))
        case Form.ROWS:
            return b"".join(msgspec.json.encode(row) + b"\n" for row in _rows(newest(answered).values()))
        case Form.LABEL_STUDIO:
            tasks = [label_studio.task_of_answer(one) for one in newest(answered).values()]
            return msgspec.json.encode(tasks + [label_studio.task_of_decision(one) for one in open_])


def write(path: Path, raw: bytes) -> None:
    """
    Write a file atomically: a concurrent reader sees either the old file or the new file.

    Raises:
        MissingFileError: The file cannot be written.
    """
    partial = path.with_name(path.name + ".partial")
    try:
        partial.write_bytes(raw)
        partial.replace(path)
    except OSError as error:
        msg = (
            f"{path} cannot be written: {error.strerror}. Next: give a file in a folder that exists and that you may write to."
        )
        raise MissingFileError(msg) from error


def _rows(answered: Iterable[AnsweredEvent]) -> Iterator[dict[str, str]]:
    for one in answered:
        event = one.event
        row = {"id": event.id, "title": event.title, "tag": one.answer.tag}
        yield row | {"description": event.description} if event.description is not None else row

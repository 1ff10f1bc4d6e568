"""Label Studio's JSON: tasks for events that are answered or wait for an answer, and answers from the annotations of tasks.

A task carries its source record in `data.tagstream`, because Label Studio leaves the fields of `data` unchanged. So an import needs
only the file and the answers that hold now.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Literal
from xml.sax.saxutils import quoteattr

import msgspec

from tagstream.model_export.bundle.text import compose
from tagstream.monitoring.record_time import AHEAD_MS
from tagstream.stream.contract.answers import (
    OFF_SUBJECT,
    Answer,
    AnsweredEvent,
    Said,
    answer_to,
    read_answer,
    write_answer,
)
from tagstream.stream.contract.event import ContentEvent, Record
from tagstream.stream.contract.outcome import timestamp
from tagstream.stream.contract.published import DecidedEvent, ModelDecision, PublishedDecision, read_decision
from tagstream.stream.contract.refusal import Refusal, UnwritableError

CHOICE, NOTE, TEXT = "tag", "note", "text"
OURS = "tagstream"


class Origin(msgspec.Struct, frozen=True, kw_only=True):
    """
    The source record of a task.

    Attributes:
        topic: `reviewed` if the event is answered, else `review` or `audit`.
        key: The record's key, which msgspec writes in base64; None if the record has no key.
        value: The record's value, a JSON object as text.
    """

    topic: Literal["reviewed", "review", "audit"]
    key: bytes | None
    value: str


class Annotation(msgspec.Struct, frozen=True, kw_only=True):
    """The fields of an annotation that are read. Label Studio writes more fields."""

    result: list[dict[str, Any]] = []
    was_cancelled: bool = False
    completed_by: Any = None
    created_at: str | None = None
    updated_at: str | None = None


class TaskPrediction(msgspec.Struct, frozen=True, kw_only=True):
    """The model's decision, which Label Studio shows as a suggestion."""

    model_version: str
    score: float
    result: list[dict[str, Any]]


class Task(msgspec.Struct, frozen=True, kw_only=True):
    """One task; the fields of `data` besides `tagstream` are for people."""

    data: dict[str, Any]
    annotations: list[Annotation] = []
    predictions: list[TaskPrediction] = []


@dataclass(frozen=True, slots=True, kw_only=True)
class Imported:
    """
    The answers that a file of tasks brings.

    Attributes:
        records: Records for the topic `reviewed`, each a key and a value.
        passed_over: The number of tasks that bring no record, by reason. A reason continues a sentence that begins "N tasks".
    """

    records: list[tuple[bytes, bytes]] = field(default_factory=list)
    passed_over: dict[str, int] = field(default_factory=dict)

    def pass_over(self, why: str) -> None:
        """Count one task that brings no record."""
        self.passed_over[why] = self.passed_over.get(why, 0) + 1


class TaskError(ValueError):
    """A task was not exported by tagstream. The message gives the reason, without the event's text."""


def config(labels: Sequence[str]) -> str:
    """Return the labelling configuration to paste into the settings of a Label Studio project."""
    choices = "".join(f"<Choice value={quoteattr(label)}/>" for label in (*labels, OFF_SUBJECT))
    return (
        f'<View><Text name="{TEXT}" value="$text"/>'
        f'<Choices name="{CHOICE}" toName="{TEXT}" choice="single" showInline="true" required="true">{choices}</Choices>'
        f'<TextArea name="{NOTE}" toName="{TEXT}" maxSubmissions="1"/></View>'
    )


def task_of_answer(answered: AnsweredEvent) -> dict[str, Any]:
    """Return the task of an answered event."""
    answer = answered.answer
    results = [_choice(answer.tag)]
    if answer.note is not None:
        results.append(_result(NOTE, "textarea", {"text": [answer.note]}))
    annotation = {"result": results, "was_cancelled": False, "ground_truth": False}
    return _task(answered.event, "reviewed", annotations=[annotation], predictions=[_prediction(answered.shown.decision)])


def task_of_decision(asked: DecidedEvent) -> dict[str, Any]:
    """Return the task of an event that waits for an answer. An audit is blind, so its task has no prediction."""
    if asked.door == "audit":
        return _task(asked.event, "audit", annotations=[], predictions=[])
    return _task(asked.event, "review", annotations=[], predictions=[_prediction(asked.decision)])


def read_tasks(raw: bytes) -> list[Task]:
    """
    Return the tasks in a file that Label Studio exported as JSON.

    Raises:
        TaskError: The file is not a JSON array of tasks.
    """
    try:
        return msgspec.json.decode(raw, type=list[Task])
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        msg = f"it is no JSON array of Label Studio's tasks: {error}"
        raise TaskError(msg) from error


def answers_in(tasks: Sequence[Task], *, newest: Mapping[str, AnsweredEvent], reviewer: str) -> Imported:
    """
    Return the records that follow from the newest annotation of each task.

    Args:
        tasks: From `read_tasks`.
        newest: The answers that hold, by event id. An annotation with the same answer brings no record; a different answer is a correction.
        reviewer: The person's name for annotations that name no person.

    Raises:
        TaskError: A task has no readable origin, or its choice is not a label of its decision. The message has the task's number.
    """
    found = Imported()
    for number, task in enumerate(tasks, start=1):
        try:
            _import(task, found, newest, reviewer)
        except TaskError as error:
            msg = f"task {number}: {error}"
            raise TaskError(msg) from error
    return found


def _import(task: Task, found: Imported, newest: Mapping[str, AnsweredEvent], reviewer: str) -> None:
    given = _newest_annotation(task)
    tag = None if given is None else _chosen(given, CHOICE, "choices")
    if given is None or tag is None:
        found.pass_over("without an annotation")
        return
    origin = _origin(task)
    record = Record(key=origin.key, value=origin.value.encode())
    shown, first = _read(record, reviewed=origin.topic == "reviewed")
    held = newest.get(shown.event.id)
    note = _chosen(given, NOTE, "text")
    last = held.answer if held is not None else first
    if last is not None and (last.tag, last.note) == (tag, note):
        found.pass_over("with the answer that holds already")
        return
    now_ms = _moment(given)
    if held is not None and timestamp(now_ms) < held.answer.decided_at:
        found.pass_over("older than the answer that holds")
        return
    # A correction is not blind: the person has seen the earlier answer.
    blind = origin.topic == "audit" and last is None
    said = Said(tag=tag, reviewer=_reviewer(given) or reviewer, blind=blind, asked_by="import", note=note)
    answer = answer_to(shown if held is None else held.shown, said, now_ms=now_ms, previous=last)
    try:
        value = write_answer(shown.event.fields, answer)
    except UnwritableError as error:
        raise TaskError(str(error)) from error
    found.records.append((record.key or shown.event.id.encode(), value))


def _read(record: Record, *, reviewed: bool) -> tuple[DecidedEvent, Answer | None]:
    """Return the decision that a task is about, and the answer that the task was exported with; None without an answer."""
    found = read_answer(record) if reviewed else read_decision(record)
    match found:
        case AnsweredEvent():
            return found.shown, found.answer
        case DecidedEvent():
            return found, None
        case Refusal():
            raise TaskError(found.message)
        case PublishedDecision():
            msg = "its record is a reviewer's decision, not the model's decision or an answer"
            raise TaskError(msg)


def _origin(task: Task) -> Origin:
    try:
        return msgspec.convert(task.data.get(OURS), type=Origin)
    except msgspec.ValidationError as error:
        msg = f"data.{OURS} is not as `tagstream review --export` wrote it: {error}"
        raise TaskError(msg) from error


def _newest_annotation(task: Task) -> Annotation | None:
    given = [one for one in task.annotations if not one.was_cancelled]
    return max(given, key=lambda one: one.updated_at or one.created_at or "", default=None)


def _chosen(given: Annotation, name: str, kind: str) -> str | None:
    """Return the first value of the control with this name. The value of a text area may be a list or a string."""
    for result in given.result:
        if result.get("from_name") == name:
            value = result.get("value", {}).get(kind)
            first = value[0] if isinstance(value, list) and value else value
            return first if isinstance(first, str) and first else None
    return None


def _reviewer(given: Annotation) -> str | None:
    by = given.completed_by
    if isinstance(by, dict):
        by = by.get("email") or by.get("id")
    return None if by is None else by if isinstance(by, str) else f"label-studio:{by}"


def _moment(given: Annotation) -> int:
    at = given.updated_at or given.created_at
    try:
        moment = datetime.fromisoformat(at) if at is not None else datetime.now(UTC)
    except ValueError as error:
        msg = "the annotation's time is not an ISO 8601 time"
        raise TaskError(msg) from error
    found_ms = int((moment if moment.tzinfo is not None else moment.replace(tzinfo=UTC)).timestamp() * 1000)
    if found_ms > datetime.now(UTC).timestamp() * 1000 + AHEAD_MS:
        msg = "the annotation's time is more than an hour ahead, and no worker takes an answer from the future"
        raise TaskError(msg)
    return found_ms


def _task(
    event: ContentEvent,
    topic: Literal["reviewed", "review", "audit"],
    *,
    annotations: list[dict[str, Any]],
    predictions: list[dict[str, Any]],
) -> dict[str, Any]:
    record = event.record
    origin = Origin(topic=topic, key=record.key, value=(record.value or b"").decode())
    data = {TEXT: compose(event.title, event.description), "event_id": event.id, OURS: msgspec.to_builtins(origin)}
    return {"data": data, "annotations": annotations, "predictions": predictions}


def _prediction(decision: ModelDecision) -> dict[str, Any]:
    return {"model_version": decision.model_name, "score": decision.confidence, "result": [_choice(decision.tag)]}


def _choice(tag: str) -> dict[str, Any]:
    return _result(CHOICE, "choices", {"choices": [tag]})


def _result(name: str, kind: str, value: dict[str, Any]) -> dict[str, Any]:
    return {"from_name": name, "to_name": TEXT, "type": kind, "value": value}

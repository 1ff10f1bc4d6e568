"""`tagstream lookup` on the terminal: one line for each record of the event, oldest first, then the decision that holds."""

from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import msgspec

from tagstream.stream.contract.answers import AnsweredEvent, answer_id, order
from tagstream.stream.contract.dead_letter import DeadLetter
from tagstream.stream.contract.event import Record
from tagstream.stream.contract.published import ModelDecision, PublishedDecision, read_decision
from tagstream.stream.contract.refusal import Refusal
from tagstream.stream.review.lookup import Looked
from tagstream.stream.terminal.console import show, show_json, visible

if TYPE_CHECKING:
    from tagstream.stream.tables.row import PredictionRow

DOOR = 10


def print_looked(looked: Looked, *, as_json: bool) -> None:
    """Print the records of an event. In JSON, print one object; its `holds` is null if there is no decision."""
    if as_json:
        show_json(_object(looked))
        return
    for _, line in sorted(_lines(looked)):
        show(visible(line, limit=len(line)))
    if looked.holds is not None:
        show(visible(f"{'holds':<{DOOR}}{_says(looked.holds)}", limit=1000))
    if looked.pending is not None:
        show(visible(f"{'pending':<{DOOR}}{looked.pending.answer.tag}: answered, and not on tagged yet", limit=1000))


def print_kept(event_id: str, rows: Sequence["PredictionRow"], epochs: Mapping[str, int] | None, *, as_json: bool) -> None:
    """
    Print the decisions of a table on one event; the last one holds. In JSON, print one object; its `holds` is null if there is no decision.

    Args:
        event_id: The event's id.
        rows: The rows of the table, in the order of their standing.
        epochs: The newest epoch of each bundle (`Predictions.epochs`); None if the table does not know them.
        as_json: Print JSON.
    """
    decisions = [_read(row) for row in rows]
    if as_json:
        objects = [
            {
                "door": one.door,
                **msgspec.to_builtins(one.decision),
                "epoch": row.epoch,
                "decided_at": _moment(row.decided_at),
                "stale": None if epochs is None else row.is_stale(epochs),
            }
            for one, row in zip(decisions, rows, strict=True)
        ]
        show_json({"event_id": event_id, "holds": objects[-1] if objects else None, "decisions": objects})
        return
    for decision in decisions:
        show(visible(f"{decision.door:<{DOOR}}{_says(decision)}", limit=1000))
    if decisions:
        show(visible(f"{'holds':<{DOOR}}{_says(decisions[-1])}", limit=1000))
    if epochs and rows and rows[-1].is_stale(epochs):
        show(f"{'stale':<{DOOR}}other bundles decide since epoch {max(epochs.values())}")


def _read(row: "PredictionRow") -> PublishedDecision:
    """
    Return the decision in a row.

    Raises:
        TableError: tagstream did not write the row's content.
    """
    found = read_decision(Record(key=None, value=row.answer.encode()))
    if isinstance(found, Refusal):
        from tagstream.stream.tables.schema import TableError

        msg = f"the row {row.prediction_id} holds no decision ({found.message}). Next: drop the table and fill it again."
        raise TableError(msg)
    return found


def _lines(looked: Looked) -> Iterator[tuple[str, str]]:
    """Yield each line with the time by which the lines are sorted."""
    for decision in looked.decisions.values():
        yield decision.decision.tagged_at, f"{decision.door:<{DOOR}}{_says(decision)}  {_place(decision.event.record)}"
    for answered in looked.answers.values():
        said = answered.answer
        note = f"  {said.note!r}" if said.note else ""
        how = f"version {said.version}, asked by {said.asked_by}{', blind' if said.blind else ''}"
        yield (
            said.decided_at,
            f"{'answer':<{DOOR}}{said.tag}  by {said.reviewer}, {how}  {said.decided_at}  {_place(answered.event.record)}{note}",
        )
    for letter in looked.letters:
        at = _moment(letter.timestamp_ms)
        yield at, f"{'dead':<{DOOR}}{letter.code}: {letter.message}  {at}  {letter.topic} {letter.place}"


def _says(decision: PublishedDecision) -> str:
    made = decision.decision
    if isinstance(made, ModelDecision):
        why = f", asked for {', '.join(made.reasons)}" if made.reasons else ""
        model = made.model
        epoch = "" if model.epoch is None else f", epoch {model.epoch}{'' if model.arm == 'champion' else f' ({model.arm})'}"
        who = f"the {made.decider}, {model.name} {model.version}{epoch}{why}"
    else:
        who = f"a reviewer, version {made.version}; the model said {made.model_tag}"
    return f"{made.tag}  {made.confidence:.4f}  by {who}  {made.tagged_at}"


def _object(looked: Looked) -> dict[str, Any]:
    holds, pending = looked.holds, looked.pending
    return {
        "event_id": looked.event_id,
        "holds": None if holds is None else _decision(holds),
        "pending": None if pending is None else answer_id(pending.answer),
        "decisions": [_decision(one) for one in sorted(looked.decisions.values(), key=lambda one: one.standing)],
        "answers": [_answer(one) for one in sorted(looked.answers.values(), key=lambda one: order(one.answer))],
        "dead_letters": [_letter(letter) for letter in looked.letters],
        "not_read_whole": list(looked.unread),
    }


def _decision(decision: PublishedDecision) -> dict[str, Any]:
    return {"door": decision.door, **_at(decision.event.record), **msgspec.to_builtins(decision.decision)}


def _answer(answered: AnsweredEvent) -> dict[str, Any]:
    return {"answer_id": answer_id(answered.answer), **_at(answered.event.record), **msgspec.to_builtins(answered.answer)}


def _letter(letter: DeadLetter) -> dict[str, Any]:
    return {
        "topic": letter.topic,
        "partition": letter.place.partition,
        "offset": letter.place.offset,
        "origin_topic": letter.origin_topic,
        "code": letter.code,
        "stage": letter.stage,
        "message": letter.message,
        "attempts": letter.attempts,
        "at": _moment(letter.timestamp_ms),
    }


def _at(record: Any) -> dict[str, Any]:
    return {"topic": record.topic, "partition": record.partition, "offset": record.offset}


def _place(record: Any) -> str:
    return f"{record.topic} {record.partition}/{record.offset}"


def _moment(milliseconds: int) -> str:
    return datetime.fromtimestamp(milliseconds / 1000, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")

"""Reuses decisions from the table: an event whose text was decided before gets the same decision without a run of the model."""

from collections.abc import Sequence
from dataclasses import dataclass

import msgspec

from tagstream.stream.contract.event import ContentEvent, Record
from tagstream.stream.contract.outcome import NeedsReview, Tagged
from tagstream.stream.contract.published import DecidedEvent, read_decision
from tagstream.stream.decide.pipeline import Decider
from tagstream.stream.tables.predictions import Predictions
from tagstream.stream.tables.row import PredictionRow, hash_of_text


@dataclass(frozen=True, slots=True, kw_only=True)
class Stored:
    """
    An outcome from a stored decision.

    Attributes:
        outcome: The outcome of the event.
        decided_at: When the stored decision was made, Unix milliseconds.
    """

    outcome: Tagged | NeedsReview
    decided_at: int


def decided_before(predictions: Predictions, events: Sequence[ContentEvent], decider: Decider) -> list[Stored | None]:
    """
    Return the outcome of each event from a stored decision on the same text; None for an event without a usable decision.

    Args:
        predictions: The table.
        events: Any number of events.
        decider: The pipeline's decider. A decision of another bundle, or under another threshold, is not used.
    """
    hashes = [hash_of_text(event.title, event.description) for event in events]
    found = predictions.by_texts(hashes, decider.model.identity)
    rows = [found.get(text_hash) for text_hash in hashes]
    return [None if row is None else decided_again(row, event, decider) for row, event in zip(rows, events, strict=True)]


def decided_again(row: PredictionRow, event: ContentEvent, decider: Decider) -> Stored | None:
    """
    Return a row's decision for another event with the same text.

    None if the decider could decide differently today (it has another bundle or threshold), or if a person decided.

    Args:
        row: A row whose text is the event's text.
        event: The event that gets the decision.
        decider: The present decider.
    """
    found = read_decision(Record(key=None, value=row.answer.encode()))
    if not isinstance(found, DecidedEvent):
        return None
    made = found.decision
    # The epochs need not be equal: the same bundle decides alike in every epoch. The decision then names the present epoch.
    if (
        made.model.identity != decider.model.identity
        or made.decider != decider.kind
        or made.threshold != decider.asked_below(made.tag)
    ):
        return None
    outcome = NeedsReview if made.reasons else Tagged
    decision = msgspec.structs.replace(made, model=decider.model).of_another(event.id)
    return Stored(outcome=outcome(event=event, decision=decision), decided_at=row.decided_at)

"""Answers from the table: an event whose text was decided before gets the same decision without a run of the model."""

from collections.abc import Sequence

import msgspec

from tagstream.stream.contract.event import ContentEvent, Record
from tagstream.stream.contract.outcome import NeedsReview, Tagged
from tagstream.stream.contract.published import DecidedEvent, read_decision
from tagstream.stream.decide.pipeline import Decider
from tagstream.stream.tables.predictions import Predictions
from tagstream.stream.tables.row import PredictionRow, hash_of_text


def decided_before(
    predictions: Predictions, events: Sequence[ContentEvent], decider: Decider
) -> list[Tagged | NeedsReview | None]:
    """
    The outcome of each event as the pipeline would make it, from decisions on the same text; None where there is none to take.

    Args:
        predictions: The table.
        events: In any number.
        decider: Of the pipeline; a decision of another bundle, or under another threshold, is not taken.
    """
    hashes = [hash_of_text(event.title, event.description) for event in events]
    found = predictions.by_texts(hashes, decider.model.identity)
    rows = [found.get(text_hash) for text_hash in hashes]
    return [None if row is None else decided_again(row, event, decider) for row, event in zip(rows, events, strict=True)]


def decided_again(row: PredictionRow, event: ContentEvent, decider: Decider) -> Tagged | NeedsReview | None:
    """
    The decision of a row, on another event with the same text.

    None where the decider would decide otherwise today: it has another bundle or threshold, or a person decided.

    Args:
        row: Of the table; its text is that of the event.
        event: Gets the decision.
        decider: In force.
    """
    found = read_decision(Record(key=None, value=row.answer.encode()))
    if not isinstance(found, DecidedEvent):
        return None
    made = found.decision
    # Whatever the epochs are: the same bundle decides alike in each, and the decision is of the one that is in force.
    if (
        made.model.identity != decider.model.identity
        or made.decider != decider.kind
        or made.threshold != decider.asked_below(made.tag)
    ):
        return None
    outcome = NeedsReview if made.reasons else Tagged
    return outcome(event=event, decision=msgspec.structs.replace(made, model=decider.model).of_another(event.id))

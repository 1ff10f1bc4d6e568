"""Answers from the table: an event whose text was decided before gets the same decision without a run of the model."""

from collections.abc import Sequence

from monitoring.vocabulary import ReviewReason, TextFlag
from stream.contract.decisions import Decision, NeedsReview, Tagged, prediction_id
from stream.contract.events import ContentEvent
from stream.contract.published import ModelDecision, PublishedDecision, read_decision
from stream.contract.record import Record
from stream.decide.decider import Decider
from stream.tables.predictions import Predictions
from stream.tables.row import PredictionRow, hash_of_text


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
    """
    found = read_decision(Record(key=None, value=row.answer.encode()))
    if not isinstance(found, PublishedDecision) or not isinstance(found.decision, ModelDecision):
        return None
    made = found.decision
    if made.model != decider.model or made.decider != decider.kind or made.threshold != decider.asked_below(made.tag):
        return None
    decision = Decision(
        tag=made.tag,
        tags=made.tags,
        confidence=made.confidence,
        probabilities=made.probabilities,
        prediction_id=prediction_id(event.id, made.model.identity),
        decider=made.decider,
        model=made.model,
        threshold=made.threshold,
        truncated=made.truncated,
    )
    if not made.reasons:
        return Tagged(event=event, decision=decision)
    return NeedsReview(
        event=event,
        decision=decision,
        reasons=tuple(ReviewReason(reason) for reason in made.reasons),
        inclusion_probability=1.0 if made.inclusion_probability is None else made.inclusion_probability,
        text_flags=tuple(TextFlag(flag) for flag in made.text_flags),
    )

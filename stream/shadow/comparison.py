"""Counts the decisions of two bundles on events of the stream. Pure: no broker, no file, no clock."""

import sys
from collections.abc import Callable

from tagstream.model_export.bundle.text import compose, is_described
from tagstream.model_export.compare.comparison import SOURCE, Comparison, DifferingRow, Door, RowDecision, figures_of
from tagstream.model_export.data.row import Row
from tagstream.model_export.measure.slices import TEXT_SLICES
from tagstream.stream.contract.event import ContentEvent
from tagstream.stream.contract.field_types import MAX_SOURCE_CHARACTERS
from tagstream.stream.contract.outcome import Decision, NeedsReview, Outcome, Tagged

# The fields that are not compared: ids and names differ between bundles, and the draw does not depend on the model. Probabilities are
# compared by label.
_APART = frozenset({"probabilities", "prediction_id", "decider", "model", "inclusion_probability"})


def add(
    counts: Comparison,
    event: ContentEvent,
    old: RowDecision,
    new: RowDecision,
    *,
    answer: Callable[[str], str | None] = lambda _: None,
    with_text: bool = False,
) -> DifferingRow | None:
    """
    Count an event on which both ends have decided.

    Args:
        counts: The counts, which are changed.
        event: The event.
        old: The older end's decision.
        new: The newer end's decision.
        answer: Returns the tag that a person gave to the event with this id. It is called only if tag or door differ.
        with_text: Put title and description into the row.

    Returns:
        The row of the event if tag or door differ, else None.
    """
    differs = old.differs_from(new)
    said = answer(event.id) if differs else None
    counts.add(old, new, slices_of(event), answer=said)
    if not differs:
        return None
    row = DifferingRow(
        id=event.id,
        topic=event.record.topic,
        partition=event.record.partition,
        offset=event.record.offset,
        old=_side(old),
        new=_side(new),
        answer=said,
        title=event.title if with_text else None,
        description=event.description if with_text else None,
    )
    counts.show(row)
    return row


def slices_of(event: ContentEvent) -> list[tuple[str, str]]:
    """Return the slices of an event, each as group and name: the kinds of its text, and its source if it has a source."""
    source = (event.source or "").strip()[:MAX_SOURCE_CHARACTERS]
    row = Row(
        text=compose(event.title, event.description),
        tag="",
        source=source,
        topic="",
        described=is_described(event.description),
    )
    return [(kind.group, kind.name) for kind in TEXT_SLICES if kind.holds(row)] + ([(SOURCE, source)] if source else [])


def decided(decision: Decision, destination: Door) -> RowDecision:
    """Return a decision in the form that is compared."""
    figures = figures_of(
        sorted(decision.probabilities.items()),
        *(getattr(decision, name) for name in Decision.__struct_fields__ if name not in _APART),
    )
    return RowDecision(
        # A million decisions have only a few distinct names.
        tag=sys.intern(decision.tag),
        confidence=decision.confidence,
        destination=destination,
        digest=sys.intern(decision.model.digest),
        figures=figures,
    )


def decided_of(outcome: Outcome) -> RowDecision | None:
    """Return the decision of an outcome; None for a dead letter."""
    match outcome:
        case Tagged():
            return decided(outcome.decision, "tagged")
        case NeedsReview():
            return decided(outcome.decision, "review")
        case _:
            return None


def _side(found: RowDecision) -> dict[str, str | float]:
    return {
        "tag": found.tag,
        "confidence": found.confidence,
        "destination": found.destination,
        "digest": found.digest,
    }

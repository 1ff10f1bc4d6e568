"""Decisions on events of the stream, as a comparison of two bundles counts them. Pure: no broker, no file, no clock."""

import sys
from collections.abc import Callable

from tagstream.model_export.bundle.text import compose, is_described
from tagstream.model_export.compare.comparison import SOURCE, Comparison, DifferingRow, Door, RowDecision, figures_of
from tagstream.model_export.data.row import Row
from tagstream.model_export.measure.slices import TEXT_SLICES
from tagstream.stream.contract.event import ContentEvent
from tagstream.stream.contract.field_types import MAX_SOURCE_CHARACTERS
from tagstream.stream.contract.outcome import Decision, NeedsReview, Outcome, Tagged

# Other bundles have other ids and names, and the draw says nothing of the model. Probabilities are compared by label.
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
        counts: Changed here.
        event: The event.
        old: Of the older end.
        new: Of the newer end.
        answer: The tag that a person gave to an event of this id; asked where tag or door differ.
        with_text: Put title and description into the row.

    Returns:
        The row, where tag or door differ.
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
    """The slices of an event, each by its group and its name: the kinds of its text, and its source if it has one."""
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
    """A decision as it is compared."""
    figures = figures_of(
        sorted(decision.probabilities.items()),
        *(getattr(decision, name) for name in Decision.__struct_fields__ if name not in _APART),
    )
    return RowDecision(
        # A few names in a million decisions.
        tag=sys.intern(decision.tag),
        confidence=decision.confidence,
        destination=destination,
        digest=sys.intern(decision.model.digest),
        figures=figures,
    )


def decided_of(outcome: Outcome) -> RowDecision | None:
    """The decision of an outcome; None for a dead letter."""
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

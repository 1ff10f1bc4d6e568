"""What viewers of web pages say about decisions: figures that stand beside live quality and never enter its intervals."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from tagstream.monitoring.quality.words import QualityTable

TITLE = "Viewers asked"
WHY_APART = (
    "A drawn share of the decisions was asked about, but who answers is not drawn. So these figures are no estimate of how many decisions "
    "are right, and they enter no other figure here."
)


@dataclass(frozen=True, slots=True, kw_only=True)
class ViewersAnswers:
    """
    The viewers' answers on the decisions of one model.

    Attributes:
        model: Name and version of the bundle.
        asked: The number of decisions whose record has a token.
        answered: Of these, the number with an answer.
        votes: The number of viewers who answered, over all these decisions.
        right: Of these, the number who said that the tag is right.
    """

    model: str
    asked: int
    answered: int
    votes: int
    right: int

    @property
    def response(self) -> float:
        """The share of the asked decisions that have an answer, 0 to 1."""
        return self.answered / self.asked

    @property
    def said_right(self) -> float | None:
        """The share of the votes that say right, 0 to 1; None without a vote."""
        return self.right / self.votes if self.votes else None


def tables(found: Sequence[ViewersAnswers]) -> list[QualityTable]:
    """
    Return the table of the answers by model; no table if nobody was asked.

    >>> tables([ViewersAnswers(model="m 1", asked=200, answered=50, votes=80, right=60)])[0].rows
    (('m 1', '200', '50 (25.0 %)', '80', '75.0 %'),)
    """
    if not found:
        return []
    rows = tuple(
        (
            one.model,
            f"{one.asked:,}",
            f"{one.answered:,} ({100 * one.response:.1f} %)",
            f"{one.votes:,}",
            "-" if one.said_right is None else f"{100 * one.said_right:.1f} %",
        )
        for one in found
    )
    head = ("model", "asked about", "answered", "votes", "said right")
    return [QualityTable(title=TITLE, head=head, rows=rows, note=WHY_APART)]


def as_json(found: Sequence[ViewersAnswers]) -> list[dict[str, Any]]:
    """Return the figures by model, with the shares from 0 to 1."""
    return [asdict(one) | {"response": one.response, "said_right": one.said_right} for one in found]

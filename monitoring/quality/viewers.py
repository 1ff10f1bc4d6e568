"""What viewers of web pages say about decisions: figures that stand beside live quality and never enter its intervals."""

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from tagstream.monitoring.quality.feedback import ViewersAnswers
from tagstream.monitoring.quality.words import UNKNOWN, QualityTable

TITLE = "Viewers asked"
WHY_APART = (
    "A drawn share of the decisions was asked about, but who answers is not drawn. So these figures are no estimate of how many decisions "
    "are right, and they enter no other figure here."
)


def tables(found: Mapping[str, ViewersAnswers]) -> list[QualityTable]:
    """
    Return the table of the answers by model; no table if nobody was asked.

    >>> tables({"m 1": ViewersAnswers(asked=200, answered=50, votes=80, right=60)})[0].rows
    (('m 1', '200', '50 (25.0 %)', '80', '75.0 %'),)
    """
    if not found:
        return []
    rows = tuple(
        (model, f"{one.asked:,}", f"{one.answered:,} ({_percent(one.response)})", f"{one.votes:,}", _percent(one.said_right))
        for model, one in found.items()
    )
    head = ("model", "asked about", "answered", "votes", "said right")
    return [QualityTable(title=TITLE, head=head, rows=rows, note=WHY_APART)]


def as_json(found: Mapping[str, ViewersAnswers]) -> list[dict[str, Any]]:
    """Return the figures by model, with the shares from 0 to 1."""
    return [
        {"model": model, **asdict(one), "response": one.response, "said_right": one.said_right} for model, one in found.items()
    ]


def _percent(share: float | None) -> str:
    return UNKNOWN if share is None else f"{100 * share:.1f} %"

"""A paired test of two models on the same rows: McNemar's exact test, and the difference of F1 with its interval.

Separate intervals of two models can overlap although one is clearly better, because both depend on the same draw of
rows. A paired test removes that: it counts only the rows that one model alone has right.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass

import numpy as np
from scipy.stats import binomtest

from tagstream.model_export.bundle.model import Prediction
from tagstream.model_export.calibrate.intervals import DECIMALS, Floats, Interval, Ints, bootstrap, weighted_f1

# A smaller p-value is called a difference.
SIGNIFICANT = 0.05


@dataclass(frozen=True, slots=True, kw_only=True)
class Paired:
    """
    One model against another.

    Attributes:
        rows: The rows that both were asked.
        only_ours: Rows that our model alone has right.
        only_theirs: Rows that the other alone has right.
        p_value: McNemar's exact test, two-sided: how often a fair coin would split those rows at least so unevenly.
        difference: Our weighted F1 less theirs.
        interval: Its 95 % bootstrap interval; both are measured on the same redrawn rows.
    """

    rows: int
    only_ours: int
    only_theirs: int
    p_value: float
    difference: float
    interval: Interval

    def as_json(self) -> dict[str, object]:
        """The record as plain values."""
        return asdict(self)


def compare(ours: Sequence[Prediction], theirs: Sequence[Prediction], tags: Sequence[str], *, labels: Sequence[str]) -> Paired:
    """
    Test two models against each other.

    Args:
        ours: One prediction a row.
        theirs: The other model's, of the same rows.
        tags: The right label of each row.
        labels: All labels.

    Raises:
        ValueError: There are no rows, or the three do not have one entry a row.
    """
    if not tags or not len(ours) == len(theirs) == len(tags):
        msg = f"{len(ours)} and {len(theirs)} predictions of {len(tags)} rows cannot be paired: give one of each a row"
        raise ValueError(msg)
    cells = np.zeros((len(labels),) * 3, dtype=np.int64)
    for tag, left, right in zip(tags, ours, theirs, strict=True):
        cells[labels.index(tag), labels.index(left.label), labels.index(right.label)] += 1
    only_ours, only_theirs = _discordant(cells)
    return Paired(
        rows=len(tags),
        only_ours=only_ours,
        only_theirs=only_theirs,
        p_value=mcnemar(only_ours, only_theirs),
        difference=round(float(_difference(cells)), DECIMALS),
        interval=bootstrap(cells, _difference),
    )


def mcnemar(only_ours: int, only_theirs: int) -> float:
    """
    McNemar's exact test on the rows that one model alone has right.

    >>> mcnemar(8, 1)
    0.039062
    >>> mcnemar(0, 0)
    1.0
    """
    apart = only_ours + only_theirs
    return round(float(binomtest(only_ours, apart).pvalue), DECIMALS) if apart else 1.0


def _discordant(cells: Ints) -> tuple[int, int]:
    ours = theirs = 0
    for label in range(len(cells)):
        both = int(cells[label, label, label])
        ours += int(cells[label, label].sum()) - both
        theirs += int(cells[label, :, label].sum()) - both
    return ours, theirs


def _difference(cells: Ints) -> Floats:
    """Ours less theirs, from counts by truth, ours, theirs [..., labels, labels, labels]."""
    found: Floats = weighted_f1(cells.sum(axis=-1)) - weighted_f1(cells.sum(axis=-2))
    return found

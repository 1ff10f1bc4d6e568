"""Paired tests of two models on the same rows: McNemar's exact test, and the difference in F1 with its interval.

The separate intervals of two models can overlap although one model is clearly better, because both depend on the same sample of rows. A
paired test removes this common variation: it uses only the rows on which exactly one model is right.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass

import numpy as np
from scipy.stats import binomtest

from tagstream.model_export.bundle.model import Prediction
from tagstream.model_export.calibrate.intervals import DECIMALS, Floats, Interval, Ints, bootstrap, weighted_f1

# A difference is significant if the p-value is smaller.
SIGNIFICANT = 0.05


@dataclass(frozen=True, slots=True, kw_only=True)
class Paired:
    """
    The paired comparison of our model with another model.

    Attributes:
        rows: The number of rows.
        only_ours: The number of rows on which only our model is right.
        only_theirs: The number of rows on which only the other model is right.
        p_value: The two-sided p-value of McNemar's exact test: the probability that a fair coin splits these rows at least as unevenly.
        difference: The weighted F1 of our model less the weighted F1 of the other model.
        interval: The 95 % bootstrap interval of `difference`. Both models are measured on the same resampled rows.
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
    Compare two models by paired tests.

    Args:
        ours: The predictions of our model, one per row.
        theirs: The predictions of the other model, one per row.
        tags: The right label of each row.
        labels: All labels.

    Raises:
        ValueError: There are no rows, or the lengths of `ours`, `theirs` and `tags` differ.
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
    Return the p-value of McNemar's exact test on the rows on which exactly one model is right.

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
    """Return our weighted F1 less theirs, from counts by true label, our label and their label, [..., labels, labels, labels]."""
    found: Floats = weighted_f1(cells.sum(axis=-1)) - weighted_f1(cells.sum(axis=-2))
    return found

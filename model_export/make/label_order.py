"""Detects labels of an imported classifier that are in another order than its scores. Only labelled rows show this, not the file."""

from collections.abc import Sequence

import numpy as np
from scipy.optimize import linear_sum_assignment
from scipy.stats import binomtest

from tagstream.model_export.calibrate.temperature import Floats, Ints

# The least gain of the other order in accuracy, and the largest probability of such a gain by chance: once in ten thousand imports.
LEAST_GAIN, MOST_CHANCE = 0.2, 1e-4
# Added to the counts of the present order, so that a tie keeps a label in its place.
STAYS = 1e-6


def better_order(logits: Floats, targets: Ints, labels: Sequence[str]) -> tuple[tuple[str, ...], float, float] | None:
    """
    Return an order of the labels with a much higher accuracy than the present order; None if there is no such order.

    The new order is chosen on every second row and judged on the other rows, so that it does not fit the rows by chance.

    Args:
        logits: The logits of the rows, [rows, labels].
        targets: The place of each row's label in the present order.
        labels: The labels in the present order.

    Returns:
        The new order, the accuracy of the present order, and the accuracy of the new order.

    >>> targets = np.arange(200) % 2
    >>> better_order(np.eye(2)[1 - targets], targets, ("bug", "wish"))
    (('wish', 'bug'), 0.0, 1.0)
    >>> better_order(np.eye(2)[targets], targets, ("bug", "wish")) is None
    True
    """
    said = logits.argmax(axis=1)
    counts = np.eye(len(labels)) * STAYS
    np.add.at(counts, (said[::2], targets[::2]), 1)
    _, order = linear_sum_assignment(counts, maximize=True)
    here, there = said[1::2] == targets[1::2], order[said[1::2]] == targets[1::2]
    gained, lost = int((there & ~here).sum()), int((here & ~there).sum())
    if gained <= lost or there.mean() - here.mean() < LEAST_GAIN:
        return None
    if binomtest(gained, gained + lost, alternative="greater").pvalue > MOST_CHANCE:
        return None
    return tuple(labels[place] for place in order), float(here.mean()), float(there.mean())

"""Labels of an imported classifier in another order than its scores: found from labelled rows, since no file can tell."""

from collections.abc import Sequence

import numpy as np
from scipy.optimize import linear_sum_assignment
from scipy.stats import binomtest

from tagstream.model_export.calibrate.temperature import Floats, Ints

# The other order is right so much more often, as a share of rows; by chance it is once in ten thousand imports.
LEAST_GAIN, MOST_CHANCE = 0.2, 1e-4
# A tie keeps a label where it is.
STAYS = 1e-6


def better_order(logits: Floats, targets: Ints, labels: Sequence[str]) -> tuple[tuple[str, ...], float, float] | None:
    """
    The order of the labels that makes a classifier much more often right than the one that it has; None: there is none.

    The order is chosen on every second row and judged on the others, so that it does not fit the rows by chance.

    Args:
        logits: Of the rows, [rows, labels].
        targets: The place of each row's label in the order that it has.
        labels: The labels in that order.

    Returns:
        The other order, and the shares of rows that are right by the order that it has and by the other.

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

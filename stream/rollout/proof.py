"""
Proofs about a challenger from answers on disagreements. They are valid at any moment and for any order of the answers.

**Only disagreements count.** If champion and challenger give the same tag, an answer favours neither. Let `p` be the share of events on
which the two disagree. Let `z` be the result of an answer on a disagreement: 1 if the challenger was right, -1 if the champion was
right, 0 if neither was. Then the challenger's accuracy is higher than the champion's by `p * mean(z)` of all events. `p` needs no
answers: every event of the shadow counts for it.

**Two bets.** The first bet is against the hypothesis "worse by the margin or more", `mean(z) <= -margin / p`; its wealth is the evidence
that the challenger is not worse. The second bet is against "not worse by more than the margin", `mean(z) >= -margin / p`; its wealth is
the evidence that the challenger is worse. If the hypothesis is true, the wealth reaches 1 / risk with a probability of at most `risk`,
however often one looks (`model_export/calibrate/martingale.py`). The weight of an answer is one over the probability with which its
disagreement was drawn. All weights are at most `largest`, which is fixed before the first answer, so that one bad answer of that weight
does not ruin a bet.

**The share `p` is known within bounds**, which hold at all times together. Each bet uses the bound that is less favourable to it, and
spends `RATE_PART` of its risk on the bounds.

**Unanswered questions.** In the first bet, unanswered questions beyond a share of `UNANSWERED` count as answers for the champion: people
may skip just the questions on which the champion is right. The evidence is then at most the evidence that
people's answers to these questions would give. So the risk stays the same, whichever questions people skip, and missing answers promote
nothing. The second bet does not count unanswered questions.

**Slips.** A person who names a wrong label with probability `s`, each of `labels - 1` labels alike, shrinks the mean of `z` by the factor
`1 - s * labels / (labels - 1)`. The margin of the first bet shrinks by the same factor. The second bet needs no correction: a smaller
difference is harder to prove.

**Anchoring.** A person who repeats the champion's tag with probability `a`, because the page showed it, moves the mean of `z` towards
-1. That is safe for the first bet. The margin `c` of the second bet becomes `(1 - a) * c + a`.

All functions work for one plan or for many plans at once: the leading axes are plans.
"""

import math

import numpy as np

from tagstream.model_export.calibrate.martingale import log_wealth_of, means_at_least
from tagstream.monitoring.quality.sample import Floats, Ints

RATE_PART = 0.1
# The largest margin of the first bet, on the scale of `mean(z)`. With few disagreements the challenger cannot be worse by the margin, and
# a bet needs a hypothesis that can be false.
MOST_MARGIN = 0.9
# The share of the questions of each weight that may stay unanswered. These are assumed to be like the answered questions.
UNANSWERED = 0.05
_RIGHT_OR_NOT = np.array([1.0, 0.0])


def least_share(hits: Ints, rows: Ints, *, risk: float) -> Floats:
    """
    Return a lower bound of a share. The probability that the bound is ever wrong is at most `risk`.

    Args:
        hits: The number of rows with the property, shape (...).
        rows: The number of all rows, shape (...).
        risk: The risk of the bound, between 0 and 1.

    >>> bool(0.04 < least_share(np.array([600]), np.array([10_000]), risk=0.005)[0] < 0.06)
    True
    """
    counts = np.stack([hits, rows - hits], axis=-1)
    return means_at_least(_RIGHT_OR_NOT, np.ones(2), counts, largest=1.0, risk=risk)


def most_share(hits: Ints, rows: Ints, *, risk: float) -> Floats:
    """
    Return the upper bound of a share. The arguments are as in `least_share`.

    >>> bool(0.06 < most_share(np.array([600]), np.array([10_000]), risk=0.005)[0] < 0.08)
    True
    """
    return 1.0 - least_share(rows - hits, rows, risk=risk)


def shrunk(slips: float, labels: int) -> float:
    """
    Return the factor by which slips shrink a difference.

    Args:
        slips: The share of answers with a wrong label.
        labels: The number of labels, 2 or more.

    >>> round(shrunk(0.05, 4), 4)
    0.9333
    """
    return 1.0 - slips * labels / (labels - 1)


def margin_of_promotion(margin: float, most: Floats, *, slips: float, labels: int) -> Floats:
    """
    Return the least `-mean(z)` that a challenger shows if it is worse by the margin; at most `MOST_MARGIN`.

    Args:
        margin: The margin, as a share of all events.
        most: The upper bound of the share of disagreements, shape (...).
        slips: The largest share of answers with a wrong label.
        labels: The number of labels.
    """
    with np.errstate(divide="ignore", invalid="ignore"):
        found = shrunk(slips, labels) * margin / most
    return np.where(found < MOST_MARGIN, found, MOST_MARGIN)


def margin_of_rollback(margin: float, least: Floats, *, anchoring: float) -> Floats:
    """
    Return the greatest `-mean(z)` that a challenger shows if it is not worse by more than the margin; infinity if any mean is possible.

    Args:
        margin: The margin, as a share of all events.
        least: The lower bound of the share of disagreements, shape (...).
        anchoring: The largest share of answers that repeat the champion's tag.
    """
    inside = np.where(least > margin, least, np.inf)
    return np.where(least > margin, (1.0 - anchoring) * (margin / inside) + anchoring, np.inf)


def hidden(asked: Ints, answered: Ints) -> Ints:
    """
    Return the number of unanswered questions that count as answers for the champion.

    Args:
        asked: The number of questions of one weight, shape (...).
        answered: The number of these questions that have an answer, shape (...).

    >>> hidden(np.array([100, 100, 10]), np.array([95, 69, 9])).tolist()
    [0, 26, 1]
    """
    found: Ints = np.maximum(asked - answered - np.floor(UNANSWERED * asked).astype(np.int64), 0)
    return found


def not_worse(z: Floats, weight: Floats, count: Ints, *, margin: Floats, largest: float) -> Floats:
    """
    Return the logarithm of the evidence that the mean of `z` is above `-margin`.

    Args:
        z: 1, 0 or -1 for each kind of answer, shape (kinds,).
        weight: The weight of each kind, one over its probability, shape (kinds,).
        count: The number of answers of each kind, shape (..., kinds).
        margin: The margin on the scale of `mean(z)`, less than 1, shape (...).
        largest: The largest possible weight.
    """
    return log_wealth_of((1.0 + z) / 2, weight, count, target=(1.0 - margin) / 2, largest=largest)


def worse(z: Floats, weight: Floats, count: Ints, *, margin: Floats, largest: float) -> Floats:
    """Return the logarithm of the evidence that the mean of `z` is below `-margin`; 0 if the margin is 1 or more. See `not_worse`."""
    can = margin < 1.0
    target = (1.0 + np.where(can, margin, 0.0)) / 2
    found: Floats = np.where(can, log_wealth_of((1.0 - z) / 2, weight, count, target=target, largest=largest), 0.0)
    return found


def more_than(hits: int, rows: int, share: float) -> float:
    """
    Return the logarithm of the evidence that a share is above `share`.

    Args:
        hits: The number of rows with the property.
        rows: The number of all rows.
        share: The share to compare with, above 0 and below 1.

    >>> more_than(3, 3, 0.5) < math.log(20) < more_than(9, 9, 0.5)
    True
    """
    counts = np.array([hits, rows - hits])
    return float(log_wealth_of(_RIGHT_OR_NOT, np.ones(2), counts, target=np.float64(share), largest=1.0))


def other_than(hits: int, rows: int, share: float) -> float:
    """Return the logarithm of the evidence that a share is not `share`: each side gets half of the stake. See `more_than`."""
    sides = more_than(hits, rows, share), more_than(rows - hits, rows, 1.0 - share)
    return float(np.logaddexp(*sides)) - math.log(2)


def risk_of_try(alpha: float, tries: int) -> float:
    """
    Return the risk of a false promotion in one try. The risks of all tries together are at most `alpha`, however many tries there are.

    Args:
        alpha: The risk of all tries against one champion.
        tries: The number of the try, 1 for the first.

    >>> risk_of_try(0.06, 1), risk_of_try(0.06, 2)
    (0.03, 0.01)
    """
    return alpha / (tries * (tries + 1))

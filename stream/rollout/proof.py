"""
What answers on disagreements prove of a challenger, at any moment and in any order.

**Only disagreements count.** Where champion and challenger give one tag, an answer says the same of both. So with a share `p` of events on which
they disagree, and `z` of an answer there (1: the challenger was right, -1: the champion, 0: neither), the challenger is right in `p * mean(z)`
more of all events. `p` needs no answer: every event of the shadow tells it.

**Two bets.** One gambler doubts "worse by the margin or more", `mean(z) <= -margin / p`, and his wealth proves that it is not. The other doubts
"not worse than by the margin", `mean(z) >= -margin / p`, and his proves that it is. If the doubted sentence is true, a wealth of 1 / risk comes with a
probability of at most `risk`, however often one looks (`model_export/calibrate/martingale.py`). An answer weighs one over the probability with
which its disagreement was drawn. The weights are bounded by `largest`, fixed before the first answer: one bad answer of that weight does not ruin the gambler.

**The share is known within bounds**, which hold at all times together. Each bet takes the end that is against it, and `RATE_PART` of its risk is for the bounds.

**Unanswered questions** count as answers for the champion, but for `UNANSWERED` of them: people may skip just those that the champion has right. The evidence is then
at most what it would be if all questions but these were answered, so it errs no more often, whatever people skip. That is for the first bet alone: answers that are
missing promote nothing.

**Slips.** A person who names a wrong label with probability `s`, each of `labels - 1` alike, shrinks the mean of `z` by `1 - s * labels / (labels - 1)`.
The margin of the first bet shrinks with it. The second needs no correction: a smaller difference is harder to prove.

**Anchoring.** A person who repeats the champion's tag with probability `a`, since the page showed it, moves the mean of `z` towards -1. That is safe for the first bet.
The margin `c` of the second becomes `(1 - a) * c + a`.

All functions work for one plan or for many at once: leading axes are plans.
"""

import math

import numpy as np

from tagstream.model_export.calibrate.martingale import log_wealth_of, means_at_least
from tagstream.monitoring.quality.sample import Floats, Ints

RATE_PART = 0.1
# A bet needs a sentence that may be false. Where so few events differ that the challenger could not be worse by the margin, it is doubted for this mean.
MOST_MARGIN = 0.9
# So many questions of each weight may be without an answer; what they hide is taken to be like the answers.
UNANSWERED = 0.05
_RIGHT_OR_NOT = np.array([1.0, 0.0])


def least_share(hits: Ints, rows: Ints, *, risk: float) -> Floats:
    """
    A lower bound of a share, which is wrong at some time with a probability of at most `risk`.

    Args:
        hits: Rows that have it, shape (...).
        rows: All rows.
        risk: Of the bound.

    >>> bool(0.04 < least_share(np.array([600]), np.array([10_000]), risk=0.005)[0] < 0.06)
    True
    """
    counts = np.stack([hits, rows - hits], axis=-1)
    return means_at_least(_RIGHT_OR_NOT, np.ones(2), counts, largest=1.0, risk=risk)


def most_share(hits: Ints, rows: Ints, *, risk: float) -> Floats:
    """
    The upper bound. Arguments are those of `least_share`.

    >>> bool(0.06 < most_share(np.array([600]), np.array([10_000]), risk=0.005)[0] < 0.08)
    True
    """
    return 1.0 - least_share(rows - hits, rows, risk=risk)


def shrunk(slips: float, labels: int) -> float:
    """
    What slips leave of a difference.

    Args:
        slips: The share of answers with a wrong label.
        labels: Their number, 2 or more.

    >>> round(shrunk(0.05, 4), 4)
    0.9333
    """
    return 1.0 - slips * labels / (labels - 1)


def margin_of_promotion(margin: float, most: Floats, *, slips: float, labels: int) -> Floats:
    """
    The mean of `z`, as a positive number, by which a challenger that is worse by the margin seems worse at least.

    Args:
        margin: Of all events.
        most: The upper bound of the share of disagreements, shape (...).
        slips: The share of answers with a wrong label, at most.
        labels: Their number.
    """
    with np.errstate(divide="ignore", invalid="ignore"):
        found = shrunk(slips, labels) * margin / most
    return np.where(found < MOST_MARGIN, found, MOST_MARGIN)


def margin_of_rollback(margin: float, least: Floats, *, anchoring: float) -> Floats:
    """
    The mean of `z`, as a positive number, by which a challenger that is no worse than by the margin seems worse at most; infinity where it may be anything.

    Args:
        margin: Of all events.
        least: The lower bound of the share of disagreements, shape (...).
        anchoring: The share of answers that repeat the champion's tag, at most.
    """
    inside = np.where(least > margin, least, np.inf)
    return np.where(least > margin, (1.0 - anchoring) * (margin / inside) + anchoring, np.inf)


def hidden(asked: Ints, answered: Ints) -> Ints:
    """
    How many unanswered questions count as answers for the champion.

    Args:
        asked: Questions of one weight, shape (...).
        answered: Of these, those with an answer.

    >>> hidden(np.array([100, 100, 10]), np.array([95, 69, 9])).tolist()
    [0, 26, 1]
    """
    found: Ints = np.maximum(asked - answered - np.floor(UNANSWERED * asked).astype(np.int64), 0)
    return found


def not_worse(z: Floats, weight: Floats, count: Ints, *, margin: Floats, largest: float) -> Floats:
    """
    The logarithm of the evidence that the mean of `z` is above `-margin`.

    Args:
        z: 1, 0 or -1 of each kind of answer, shape (kinds,).
        weight: One over its probability, shape (kinds,).
        count: How many answers are of each kind, shape (..., kinds).
        margin: Shape (...), under 1.
        largest: The largest weight that there can be.
    """
    return log_wealth_of((1.0 + z) / 2, weight, count, target=(1.0 - margin) / 2, largest=largest)


def worse(z: Floats, weight: Floats, count: Ints, *, margin: Floats, largest: float) -> Floats:
    """The logarithm of the evidence that the mean of `z` is below `-margin`; none where the margin is 1 or more. Arguments are those of `not_worse`."""
    can = margin < 1.0
    target = (1.0 + np.where(can, margin, 0.0)) / 2
    found: Floats = np.where(can, log_wealth_of((1.0 - z) / 2, weight, count, target=target, largest=largest), 0.0)
    return found


def more_than(hits: int, rows: int, share: float) -> float:
    """
    The logarithm of the evidence that a share is above the given one.

    Args:
        hits: Rows that have it.
        rows: All rows.
        share: Over 0 and under 1.

    >>> more_than(3, 3, 0.5) < math.log(20) < more_than(9, 9, 0.5)
    True
    """
    counts = np.array([hits, rows - hits])
    return float(log_wealth_of(_RIGHT_OR_NOT, np.ones(2), counts, target=np.float64(share), largest=1.0))


def other_than(hits: int, rows: int, share: float) -> float:
    """The logarithm of the evidence that a share is not the given one: half of the money bets on either side. Arguments are those of `more_than`."""
    sides = more_than(hits, rows, share), more_than(rows - hits, rows, 1.0 - share)
    return float(np.logaddexp(*sides)) - math.log(2)


def risk_of_try(alpha: float, tries: int) -> float:
    """
    The risk of a false promotion that one try of a line may have: all of them, however many there will be, have `alpha` together.

    Args:
        alpha: Of the line.
        tries: 1 for the first.

    >>> risk_of_try(0.06, 1), risk_of_try(0.06, 2)
    (0.03, 0.01)
    """
    return alpha / (tries * (tries + 1))

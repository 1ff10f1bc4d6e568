"""
What people's answers prove about a second opinion: two tests by betting, and an estimate.

**A certificate** is about one cell: the items with one label of the second's, with its agreement with the model, and with one band of its
score. While a cell has no certificate, people get all its items. A gambler bets on each item against the hypothesis "the second is right in at
most the promised share" (`model_export/calibrate/martingale.py`). The wealth reaches `1 / risk`: that is the certificate.

What it says, exactly: let `c_i` be the chance that the second is right on item `i`, given all that came before. With a probability of at
least `1 - risk`, for every `n` at which the wealth of the first `n` items is `1 / risk` or more, the mean of `c_1` to `c_n` is above the
promise. The chances may change from item to item: the logarithm of the wealth is concave in each chance, so that of a sequence with a mean at
the promise no wealth is expected to be more than 1. That later items are like these is an assumption, which the audits test.

**Unanswered items count as wrong.** So the wealth is never more than people's answers to them would give, whichever items people skip. Only
items after the last one of a beginning may be left out, for the bound holds for all `n` at once: the certificate takes the best `n`. An item
that waits for its answer so does no harm if it is among the newest.

**One promise for all.** If each settled cell is right in the promised share, so are all settled items together, whatever their mix. The risk
is divided by the number of cells, and by `risk_of_try` further among all tries: a new fingerprint is a new second, and begins without evidence.

**A withdrawal** is a bet the other way, on each audit of a settled item: against "right in at least the promised share". The gambler begins
anew whenever wealth is lost (a CUSUM of bets: Shin, Ramdas and Rinaldo 2023, "E-detectors"), so that a long good past hides no bad present. A
second that is right exactly as promised is withdrawn by chance once in `PATIENCE` audits or more rarely, and a better one almost never. Two such
tests run: for each cell, and for all cells of a second together, which sees a fall of the whole second some times sooner.

All functions work for one stream or for many at once: the leading axes are streams.
"""

import math

import numpy as np

from tagstream.model_export.calibrate.intervals import Interval, wilson
from tagstream.model_export.calibrate.martingale import BETS, gains_of, log_mean
from tagstream.monitoring.quality.sample import Bools, Floats, Ints

PATIENCE = 1_000.0


def risk_of_try(alpha: float, cells: int, second: Ints | int, tries: Ints | int) -> Floats:
    """
    Return the risk of a false certificate of one cell in one try. All risks together are at most `alpha`.

    The k-th row of tries, in which `second + tries - 1` is k, has `alpha / (k * (k + 1))`, as the tries of a rollout; its k tries share that.

    Args:
        alpha: The risk over all cells, all fingerprints and all tries.
        cells: The number of cells.
        second: The number of the fingerprint, 1 for the first that the stream has seen, shape (...).
        tries: The number of the cell's try with this fingerprint, 1 until the first withdrawal, shape (...).

    >>> risk_of_try(0.048, 2, 1, 1).item(), risk_of_try(0.048, 2, 1, 2).item(), risk_of_try(0.048, 2, 2, 1).item()
    (0.012, 0.002, 0.002)
    """
    row = np.asarray(second + tries - 1, dtype=np.float64)
    found: Floats = alpha / cells / (row**2 * (row + 1))
    return found


def begun(*shape: int) -> Floats:
    """Return the log wealth with which a watch begins, shape (*shape, bets)."""
    return np.zeros((*shape, len(BETS)))


def watched(logged: Floats, wrong: Floats, weight: Floats, *, promise: float, largest: float) -> Floats:
    """
    Return the log wealth of a watch after one more audit.

    Args:
        logged: The log wealth before, shape (..., bets).
        wrong: 1 if the audit says that the second was wrong, else 0, shape (...).
        weight: One over the probability with which the item was audited, shape (...).
        promise: The promised share, above 0 and below 1.
        largest: The largest weight that an audit can have.
    """
    found: Floats = np.maximum(logged, 0.0) + gains_of(wrong, weight, target=1.0 - promise, largest=largest)
    return found


def alarmed(logged: Floats) -> Bools:
    """Return whether the wealth of a watch withdraws the certificate, shape (...); `logged` as from `watched`."""
    found: Bools = log_mean(logged) >= math.log(PATIENCE)
    return found


def share_right(right: Floats, wrong: Floats, probability: Floats, unseen: int) -> Interval:
    """
    Return the interval of the share right of settled items that nobody has seen, with a level of 0.95 at one look.

    The answered audits stand for them. So the interval is an estimate; unlike a certificate it proves nothing.

    Args:
        right: The number of answered audits with which the second agrees, for each probability, shape (kinds,).
        wrong: The number of the others, shape (kinds,).
        probability: The probability with which items of the kind were audited, shape (kinds,).
        unseen: The number of items that the interval is about.

    >>> [round(bound, 3) for bound in share_right(np.array([97.0]), np.array([3.0]), np.array([0.05]), 1_900)]
    [0.914, 0.99]
    """
    answered = right + wrong
    mass = float((answered / probability).sum())
    if not mass or not unseen:
        return 0.0, 1.0
    share = float((right / probability).sum()) / mass
    audits = mass**2 / float((answered / probability**2).sum())
    # The spread of the audits about the truth, and of the unseen items about it.
    rows = 1.0 / (1.0 / audits + 1.0 / unseen)
    return wilson(share * rows, rows)

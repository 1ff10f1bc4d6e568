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
that waits for its answer so does no harm if it is among the newest. What was asked after that `n`, while answers were on their way,
does not undo the certificate; audits do.

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
from tagstream.model_export.calibrate.martingale import BETS, gains_of, log_mean, log_wealth_of
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


def evidence(right: Ints, rows: Ints, *, promise: float) -> Floats:
    """
    Return the log wealth of a certificate's bets, shape (...).

    Args:
        right: The number of items with which people agree, shape (...).
        rows: The number of all items, shape (...).
        promise: The promised share, above 0 and below 1.
    """
    counts = np.stack(np.broadcast_arrays(right, rows - right), axis=-1)
    return log_wealth_of(np.array([1.0, 0.0]), np.ones(2), counts, target=np.float64(promise), largest=1.0)


def least_right(*, promise: float, risk: float) -> int:
    """
    Return the number of right items below which nothing is certified, whatever the others are.

    >>> least_right(promise=0.9, risk=0.01)
    49
    """
    return math.ceil(-math.log(risk) / float(gains_of(np.ones(1), np.ones(1), target=promise, largest=1.0).max()))


def needed(rows: int, *, promise: float, risk: float) -> Ints:
    """
    Return how many of the first n items must be right to certify, for each n from 0 to `rows`; n + 1 where all of them are too few.

    >>> needed(100, promise=0.9, risk=0.01)[[50, 80, 100]]
    array([51, 80, 99])
    """
    first = np.arange(rows + 1)
    low, high = np.full(rows + 1, -1), first + 1
    while (high - low > 1).any():
        middle = (low + high) // 2
        certifies = evidence(middle, first, promise=promise) >= -math.log(risk)
        low, high = np.where(certifies, low, middle), np.where(certifies, middle, high)
    return high


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
    # The mean over the bets is at most the largest, and most are far below.
    found: Bools = np.asarray(logged.max(axis=-1) >= math.log(PATIENCE))
    if found.any():
        found[found] = log_mean(logged[found]) >= math.log(PATIENCE)
    return found


def share_right(right: Ints, wrong: Ints, unseen: Ints) -> Interval:
    """
    Return the interval of the share right of settled items that nobody has seen, with a level of 0.95 at one look.

    The answered audits stand for the unseen items of their kind. So the interval is an estimate; unlike a certificate it proves nothing.

    Args:
        right: The number of answered audits with which the second agrees, by kind, shape (kinds,). The items of a kind were audited
            with the same probability.
        wrong: The number of the others, shape (kinds,).
        unseen: The number of items that the interval is about, shape (kinds,).

    >>> [round(bound, 3) for bound in share_right(np.array([97]), np.array([3]), np.array([1_900]))]
    [0.913, 0.99]
    """
    audits, every = right + wrong, int(unseen.sum())
    if not unseen[audits > 0].any():
        return 0.0, 1.0
    # Nothing is known of a kind without an audit.
    unknown = int(unseen[audits == 0].sum()) / every
    right, audits, unseen = (counts[audits > 0] for counts in (right, audits, unseen))
    part = unseen / unseen.sum()
    share = float((part * right / audits).sum())
    # The spread of each kind's share; a right and a wrong audit more, so that no kind is certain.
    near = (right + 1) / (audits + 2)
    spread = float((part**2 * near * (1 - near) / audits).sum())
    mean = float((part * near).sum())
    rows = 1.0 / (spread / (mean * (1 - mean)) + 1.0 / float(unseen.sum()))
    low, high = wilson(share * rows, rows)
    return low * (1 - unknown), high * (1 - unknown) + unknown

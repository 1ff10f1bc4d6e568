"""One promise about all published decisions together, with thresholds that trade precision between the labels.

A path is a sequence of threshold vectors, from strict to loose. Each step tests the null hypothesis "the share right of the decisions
that this vector publishes is below the target", as in `certificate`. On the first path, all labels have the same threshold: if
confidences are probabilities, no other choice publishes more decisions at the same precision. On another path, a label may be stricter:
the doubt (1 - confidence) that it may have is the other labels' doubt times one of `FACTORS`. The factors alone determine a path. Each
path has a part of the level (`level_of`), and the first path has nine tenths. So all certificates of all paths hold simultaneously, and a
path may be chosen after all results are seen.

If the observed precision of a label's published rows is below the floor, the label becomes stricter, until its precision reaches the floor
or a person is always asked. The label's own walk certifies the floor if the rows prove it. This is a second statement with its own level.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.special import bdtr, xlogy

from tagstream.model_export.bundle.manifest import ALWAYS_ASK
from tagstream.model_export.calibrate import martingale
from tagstream.model_export.calibrate.certificate import Bools, down_to, first_rows, lower_bound, lowest_seen
from tagstream.model_export.calibrate.temperature import Floats, Ints

# The grid is fine, because the walk does not begin at its strictest step: the walk begins where the confidences predict the strongest
# proof, without looking at labels.
GRID = (0.999, *(place / 200 for place in range(199, -1, -1)))
# The doubt (1 - confidence) that a label may have, relative to the other labels' doubt. 0: a person is always asked.
FACTORS = (1.0, 0.5, 0.25, 0.0)
# PLAIN_PART: the part of the level for the path without stricter labels. STRONGEST_PART: the part of a path's level for the walk from the
# step with the strongest predicted proof. The rest is for a second walk from the strictest step with enough rows, in case the confidences
# are too high.
PLAIN_PART, STRONGEST_PART = 0.9, 0.9


@dataclass(frozen=True, slots=True, kw_only=True)
class DecidedRows:
    """
    Calibration rows with their predictions. All arrays have the same length.

    Attributes:
        said: The index of the predicted label.
        confidence: The published, rounded confidence of the predicted label.
        right: True if the prediction is right.
        weight: The expected frequency of the row's label divided by its frequency in the rows; all 1 if these are the same.
        every: The weights of all calibration rows, if these rows are a subset. The choice between the exact test and bets depends on all
            weights. A weight depends on the row's true label, so the weights of a subset could reveal which predictions are right, and
            the choice must not depend on that. None: these rows are all calibration rows.
    """

    said: Ints
    confidence: Floats
    right: Bools
    weight: Floats
    every: Floats | None = None

    @property
    def weighted(self) -> bool:
        """True if the weights of all calibration rows differ, even if the weights of this subset are equal."""
        every = self.weight if self.every is None else self.every
        return bool(len(every)) and float(np.ptp(every)) > 0.0

    @property
    def largest(self) -> float:
        """The largest weight among all calibration rows, not only this subset."""
        return float((self.weight if self.every is None else self.every).max(initial=1.0))

    def take(self, chosen: Bools | Ints) -> "DecidedRows":
        """Return a subset of the rows, in the given order."""
        return DecidedRows(
            said=self.said[chosen],
            confidence=self.confidence[chosen],
            right=self.right[chosen],
            weight=self.weight[chosen],
            every=self.weight if self.every is None else self.every,
        )

    def precision(self) -> float | None:
        """Return the weighted share right, 0 to 1. None without rows."""
        return float(np.average(self.right, weights=self.weight)) if len(self.right) else None

    def answers(self) -> martingale.WeightedAnswers:
        """Return the rows as answers for the bets of `martingale`."""
        return martingale.WeightedAnswers(
            right=self.right, weight=self.weight, count=np.ones(len(self.right), np.int64), largest=self.largest
        )

    def bound(self, risk: float) -> float:
        """Return the lower bound of the share right at the level 1 - `risk`: exact, or by bets for weighted rows."""
        if self.weighted:
            return martingale.share_at_least(self.answers(), risk=risk)
        return lower_bound(int(self.right.sum()), len(self.right), 1.0 - risk)


@dataclass(frozen=True, slots=True, kw_only=True)
class Joint:
    """
    A certified vector of thresholds.

    Attributes:
        confidence: The common threshold of the labels that are not stricter.
        thresholds: One threshold per label, in label order.
        published: The published share of the rows, by weight, 0 to 1.
        risk: The part of the level that this walk spends.
    """

    confidence: float
    thresholds: tuple[float, ...]
    published: float
    risk: float


def choose(decided: DecidedRows, labels: int, *, target: float, floor: float, risk: float) -> Joint | None:
    """
    Return the certified thresholds that publish the largest share. None if no thresholds can be certified.

    Each label's observed precision is at least the floor. No threshold is below `lowest_seen` of the rows; this limit does not use labels,
    so the tests stay valid.

    Args:
        decided: The calibration rows.
        labels: The number of labels.
        target: The share right of all published decisions to prove, 0 to 1.
        floor: The least observed share right of each label, 0 to 1.
        risk: The largest probability that the share right at the returned thresholds is below the target.
    """
    places = np.zeros(labels, dtype=np.int64)
    best: Joint | None = None
    grid = grid_of(decided)
    for _ in range(labels * (len(FACTORS) - 1) + 1):
        path = path_of(places, grid)
        entry = _entry(decided, path)
        spent = _walked(decided, entry, len(path), target=target, risk=risk * level_of(places))
        passed = np.flatnonzero(spent)
        short, published = _seen(decided, entry, path.shape, floor)
        # If no step is proved, look for the labels below the floor at the step where the walk began.
        end = int(passed[-1]) if len(passed) else _strongest(decided, entry, len(path), target)
        whole = passed[~short[passed].any(axis=1)]
        if len(whole) and (best is None or published[whole[-1]] > best.published):
            step = int(whole[-1])
            best = Joint(
                confidence=grid[step],
                thresholds=tuple(path[step].tolist()),
                published=float(published[step]),
                risk=float(spent[step]),
            )
        stricter = np.flatnonzero(short[end] & (places < len(FACTORS) - 1))
        if not len(stricter):
            break
        places[stricter] += 1
    return best


def grid_of(decided: DecidedRows) -> tuple[float, ...]:
    """Return `GRID`, cut off at the lowest confidence of the rows (`lowest_seen`), the strictest confidence first."""
    return down_to(lowest_seen(decided.confidence), GRID)


def path_of(places: Ints, confidences: Sequence[float] = GRID) -> Floats:
    """
    Return the thresholds of a path, shape (steps, labels).

    Args:
        places: The index into `FACTORS` of each label, shape (labels,).
        confidences: The common thresholds of the steps, the strictest first.
    """
    grid = np.asarray(confidences)
    found = np.empty((len(grid), len(places)))
    for label, factor in enumerate(np.asarray(FACTORS)[places].tolist()):
        confidences_of_label = 1.0 - (1.0 - grid) * factor
        # Round to the next stricter confidence of the grid: a label's own walk has tested each of these.
        nearest = np.searchsorted(-grid, -(confidences_of_label - 1e-9), side="right") - 1
        found[:, label] = grid[np.maximum(nearest, 0)] if factor else ALWAYS_ASK
    return found


def level_of(places: Ints) -> float:
    """
    Return the part of the level that a path has. The parts of all paths sum to at most 1.

    >>> level_of(np.array([0, 0])), round(level_of(np.array([1, 0])), 6)
    (0.9, 0.008333)
    """
    stricter = int((places > 0).sum())
    if not stricter:
        return PLAIN_PART
    paths = math.comb(len(places), stricter) * (len(FACTORS) - 1) ** stricter
    return (1.0 - PLAIN_PART) / float(paths * 2**stricter)


def walk(decided: DecidedRows, path: Floats, *, target: float, risk: float) -> Floats:
    """
    Return the part of the level that the proof of each step spends, shape (steps,). 0 if a step is not proved.

    Args:
        decided: The rows.
        path: The thresholds, shape (steps, labels). A label's threshold never rises from step to step.
        target: The share right to prove, 0 to 1.
        risk: The level of the walk.
    """
    return _walked(decided, _entry(decided, path), len(path), target=target, risk=risk)


def _walked(decided: DecidedRows, entry: Ints, steps: int, *, target: float, risk: float) -> Floats:
    order, ends = np.argsort(entry, kind="stable"), _ends(entry, steps)
    proof = proofs(decided.take(order), ends, target=target)
    spent = np.zeros(steps)
    early = (1.0 - STRONGEST_PART) * risk
    least = float(first_rows(np.asarray(len(decided.said)), target=target, risk=early))
    starts = (
        (_strongest(decided, entry, steps, target), STRONGEST_PART * risk),
        (int(np.searchsorted(ends, least)), early),
    )
    for start, level in starts:
        stop = start + int(np.append(proof[start:] >= -math.log(level), False).argmin())
        open_ = spent[start:stop] == 0
        spent[start:stop][open_] = level
    return spent


def proofs(entered: DecidedRows, ends: Ints, *, target: float) -> Floats:
    """
    Return the strength of the evidence, at each step, against the hypothesis "the share right is at most the target": -log(level).

    Rows of equal weight have an exact binomial test. Weighted rows have a test by bets (`martingale`). A weight depends only on the row's
    true label, so a bet is also fair if the number of rows of each label was fixed in advance.

    Args:
        entered: The rows, in the order in which the path publishes them.
        ends: The number of rows that each step publishes, shape (ends,).
        target: The share right of the null hypothesis, above 0 and below 1.

    Returns:
        The evidence at each step, shape (ends,).
    """
    if entered.weighted:
        return martingale.log_wealth(entered.answers(), target=target, places=ends)
    wrong = np.concatenate([[0], np.cumsum(~entered.right)])[ends]
    with np.errstate(divide="ignore"):
        found: Floats = np.where(ends > 0, -np.log(bdtr(wrong, np.maximum(ends, 1), 1.0 - target)), 0.0)
    return found


def budgeted(decided: DecidedRows, *, reviews: float, labels: int) -> tuple[float, ...]:
    """
    Return one threshold for all labels, at which at most the share `reviews` of the rows goes to people. Correctness is not used.

    The threshold is not below `lowest_seen` of the rows, so people get at least about 1 % of the rows.

    Args:
        decided: The rows.
        reviews: The share of events that people can review, 0 to 1.
        labels: The number of labels.
    """
    grid = np.asarray(grid_of(decided))
    mass = np.array([decided.weight[decided.confidence >= confidence].sum() for confidence in grid])
    enough = mass >= (1.0 - reviews) * decided.weight.sum() - 1e-9
    enough[-1] = True
    return (float(grid[int(enough.argmax())]),) * labels


def kept(decided: DecidedRows, thresholds: Sequence[float] | Floats) -> Bools:
    """Return True for each row that the thresholds publish."""
    found: Bools = decided.confidence >= np.asarray(thresholds)[decided.said]
    return found


def _entry(decided: DecidedRows, path: Floats) -> Ints:
    """Return the first step that publishes each row. For a row that no step publishes, return the number of steps."""
    found = np.full(len(decided.said), len(path), dtype=np.int64)
    for label in range(path.shape[1]):
        own = decided.said == label
        found[own] = np.searchsorted(-path[:, label], -decided.confidence[own], side="left")
    return found


def _ends(entry: Ints, steps: int) -> Ints:
    """Return the number of rows that each step publishes."""
    found: Ints = np.cumsum(np.bincount(entry, minlength=steps + 1)[:steps]).astype(np.int64)
    return found


def _strongest(decided: DecidedRows, entry: Ints, steps: int, target: float) -> int:
    """Return the step with the strongest proof under the assumption that confidences are probabilities. Labels are not used."""
    ends = _ends(entry, steps)
    sure = np.cumsum(np.bincount(entry, weights=decided.confidence, minlength=steps + 1)[:steps]) / np.maximum(ends, 1)
    sure = np.clip(sure, 0.0, 1.0)
    apart: npt.NDArray[np.float64] = xlogy(sure, sure / max(target, 1e-12)) + xlogy(
        1.0 - sure, (1.0 - sure) / max(1.0 - target, 1e-12)
    )
    return int(np.where(sure > target, ends * apart, 0.0).argmax())


def _seen(decided: DecidedRows, entry: Ints, shape: tuple[int, ...], floor: float) -> tuple[Bools, Floats]:
    """Return, at each step, the labels with an observed precision below the floor, [steps, labels], and the published share, [steps]."""
    steps, labels = shape
    cells = entry * labels + decided.said
    total, hits = (
        np.bincount(cells, weights=mass, minlength=(steps + 1) * labels).reshape(-1, labels)[:steps].cumsum(axis=0)
        for mass in (decided.weight, decided.weight * decided.right)
    )
    short: Bools = (total > 0) & (hits < round(floor, 6) * total - 1e-9)
    return short, total.sum(axis=1) / max(float(decided.weight.sum()), 1e-12)

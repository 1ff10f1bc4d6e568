"""One promise about all published decisions together, with thresholds that trade between the labels.

A path of threshold vectors is walked from strict to loose, and the hypothesis "of the decisions that the vector publishes, a
smaller share than the target is right" is tested at each step, as in `certificate`. All labels have the same confidence on the
first path: where confidences are probabilities, no other choice publishes more at a precision. A label may be stricter by a
fixed `FACTORS` of the doubt that the others may have, which gives another path. A path is fixed by its factors alone, so any may
be chosen after looking: each has a part of the level (`level_of`), nine tenths of it the first. All certificates of all paths
hold together.

A label whose published rows are seen below the floor is made stricter, until it is not, or a person is always asked about it.
The floor is certified by the label's own walk, where its rows prove it; that is a second statement, with a level of its own.
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

# Fine: the confidences are fixed before a label is looked at, and the walk's start is where they expect the strongest proof.
GRID = (0.999, *(place / 200 for place in range(199, -1, -1)))
# The doubt, one less the confidence, that a label may have as a part of the others'; 0: a person is always asked.
FACTORS = (1.0, 0.5, 0.25, 0.0)
# The part of the level for the path without stricter labels, and for the walk from the strongest place of a path. The rest of the
# latter begins at the strictest place with enough rows, for confidences that promise too much.
PLAIN_PART, STRONGEST_PART = 0.9, 0.9


@dataclass(frozen=True, slots=True, kw_only=True)
class DecidedRows:
    """
    Calibration rows with their predictions; the arrays have one length.

    Attributes:
        said: The index of the predicted label.
        confidence: Its published, rounded confidence.
        right: The row carries that label.
        weight: How often a row like this is expected, beside how often the rows have it; all 1 where these are as expected.
        every: The weights of all calibration rows, where these are some of them. A weight goes by the row's own label, so rows with
            one prediction weigh the same as soon as all are right: the test must be chosen before looking at what is right.
    """

    said: Ints
    confidence: Floats
    right: Bools
    weight: Floats
    every: Floats | None = None

    @property
    def weighted(self) -> bool:
        """Calibration rows count differently, though these may count alike."""
        every = self.weight if self.every is None else self.every
        return bool(len(every)) and float(np.ptp(every)) > 0.0

    @property
    def largest(self) -> float:
        """The largest weight of any calibration row, not of these alone."""
        return float((self.weight if self.every is None else self.every).max(initial=1.0))

    def take(self, chosen: Bools | Ints) -> "DecidedRows":
        """Some of the rows, in the order given."""
        return DecidedRows(
            said=self.said[chosen],
            confidence=self.confidence[chosen],
            right=self.right[chosen],
            weight=self.weight[chosen],
            every=self.weight if self.every is None else self.every,
        )

    def precision(self) -> float | None:
        """The share right, every row by its weight; None without rows."""
        return float(np.average(self.right, weights=self.weight)) if len(self.right) else None

    def answers(self) -> martingale.WeightedAnswers:
        """The rows as answers to bet on."""
        return martingale.WeightedAnswers(
            right=self.right, weight=self.weight, count=np.ones(len(self.right), np.int64), largest=self.largest
        )

    def bound(self, risk: float) -> float:
        """The lower bound of the share right that is too high with a probability of `risk`: exact, or by bets on weighted rows."""
        if self.weighted:
            return martingale.share_at_least(self.answers(), risk=risk)
        return lower_bound(int(self.right.sum()), len(self.right), 1.0 - risk)


@dataclass(frozen=True, slots=True, kw_only=True)
class Joint:
    """
    A certified vector of thresholds.

    Attributes:
        confidence: The confidence that labels without a stricter path share.
        thresholds: One a label, in their order.
        published: The share of the rows, by weight, that is published.
        risk: The part of the level that this walk spends.
    """

    confidence: float
    thresholds: tuple[float, ...]
    published: float
    risk: float


def choose(decided: DecidedRows, labels: int, *, target: float, floor: float, risk: float) -> Joint | None:
    """
    The certified thresholds that publish most, no label seen below the floor; None where nothing can be certified.

    No threshold lies below the confidences that the rows had (`lowest_seen`). It looks at no label, so the tests stay valid.

    Args:
        decided: The calibration rows.
        labels: The number of labels.
        target: The share right of all published decisions that is to be proved.
        floor: The share right below which no label may be seen.
        risk: The probability with which thresholds may be returned whose share right is below the target.
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
        # Where the walk does not begin, the labels that spoil it are looked for where it would have.
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
    """The confidences of `GRID` that these rows had, the strictest first."""
    return down_to(lowest_seen(decided.confidence), GRID)


def path_of(places: Ints, confidences: Sequence[float] = GRID) -> Floats:
    """The thresholds of every step and label, [steps, labels], where each label has the place of its factor."""
    grid = np.asarray(confidences)
    found = np.empty((len(grid), len(places)))
    for label, factor in enumerate(np.asarray(FACTORS)[places].tolist()):
        confidences_of_label = 1.0 - (1.0 - grid) * factor
        # The next stricter confidence of the grid, so that a label's own walk has looked at each.
        nearest = np.searchsorted(-grid, -(confidences_of_label - 1e-9), side="right") - 1
        found[:, label] = grid[np.maximum(nearest, 0)] if factor else ALWAYS_ASK
    return found


def level_of(places: Ints) -> float:
    """
    The part of the level that a path has; over all paths it is at most 1.

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
    The part of the level that the proof of each step spends, [steps]; 0 where a step is not proved.

    Args:
        decided: The rows.
        path: The thresholds of every step and label, [steps, labels]; no label's rise from step to step.
        target: The share right that is to be proved.
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
    How strongly the first rows, up to each end, speak against a share right of no more than the target: -log(level), [ends].

    Rows that count alike are tested exactly, by the binomial distribution. Weighted ones are bet on (`martingale`): a weight
    depends on the row's own label alone, so a bet is fair also where the number of rows of each label was fixed.

    Args:
        entered: The rows, in the order in which the path publishes them.
        ends: How many rows each step publishes, shape (ends,).
        target: The share right that is doubted, over 0 and under 1.
    """
    if entered.weighted:
        return martingale.log_wealth(entered.answers(), target=target, places=ends)
    wrong = np.concatenate([[0], np.cumsum(~entered.right)])[ends]
    with np.errstate(divide="ignore"):
        found: Floats = np.where(ends > 0, -np.log(bdtr(wrong, np.maximum(ends, 1), 1.0 - target)), 0.0)
    return found


def budgeted(decided: DecidedRows, *, reviews: float, labels: int) -> tuple[float, ...]:
    """
    One confidence for every label by which people see at most this share of the rows, chosen without looking at what is right.

    It is not below the confidences that the rows had (`lowest_seen`), so people see about a hundredth at least.

    Args:
        decided: The rows.
        reviews: The share of events that people can look at, 0 to 1.
        labels: The number of labels.
    """
    grid = np.asarray(grid_of(decided))
    mass = np.array([decided.weight[decided.confidence >= confidence].sum() for confidence in grid])
    enough = mass >= (1.0 - reviews) * decided.weight.sum() - 1e-9
    enough[-1] = True
    return (float(grid[int(enough.argmax())]),) * labels


def kept(decided: DecidedRows, thresholds: Sequence[float] | Floats) -> Bools:
    """Which rows the thresholds publish."""
    found: Bools = decided.confidence >= np.asarray(thresholds)[decided.said]
    return found


def _entry(decided: DecidedRows, path: Floats) -> Ints:
    """The step at which the path begins to publish each row; the number of steps for a row that it never publishes."""
    found = np.full(len(decided.said), len(path), dtype=np.int64)
    for label in range(path.shape[1]):
        own = decided.said == label
        found[own] = np.searchsorted(-path[:, label], -decided.confidence[own], side="left")
    return found


def _ends(entry: Ints, steps: int) -> Ints:
    """How many rows are published at each step."""
    found: Ints = np.cumsum(np.bincount(entry, minlength=steps + 1)[:steps]).astype(np.int64)
    return found


def _strongest(decided: DecidedRows, entry: Ints, steps: int, target: float) -> int:
    """The step at which the proof would be strongest if the confidences were true: it looks at no label."""
    ends = _ends(entry, steps)
    sure = np.cumsum(np.bincount(entry, weights=decided.confidence, minlength=steps + 1)[:steps]) / np.maximum(ends, 1)
    sure = np.clip(sure, 0.0, 1.0)
    apart: npt.NDArray[np.float64] = xlogy(sure, sure / max(target, 1e-12)) + xlogy(
        1.0 - sure, (1.0 - sure) / max(1.0 - target, 1e-12)
    )
    return int(np.where(sure > target, ends * apart, 0.0).argmax())


def _seen(decided: DecidedRows, entry: Ints, shape: tuple[int, ...], floor: float) -> tuple[Bools, Floats]:
    """Which labels are seen below the floor at each step, [steps, labels], and the share of the rows that is published, [steps]."""
    steps, labels = shape
    cells = entry * labels + decided.said
    total, hits = (
        np.bincount(cells, weights=mass, minlength=(steps + 1) * labels).reshape(-1, labels)[:steps].cumsum(axis=0)
        for mass in (decided.weight, decided.weight * decided.right)
    )
    short: Bools = (total > 0) & (hits < round(floor, 6) * total - 1e-9)
    return short, total.sum(axis=1) / max(float(decided.weight.sum()), 1e-12)

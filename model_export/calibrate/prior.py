"""
The shares of labels that a bundle expects, and their estimate for a stream.

A network learns how often its training rows have each label. `offsets` takes this out of its log probabilities and puts other
shares in (Saerens, Latinne and Decaestecker 2002); the temperature is fitted with them. The same paper's EM estimates the shares
of a stream from decisions alone, which works as far as the decisions tell the labels apart: `estimate` refuses where they do not.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from tagstream.model_export.bundle.promise.promise import Prior, PriorSource
from tagstream.model_export.calibrate.errors import CalibrationError
from tagstream.model_export.calibrate.temperature import Floats, Ints

DECIMALS = 6
# An offset in a manifest: one log unit is a factor of e.
LEAST_SHARE = 1e-4

# EM: where it counts as converged, and how long it may take.
STEP, MOST_ROUNDS = 1e-7, 5000
# The fewest decisions, the widest 95 % interval of a share, and the largest condition number of the confusion matrix with which
# shares count as identified. A condition number of 20 multiplies the noise of the shares by as much.
LEAST_DECISIONS, WIDEST, WORST_CONDITION = 200, 0.15, 20.0
REDRAWS, SEED = 200, 13


@dataclass(frozen=True, slots=True, kw_only=True)
class Estimated:
    """Shares that were estimated from decisions, in label order, with their 95 % bootstrap intervals."""

    shares: Floats
    intervals: tuple[tuple[float, float], ...]
    decisions: int
    rounds: int
    condition: float


def make(
    labels: Sequence[str], *, learned: Floats, expected: Floats, source: PriorSource, record: Mapping[str, object]
) -> Prior:
    """
    The prior of a manifest.

    Args:
        labels: The labels.
        learned: How often the training rows have each, in label order; the network's logits hold these shares.
        expected: The shares that the bundle shall expect, in the same order.
        source: Where `expected` comes from.
        record: The evidence for it.
    """
    shares = positive(expected)
    offsets = np.log(shares) - np.log(positive(learned))
    return Prior(
        shares={label: round(float(share), DECIMALS) for label, share in zip(labels, shares, strict=True)},
        offsets={label: round(float(offset), DECIMALS) for label, offset in zip(labels, offsets - offsets.mean(), strict=True)},
        source=source,
        record=dict(record),
    )


def learned_by(prior: Prior, labels: Sequence[str]) -> Floats:
    """The shares that the network learned, from a prior that `make` made: what its offsets took out."""
    logged = np.array([math.log(prior.shares[label]) - prior.offsets[label] for label in labels])
    return _proportions(np.exp(logged - logged.max()))


def in_order(values: Mapping[str, float], labels: Sequence[str]) -> Floats:
    """Numbers by label as an array in label order."""
    return np.array([values[label] for label in labels])


def shares_of(targets: Ints, labels: int) -> Floats:
    """
    The share of each label among rows, one row more of each: a label that no row has stays possible.

    >>> shares_of(np.array([0, 0, 1]), 2).tolist()
    [0.6, 0.4]
    """
    found: Floats = (np.bincount(targets, minlength=labels) + 1.0) / (len(targets) + labels)
    return found


def row_weights(targets: Ints, shares: Floats, base: Floats | None = None) -> Floats:
    """
    Weights by which rows have the given shares of labels; their mean is 1.

    Args:
        targets: The index of each row's label, shape (rows,).
        shares: The share of each label. One that no row has is left out, and the others keep their proportions.
        base: Weights that rows of one label keep among each other; all alike by default.
    """
    weights = np.ones(len(targets)) if base is None else base
    mass = np.bincount(targets, weights=weights, minlength=len(shares))
    found = weights * np.divide(shares, mass, out=np.zeros_like(shares), where=mass > 0)[targets]
    return _proportions(found) * len(found)


def positive(shares: Floats) -> Floats:
    """The shares as proportions that sum to 1, none below `LEAST_SHARE`: a label is never impossible."""
    return _proportions(np.maximum(shares / shares.sum(), LEAST_SHARE))


def estimate(probabilities: Floats, assumed: Floats, *, rows: Floats, targets: Ints) -> Estimated:
    """
    The shares of labels in a stream, from the calibrated probabilities of its decisions (EM).

    Args:
        probabilities: Of the stream's decisions, shape (decisions, labels).
        assumed: The shares that these probabilities expect, in label order.
        rows: The probabilities of calibration rows, shape (rows, labels).
        targets: The index of each calibration row's label, shape (rows,).

    Raises:
        CalibrationError: The shares are not identified: too few decisions, labels that the network confuses, no convergence, or an
            interval that is too wide.
    """
    labels = probabilities.shape[1]
    if len(probabilities) < LEAST_DECISIONS:
        msg = (
            f"{len(probabilities)} decisions do not say how often each label comes: at least {LEAST_DECISIONS} are needed. "
            "Next: give more decisions of the stream, or labelled rows (--from-labels)."
        )
        raise CalibrationError(msg)
    condition = _condition(rows, targets, labels)
    if condition > WORST_CONDITION:
        msg = (
            f"the network confuses labels too often for shares to be told from its decisions: its confusion matrix has the condition "
            f"number {condition:.0f}, and at most {WORST_CONDITION:.0f} are trusted. Next: label some rows and give --from-labels."
        )
        raise CalibrationError(msg)
    shares, rounds = _em(probabilities, assumed)
    generator = np.random.default_rng(SEED)
    redrawn = []
    for _ in range(REDRAWS):
        counts = generator.multinomial(len(probabilities), np.full(len(probabilities), 1.0 / len(probabilities)))
        redrawn.append(_em(probabilities, assumed, counts.astype(np.float64), start=shares)[0])
    bounds = np.percentile(np.array(redrawn), [2.5, 97.5], axis=0)
    widest = int((bounds[1] - bounds[0]).argmax())
    if bounds[1][widest] - bounds[0][widest] > WIDEST:
        msg = (
            f"{len(probabilities)} decisions leave the share of label number {widest + 1} between {bounds[0][widest]:.3f} and "
            f"{bounds[1][widest]:.3f}, which is wider than {WIDEST}. Next: give more decisions, or labelled rows (--from-labels)."
        )
        raise CalibrationError(msg)
    return Estimated(
        shares=shares,
        intervals=tuple((round(float(low), DECIMALS), round(float(high), DECIMALS)) for low, high in bounds.T),
        decisions=len(probabilities),
        rounds=rounds,
        condition=round(condition, 2),
    )


def _em(
    probabilities: Floats, assumed: Floats, counts: Floats | None = None, start: Floats | None = None
) -> tuple[Floats, int]:
    """The shares under which the probabilities are likeliest, and the number of rounds until they stayed."""
    likely = probabilities / assumed
    weights = np.ones(len(likely)) if counts is None else counts
    shares = assumed if start is None else start
    for done in range(1, MOST_ROUNDS + 1):
        joint = likely * shares
        found = weights @ (joint / joint.sum(axis=1, keepdims=True)) / weights.sum()
        if float(np.abs(found - shares).max()) < STEP:
            return found, done
        shares = found
    msg = (
        f"the shares did not settle within {MOST_ROUNDS} rounds: the decisions fit many shares about as well. Next: give more "
        "decisions, or labelled rows (--from-labels)."
    )
    raise CalibrationError(msg)


def _condition(rows: Floats, targets: Ints, labels: int) -> float:
    """The condition number of the soft confusion matrix: the mean probabilities of the rows of each label."""
    counts = np.bincount(targets, minlength=labels)
    if not counts.all():
        msg = (
            f"label number {int(counts.argmin()) + 1} has no calibration row, so it is unknown with which it is confused. Next: give "
            "--data with rows of every label, or the shares themselves (--prior)."
        )
        raise CalibrationError(msg)
    means = np.zeros((labels, labels))
    np.add.at(means, targets, rows)
    return float(np.linalg.cond(means / counts[:, None]))


def as_record(found: Estimated, labels: Sequence[str]) -> dict[str, object]:
    """The evidence of an estimate for the manifest."""
    return {
        "decisions": found.decisions,
        "rounds": found.rounds,
        "condition": found.condition,
        "intervals": {label: list(interval) for label, interval in zip(labels, found.intervals, strict=True)},
    }


def checked(shares: Mapping[str, float], labels: Sequence[str]) -> Floats:
    """
    Given shares in label order, as proportions.

    Raises:
        CalibrationError: A label lacks a share or a share lacks a label, a share is no positive number.
    """
    missing, foreign = sorted(set(labels) - set(shares)), sorted(set(shares) - set(labels))
    if missing or foreign:
        msg = (
            f"the shares are not one a label: {', '.join(missing) or 'none'} missing, {', '.join(foreign) or 'none'} unknown. Next: give "
            f"a share for each of {', '.join(labels)}."
        )
        raise CalibrationError(msg)
    found = np.array([float(shares[label]) for label in labels])
    if not (np.isfinite(found).all() and (found > 0).all()):
        msg = "every share must be a number over 0: a label that never comes cannot be told from one that is rare. Next: correct the shares."
        raise CalibrationError(msg)
    return _proportions(found)


def _proportions(values: Floats) -> Floats:
    found: Floats = values / values.sum()
    return found

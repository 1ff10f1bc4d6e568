"""
The shares of labels that a bundle expects (its prior), and their estimate for a stream.

A network learns the label shares of its training rows. The offsets of a `Prior` replace these shares by other shares in the log
probabilities (Saerens, Latinne and Decaestecker 2002). The temperature is fitted with the offsets. The EM algorithm of the same paper
estimates the shares of a stream from unlabelled decisions. This only works if the decisions separate the labels; otherwise `estimate`
raises an error.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from tagstream.model_export.bundle.promise.promise import Prior, PriorSource
from tagstream.model_export.calibrate.errors import CalibrationError
from tagstream.model_export.calibrate.temperature import Floats, Ints

DECIMALS = 6
# The least share of a label, so that the logarithms of shares are bounded.
LEAST_SHARE = 1e-4

# EM: the largest change of a share at convergence, and the most rounds.
STEP, MOST_ROUNDS = 1e-7, 5000
# Shares count as identified within these limits: the fewest decisions, the widest 95 % interval of a share, and the largest condition
# number of the confusion matrix. A condition number of 20 multiplies the noise of the shares by 20.
LEAST_DECISIONS, WIDEST, WORST_CONDITION = 200, 0.15, 20.0
REDRAWS, SEED = 200, 13


@dataclass(frozen=True, slots=True, kw_only=True)
class Estimated:
    """
    Shares of labels, estimated from decisions.

    Attributes:
        shares: The shares, 0 to 1, in label order.
        intervals: The 95 % bootstrap intervals of the shares.
        decisions: The number of decisions.
        rounds: The rounds of EM.
        condition: The condition number of the confusion matrix.
    """

    shares: Floats
    intervals: tuple[tuple[float, float], ...]
    decisions: int
    rounds: int
    condition: float


def make(
    labels: Sequence[str], *, learned: Floats, expected: Floats, source: PriorSource, record: Mapping[str, object]
) -> Prior:
    """
    Return the prior for a manifest.

    Args:
        labels: The labels.
        learned: The label shares of the training rows, in label order. The logits of the network contain these shares.
        expected: The shares that the bundle is to expect, in label order.
        source: The source of `expected`.
        record: The evidence for `expected`.
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
    """Return the label shares that the network learned, computed back from a prior that `make` returned."""
    logged = np.array([math.log(prior.shares[label]) - prior.offsets[label] for label in labels])
    return _proportions(np.exp(logged - logged.max()))


def in_order(values: Mapping[str, float], labels: Sequence[str]) -> Floats:
    """Return the numbers as an array in label order."""
    return np.array([values[label] for label in labels])


def shares_of(targets: Ints, labels: int) -> Floats:
    """
    Return the share of each label among the rows plus one row per label. So a label without rows has a share above 0.

    >>> shares_of(np.array([0, 0, 1]), 2).tolist()
    [0.6, 0.4]
    """
    found: Floats = (np.bincount(targets, minlength=labels) + 1.0) / (len(targets) + labels)
    return found


def row_weights(targets: Ints, shares: Floats, base: Floats | None = None) -> Floats:
    """
    Return row weights with which the rows have the given label shares. The mean weight is 1.

    Args:
        targets: The index of each row's label, shape (rows,).
        shares: The share of each label. A label without rows is left out, and the other shares keep their proportions.
        base: The relative weights among rows of the same label, shape (rows,); None: all equal.
    """
    weights = np.ones(len(targets)) if base is None else base
    mass = np.bincount(targets, weights=weights, minlength=len(shares))
    found = weights * np.divide(shares, mass, out=np.zeros_like(shares), where=mass > 0)[targets]
    return _proportions(found) * len(found)


def positive(shares: Floats) -> Floats:
    """Return the shares, raised to at least `LEAST_SHARE` and normalised to the sum 1. So no label is impossible."""
    return _proportions(np.maximum(shares / shares.sum(), LEAST_SHARE))


def estimate(probabilities: Floats, assumed: Floats, *, rows: Floats, targets: Ints) -> Estimated:
    """
    Estimate the label shares of a stream from the calibrated probabilities of its decisions, by EM.

    Args:
        probabilities: The probabilities of the stream's decisions, shape (decisions, labels).
        assumed: The label shares that `probabilities` were computed with, in label order.
        rows: The probabilities of the calibration rows, shape (rows, labels).
        targets: The index of each calibration row's label, shape (rows,).

    Raises:
        CalibrationError: The shares are not identified: there are too few decisions, the network confuses labels, EM does not converge, or
            an interval is too wide.
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
    """Return the maximum likelihood shares and the number of rounds until convergence."""
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
        f"the shares did not converge within {MOST_ROUNDS} rounds: many different shares fit the decisions about equally well. Next: "
        "give more decisions, or labelled rows (--from-labels)."
    )
    raise CalibrationError(msg)


def _condition(rows: Floats, targets: Ints, labels: int) -> float:
    """Return the condition number of the soft confusion matrix, which has the mean probabilities of each label's rows."""
    counts = np.bincount(targets, minlength=labels)
    if not counts.all():
        msg = (
            f"label number {int(counts.argmin()) + 1} has no calibration row, so its confusion with other labels is unknown. Next: give "
            "--data with rows of every label, or the shares themselves (--prior)."
        )
        raise CalibrationError(msg)
    means = np.zeros((labels, labels))
    np.add.at(means, targets, rows)
    return float(np.linalg.cond(means / counts[:, None]))


def as_record(found: Estimated, labels: Sequence[str]) -> dict[str, object]:
    """Return the evidence of an estimate, for the manifest."""
    return {
        "decisions": found.decisions,
        "rounds": found.rounds,
        "condition": found.condition,
        "intervals": {label: list(interval) for label, interval in zip(labels, found.intervals, strict=True)},
    }


def checked(shares: Mapping[str, float], labels: Sequence[str]) -> Floats:
    """
    Return given shares in label order, normalised to the sum 1.

    Raises:
        CalibrationError: A label has no share, a share has an unknown label, or a share is not a positive number.
    """
    missing, foreign = sorted(set(labels) - set(shares)), sorted(set(shares) - set(labels))
    if missing or foreign:
        msg = (
            f"the shares do not fit the labels: {', '.join(missing) or 'none'} missing, {', '.join(foreign) or 'none'} unknown. Next: give "
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

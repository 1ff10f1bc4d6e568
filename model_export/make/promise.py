"""Temperature, prior and thresholds of a bundle from the logits of its calibration rows."""

from collections.abc import Sequence

import msgspec
import numpy as np

from model_export.bundle.manifest import Manifest, Prior
from model_export.bundle.prediction import Prediction
from model_export.bundle.promise.promise import Promise
from model_export.calibrate import prior as priors
from model_export.calibrate.errors import CalibrationError
from model_export.calibrate.joint import Decided
from model_export.calibrate.promised import promised
from model_export.calibrate.temperature import Floats, Ints, fit_temperature, level_sources
from model_export.data.row import Row


def prior_of(train: Sequence[Row], labels: Sequence[str], *, balanced: bool) -> Prior:
    """
    The prior of a network that learned from these rows.

    Args:
        train: The rows.
        labels: The labels.
        balanced: Expect every label equally often; else as often as the rows have it.
    """
    learned = priors.shares_of(np.array([labels.index(row.tag) for row in train], dtype=np.int64), len(labels))
    wanted = np.full(len(labels), 1.0 / len(labels)) if balanced else learned
    return priors.make(labels, learned=learned, wanted=wanted, source="balanced" if balanced else "rows", record={})


def temperature(logits: Floats, rows: Sequence[Row], labels: Sequence[str], prior: Prior, *, level: bool = True) -> float:
    """
    Fit the temperature, with the offsets of the prior.

    Every label counts as the prior says, unless that is how often the rows have it.

    Args:
        logits: Of the calibration rows, shape (rows, labels), from networks that have not seen them.
        rows: The calibration rows.
        labels: The labels.
        prior: The prior.
        level: Every source of rows counts the same, however many rows it has.

    Raises:
        CalibrationError: There are no rows, or a label that the prior expects has none.
    """
    targets = _targets(rows, labels)
    weights = level_sources([row.source for row in rows]) if level else None
    if prior.source != "rows" and len(rows):
        weights = _weighted(targets, prior, labels, weights)
    return fit_temperature(logits, targets, weights, priors.in_order(prior.offsets, labels))


def keep(manifest: Manifest, predictions: Sequence[Prediction], rows: Sequence[Row], asked: Promise) -> Manifest:
    """
    The manifest with the thresholds of a promise.

    Args:
        manifest: Has the labels and the prior. Rows count by how often it expects their labels.
        predictions: Of the calibration rows, by networks that have not seen them.
        rows: The calibration rows.
        asked: The promise.

    Raises:
        CalibrationError: The rows do not reach the precision at any confidence, or a label that the prior expects has none.
    """
    found = promised(decided(predictions, rows, manifest.labels, manifest.prior), manifest.labels, asked)
    return msgspec.structs.replace(manifest, threshold=found.threshold, thresholds=found.thresholds, trade=found.trade)


def decided(predictions: Sequence[Prediction], rows: Sequence[Row], labels: Sequence[str], prior: Prior | None) -> Decided:
    """Calibration rows with their predictions, weighted to the prior; all alike where it is that of the rows, or none."""
    targets = _targets(rows, labels)
    weights = np.ones(len(rows))
    if prior is not None and prior.source != "rows":
        weights = _weighted(targets, prior, labels)
    return Decided(
        said=np.array([labels.index(found.label) for found in predictions], dtype=np.int64),
        confidence=np.array([found.confidence for found in predictions]),
        right=np.array([found.label == row.tag for found, row in zip(predictions, rows, strict=True)], dtype=np.bool_),
        weight=weights,
    )


def _weighted(targets: Ints, prior: Prior, labels: Sequence[str], base: Floats | None = None) -> Floats:
    """The weights of rows by a prior, which must not expect a label that they lack: its part of the stream would be certified untested."""
    lacking = [label for label, count in zip(labels, np.bincount(targets, minlength=len(labels)), strict=True) if not count]
    if lacking:
        named = ", ".join(f"{label} ({prior.shares[label]:.1%} of the stream)" for label in lacking)
        msg = (
            f"no calibration row has {'this label' if len(lacking) == 1 else 'these labels'}, so that nothing tests decisions about its "
            f"texts: {named}. Next: give rows of every label to calibrate on (--data)."
        )
        raise CalibrationError(msg)
    return priors.row_weights(targets, priors.in_order(prior.shares, labels), base)


def _targets(rows: Sequence[Row], labels: Sequence[str]) -> Ints:
    return np.array([labels.index(row.tag) for row in rows], dtype=np.int64)

"""The shares of the labels in a stream: given by a person, counted in labelled rows, or estimated from decisions on the stream."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from tagstream.model_export.bundle.bundle import Bundle
from tagstream.model_export.bundle.manifest import Prior
from tagstream.model_export.bundle.model import OnnxClassifier
from tagstream.model_export.bundle.promise.promise import PriorSource
from tagstream.model_export.calibrate import prior as priors
from tagstream.model_export.calibrate.errors import CalibrationError
from tagstream.model_export.calibrate.temperature import Floats
from tagstream.model_export.data.decisions import read_decisions
from tagstream.model_export.data.own.rows import learned_files
from tagstream.model_export.data.splits import Splits


@dataclass(frozen=True, slots=True, kw_only=True)
class Shares:
    """Shares in label order, the source of the shares, and the evidence for a manifest."""

    shares: Floats
    source: PriorSource
    record: dict[str, object]


@dataclass(frozen=True, slots=True, kw_only=True)
class KnownStream:
    """
    The knowledge about the labels of a stream. One of the three fields is given.

    Attributes:
        given: The share of each label.
        tags: The labels of rows that were drawn at random from the stream.
        decisions: A file of the bundle's decisions on the stream.
    """

    given: Mapping[str, float] | None = None
    tags: Sequence[str] | None = None
    decisions: Path | None = None

    def prior(self, bundle: Bundle, rows: Splits) -> Prior:
        """
        Return the prior of a bundle for this stream.

        Args:
            bundle: The bundle that decided. If it has no prior, `rows.train` gives the shares that its network learned.
            rows: The rows. The network has not seen the calibration rows, which show the labels that it confuses.

        Raises:
            CalibrationError: The shares are not identified, or the network has learned from the rows, or a row has a label that the bundle
                lacks.
            RowsError: The file does not contain decisions of the bundle.
        """
        manifest, labels = bundle.manifest, bundle.manifest.labels
        if "quick" in manifest.training and learned_files(manifest) & set(rows.digests.values()):
            msg = (
                "these rows were learned from: `train --quick` fits its head to all of them, so the network's decisions on them "
                "prove nothing. Next: give --data with labelled rows that it has not seen."
            )
            raise CalibrationError(msg)
        if manifest.prior is None and not rows.train:
            msg = (
                "the bundle does not record the shares of labels that it expects, and there are no training rows to count. Next: give "
                "--data with the folder that it was trained on, or calibrate it first (`tagstream model calibrate`)."
            )
            raise CalibrationError(msg)
        before = manifest.prior or prior_of(rows, labels, balanced=False)
        found = self.shares(bundle, rows, priors.in_order(before.shares, labels))
        learned = priors.learned_by(before, labels)
        return priors.make(labels, learned=learned, expected=found.shares, source=found.source, record=found.record)

    def shares(self, bundle: Bundle, rows: Splits, assumed: Floats) -> Shares:
        """
        Return the shares of the stream.

        Args:
            bundle: The bundle that decided.
            rows: The rows. The calibration rows show the labels that the network confuses.
            assumed: The shares that the bundle's probabilities assume, in label order.

        Raises:
            CalibrationError: The shares are not identified, or a row has a label that the bundle lacks.
            RowsError: The file does not contain decisions of the bundle.
        """
        labels = bundle.manifest.labels
        if self.given is not None:
            return Shares(shares=priors.checked(self.given, labels), source="given", record={})
        if self.tags is not None:
            unknown = sorted(set(self.tags) - set(labels))
            if unknown or not self.tags:
                what = f"the label {unknown[0]!r} is not one of the bundle's" if unknown else "there are no labelled rows"
                msg = f"{what}. Next: give rows labelled with {', '.join(labels)}."
                raise CalibrationError(msg)
            targets = np.array([labels.index(tag) for tag in self.tags], dtype=np.int64)
            return Shares(shares=priors.shares_of(targets, len(labels)), source="labels", record={"rows": len(self.tags)})
        if self.decisions is None:
            msg = "nothing is known of the stream. Next: give --prior, --from-labels or --from-decisions."
            raise CalibrationError(msg)
        said = OnnxClassifier(bundle).classify([row.text for row in rows.calibration])
        found = priors.estimate(
            read_decisions(self.decisions, labels, bundle.digest),
            assumed,
            rows=np.array([list(one.probabilities.values()) for one in said]).reshape(-1, len(labels)),
            targets=np.array([labels.index(row.tag) for row in rows.calibration], dtype=np.int64),
        )
        return Shares(shares=found.shares, source="decisions", record=priors.as_record(found, labels))


def prior_of(rows: Splits, labels: Sequence[str], *, balanced: bool) -> Prior:
    """
    Return the prior of a network that has learned from the training rows.

    Args:
        rows: The rows.
        labels: The labels.
        balanced: Expect every label equally often; else as often as in the training rows.
    """
    learned = priors.shares_of(np.array([labels.index(row.tag) for row in rows.train], dtype=np.int64), len(labels))
    expected = np.full(len(labels), 1.0 / len(labels)) if balanced else learned
    return priors.make(labels, learned=learned, expected=expected, source="balanced" if balanced else "rows", record={})

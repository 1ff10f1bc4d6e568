"""Calibrate and measure a bundle anew: weights and tokenizer stay to the byte.

A network with older operators gets those of `operators`: its decisions depend neither on the width of the processor nor on
the padding of a text.
"""

import logging
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import msgspec
import numpy as np

from model_export.bundle.bundle import Bundle
from model_export.bundle.classifier import OnnxClassifier
from model_export.bundle.manifest import Multilabel
from model_export.bundle.promise.promise import PriorSource, Promise
from model_export.calibrate import prior as priors
from model_export.calibrate.errors import CalibrationError
from model_export.calibrate.temperature import Floats
from model_export.data.decisions import read_decisions
from model_export.data.own.rows import learned_files
from model_export.data.splits import Splits
from model_export.make import assemble, multilabel, promise
from model_export.make.assemble import LEVELS_SOURCES, Built, Compared, Target
from model_export.onnx import heads, operators, parity
from model_export.train import batches
from model_export.train.checkpoint import Trained
from monitoring.vocabulary import few

SUFFIX, ADAPTED = "-calibrated", "-adapted"
logger = logging.getLogger(__name__)


def recalibrate_bundle(folder: Path, *, bundle: Bundle, splits: Splits, asked: Promise, version: str | None = None) -> Built:
    """
    Fit the temperature, choose and certify the thresholds, describe the reference and measure, on the rows of today.

    The proofs from the network's export are kept, but for the share of texts that rounding sends to another topic: it
    depends on the thresholds, and the network before rounding is gone. A bundle with the option `multilabel` keeps its
    second head too; its thresholds are chosen anew.

    Args:
        folder: Where the new bundle goes.
        bundle: The one whose network is kept.
        splits: The rows, from `splits.load`.
        asked: The promise that the thresholds shall keep.
        version: The new bundle's version; the old one's with `SUFFIX` unless given.

    Raises:
        ParityError: Predictions depend on their batch, or other operators change too many labels.
        CalibrationError: The promise cannot be kept on the calibration rows, or they have labels that the bundle lacks.
    """
    refuse_other_labels(splits.labels, bundle.manifest.labels)
    bundle = _with_operators(bundle, splits)
    option = bundle.manifest.multilabel
    if option is None:
        return _recalibrated(folder, bundle.model, bundle=bundle, splits=splits, asked=asked, version=version)
    return _with_option(folder, option, bundle=bundle, splits=splits, asked=asked, version=version)


def adapt_bundle(folder: Path, *, bundle: Bundle, stream: "Stream", splits: Splits, asked: Promise) -> Built:
    """
    The same network for a stream whose labels come as often as `stream` says: prior, temperature and thresholds are new.

    The certificate is earned again, on the calibration rows weighted to the new shares.

    Args:
        folder: Where the new bundle goes.
        bundle: The one whose network is kept. Without a prior, `splits.train` says which shares it learned.
        stream: The shares, or the evidence for them.
        splits: The rows; the network has not seen those of `calibration`.
        asked: The promise that the thresholds shall keep.

    Raises:
        CalibrationError: The shares cannot be identified, or the rows were learned from, lack a label or have one that the bundle
            lacks, or the promise cannot be kept.
        ParityError: As `recalibrate_bundle`.
    """
    manifest = bundle.manifest
    refuse_other_labels(splits.labels, manifest.labels)
    if "quick" in manifest.training and learned_files(manifest) & set(splits.digests.values()):
        msg = (
            "these rows were learned from: `train --quick` fits its head to all of them, so the network's word on them proves "
            "nothing. Next: give --data with labelled rows that it has not seen."
        )
        raise CalibrationError(msg)
    labels = manifest.labels
    if manifest.prior is None and not splits.train:
        msg = (
            "the bundle does not say which shares of labels it expects, and its training rows are not there to count. Next: give "
            "--data with the folder that it was trained on, or calibrate it first (`tagstream model calibrate`)."
        )
        raise CalibrationError(msg)
    before = manifest.prior or promise.prior_of(splits.train, labels, balanced=False)
    found = stream.shares(bundle, splits, priors.in_order(before.shares, labels))
    new = priors.make(
        labels, learned=priors.learned_by(before, labels), wanted=found.shares, source=found.source, record=found.record
    )
    changed = msgspec.structs.replace(bundle, manifest=msgspec.structs.replace(manifest, prior=new))
    version = manifest.version.removesuffix(ADAPTED) + ADAPTED
    return recalibrate_bundle(folder, bundle=changed, splits=splits, asked=asked, version=version)


@dataclass(frozen=True, slots=True, kw_only=True)
class Shares:
    """Shares in label order, where they come from, and the evidence for a manifest."""

    shares: Floats
    source: PriorSource
    record: dict[str, object]


@dataclass(frozen=True, slots=True, kw_only=True)
class Stream:
    """
    What is known of a stream; one of the three.

    Attributes:
        given: The share of each label.
        tags: The labels of rows that were drawn from the stream.
        decisions: A file of the bundle's decisions on the stream.
    """

    given: Mapping[str, float] | None = None
    tags: Sequence[str] | None = None
    decisions: Path | None = None

    def shares(self, bundle: Bundle, splits: Splits, assumed: Floats) -> Shares:
        """
        The shares of the stream.

        Args:
            bundle: The bundle that decided.
            splits: The calibration rows show which labels its network confuses.
            assumed: The shares that its probabilities expect, in label order.

        Raises:
            CalibrationError: The shares are not identified, or a row has a label that the bundle lacks.
            OwnDataError: The file is no file of the bundle's decisions.
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
        found = priors.estimate(
            read_decisions(self.decisions, labels, bundle.digest),
            assumed,
            rows=np.array(
                [
                    list(one.probabilities.values())
                    for one in OnnxClassifier(bundle).classify([row.text for row in splits.calibration])
                ]
            ).reshape(-1, len(labels)),
            targets=np.array([labels.index(row.tag) for row in splits.calibration], dtype=np.int64),
        )
        return Shares(shares=found.shares, source="decisions", record=priors.as_record(found, labels))


def unseen(rows: Splits) -> Splits:
    """Rows of a file that the network has not learned from: those that a training would learn from calibrate too."""
    return replace(rows, train=(), calibration=(*rows.train, *rows.calibration))


def refuse_other_labels(found: Sequence[str], labels: Sequence[str]) -> None:
    """
    Refuse to calibrate on rows with labels that a bundle lacks.

    Args:
        found: The labels of the rows.
        labels: The labels of the bundle.

    Raises:
        CalibrationError: The rows have others.
    """
    unknown = [label for label in found if label not in labels]
    if unknown:
        msg = (
            f"the bundle cannot be calibrated on these rows: they have labels that it lacks ({few(unknown)}). Its labels are "
            f"{few(labels)}. Next: give labelled rows that it has not seen, `tagstream model adapt FOLDER OUT --from-labels FILE "
            "--data FILE`, or earn the thresholds from people's answers, `tagstream model calibrate FOLDER --out OUT --reviewed topic`."
        )
        raise CalibrationError(msg)


def _with_operators(bundle: Bundle, splits: Splits) -> Bundle:
    """The bundle with the operators of today, which must give (nearly) the labels of the old ones."""
    model = operators.rewrite(bundle.model, bundle.manifest.labels)
    if model == bundle.model:
        return bundle
    tokenizer = batches.load_tokenizer(bundle.tokenizer, bundle.manifest.max_length)
    rows = batches.encode(tokenizer, [row.text for row in splits.calibration])
    found = parity.check_quantised(parity.run(bundle.model, rows), parity.run(model, rows), parity.Limits())
    logger.info(
        "operators_rewritten agreement=%s max_logit=%s mean_logit=%s", found.agreement, found.max_logit, found.mean_logit
    )
    return msgspec.structs.replace(bundle, model=model)


def _with_option(
    folder: Path,
    option: Multilabel,
    *,
    bundle: Bundle,
    splits: Splits,
    asked: Promise,
    version: str | None,
) -> Built:
    single = heads.without_label_head(bundle.model, bundle.manifest.labels)
    with tempfile.TemporaryDirectory(prefix="tagstream-single-") as name:
        built = _recalibrated(Path(name), single, bundle=bundle, splits=splits, asked=asked, version=version)
        written = multilabel.promise(folder, bundle=built.bundle, model=bundle.model, training=option.training, splits=splits)
    return replace(built, bundle=written)


def _recalibrated(
    folder: Path,
    model: bytes,
    *,
    bundle: Bundle,
    splits: Splits,
    asked: Promise,
    version: str | None,
) -> Built:
    """The bundle of `model`, which has the first head alone."""
    old = bundle.manifest
    target = Target(
        name=old.name,
        version=version or old.version.removesuffix(SUFFIX) + SUFFIX,
        promise=asked,
        prior=old.prior,
        max_length=old.max_length,
        golden=tuple(text.text for text in old.golden),
        # Rows that were only given to calibrate do not say which words the network has learned from.
        known_words=None if splits.train else tuple(old.reference.get("known_words", ())),
        # Bundles of a user's rows from before this was recorded are known by the quick way alone.
        level_sources=bool(old.training.get(LEVELS_SOURCES, "quick" not in old.training)),
    )
    compared = Compared(
        logits=None,
        export=parity.Difference(**old.parity["export"]),
        quantisation=parity.Difference(**old.parity["quantised"]),
    )
    return assemble.finish(
        folder,
        model=model,
        compared=compared,
        trained=Trained(
            labels=old.labels, record={**old.training, "calibrated": {"bundle": bundle.digest, "data": splits.as_record()}}
        ),
        tokenizer=batches.load_tokenizer(bundle.tokenizer, old.max_length),
        splits=splits,
        target=target,
    )

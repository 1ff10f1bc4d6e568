"""Calibrate and measure a bundle anew: weights and tokenizer stay to the byte.

A network with older operators gets those of `operators`: its decisions depend neither on the width of the processor nor on
the padding of a text.
"""

import logging
import tempfile
from dataclasses import replace
from pathlib import Path

import msgspec

from model_export.bundle.bundle import Bundle
from model_export.bundle.manifest import Multilabel
from model_export.bundle.promise.promise import Promise
from model_export.data.splits import Splits
from model_export.make import assemble, multilabel
from model_export.make.assemble import Built, Compared, Target
from model_export.onnx import heads, operators, parity
from model_export.train import batches
from model_export.train.checkpoint import Trained

SUFFIX = "-calibrated"
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
        CalibrationError: The promise cannot be kept on the calibration rows.
    """
    bundle = _with_operators(bundle, splits)
    option = bundle.manifest.multilabel
    if option is None:
        return _recalibrated(folder, bundle.model, bundle=bundle, splits=splits, asked=asked, version=version)
    return _with_option(folder, option, bundle=bundle, splits=splits, asked=asked, version=version)


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

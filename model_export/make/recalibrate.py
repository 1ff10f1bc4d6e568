"""Calibrate and measure a bundle anew: network and tokenizer stay to the byte."""

import tempfile
from dataclasses import replace
from pathlib import Path

from model_export.bundle.bundle import Bundle
from model_export.bundle.manifest import Multilabel
from model_export.data.splits import Splits
from model_export.make import assemble, multilabel
from model_export.make.assemble import Built, Compared, Target
from model_export.onnx import heads, parity
from model_export.train import batches
from model_export.train.checkpoint import Trained

SUFFIX = "-calibrated"


def recalibrate_bundle(folder: Path, *, bundle: Bundle, splits: Splits, precision: float, version: str | None = None) -> Built:
    """
    Fit the temperature, choose and certify the thresholds, describe the reference and measure, on the rows of today.

    The proofs from the network's export are kept, but for the share of texts that rounding sends to another topic: it
    depends on the thresholds, and the network before rounding is gone. A bundle with the option `multilabel` keeps its
    second head too; its thresholds are chosen anew.

    Args:
        folder: Where the new bundle goes.
        bundle: The one whose network is kept.
        splits: The rows, from `splits.load`.
        precision: The share right that the thresholds shall reach.
        version: The new bundle's version; the old one's with `SUFFIX` unless given.

    Raises:
        ParityError: Predictions depend on their batch.
        CalibrationError: The promise cannot be kept on the calibration rows.
    """
    option = bundle.manifest.multilabel
    if option is None:
        return _recalibrated(folder, bundle.model, bundle=bundle, splits=splits, precision=precision, version=version)
    return _with_option(folder, option, bundle=bundle, splits=splits, precision=precision, version=version)


def _with_option(
    folder: Path,
    option: Multilabel,
    *,
    bundle: Bundle,
    splits: Splits,
    precision: float,
    version: str | None,
) -> Built:
    single = heads.without_label_head(bundle.model, bundle.manifest.labels)
    with tempfile.TemporaryDirectory(prefix="tagstream-single-") as name:
        built = _recalibrated(Path(name), single, bundle=bundle, splits=splits, precision=precision, version=version)
        written = multilabel.promise(folder, bundle=built.bundle, model=bundle.model, training=option.training, splits=splits)
    return replace(built, bundle=written)


def _recalibrated(
    folder: Path,
    model: bytes,
    *,
    bundle: Bundle,
    splits: Splits,
    precision: float,
    version: str | None,
) -> Built:
    """The bundle of `model`, which has the first head alone."""
    old = bundle.manifest
    target = Target(
        name=old.name,
        version=version or old.version.removesuffix(SUFFIX) + SUFFIX,
        precision=precision,
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

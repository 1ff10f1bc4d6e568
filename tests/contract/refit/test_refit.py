"""`tagstream model train --from`, end to end: kept parts are unchanged to the byte, and refitted parts are measured."""

from pathlib import Path

import numpy as np
import pytest

from tagstream.model_export.bundle.bundle import DEFAULT_BUNDLE, read
from tagstream.model_export.bundle.model import OnnxClassifier
from tagstream.model_export.bundle.promise.promise import Promise
from tagstream.model_export.data.splits import Splits
from tests.replacing import replace

ROWS = 150


@pytest.fixture(scope="module")
def fewer(small_splits: Splits) -> Splits:
    """Splits that are calibrated and measured within a second."""
    return replace(small_splits, calibration=small_splits.calibration[:ROWS], corpus_test=small_splits.corpus_test[:ROWS])


@pytest.mark.parametrize("keeps_head", [True, False])
def test_a_bundle_is_refitted(fewer: Splits, tmp_path: Path, keeps_head: bool) -> None:
    """The network without its n-grams, or the vectors alone, stay the same; the given rows are learned and calibrated on."""
    from tagstream.model_export.make import recipe, steps
    from tagstream.model_export.onnx import heads, ngrams

    old = read(DEFAULT_BUNDLE)
    labels = old.manifest.labels
    of = recipe.refitted(old, fewer, Promise(precision=0.5), keep_head=keeps_head)
    built = steps.make(tmp_path, replace(of, version="taught"))

    made = read(tmp_path)
    assert made.digest == built.bundle.digest != old.digest
    assert made.manifest.version == "taught"
    assert made.manifest.threshold.rows == ROWS
    assert (ngrams.without(made.model, labels) == ngrams.without(old.model, labels)) is keeps_head
    assert np.array_equal(heads.embed(made.model, [[101, 2023, 102]]), heads.embed(old.model, [[101, 2023, 102]]))
    learned, before = made.manifest.training["ngrams"], old.manifest.training["ngrams"]
    assert isinstance(learned, dict)
    assert isinstance(before, dict)
    assert learned["calibration_losses"] != before["calibration_losses"]
    assert learned["share"] == float(min(learned["calibration_losses"], key=learned["calibration_losses"].__getitem__))
    of_whom = learned if keeps_head else made.manifest.training
    assert of_whom["data"]["rows"] == fewer.counts()
    assert len(OnnxClassifier(made).classify([row.text for row in fewer.corpus_test])) == ROWS


def test_a_bundle_is_tuned_further(fewer: Splits, tmp_path: Path) -> None:
    """The encoder of a bundle learns rows of a source that it has not seen; the manifest names the bundle that it began as."""
    from tagstream.model_export.make import recipe, steps
    from tagstream.model_export.make.training import Training
    from tagstream.model_export.onnx import heads
    from tagstream.model_export.onnx.parity import GateLimits
    from tagstream.model_export.train import checkpoint

    old = read(DEFAULT_BUNDLE)
    train = tuple(replace(row, source="real") if place % 2 else row for place, row in enumerate(fewer.train))
    of = recipe.tuned_further(
        old, replace(fewer, train=train), Promise(precision=0.5), checkpoint=tmp_path / "network.safetensors"
    )
    assert isinstance(of.network, Training)
    assert of.network.student is not None
    # The adviser's packages are not on every machine.
    quick = replace(of.network, advice=None, student=replace(of.network.student, epochs=1))
    # A network that took a few steps on a few rows may lose more to rounding than one that ships.
    limits = GateLimits(quantised_agreement=0.8, quantised_flips=0.9)
    made = steps.make(tmp_path / "bundle", replace(of, network=quick, limits=limits)).bundle

    assert checkpoint.load(tmp_path / "network.safetensors")[0].shape.layers == 3
    assert made.manifest.training["teacher"]["bundle"] == old.digest
    some = [[101, 2023, 102], [101, 7592, 2088, 102]]
    cosine = (heads.embed(made.model, some) * heads.embed(old.model, some)).sum(axis=1)
    assert (cosine > 0.8).all()
    assert (cosine < 0.99999).any()

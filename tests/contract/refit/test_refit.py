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

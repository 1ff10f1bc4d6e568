"""The gates of an export refuse networks that differ."""

from collections.abc import Sequence

import numpy as np
import pytest

from tagstream.model_export.bundle.bundle import read
from tagstream.model_export.bundle.invariance import ParityError, check_invariance
from tagstream.model_export.bundle.model import OnnxClassifier, Prediction, predict
from tagstream.model_export.onnx import parity
from tagstream.model_export.onnx.parity import GateLimits
from tests.conftest import TINY_BUNDLE

TEXTS = tuple(f"word {number} image language" for number in range(40))


class Nervous:
    """A classifier whose confidence depends on the size of its batch."""

    labels = ("one", "two")

    def classify(self, texts: Sequence[str]) -> list[Prediction]:
        """Lean toward the second label with every neighbour."""
        logits = (1.0, 0.001 * len(texts))
        return [predict(logits, labels=self.labels, temperature=1.0, tokens=3, truncated=False) for _ in texts]


def test_classifier_that_looks_at_its_neighbours_is_refused() -> None:
    """A difference of a thousandth of a logit is refused."""
    with pytest.raises(ParityError, match="depends on its batch"):
        check_invariance(Nervous(), TEXTS, seed=1)


def test_tiny_bundle_does_not_depend_on_its_batch() -> None:
    """The real classifier gives the same digits alone, in any batch, in any order."""
    found = check_invariance(OnnxClassifier(read(TINY_BUNDLE)), TEXTS, seed=1)
    assert (found.rows, found.max_probability, found.max_energy) == (40, 0.0, 0.0)


def test_export_of_another_network_is_refused() -> None:
    """A difference of a hundredth of a logit is not rounding."""
    logits = np.zeros((3, 2))
    assert parity.check_export(logits, logits + 1e-5, GateLimits()).max_logit == pytest.approx(1e-5)
    with pytest.raises(ParityError, match="another network"):
        parity.check_export(logits, logits + 0.01, GateLimits())


def test_quantisation_that_changes_labels_is_refused() -> None:
    """A change of one label in four is refused."""
    plain = np.array([[1.0, 0.0]] * 4)
    quantised = plain.copy()
    quantised[0] = [0.0, 1.0]
    with pytest.raises(ParityError, match=r"0\.7500 of the labels"):
        parity.check_quantised(plain, quantised, GateLimits())


def test_routing_flips_count_texts_that_change_doors() -> None:
    """One of two texts crosses the threshold."""
    plain = np.array([[2.0, 0.0], [2.0, 0.0]])
    moved = np.array([[2.0, 0.0], [1.0, 0.0]])
    assert parity.routing_flips(plain, moved, temperature=1.0, thresholds=[0.8] * plain.shape[1]) == 0.5
    with pytest.raises(ParityError, match="another topic"):
        parity.check_flips(0.5, GateLimits())

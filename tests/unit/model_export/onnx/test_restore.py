"""The network of an int8 file in full precision again."""

import numpy as np
import pytest
import torch

from tagstream.model_export.data.madewithml import LABELS
from tagstream.model_export.onnx import export, operators, quantize
from tagstream.model_export.onnx.restore import RestoreError, layers_in, restore
from tagstream.model_export.train.network import Shape, TagNetwork
from tests.replacing import replace

SHAPE = Shape(vocabulary=64, positions=64, width=32, inner=64, heads=4, layers=2, labels=len(LABELS))


def rows(count: int, seed: int) -> list[list[int]]:
    """Random token ids of several lengths."""
    generator = np.random.default_rng(seed)
    return [[2, *generator.integers(4, 64, generator.integers(4, 30)).tolist(), 3] for _ in range(count)]


@pytest.fixture(scope="module")
def network() -> TagNetwork:
    """A random network."""
    torch.manual_seed(0)
    return TagNetwork(SHAPE).eval()


@pytest.fixture(scope="module")
def model(network: TagNetwork) -> bytes:
    """The same as a bundle holds it."""
    plain = export.to_onnx(network.for_export(), LABELS, longest=SHAPE.positions)
    return operators.rewrite(quantize.quantize(plain, rows(64, 1), LABELS), LABELS)


def test_every_weight_comes_back_as_it_was_rounded(network: TagNetwork, model: bytes) -> None:
    """A weight is in the place that it was in, at most half a step of its seven bits away."""
    again = restore(model, SHAPE).state_dict()
    assert layers_in(model) == SHAPE.layers
    for name, value in network.state_dict().items():
        assert float((again[name] - value).abs().max()) <= 0.01 * float(value.abs().max()), name


def test_a_file_of_another_shape_is_refused(model: bytes) -> None:
    """A network with fewer layers than the file, or none of this project, cannot be tuned further."""
    with pytest.raises(RestoreError, match="Next: train anew"):
        restore(model, replace(SHAPE, layers=1))
    plain = export.to_onnx(TagNetwork(SHAPE).for_export(), LABELS, longest=SHAPE.positions)
    with pytest.raises(RestoreError, match="is not rounded"):
        restore(plain, SHAPE)

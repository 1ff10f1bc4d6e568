"""A new head in an int8 file: it equals the fitted head, the encoder stays, and a foreign file is refused."""

import numpy as np
import onnx
import pytest
import torch

from tagstream.model_export.data.madewithml import LABELS
from tagstream.model_export.onnx import export, heads, parity, quantize
from tagstream.model_export.onnx.heads import HeadError
from tagstream.model_export.train.examples import Examples
from tagstream.model_export.train.head import Head, HeadRecipe, fit_head
from tagstream.model_export.train.network import Shape, TagNetwork

WIDTH = 32
SHAPE = Shape(vocabulary=64, positions=64, width=WIDTH, inner=64, heads=4, layers=2, labels=len(LABELS))


def rows(count: int, seed: int) -> list[list[int]]:
    """Random token ids of several lengths."""
    generator = np.random.default_rng(seed)
    return [[2, *generator.integers(4, 64, generator.integers(4, 30)).tolist(), 3] for _ in range(count)]


@pytest.fixture(scope="module")
def model() -> bytes:
    """A random int8 network."""
    torch.manual_seed(0)
    plain = export.to_onnx(TagNetwork(SHAPE).for_export(), LABELS, longest=SHAPE.positions)
    return quantize.quantize(plain, rows(64, 1), LABELS)


def head(seed: int = 3) -> Head:
    """A head that is sure of itself, labels of different scale."""
    generator = np.random.default_rng(seed)
    return Head(
        weight=generator.normal(size=(len(LABELS), WIDTH)) * [[1], [2], [5], [9]], bias=generator.normal(size=len(LABELS))
    )


def test_the_file_says_what_the_head_says_of_its_vectors(model: bytes) -> None:
    """Up to seven bits of weight; the same rows under the old head were something else."""
    given = rows(200, 2)
    wanted = heads.embed(model, given) @ head().weight.T + head().bias
    found = parity.run(heads.with_head(model, head(), LABELS), given)
    assert np.abs(found - wanted).max() < 0.02 * np.abs(wanted).max()
    assert np.abs(parity.run(model, given) - wanted).max() > np.abs(wanted).max() / 2


def test_the_encoder_stays(model: bytes) -> None:
    """The vectors are the same to the last bit, and so is the size."""
    made = heads.with_head(model, head(), LABELS)
    assert np.array_equal(heads.embed(made, rows(50, 4)), heads.embed(model, rows(50, 4)))
    assert abs(len(made) - len(model)) < 64


def test_the_head_learns_what_its_rows_say() -> None:
    """Two clusters and their labels, and a source that counts nothing is not heard."""
    generator = np.random.default_rng(5)
    vectors = np.concatenate([generator.normal(size=(60, 4)) + 3, generator.normal(size=(60, 4)) - 3, np.full((5, 4), 3.0)])
    train = Examples(rows=[], targets=[0] * 60 + [1] * 60 + [1] * 5, sources=["corpus"] * 120 + ["rumour"] * 5)
    found = fit_head(vectors, train, HeadRecipe(source_shares={"corpus": 1.0, "rumour": 0.0}), labels=2)
    logits = vectors @ found.weight.T + found.bias
    assert (logits.argmax(axis=1)[:120] == train.targets[:120]).all()


def test_a_file_without_such_a_head_is_refused(model: bytes) -> None:
    """A network of another make is told to be trained anew."""
    graph = onnx.load_model_from_string(model)
    for node in graph.graph.node:
        if node.op_type == "Gemm":
            node.output[0] = "elsewhere"
    with pytest.raises(HeadError, match="Next: train anew"):
        heads.embed(graph.SerializeToString(), rows(1, 1))
    narrow = Head(weight=head().weight[:, :8], bias=head().bias)
    with pytest.raises(HeadError, match="not int8"):
        heads.with_head(model, narrow, LABELS)

"""A text's logits are the same bytes beside any neighbours and at any padding, and the file needs few operators for it."""

import collections
import functools
from collections.abc import Sequence
from pathlib import Path
from random import Random

import numpy as np
import numpy.typing as npt
import onnx
import onnxruntime as ort
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from onnxruntime.quantization import quantize_dynamic

from tagstream.model_export.bundle.bundle import ANY_PADDING, DEFAULT_BUNDLE, PADDING_METADATA_KEY, read
from tagstream.model_export.bundle.invariance import ParityError, check_invariance
from tagstream.model_export.bundle.model import Prediction, open_session, predict
from tagstream.model_export.onnx import export, heads, operators, parity, quantize, sums
from tagstream.model_export.train.network import Shape, TagNetwork

LABELS = ("a", "b", "c", "d")
TOKENS, LONGEST = 64, 48
SHAPE = Shape(vocabulary=TOKENS, positions=64, width=32, inner=64, heads=4, layers=2, labels=len(LABELS))

Logits = npt.NDArray[np.float32]


@functools.cache
def plain_of(pooling: str) -> bytes:
    """A random network's file in float32."""
    torch.manual_seed(0)
    network = TagNetwork(SHAPE).eval()
    if pooling == "first":
        network = network.shallow([0, 1], "first").eval()
    return export.to_onnx(network.for_export(), LABELS, longest=network.shape.positions)


@functools.cache
def file_of(pooling: str) -> tuple[bytes, bytes]:
    """A random network's int8 file before and after `operators.rewrite`; or the shipped one's."""
    if pooling == "shipped":
        bundle = read(DEFAULT_BUNDLE)
        return bundle.model, operators.rewrite(bundle.model, bundle.manifest.labels)
    random = np.random.default_rng(1)
    rows = [random.integers(4, TOKENS, size).tolist() for size in random.integers(4, LONGEST, 32)]
    before = quantize.quantize(plain_of(pooling), rows, LABELS)
    return before, operators.rewrite(before, LABELS)


@pytest.fixture(scope="module", params=["mean", "first", "shipped"])
def files(request: pytest.FixtureRequest) -> tuple[bytes, bytes]:
    """The files of networks with each pooling, and the shipped network's."""
    return file_of(request.param)


def run(session: ort.InferenceSession, texts: Sequence[Sequence[int]], length: int) -> Logits:
    """The logits of tokenised texts in one run of this length."""
    ids, mask = np.zeros((2, len(texts), length), dtype=np.int64)
    for row, text in enumerate(texts):
        ids[row, : len(text)], mask[row, : len(text)] = text, 1
    (found,) = session.run(["logits"], {"input_ids": ids, "attention_mask": mask})
    return np.asarray(found)


def test_neighbours_and_padding_leave_every_byte_as_it_is(files: tuple[bytes, bytes]) -> None:
    """Alone without padding, and in any company at any length: a text has the same logits to the last bit."""
    session = open_session(files[1])
    text = st.lists(st.integers(4, TOKENS - 1), min_size=2, max_size=LONGEST)

    @settings(max_examples=60)
    @given(texts=st.lists(text, min_size=1, max_size=5), more=st.integers(0, 13))
    def holds(texts: list[list[int]], more: int) -> None:
        together = run(session, texts, max(map(len, texts)) + more)
        for row, one in zip(together, texts, strict=True):
            assert row.tobytes() == run(session, [one], len(one))[0].tobytes()

    holds()


class Reader:
    """Classifies texts of token numbers, all in one run that is padded to the longest."""

    labels = LABELS

    def __init__(self, model: bytes) -> None:
        self._session = open_session(model)

    def classify(self, texts: Sequence[str]) -> list[Prediction]:
        """Predict every text."""
        rows = [[int(token) for token in text.split()] for text in texts]
        found = run(self._session, rows, max(map(len, rows)))
        return [
            predict(one.tolist(), labels=LABELS, temperature=1.0, tokens=len(row), truncated=False)
            for one, row in zip(found, rows, strict=True)
        ]


def test_the_gate_lets_exact_sums_through_and_refuses_dynamic_quantisation(tmp_path: Path) -> None:
    """Scales that are taken from the batch make a text's logits depend on its neighbours, as the gate sees."""
    (tmp_path / "plain.onnx").write_bytes(plain_of("mean"))
    quantize_dynamic(tmp_path / "plain.onnx", tmp_path / "dynamic.onnx", op_types_to_quantize=["MatMul"])
    random = np.random.default_rng(6)
    texts = [" ".join(map(str, random.integers(4, TOKENS, size))) for size in random.integers(4, LONGEST, 24)]
    assert check_invariance(Reader(file_of("mean")[1]), texts, seed=1).max_probability == 0
    with pytest.raises(ParityError, match="depends on its batch"):
        check_invariance(Reader((tmp_path / "dynamic.onnx").read_bytes()), texts, seed=1)


def test_a_file_says_that_padding_does_not_matter(files: tuple[bytes, bytes]) -> None:
    """The entry comes with the exact sums, and stays when a head is taken off."""
    labels = tuple(export.load(files[1]).metadata_props[0].value.split("\n"))
    found = [open_session(file).get_modelmeta().custom_metadata_map.get(PADDING_METADATA_KEY) for file in files]
    assert found[1] == ANY_PADDING
    shipped = files[0] == read(DEFAULT_BUNDLE).model
    assert shipped or found[0] is None
    kept = open_session(heads.without_label_head(files[1], labels)).get_modelmeta()
    assert kept.custom_metadata_map[PADDING_METADATA_KEY] == ANY_PADDING


def test_the_rewritten_network_gives_nearly_the_logits_of_before(files: tuple[bytes, bytes]) -> None:
    """A bias in whole numbers moves a rounding here and there: a logit by a twentieth of the logits' range, on average by far less."""
    random = np.random.default_rng(4)
    texts = [random.integers(4, TOKENS, size).tolist() for size in random.integers(4, LONGEST, 24)]
    before, after = (parity.run(file, texts) for file in files)
    found = parity.compare(before, after)
    assert found.max_logit < 0.1 * np.ptp(before)
    assert found.mean_logit < 0.03 * np.ptp(before)


def test_rewriting_twice_changes_nothing(files: tuple[bytes, bytes]) -> None:
    """A file with these operators stays as it is, to the byte."""
    assert operators.rewrite(files[1], LABELS) is files[1]


def optimised(model: bytes, folder: Path) -> collections.Counter[str]:
    """How often each operator is in the graph that the runtime makes of a file."""
    options = ort.SessionOptions()
    options.optimized_model_filepath = str(folder / "optimised.onnx")
    options.log_severity_level = 4
    ort.InferenceSession(model, options, providers=["CPUExecutionProvider"], disabled_optimizers=["SkipLayerNormFusion"])
    return collections.Counter(node.op_type for node in onnx.load(folder / "optimised.onnx").graph.node)


def test_the_runtime_fuses_what_it_can(tmp_path: Path) -> None:
    """Of the shipped network of three layers, the graph that runs has no more nodes of an operator than these."""
    layers, (_, after) = 3, file_of("shipped")
    most = {
        # Queries, keys, values, output and both halves of the feed-forward; the head, and the gate's line.
        "QGemm": 6 * layers + 2,
        # Scores, and shares by values.
        "MatMulIntegerToFloat": layers,
        "QLinearMatMul": layers,
        # Without the bias it takes half the time.
        "Gelu": layers,
        # Entering attention, shares, entering the feed-forward, inside it; the head.
        "QuantizeLinear": 4 * layers + 1,
        "DequantizeLinear": 2 * layers,
        "LayerNormalization": 2 * layers + 1,
        "Transpose": 4 * layers + 1,
        # Mask and the largest and the sum of a softmax.
        "Expand": 2 * layers + 1,
        # Mask and two residuals; the embedding, the reader's four, and the gate's words.
        "Add": 3 * layers + 6,
    }
    found = optimised(after, tmp_path)
    assert {operator: found[operator] for operator in most if found[operator] > most[operator]} == {}
    # Each would be a product, a bias, a softmax or an activation that is not fused, or not exact.
    assert not {"MatMul", "Gemm", "FusedMatMul", "BiasGelu", "Erf", "Softmax", "Where"} & set(found)


@given(
    bits=st.integers(-2, 6),
    shares=st.lists(st.floats(-1, 1, width=32), min_size=1, max_size=40),
    order=st.randoms(use_true_random=False),
)
def test_whole_numbers_keep_the_sum(bits: int, shares: list[float], order: Random) -> None:
    """The sum of the cut numbers is the same in any order and with zeros between them, and lacks less than a step for each."""
    numbers = np.array(shares, dtype=np.float32) * np.float32(2.0**bits)
    whole = (numbers * np.float32(sums.scale(bits))).astype(np.int32)
    mixed = [*whole.tolist(), 0, 0, 0]
    order.shuffle(mixed)
    total = int(np.array(mixed, dtype=np.int32).sum(dtype=np.int32))
    assert total == int(whole.sum(dtype=np.int64))
    assert abs(total / sums.scale(bits) - float(numbers.astype(np.float64).sum())) <= len(shares) / sums.scale(bits)


@pytest.mark.parametrize("bits", [-2, 0, 5])
def test_512_of_the_largest_numbers_fit(bits: int) -> None:
    """A text of the largest length that a bundle may have, all of its numbers at their bound."""
    largest = np.full(512, np.float32(2.0**bits) * np.float32(sums.scale(bits))).astype(np.int32)
    assert int(largest.sum(dtype=np.int32)) == int(largest.sum(dtype=np.int64)) == 2**30

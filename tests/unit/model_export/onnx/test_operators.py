"""The operators of an int8 file: none whose result depends on the width of the processor, and the same network as before."""

import collections
from collections.abc import Sequence

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from tagstream.model_export.bundle.bundle import DEFAULT_BUNDLE, read
from tagstream.model_export.onnx import export, operators, parity

LABELS = ("a", "b", "c", "d")
WIDTH, HEADS, LENGTH = 32, 2, 24


def attention(*, shared: bool = False) -> bytes:
    """
    One head-splitting attention in eight bits behind an embedding, with a GELU, as the exporter and the quantiser write it.

    With `shared`, the rounded queries are the values too.
    """
    random = np.random.default_rng(3)
    constants = {
        "words": random.normal(size=(50, HEADS, WIDTH)).astype(np.float32),
        "step": np.array(0.03, dtype=np.float32),
        "middle": np.array(128, dtype=np.uint8),
        "share_step": np.array(1 / 255, dtype=np.float32),
        "no": np.array(0, dtype=np.uint8),
        "root": np.array(np.sqrt(WIDTH), dtype=np.float32),
        "root_of_two": np.array(np.sqrt(2), dtype=np.float32),
        "one": np.array(1, dtype=np.float32),
        "half": np.array(0.5, dtype=np.float32),
        "axes": np.array([1, 2], dtype=np.int64),
        "weights": random.normal(size=(WIDTH, len(LABELS))).astype(np.float32),
    }
    nodes = [
        helper.make_node("Gather", ["words", "input_ids"], ["looked_up"]),
        helper.make_node("Transpose", ["looked_up"], ["states"], perm=[0, 2, 1, 3]),
        helper.make_node("Transpose", ["looked_up"], ["turned"], perm=[0, 2, 3, 1]),
        *rounded("states", "step", "middle"),
        *rounded("turned", "step", "middle"),
        helper.make_node("DequantizeLinear", ["states_rounded", "step", "middle"], ["values_back"]),
        helper.make_node("MatMul", ["states_back", "turned_back"], ["scores"]),
        helper.make_node("Div", ["scores", "root"], ["scaled"]),
        helper.make_node("Softmax", ["scaled"], ["shares"], axis=-1),
        *rounded("shares", "share_step", "no"),
        helper.make_node("MatMul", ["shares_back", "states_back" if shared else "values_back"], ["mixed"]),
        helper.make_node("Div", ["mixed", "root_of_two"], ["g1"]),
        helper.make_node("Erf", ["g1"], ["g2"]),
        helper.make_node("Add", ["g2", "one"], ["g3"]),
        helper.make_node("Mul", ["half", "g3"], ["g4"]),
        helper.make_node("Mul", ["mixed", "g4"], ["gelu"]),
        helper.make_node("ReduceSum", ["gelu", "axes"], ["summed"], keepdims=0),
        helper.make_node("MatMul", ["summed", "weights"], ["logits"]),
    ]
    graph = helper.make_graph(
        nodes,
        "attention",
        [helper.make_tensor_value_info(name, TensorProto.INT64, ["batch", "length"]) for name in export.INPUTS],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["batch", len(LABELS)])],
        [numpy_helper.from_array(value, name) for name, value in constants.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    return export.finish(model, LABELS)


def rounded(value: str, step: str, zero: str) -> list[onnx.NodeProto]:
    """The two nodes that round a value to eight bits; the result is `{value}_back`."""
    return [
        helper.make_node("QuantizeLinear", [value, step, zero], [f"{value}_rounded"]),
        helper.make_node("DequantizeLinear", [f"{value}_rounded", step, zero], [f"{value}_back"]),
    ]


def operators_in(model: bytes) -> collections.Counter[str]:
    """How often each operator is in a file."""
    return collections.Counter(node.op_type for node in export.load(model).graph.node)


@pytest.fixture(scope="module")
def texts() -> Sequence[list[int]]:
    """Token ids of twenty texts."""
    random = np.random.default_rng(5)
    return [random.integers(1, 50, size=LENGTH).tolist() for _ in range(20)]


@pytest.mark.parametrize("shared", [False, True])
def test_the_rewritten_network_gives_the_same_logits(texts: Sequence[list[int]], *, shared: bool) -> None:
    """Other operators change a logit by a thousandth of their range at most, also where a value has two readers."""
    before = attention(shared=shared)
    after = operators.rewrite(before, LABELS)
    wanted = parity.run(before, texts)
    assert parity.compare(wanted, parity.run(after, texts)).max_logit < 1e-3 * np.ptp(wanted)


def test_each_pattern_is_replaced() -> None:
    """No softmax, no error function and no division of the scores is left; the softmax's parts and one `Gelu` are there."""
    before, after = operators_in(attention()), operators_in(operators.rewrite(attention(), LABELS))
    assert before["Softmax"] == before["Erf"] == 1
    assert (after["Softmax"], after["Erf"], after["Gelu"], after["Exp"], after["ReduceMax"]) == (0, 0, 1, 1, 1)
    # The scores' division is gone, the softmax's has come, and that inside GELU is gone.
    assert after["Div"] == before["Div"] - 1


def test_a_rewritten_file_stays_as_it_is() -> None:
    """Rewriting twice gives the bytes of rewriting once."""
    once = operators.rewrite(attention(), LABELS)
    assert operators.rewrite(once, LABELS) is once


def test_a_constant_without_a_use_is_dropped() -> None:
    """The rewritten file holds no constant that no node reads."""
    graph = export.load(operators.rewrite(attention(), LABELS)).graph
    assert {constant.name for constant in graph.initializer} <= {name for node in graph.node for name in node.input}


def test_the_shipped_network_has_no_operator_that_depends_on_the_processors_width() -> None:
    """The runtime's `Softmax` is the one operator of these files that gave other bits on AVX2 than on AVX-512."""
    found = operators_in(read(DEFAULT_BUNDLE).model)
    assert not {"Softmax", "LogSoftmax"} & set(found)
    assert found["Gelu"] == found["Exp"]
    # A count of nodes is the cheapest gate against a slower network.
    assert sum(found.values()) == 287

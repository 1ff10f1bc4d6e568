"""Biases inside integer products: exact enough, shared constants, and biases that do not fit."""

import numpy as np
import onnx
import onnxruntime as ort
import pytest
from onnx import TensorProto, helper, numpy_helper

from tagstream.model_export.onnx import products
from tagstream.model_export.onnx.graph import Graph

WIDTH, CHANNELS, STEP = 16, 8, 0.02


def two_products(*, smallest: float) -> onnx.ModelProto:
    """Two products of one activation that add the same constant, as the quantiser writes them; the first channel's weights are small."""
    random = np.random.default_rng(11)
    scales = [np.full(CHANNELS, 0.01, dtype=np.float32), np.full(CHANNELS, 0.03, dtype=np.float32)]
    scales[0][0] = smallest
    constants = {
        "step": np.array(STEP, dtype=np.float32),
        "middle": np.array(128, dtype=np.uint8),
        "bias": np.linspace(0.05, 0.4, CHANNELS).astype(np.float32),
    }
    nodes = [
        helper.make_node("QuantizeLinear", ["states", "step", "middle"], ["rounded"]),
        helper.make_node("DequantizeLinear", ["rounded", "step", "middle"], ["back"]),
    ]
    for place, scale in enumerate(scales):
        constants[f"weights{place}"] = random.integers(-64, 65, size=(WIDTH, CHANNELS)).astype(np.int8)
        constants |= {f"scale{place}": scale, f"zero{place}": np.zeros(CHANNELS, dtype=np.int8)}
        nodes += [
            helper.make_node("DequantizeLinear", [f"weights{place}", f"scale{place}", f"zero{place}"], [f"w{place}"], axis=1),
            helper.make_node("MatMul", ["back", f"w{place}"], [f"product{place}"]),
            helper.make_node("Add", [f"product{place}", "bias"], [f"sum{place}"]),
            helper.make_node("Neg", [f"sum{place}"], [f"out{place}"]),
        ]
    shape = ["batch", "length", CHANNELS]
    graph = helper.make_graph(
        nodes,
        "products",
        [
            helper.make_tensor_value_info("states", TensorProto.FLOAT, ["batch", "length", WIDTH]),
            helper.make_tensor_value_info("attention_mask", TensorProto.INT64, ["batch", "length"]),
        ],
        [helper.make_tensor_value_info(f"out{place}", TensorProto.FLOAT, shape) for place in range(2)],
        [numpy_helper.from_array(value, name) for name, value in constants.items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=9)


def run(model: onnx.ModelProto) -> list[np.ndarray]:
    """Both sums for three texts of five tokens."""
    states = np.random.default_rng(2).normal(size=(3, 5, WIDTH)).astype(np.float32)
    session = ort.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    found: list[np.ndarray] = session.run(None, {"states": states, "attention_mask": np.ones((3, 5), dtype=np.int64)})
    return found


@pytest.mark.parametrize(("smallest", "gemms"), [(0.01, 2), (1e-13, 1)])
def test_a_bias_joins_the_integer_sum_where_it_fits(smallest: float, gemms: int) -> None:
    """Products may share a constant, and where a bias would need more than 32 bits the addition stays as it was."""
    wanted = run(two_products(smallest=smallest))
    graph = Graph(two_products(smallest=smallest))
    assert products.with_biases(graph)
    rewritten = graph.finished()
    assert [node.op_type for node in rewritten.graph.node].count("Gemm") == gemms
    for before, after in zip(wanted, run(rewritten), strict=True):
        # Half a unit of the integer sum, and the last bits of float32.
        assert np.abs(before - after).max() < 0.5 * 0.03 * STEP + 1e-5

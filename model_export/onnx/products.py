"""Products whose bias is inside the integer sum: `Gemm` in two dimensions instead of `MatMul` and `Add` in three.

The runtime computes a `Gemm` of rounded numbers with an integer bias as one product, and rounds the result to eight bits in the same pass.
It does not have such a product in three dimensions, so the tokens of all texts become rows. A bias is rounded to one unit of the integer
sum, about a hundred thousandth of a number's range.

The kernel for `Gelu` alone is twice as fast as the kernel for `Gelu` with a bias, which the runtime uses after an `Add`.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import onnx
from onnx import helper

from tagstream.model_export.onnx import export
from tagstream.model_export.onnx.graph import Graph

# The names of this module's nodes and constants begin with this prefix.
PREFIX = "rows."
BATCH = f"{PREFIX}batch"
# The most units of a bias: the sum with the bias stays within 32 bits.
MOST_UNITS = 2**30


@dataclass(frozen=True, slots=True, kw_only=True)
class _Product:
    """A product of a rounded activation and rounded weights, the addition after it, and the name of the added constant."""

    node: onnx.NodeProto
    into: onnx.NodeProto
    weights: onnx.NodeProto
    added: onnx.NodeProto
    bias: str


def with_biases(graph: Graph) -> bool:
    """Move a bias that is added after a product of a rounded activation and rounded weights into the product."""
    front: list[onnx.NodeProto] = []
    found = [product for node in graph.of("MatMul") if (product := _product(graph, node)) is not None]
    for product in found:
        _replace(graph, product, front)
    graph.nodes[:0] = front
    return bool(found)


def _product(graph: Graph, node: onnx.NodeProto) -> _Product | None:
    into, weights = (graph.maker(name, "DequantizeLinear") for name in node.input)
    chain = graph.chain(node, "Add")
    if into is None or weights is None or weights.input[0] not in graph.constants or chain is None:
        return None
    (added,) = chain
    bias = next((name for name in added.input if name in graph.constants), None)
    if bias is None or np.abs(graph.array(bias).astype(np.float64) / _units(graph, into, weights)).max() > MOST_UNITS:
        # A channel with tiny weights has units that are too small for its bias: the addition stays.
        return None
    return _Product(node=node, into=into, weights=weights, added=added, bias=bias)


def _units(graph: Graph, into: onnx.NodeProto, weights: onnx.NodeProto) -> npt.NDArray[np.float32]:
    """Return the size of one unit of the integer sum, by channel."""
    scales, step = graph.array(weights.input[1]), graph.array(into.input[1])
    units: npt.NDArray[np.float32] = (scales * step).astype(np.float32)
    return units


def _replace(graph: Graph, product: _Product, front: list[onnx.NodeProto]) -> None:
    into, bias, out = product.into, product.bias, product.added.output[0]
    name = f"{PREFIX}{product.node.output[0]}"
    nodes = [
        *_bias(graph, bias, f"{name}.bias", _units(graph, into, product.weights)),
        helper.make_node("Gemm", [_rows(graph, product), product.node.input[1], f"{name}.bias"], [name], name=name),
    ]
    if _reads_rows(graph, out):
        for user in graph.users(out):
            user.input[:] = [name if value == out else value for value in user.input]
    else:
        shape = _back(graph, graph.array(bias).size, front)
        nodes.append(helper.make_node("Reshape", [name, shape], [out], name=f"{name}.back"))
    graph.put(product.node, *nodes)
    graph.take_out(product.added)
    if not graph.users(into.output[0]):
        graph.take_out(into)


def _bias(graph: Graph, bias: str, name: str, units: npt.NDArray[np.float32]) -> list[onnx.NodeProto]:
    """
    Keep the bias in units of the integer sum, as the runtime adds it, and return the standard node that reads it.

    The node is named after its product: two products may add the same constant, each in its own units.
    """
    values = graph.array(bias)
    parts = (
        graph.keep(f"{name}.rounded", np.round(values.astype(np.float64) / units).astype(np.int32)),
        graph.keep(f"{name}.scale", units),
        graph.keep(f"{name}.zero", np.zeros(values.size, dtype=np.int32)),
    )
    return [helper.make_node("DequantizeLinear", parts, [name], name=name, axis=0)]


def _rows(graph: Graph, product: _Product) -> str:
    """Return the name of an activation as [tokens of all texts, width]. Products of the same activation share this value."""
    flat = f"{PREFIX}{product.into.output[0]}"
    if graph.maker(flat) is None:
        width = graph.array(product.weights.input[0]).shape[0]
        shape = graph.keep(f"{PREFIX}width.{width}", np.array([-1, width], dtype=np.int64))
        rounded, *scale = product.into.input
        graph.before(
            product.node,
            helper.make_node("Reshape", [rounded, shape], [f"{flat}.rounded"], name=f"{flat}.rounded"),
            helper.make_node("DequantizeLinear", [f"{flat}.rounded", *scale], [flat], name=flat),
        )
    return flat


def _reads_rows(graph: Graph, value: str) -> bool:
    """Whether all readers of a value accept the tokens of all texts as rows: each reshapes the value, or leads to the next product."""
    for user in graph.users(value):
        if user.op_type == "Reshape":
            continue
        chain = graph.chain(user, "QuantizeLinear", "DequantizeLinear", "MatMul")
        if user.op_type != "Gelu" or chain is None:
            return False
    return True


def _back(graph: Graph, width: int, front: list[onnx.NodeProto]) -> str:
    """Return the name of the shape [batch, tokens, width]."""
    name = f"{PREFIX}back.{width}"
    if not front:
        front.append(helper.make_node("Shape", [export.INPUTS[1]], [BATCH], name=BATCH, start=0, end=1))
    if all(node.name != name for node in front):
        sizes = graph.keep(f"{name}.sizes", np.array([-1, width], dtype=np.int64))
        front.append(helper.make_node("Concat", [BATCH, sizes], [name], name=name, axis=0))
    return name

"""The operators of an int8 file, chosen so that processors of different width compute the same bits, in few nodes.

Integer products are exact on every processor. Floating point differs between processors in two ways:

- A sum of floats depends on its order, and a wider processor adds in another order. The runtime's `Softmax` is such a sum: from 17
  numbers on, the last bit of a row's sum differs between AVX2 and AVX-512. The rounding to eight bits, which follows, can turn this bit
  into a whole step. `ReduceSum` adds in the same order on every processor, so the softmax is written in its parts.
- Without fused multiply-add (processors before 2013), nearly every operator differs. A choice of operators cannot repair that; the worker
  measures the difference (`OnnxClassifier.arithmetic`).

docs/decisions/0013-one-arithmetic.md has the measurements.
"""

from collections.abc import Sequence

import numpy as np
from onnx import helper, numpy_helper

from tagstream.model_export.onnx import attention, export, products, sums
from tagstream.model_export.onnx.graph import Graph

# The names of this module's nodes and constants begin with this prefix.
PREFIX = "attention."
LAST_AXIS = f"{PREFIX}last_axis"


def rewrite(model: bytes, labels: Sequence[str]) -> bytes:
    """
    Return the same network with the operators of this module. A file that already has these operators is returned unchanged.

    Args:
        model: The file from `quantize.quantize`, with or without n-grams and a second head.
        labels: The labels, which are written into the new file.

    Raises:
        ExportError: The result is not valid ONNX.
    """
    graph = Graph(export.load(model))
    changed = [
        _gelu_in_one(graph),
        _softmax_in_parts(graph),
        _scaled_before_the_product(graph),
        attention.turn(graph),
        sums.exact_totals(graph),
        sums.exact_mean(graph),
        products.with_biases(graph),
    ]
    if not any(changed):
        return model
    return export.finish(graph.finished(), labels, any_padding=sums.all_exact(graph))


def _gelu_in_one(graph: Graph) -> bool:
    """Replace five nodes by one `Gelu`: x * (0.5 * (1 + erf(x / sqrt(2))))."""
    found = False
    for divide in graph.of("Div"):
        chain = graph.chain(divide, "Erf", "Add", "Mul", "Mul")
        if chain is None or chain[-1].input[0] != divide.input[0]:
            continue
        found = True
        gelu = helper.make_node("Gelu", [divide.input[0]], [chain[-1].output[0]], name=f"gelu.{chain[-1].output[0]}")
        graph.put(chain[-1], gelu)
        graph.take_out(divide, *chain[:-1])
    return found


def _softmax_in_parts(graph: Graph) -> bool:
    """Replace `Softmax` of the last axis by its parts: powers = exp(scores - largest), powers / sum(powers)."""
    found = False
    for softmax in graph.of("Softmax"):
        found = True
        graph.keep(LAST_AXIS, np.array([-1], dtype=np.int64))
        scores, shares = softmax.input[0], softmax.output[0]
        largest, below, powers, total = (f"{PREFIX}{shares}.{part}" for part in ("largest", "below", "powers", "total"))
        graph.put(
            softmax,
            helper.make_node("ReduceMax", [scores, LAST_AXIS], [largest], name=largest, keepdims=1),
            helper.make_node("Sub", [scores, largest], [below], name=below),
            helper.make_node("Exp", [below], [powers], name=powers),
            helper.make_node("ReduceSum", [powers, LAST_AXIS], [total], name=total, keepdims=1),
            helper.make_node("Div", [powers, total], [shares], name=f"{PREFIX}{shares}"),
        )
    return found


def _scaled_before_the_product(graph: Graph) -> bool:
    """Move the division of the scores by the root of a head's width into the scale of the rounded queries."""
    found = False
    for product in graph.of("MatMul"):
        queries, chain = graph.maker(product.input[0]), graph.chain(product, "Div")
        root = graph.number(chain[0].input[1]) if chain is not None else None
        if queries is None or queries.op_type != "DequantizeLinear" or chain is None or root is None:
            continue
        # Other readers of this value need it without the division.
        if len(graph.users(queries.output[0])) > 1:
            continue
        found = True
        scale = numpy_helper.to_array(graph.constants[queries.input[1]])
        queries.input[1] = graph.keep(f"{PREFIX}{product.output[0]}.scale", (scale / root).astype(np.float32))
        product.output[0] = chain[0].output[0]
        graph.take_out(chain[0])
    return found

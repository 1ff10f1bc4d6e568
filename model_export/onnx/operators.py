"""The operators of an int8 file, chosen so that processors of different width compute the same bits, in few nodes.

Integer products are exact on every processor. Floating point differs between processors in two ways:

- A sum of floats depends on its order, and a wider processor adds in another order. The runtime's `Softmax` does so: from 17
  numbers on, the last bit of a row's sum differs between AVX2 and AVX-512, and the rounding to eight bits behind it turns
  some of these bits into a whole step. `ReduceSum` adds in one order everywhere, so the softmax is written in its parts.
- Without fused multiply-add (processors before 2013), nearly every operator differs. No choice of operators repairs that;
  the worker measures it (`OnnxClassifier.arithmetic`).

docs/decisions/0013-one-arithmetic.md has the measurements.
"""

from collections.abc import Iterator, Sequence

import numpy as np
import numpy.typing as npt
import onnx
from onnx import helper, numpy_helper

from model_export.onnx import export

# The names of the nodes and constants of this module begin with it.
PREFIX = "attention."
LAST_AXIS = f"{PREFIX}last_axis"


def rewrite(model: bytes, labels: Sequence[str]) -> bytes:
    """
    The same network with the operators of this module. A file that has them already stays as it is, to the byte.

    Args:
        model: The file from `quantize.quantize`, with or without n-grams and a second head.
        labels: The labels, written into the new file as into the old.

    Raises:
        ExportError: The result is not valid ONNX.
    """
    graph = _Graph(export.load(model))
    changed = [_gelu_in_one(graph), _softmax_in_parts(graph), _scaled_before_the_product(graph)]
    if not any(changed):
        return model
    return export.finish(graph.finished(), labels)


def _gelu_in_one(graph: "_Graph") -> bool:
    """`Gelu` instead of its five nodes: x * (0.5 * (1 + erf(x / sqrt(2))))."""
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


def _softmax_in_parts(graph: "_Graph") -> bool:
    """`Softmax` of the last axis in its parts: powers = exp(scores - largest), powers / sum(powers)."""
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


def _scaled_before_the_product(graph: "_Graph") -> bool:
    """The division of the scores by the root of a head's width, as part of the scale of the rounded queries."""
    found = False
    for product in graph.of("MatMul"):
        queries, chain = graph.maker(product.input[0]), graph.chain(product, "Div")
        root = graph.number(chain[0].input[1]) if chain is not None else None
        if queries is None or queries.op_type != "DequantizeLinear" or chain is None or root is None:
            continue
        # The other readers of this value need it unscaled.
        if len(graph.users(queries.output[0])) > 1:
            continue
        found = True
        scale = numpy_helper.to_array(graph.constants[queries.input[1]])
        queries.input[1] = graph.keep(f"{PREFIX}{product.output[0]}.scale", (scale / root).astype(np.float32))
        product.output[0] = chain[0].output[0]
        graph.take_out(chain[0])
    return found


class _Graph:
    """A graph under change: nodes are taken out, and others are put in their places."""

    def __init__(self, model: onnx.ModelProto) -> None:
        self.model = model
        self.nodes: list[onnx.NodeProto] = list(model.graph.node)
        self.constants = {constant.name: constant for constant in model.graph.initializer}

    def maker(self, value: str) -> onnx.NodeProto | None:
        return next((node for node in self.nodes if value in node.output), None)

    def users(self, value: str) -> list[onnx.NodeProto]:
        return [node for node in self.nodes if value in node.input]

    def chain(self, start: onnx.NodeProto, *operators: str) -> list[onnx.NodeProto] | None:
        """The nodes behind `start`, one for each of these operators, if each has only this use for its input's value."""
        found, node = [], start
        for operator in operators:
            users = self.users(node.output[0])
            if [user.op_type for user in users] != [operator]:
                return None
            node = users[0]
            found.append(node)
        return found

    def of(self, operator: str) -> Iterator[onnx.NodeProto]:
        return iter([node for node in self.nodes if node.op_type == operator])

    def number(self, name: str) -> float | None:
        """The value of a constant that is a single number."""
        constant = self.constants.get(name)
        if constant is None or len(constant.dims) > 0:
            return None
        return float(numpy_helper.to_array(constant))

    def put(self, place: onnx.NodeProto, *nodes: onnx.NodeProto) -> None:
        """Put nodes in the place of another."""
        at = next(index for index, node in enumerate(self.nodes) if node is place)
        self.nodes[at : at + 1] = nodes

    def take_out(self, *nodes: onnx.NodeProto) -> None:
        self.nodes = [node for node in self.nodes if not any(node is gone for gone in nodes)]

    def keep(self, name: str, value: npt.NDArray[np.generic]) -> str:
        """Keep a constant under this name."""
        self.constants[name] = numpy_helper.from_array(value, name)
        return name

    def finished(self) -> onnx.ModelProto:
        """The model, without constants that no node uses any more."""
        used = {name for node in self.nodes for name in node.input}
        graph = self.model.graph
        del graph.node[:]
        graph.node.extend(self.nodes)
        del graph.initializer[:]
        graph.initializer.extend(constant for name, constant in self.constants.items() if name in used)
        for entry in self.model.opset_import:
            # Of the operators in these files, none changed its meaning between 18 and 20.
            entry.version = max(entry.version, export.OPSET)
        return self.model

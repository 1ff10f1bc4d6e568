"""Attention with the keys along the rows: the same numbers in a layout that the runtime computes in less time.

The exporter writes scores as [batch, heads, queries, keys]. The largest score and the sum of each query then form a column. The runtime
subtracts a column row by row, in rows of a few tokens. With [batch, heads, keys, queries] they form a row, which `Expand` copies in
blocks. Two of the four transposed copies become cheaper, too. Every number is the same; only the softmax adds in another order.
"""

from dataclasses import dataclass

import numpy as np
import onnx
from onnx import helper

from tagstream.model_export.onnx.graph import Graph

# The names of this module's nodes and constants begin with this prefix.
PREFIX = "turned."
KEYS = f"{PREFIX}keys"
# Permutations of [batch, tokens, heads, width]: the vectors of a head as rows, or as columns.
ROWS, COLUMNS = (0, 2, 1, 3), (0, 2, 3, 1)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Head:
    """The nodes of one attention layer."""

    queries: onnx.NodeProto
    keys: onnx.NodeProto
    values: onnx.NodeProto
    product: onnx.NodeProto
    masked: onnx.NodeProto
    largest: onnx.NodeProto
    below: onnx.NodeProto
    total: onnx.NodeProto
    shares: onnx.NodeProto
    mixed: onnx.NodeProto
    joined: onnx.NodeProto


def turn(graph: Graph) -> bool:
    """Turn each attention whose softmax is written in parts, if no other node reads its queries, keys and values."""
    masks: dict[tuple[str, bool], str] = {}
    shapes: dict[str, str] = {}
    found = False
    for power in list(graph.of("Exp")):
        head = _head(graph, power)
        if head is None:
            continue
        found = True
        _turn(graph, head)
        shape = _shape(graph, head, shapes)
        _mask(graph, head, shape, masks)
        if shape is None:
            continue
        for maker, user in ((head.largest, head.below), (head.total, head.shares)):
            wide = f"{PREFIX}{maker.output[0]}"
            graph.before(user, helper.make_node("Expand", [maker.output[0], shape], [wide], name=wide))
            user.input[1] = wide
    return found


def _turn(graph: Graph, head: _Head) -> None:
    """Swap the factors of both products, and sum over the keys' new axis."""
    axis = graph.keep(KEYS, np.array([-2], dtype=np.int64))
    head.largest.input[1] = head.total.input[1] = axis
    for node, order in (
        (head.queries, COLUMNS),
        (head.keys, ROWS),
        (head.values, COLUMNS),
        # The mixed values are now [batch, heads, width, queries].
        (head.joined, (0, 3, 1, 2)),
    ):
        node.attribute[0].ints[:] = order
    for product in (head.product, head.mixed):
        product.input[:] = [product.input[1], product.input[0]]


def _shape(graph: Graph, head: _Head, shapes: dict[str, str]) -> str | None:
    """
    Return the name of the scores' shape, shared by all layers in which each token attends to each token.

    None for a layer that computes one token only: a row has one number, so copying it in blocks saves nothing.
    """
    views = [graph.maker(node.input[0], "Reshape") for node in (head.queries, head.keys)]
    names = {view.input[1] if view is not None else None for view in views}
    view = names.pop()
    if names or view is None:
        return None
    if view not in shapes:
        shapes[view] = f"{PREFIX}{head.product.output[0]}.shape"
        graph.before(head.masked, helper.make_node("Shape", [head.product.output[0]], [shapes[view]], name=shapes[view]))
    return shapes[view]


def _mask(graph: Graph, head: _Head, shape: str | None, masks: dict[tuple[str, bool], str]) -> None:
    """Let the mask, [batch, 1, 1, keys], hide rows instead of columns. All layers share one copy of the mask."""
    mask = next(name for name in head.masked.input if name != head.product.output[0])
    known = (mask, shape is not None)
    if known not in masks:
        column = f"{PREFIX}{mask}"
        if (mask, not known[1]) not in masks:
            graph.before(head.masked, helper.make_node("Transpose", [mask], [column], name=column, perm=[0, 1, 3, 2]))
        masks[known] = column
        if shape is not None:
            masks[known] = f"{column}.wide"
            graph.before(head.masked, helper.make_node("Expand", [column, shape], [masks[known]], name=masks[known]))
    head.masked.input[:] = [head.product.output[0], masks[known]]


def _head(graph: Graph, power: onnx.NodeProto) -> _Head | None:
    """Return the attention around an `Exp`; None unless it has the structure that the exporter, the quantiser and `operators` write."""
    below = graph.maker(power.input[0], "Sub")
    largest = graph.maker(below.input[1], "ReduceMax") if below is not None else None
    masked = graph.maker(below.input[0], "Add") if below is not None else None
    parts = {user.op_type: user for user in graph.users(power.output[0])}
    if below is None or largest is None or masked is None or set(parts) != {"ReduceSum", "Div"}:
        return None
    if graph.array(largest.input[1]).tolist() != [-1]:
        return None
    product = next((made for made in map(graph.maker, masked.input) if made is not None and made.op_type == "MatMul"), None)
    rest = graph.chain(parts["Div"], "QuantizeLinear", "DequantizeLinear", "MatMul", "Transpose")
    if product is None or rest is None:
        return None
    mixed, joined = rest[-2:]
    sources = [_transposed(graph, name) for name in (*product.input, mixed.input[1])]
    orders = [tuple(node.attribute[0].ints) if node is not None else None for node in sources]
    queries, keys, values = sources
    if orders != [ROWS, COLUMNS, ROWS] or tuple(joined.attribute[0].ints) != ROWS:
        return None
    if queries is None or keys is None or values is None:
        return None
    return _Head(
        queries=queries,
        keys=keys,
        values=values,
        product=product,
        masked=masked,
        largest=largest,
        below=below,
        total=parts["ReduceSum"],
        shares=parts["Div"],
        mixed=mixed,
        joined=joined,
    )


def _transposed(graph: Graph, value: str) -> onnx.NodeProto | None:
    """Return the transposition before a rounded factor of a product; None if another node reads its result, too."""
    for operator in ("DequantizeLinear", "QuantizeLinear", "Transpose"):
        made = graph.maker(value, operator)
        if made is None or len(graph.users(value)) != 1:
            return None
        value = made.input[0]
    return made

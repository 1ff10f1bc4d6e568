"""Sums over the tokens of a text that no order of addition and no padding can change.

A sum of floats depends on its order, and the runtime's order depends on the length to which a text is padded. A sum of whole
numbers does not. So both sums over tokens, the softmax's and the mean's, are sums of 32-bit whole numbers: each value times a
power of two, cut off behind the point, so large that the sum of 512 of them still fits. A padded token adds zero.

A power of a softmax, at most 1, keeps 21 bits behind the point, and its share is rounded to 1/255 afterwards: the cut changes
next to no share.
"""

import math

import numpy as np
import onnx
from onnx import TensorProto, helper

from tagstream.model_export.onnx import ngrams
from tagstream.model_export.onnx.graph import Graph

# The names of the nodes and constants of this module begin with it.
PREFIX = "exact."
# The longest text of a bundle, in tokens, see `manifest.py`, is 2^9.
LONGEST_BITS, WHOLE_BITS = 9, 30


def scale(bits: int) -> float:
    """
    The power of two that makes numbers from -2^bits to 2^bits so large that 512 of them add up to 2^30 at most.

    >>> scale(0) * 512 == 2**30
    True
    """
    return 2.0 ** (WHOLE_BITS - LONGEST_BITS - bits)


def exact_totals(graph: Graph) -> bool:
    """Add the powers of each softmax, which are at most 1, as whole numbers."""
    found = False
    for power in list(graph.of("Exp")):
        for total in graph.users(power.output[0]):
            if total.op_type == "ReduceSum":
                _in_whole_numbers(graph, total, bits=0)
                found = True
    return found


def exact_mean(graph: Graph) -> bool:
    """Add the vectors of the tokens as whole numbers, whose bound is that of the layer normalisation."""
    found = False
    for total in list(graph.of("ReduceSum")):
        masked = graph.maker(total.input[0], "Mul")
        norm = graph.maker(masked.input[0], "LayerNormalization") if masked is not None else None
        if masked is None or norm is None:
            continue
        gain, shift = (np.abs(graph.array(name)).max() for name in norm.input[1:3])
        # A normalised vector of n numbers has length sqrt(n), so none of them is larger.
        bound = float(gain) * math.sqrt(graph.array(norm.input[1]).size) + float(shift)
        _in_whole_numbers(graph, total, bits=math.ceil(math.log2(bound)))
        found = True
    return found


def all_exact(graph: Graph) -> bool:
    """Every sum over tokens is exact: a text's logits depend neither on its neighbours nor on its padding."""
    return any(graph.of("Exp")) and all(_is_exact(graph, total) for total in graph.of("ReduceSum"))


def _is_exact(graph: Graph, total: onnx.NodeProto) -> bool:
    # The reader's sums are of whole numbers too; a sum along a text's one vector has one length in any batch.
    if total.name.startswith(ngrams.PREFIX) or total.input[0].startswith(PREFIX):
        return True
    made = graph.maker(total.input[0], "Mul")
    return made is not None and made.input[0] == made.input[1] and bool((graph.array(total.input[1]) == -1).all())


def _in_whole_numbers(graph: Graph, total: onnx.NodeProto, *, bits: int) -> None:
    """Let a sum of numbers between -2^bits and 2^bits be one of whole numbers, and its readers see it as before."""
    up = graph.keep(f"{PREFIX}up.{bits}", np.array(scale(bits), dtype=np.float32))
    down = graph.keep(f"{PREFIX}down.{bits}", np.array(1 / scale(bits), dtype=np.float32))
    value, out = total.input[0], total.output[0]
    large, whole, summed, back = (f"{PREFIX}{out}.{part}" for part in ("large", "whole", "summed", "back"))
    total.input[0], total.output[0] = whole, summed
    graph.put(
        total,
        helper.make_node("Mul", [value, up], [large], name=large),
        helper.make_node("Cast", [large], [whole], name=whole, to=TensorProto.INT32),
        total,
        helper.make_node("Cast", [summed], [back], name=back, to=TensorProto.FLOAT),
        helper.make_node("Mul", [back, down], [out], name=f"{PREFIX}{out}"),
    )

"""Sums over the tokens of a text that depend neither on the order of addition nor on padding.

A sum of floats depends on its order, and the runtime's order depends on the length to which a text is padded. A sum of integers does not
depend on the order. So both sums over tokens, in the softmax and in the mean, are sums of 32-bit integers: each value is multiplied by a
power of two and truncated. The power is the largest with which a sum of 512 values still fits. A padding token adds zero.

A power of a softmax is at most 1 and keeps 21 bits after the binary point. Its share is rounded to 1/255 afterwards, so the truncation
changes almost no share.
"""

import math

import numpy as np
import onnx
from onnx import TensorProto, helper

from tagstream.model_export.onnx import ngrams
from tagstream.model_export.onnx.graph import Graph

# The names of this module's nodes and constants begin with this prefix.
PREFIX = "exact."
# The longest text of a bundle has 2^9 tokens, see `manifest.py`. A sum is at most 2^30.
LONGEST_BITS, WHOLE_BITS = 9, 30


def scale(bits: int) -> float:
    """
    Return the power of two by which numbers from -2^bits to 2^bits are multiplied: 512 products add up to at most 2^30.

    >>> scale(0) * 512 == 2**30
    True
    """
    return 2.0 ** (WHOLE_BITS - LONGEST_BITS - bits)


def exact_totals(graph: Graph) -> bool:
    """Add the powers of each softmax, which are at most 1, as integers."""
    found = False
    for power in list(graph.of("Exp")):
        for total in graph.users(power.output[0]):
            if total.op_type == "ReduceSum":
                _in_whole_numbers(graph, total, bits=0)
                found = True
    return found


def exact_mean(graph: Graph) -> bool:
    """Add the vectors of the tokens as integers. The layer normalisation bounds the values."""
    found = False
    for total in list(graph.of("ReduceSum")):
        masked = graph.maker(total.input[0], "Mul")
        norm = graph.maker(masked.input[0], "LayerNormalization") if masked is not None else None
        if masked is None or norm is None:
            continue
        gain, shift = (np.abs(graph.array(name)).max() for name in norm.input[1:3])
        # A normalised vector of n numbers has the length sqrt(n), so each number is at most sqrt(n).
        bound = float(gain) * math.sqrt(graph.array(norm.input[1]).size) + float(shift)
        _in_whole_numbers(graph, total, bits=math.ceil(math.log2(bound)))
        found = True
    return found


def all_exact(graph: Graph) -> bool:
    """Whether every sum over tokens is exact. Then a text's logits depend neither on the other texts of the batch nor on padding."""
    return any(graph.of("Exp")) and all(_is_exact(graph, total) for total in graph.of("ReduceSum"))


def _is_exact(graph: Graph, total: onnx.NodeProto) -> bool:
    # The n-gram reader adds integers, too. A sum along the single vector of a text has the same length in every batch.
    if total.name.startswith(ngrams.PREFIX) or total.input[0].startswith(PREFIX):
        return True
    made = graph.maker(total.input[0], "Mul")
    return made is not None and made.input[0] == made.input[1] and bool((graph.array(total.input[1]) == -1).all())


def _in_whole_numbers(graph: Graph, total: onnx.NodeProto, *, bits: int) -> None:
    """Compute a sum of numbers between -2^bits and 2^bits with integers. Its readers get the value under the same name as before."""
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

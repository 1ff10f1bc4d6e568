"""
The processor: the share of its int8 speed that the bundle's network reaches, and the share of its time that other programs have.

The first is counted multiplications over a measured peak.
"""

import statistics
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
from onnx import TensorProto, helper, numpy_helper

from tagstream.model_export.bundle.bundle import DEFAULT_BUNDLE, read
from tagstream.model_export.bundle.model import open_session

# Flags of /proc/cpuinfo, the strongest first, and the kind of int8 arithmetic that each stands for.
KINDS = (
    ("amx_int8", "matrix units (AMX)"),
    ("avx512_vnni", "dot products of 512 bits (AVX-512 VNNI)"),
    ("avx_vnni", "dot products of 256 bits (AVX-VNNI)"),
    ("i8mm", "matrix products (Arm i8mm)"),
    ("asimddp", "dot products (Arm)"),
    ("avx2", "no dot products (AVX2)"),
)
SIDE = 1024
ROWS, TOKENS = 16, 32
PRODUCTS = {"MatMul", "Gemm", "MatMulInteger", "QLinearMatMul"}
INTEGER = {"MatMulInteger", "QLinearMatMul"}
MODEL_NAMES = ("model name", "Model", "CPU part")

Ids = dict[str, npt.NDArray[np.int64]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Products:
    """Multiplications with an addition of one text: those of whole numbers, and those of floats."""

    integer: int
    floating: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Roofline:
    """
    The measured figures, of one thread.

    Attributes:
        kind: Of the processor's int8 arithmetic.
        peak: Multiplications a second in a product of 1,024 by 1,024 by 1,024.
        products: Of one text.
        text_us: Microseconds a text in the session alone, in batches of 16.
        tokens: Of each text.
    """

    kind: str
    peak: float
    products: Products
    text_us: float
    tokens: int

    @property
    def share(self) -> float:
        """The share of the peak that the session reaches, 0 to 1: the time that the whole numbers would need at the peak over its own."""
        return self.products.integer / self.peak * 1e6 / self.text_us


def kind_of(flags: Sequence[str]) -> str:
    """
    The kind of processor, from its flags.

    >>> kind_of(["sse2", "avx2", "avx512_vnni"])
    'dot products of 512 bits (AVX-512 VNNI)'
    """
    return next((kind for flag, kind in KINDS if flag in flags), "unknown")


def flags(cpuinfo: str) -> list[str]:
    r"""
    The flags in the text of /proc/cpuinfo.

    >>> flags("processor : 0\nflags : fpu avx2\n")
    ['fpu', 'avx2']
    """
    lines = (line.partition(":") for line in cpuinfo.splitlines())
    return next((after.split() for name, _, after in lines if name.strip() in {"flags", "Features"}), [])


def processor(cpuinfo: str) -> str:
    """The name of the processor in the text of /proc/cpuinfo."""
    lines = [line.partition(":") for line in cpuinfo.splitlines()]
    return next((after.strip() for name, _, after in lines if name.strip() in MODEL_NAMES), "unknown processor")


def processor_ticks() -> tuple[int, int]:
    """Busy and all ticks of all cores since the machine's start, stolen ones among the busy."""
    first = Path("/proc/stat").read_text(encoding="utf-8").splitlines()[0]
    ticks = [int(word) for word in first.split()[1:9]]
    idle = ticks[3] + ticks[4]
    return sum(ticks) - idle, sum(ticks)


def share_of_others(seconds: float = 3.0) -> float:
    """The share of the processor that is taken while this program sleeps, 0 to 1."""
    busy, every = processor_ticks()
    time.sleep(seconds)
    busy_then, every_then = processor_ticks()
    # The kernel lets its count of waiting for disks fall at times, and then more was busy than passed.
    return min(1.0, (busy_then - busy) / max(1, every_then - every))


def products_of(model: bytes, inputs: Ids) -> Products:
    """
    Count the products of a graph, by the shapes that a run of it has.

    A product counts as one of whole numbers where its operator is, or where both factors come out of a DequantizeLinear: the runtime
    then multiplies before it scales.

    Args:
        model: An ONNX file.
        inputs: Of one text; the counts are of all rows in them.
    """
    graph = onnx.load_from_string(model)
    makers = {name: node for node in graph.graph.node for name in node.output}
    nodes = [node for node in graph.graph.node if node.op_type in PRODUCTS]
    known = {value.name for value in graph.graph.output}
    names = list(dict.fromkeys(name for node in nodes for name in (node.input[0], node.output[0])))
    constants = {constant.name: list(constant.dims) for constant in graph.graph.initializer}
    asked = [name for name in names if name not in constants and name not in inputs]
    graph.graph.output.extend(helper.make_empty_tensor_value_info(name) for name in asked if name not in known)
    shapes = constants | {name: list(value.shape) for name, value in inputs.items()}
    session = open_session(graph.SerializeToString())
    shapes |= {name: list(value.shape) for name, value in zip(asked, session.run(asked, inputs), strict=True)}
    integer = floating = 0
    for node in nodes:
        swapped = any(attribute.name == "transA" and attribute.i for attribute in node.attribute)
        depth = shapes[node.input[0]][-2 if swapped else -1]
        count = int(np.prod(shapes[node.output[0]])) * depth
        if _is_integer(node, makers):
            integer += count
        else:
            floating += count
    return Products(integer=integer, floating=floating)


def _is_integer(node: onnx.NodeProto, makers: Mapping[str, onnx.NodeProto]) -> bool:
    factors = [makers.get(name) for name in node.input[:2]]
    return node.op_type in INTEGER or all(maker is not None and _dequantized(maker, makers) for maker in factors)


def _dequantized(maker: onnx.NodeProto, makers: Mapping[str, onnx.NodeProto]) -> bool:
    """Nodes that only move values stand between the scales and a product: they change no number."""
    while maker.op_type in {"Transpose", "Reshape"} and maker.input[0] in makers:
        maker = makers[maker.input[0]]
    return bool(maker.op_type == "DequantizeLinear")


def product(side: int) -> bytes:
    """A graph that multiplies uint8 by int8, [side, side] each; weights of seven bits, which no processor saturates."""
    chance = np.random.default_rng(1)
    weight = numpy_helper.from_array(chance.integers(-64, 64, (side, side), dtype=np.int8), "weight")
    graph = helper.make_graph(
        [helper.make_node("MatMulInteger", ["given", "weight"], ["out"])],
        "product",
        [helper.make_tensor_value_info("given", TensorProto.UINT8, [side, side])],
        [helper.make_tensor_value_info("out", TensorProto.INT32, [side, side])],
        [weight],
    )
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)
    return bytes(made.SerializeToString())


def run(*, rounds: int, side: int = SIDE, rows: int = ROWS, tokens: int = TOKENS) -> Roofline:
    """Measure the peak and the session in turn, in this thread's processor time; medians."""
    model = read(DEFAULT_BUNDLE).model
    chance = np.random.default_rng(2)
    one = _inputs(1, tokens, chance)
    whole, peak = open_session(model), open_session(product(side))
    inputs = _inputs(rows, tokens, chance)
    given = {"given": chance.integers(0, 255, (side, side), dtype=np.uint8)}
    taken: dict[str, list[float]] = {"peak": [], "whole": []}
    for number in range(rounds + 1):
        for name, session, asked in (("peak", peak, given), ("whole", whole, inputs)):
            seconds = _seconds(session, asked)
            if number:
                taken[name].append(seconds)
    return Roofline(
        kind=kind_of(flags(Path("/proc/cpuinfo").read_text(encoding="utf-8"))),
        peak=side**3 / statistics.median(taken["peak"]),
        products=products_of(model, one),
        text_us=1e6 * statistics.median(taken["whole"]) / rows,
        tokens=tokens,
    )


def _seconds(session: Any, inputs: Mapping[str, Any]) -> float:
    began = time.thread_time()
    session.run(None, inputs)
    return time.thread_time() - began


def _inputs(rows: int, tokens: int, chance: np.random.Generator) -> Ids:
    ids = chance.integers(1000, 20_000, (rows, tokens), dtype=np.int64)
    return {"input_ids": ids, "attention_mask": np.ones_like(ids)}

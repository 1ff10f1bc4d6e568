"""Restores the network of an int8 file in full precision, so that it can be tuned further.

The rounding cannot be undone: text vectors of the restored network have a cosine of 0.997 with the file's. The network was trained with
rounding, so a second rounding does not cost accuracy.
"""

import numpy as np
import numpy.typing as npt
import torch

from tagstream.model_export.onnx import export, heads, strangeness
from tagstream.model_export.onnx.graph import Graph
from tagstream.model_export.train.network import Shape, TagNetwork

Floats = npt.NDArray[np.float32]

POSITIONS = "positions.weight"
# The products and norms of a layer in the order in which `network.Layer` computes them. Not every file has their names.
PRODUCTS, NORMS = ("key", "value", "query", "attended", "widen", "narrow"), ("attended_norm", "norm")


class RestoreError(Exception):
    """The file is not one of this project's networks."""

    exit_code = 1


def layers_in(model: bytes) -> int:
    """Return the number of layers of a file's network."""
    return len(list(Graph(export.load(model)).of("LayerNormalization"))) // len(NORMS)


def restore(model: bytes, shape: Shape) -> TagNetwork:
    """
    Return the network of a file, ready to be tuned.

    Args:
        model: The file, as `quantize` and `operators` write it.
        shape: The shape of the network.

    Raises:
        RestoreError: The file does not have a network of this shape.
    """
    norms = ["embedded_norm", *(f"layers.{number}.{norm}" for number in range(shape.layers) for norm in NORMS)]
    names = [*(f"layers.{number}.{product}" for number in range(shape.layers) for product in PRODUCTS), "head"]
    try:
        file = export.load(model)
        # The second head and the strangeness output are dropped: they are fitted anew to the vectors of the tuned network.
        heads.drop_label_head(file)
        strangeness.drop(file)
        graph = Graph(file)
        state = {POSITIONS: graph.array(POSITIONS)}
        state["words.weight"] = _words(graph)
        for norm, name in zip(graph.of("LayerNormalization"), norms, strict=True):
            state[f"{name}.weight"], state[f"{name}.bias"] = (graph.array(value) for value in norm.input[1:])
        for gemm, name in zip(graph.of("Gemm"), names, strict=True):
            weight = _whole(graph, gemm.input[1])
            turned = any(attribute.name == "transB" and attribute.i for attribute in gemm.attribute)
            state[f"{name}.weight"] = weight if turned else weight.T
            state[f"{name}.bias"] = _whole(graph, gemm.input[2])
        network = TagNetwork(shape)
        network.load_state_dict({name: torch.tensor(value, dtype=torch.float32) for name, value in state.items()})
    except (KeyError, ValueError, IndexError, StopIteration, RuntimeError) as error:
        msg = f"the file is not a network that can be tuned further: {error}. Next: train anew (`tagstream model train`)."
        raise RestoreError(msg) from error
    network.eval()
    return network


def _words(graph: Graph) -> Floats:
    """Return the word embeddings from int8 rows, each with a scale."""
    rows, scales = (graph.array(node.input[0]) for node in graph.of("GatherND"))
    found: Floats = rows.astype(np.float32) * scales
    return found


def _whole(graph: Graph, value: str) -> Floats:
    """Return a rounded constant in full precision. Its channels are along the axis that the node names."""
    node = graph.maker(value, "DequantizeLinear")
    if node is None:
        msg = f"{value} is not rounded"
        raise ValueError(msg)
    rounded, scale = graph.array(node.input[0]).astype(np.float64), graph.array(node.input[1]).astype(np.float64)
    if scale.ndim:
        axis = next((attribute.i for attribute in node.attribute if attribute.name == "axis"), 1) % rounded.ndim
        scale = scale.reshape([-1 if place == axis else 1 for place in range(rounded.ndim)])
    found: Floats = (rounded * scale).astype(np.float32)
    return found

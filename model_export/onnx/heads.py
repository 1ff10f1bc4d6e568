"""The heads of an int8 file: compute the vectors that enter them, replace the first head, add or remove other heads.

A head is one `Gemm` with constants in seven bits, as `quantize` writes it. The second head, for the option `multilabel`, is another
product of the same rounded vector, with the output `label_logits`. `strangeness` adds a third head.
"""

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
from onnx import numpy_helper

from tagstream.model_export.bundle.model import LABEL_LOGITS, open_session
from tagstream.model_export.onnx import export, ngrams
from tagstream.model_export.train import batches
from tagstream.model_export.train.head import Head

Floats = npt.NDArray[np.float64]

# The largest weight in seven bits, as everywhere in the file: see quantize.py.
INT_MAX = 64
BATCH = 16


class HeadError(Exception):
    """The file does not have a head that this module can replace."""

    exit_code = 1


def _ignored(_rows: int) -> None:
    """Ignore the progress."""


def embed(
    model: bytes, rows: Sequence[Sequence[int]], *, threads: int = 1, progress: Callable[[int], None] = _ignored
) -> Floats:
    """
    Return the vectors that enter the head of an int8 file for tokenised texts, [rows, width], in the order of the texts.

    Args:
        model: The int8 file.
        rows: The tokenised texts.
        threads: The number of cores to use.
        progress: Is called with the number of finished texts.

    Raises:
        HeadError: The file does not have a head that this module knows.
    """
    graph = export.load(model)
    name = head_of(graph).input[0]
    graph.graph.output.append(onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, ["batch", "width"]))
    running = open_session(graph.SerializeToString())

    def vectors(places: list[int]) -> tuple[list[int], npt.NDArray[np.float32]]:
        ids, mask = batches.pad([rows[place] for place in places])
        (found,) = running.run([name], {"input_ids": ids.numpy(), "attention_mask": mask.numpy()})
        return places, found

    parts: list[tuple[list[int], npt.NDArray[np.float32]]] = []
    done = 0
    with ThreadPoolExecutor(threads, thread_name_prefix="embed") as executor:
        for part in executor.map(vectors, batches.by_length(rows, BATCH)):
            parts.append(part)
            done += len(part[0])
            progress(done)
    if not parts:
        return np.empty((0, 0))
    found = np.empty((len(rows), parts[0][1].shape[1]))
    for places, values in parts:
        found[places] = values
    return found


def with_head(model: bytes, head: Head, labels: Sequence[str]) -> bytes:
    """
    Return the file with another head: weights in seven bits with one scale for each label, as `quantize` writes them.

    Args:
        model: The ONNX file.
        head: The new head: weight of shape (labels, width) and bias of shape (labels,).
        labels: The labels of the new head, in its order.

    Raises:
        HeadError: The head in the file has another shape.
    """
    graph = export.load(model)
    drop_label_head(graph)
    ngrams.drop(graph)
    gemm = head_of(graph)
    producers = {output: node for node in graph.graph.node for output in node.output}
    constants = {constant.name: constant for constant in graph.graph.initializer}
    try:
        into, weight, bias = (producers[name] for name in gemm.input)
        step = float(numpy_helper.to_array(constants[into.input[1]]))
        names = (*weight.input[:2], *bias.input[:2])
        for name, values in zip(names, rounded(head, step), strict=True):
            before = numpy_helper.to_array(constants[name])
            if (before.shape, before.dtype) != (values.shape, values.dtype):
                msg = f"the head's {name} is {before.dtype}{list(before.shape)}, not {values.dtype}{list(values.shape)}"
                raise foreign(msg)
            constants[name].CopyFrom(numpy_helper.from_array(values, name))
    except (KeyError, ValueError, IndexError) as error:
        msg = f"the head's constants are not where they are expected: {error}"
        raise foreign(msg) from error
    return export.finish(graph, labels)


def rounded(head: Head, step: float) -> tuple[npt.NDArray[Any], ...]:
    """
    Return a head in seven bits, as the file keeps it.

    Args:
        head: The fitted head, in full precision.
        step: The step of the rounding of the vectors.

    Returns:
        Weight (int8, in the shape of the head's weight), the weight's scale by label (float32), bias (int32), and the bias's scale by label
        (float32).
    """
    scales = np.abs(head.weight).max(axis=1) / INT_MAX
    weight = np.round(head.weight / scales[:, None]).astype(np.int8)
    bias = np.round(head.bias / (scales * step)).astype(np.int32)
    return weight, scales.astype(np.float32), bias, (scales * step).astype(np.float32)


def drop_label_head(graph: onnx.ModelProto) -> None:
    """Remove the second head from the graph, if there is one: it belongs to another first head."""
    for kept in (graph.graph.output, graph.graph.node, graph.graph.initializer):
        # The names of the second head's nodes and constants begin with the name of its output.
        ours = [item for item in kept if item.name.startswith(LABEL_LOGITS)]
        for item in ours:
            kept.remove(item)


def head_of(graph: onnx.ModelProto) -> onnx.NodeProto:
    """Return the product that gives the network's logits."""
    for node in graph.graph.node:
        if node.op_type == "Gemm" and {export.OUTPUT, ngrams.NETWORK_LOGITS} & set(node.output):
            return node
    msg = "no product gives the logits"
    raise foreign(msg)


def foreign(why: str) -> HeadError:
    """Return the error for a file whose head has another structure."""
    return HeadError(f"the bundle's head cannot be replaced: {why}. Next: train anew, with `tagstream model train`.")


def with_label_head(model: bytes, head: Head, labels: Sequence[str]) -> bytes:
    """
    Return the file with a second output `label_logits`: a product like the first head's, of the same rounded vector.

    Args:
        model: The ONNX file.
        head: The second head: weight of shape (labels, width) and bias of shape (labels,), like the first head.
        labels: The labels of the second head, in its order.

    Raises:
        HeadError: The first head in the file has another structure.
    """
    graph = export.load(model)
    drop_label_head(graph)
    add_product(graph, head, LABEL_LOGITS)
    graph.graph.output.append(onnx.helper.make_tensor_value_info(LABEL_LOGITS, onnx.TensorProto.FLOAT, ["batch", len(labels)]))
    return export.finish(graph, labels)


def add_product(graph: onnx.ModelProto, lines: Head, name: str) -> None:
    """
    Add a product of the rounded vector that enters the first head, in seven bits like the first head.

    Args:
        graph: The graph of the file.
        lines: The product's weight of shape (lines, width) and bias of shape (lines,).
        name: The name of the product's value. The names of the new nodes and constants begin with this name.

    Raises:
        HeadError: The first head in the file has another structure, or takes vectors of another width.
    """
    first = head_of(graph)
    producers = {output: node for node in graph.graph.node for output in node.output}
    constants = {constant.name: constant for constant in graph.graph.initializer}
    try:
        into, weight, bias = (producers[value] for value in first.input)
        step = float(numpy_helper.to_array(constants[into.input[1]]))
        width = constants[weight.input[0]].dims[1]
    except (KeyError, ValueError, IndexError) as error:
        msg = f"its constants are not where they are expected: {error}"
        raise foreign(msg) from error
    if width != lines.weight.shape[1]:
        msg = f"it takes vectors of {width} numbers, not of {lines.weight.shape[1]}"
        raise foreign(msg)
    values = iter(rounded(lines, step))
    for role, node in (("weight", weight), ("bias", bias)):
        kept = [(f"{name}.{role}.rounded", next(values)), (f"{name}.{role}.scale", next(values))]
        kept.append((f"{name}.{role}.zero", np.zeros(len(lines.bias), dtype=kept[0][1].dtype)))
        graph.graph.initializer.extend(numpy_helper.from_array(value, constant) for constant, value in kept)
        graph.graph.node.append(_like(node, [constant for constant, _ in kept], f"{name}.{role}"))
    graph.graph.node.append(_like(first, [first.input[0], f"{name}.weight", f"{name}.bias"], name))


def without_label_head(model: bytes, labels: Sequence[str]) -> bytes:
    """Return the file without the second head."""
    graph = export.load(model)
    drop_label_head(graph)
    return export.finish(graph, labels)


def _like(node: onnx.NodeProto, inputs: Sequence[str], output: str) -> onnx.NodeProto:
    made = onnx.NodeProto()
    made.CopyFrom(node)
    made.name = output
    made.input[:] = inputs
    made.output[:] = [output]
    return made

"""A new head, and a new reader of n-grams, on an encoder that stays as it is: a minute or two where training takes an hour.

What the encoder of a bundle sees is often right where its head is not: the head was fitted together with it, on the labels of that
day. So the int8 file is asked for the vector of every training text, as production would compute it, and logistic regression
draws the lines anew (`train.HeadRecipe`). What stands beside the network, `ngrams`, is learned anew with it, or alone.
"""

import logging
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
from onnx import numpy_helper

from model_export.bundle.bundle import Bundle
from model_export.bundle.classifier import open_session
from model_export.data.splits import Splits
from model_export.make import assemble
from model_export.make.assemble import Built, Target
from model_export.onnx import export, ngrams, parity
from model_export.train import batches
from model_export.train.checkpoint import Trained
from model_export.train.tuning import Head, HeadRecipe, examples, fit_head

logger = logging.getLogger(__name__)

Floats = npt.NDArray[np.float64]

# Seven bits, as everywhere in the file: see quantize.py.
INT_MAX = 64
# The second output, and what every part of the head that gives it is called by.
LABEL_OUTPUT = "label_logits"
BATCH = 16


class HeadError(Exception):
    """The file has no head of the shape that this module can replace."""

    exit_code = 1


def refit_bundle(folder: Path, *, bundle: Bundle, splits: Splits, target: Target, recipe: HeadRecipe | None = None) -> Built:
    """
    Fit a head anew and write the bundle that has it.

    Args:
        folder: Where the new bundle goes.
        bundle: The one whose encoder is kept.
        splits: What `data.load` returned.
        target: The new bundle's name and promise.
        recipe: Every number of the procedure.

    Raises:
        HeadError: The bundle's file has another head than `quantize` writes.
        ParityError: The head in seven bits is not the one that was fitted, or predictions depend on their batch.
        CalibrationError: The promise cannot be kept on the calibration rows.
    """
    recipe = recipe or HeadRecipe()
    labels = bundle.manifest.labels
    tokenizer = batches.load_tokenizer(bundle.tokenizer, target.max_length)
    train, calibration = (examples(tokenizer, rows, labels) for rows in (splits.train, splits.calibration))
    head = fit_head(embed(bundle.model, train.rows), train, recipe)
    model = with_head(bundle.model, head, labels)
    rows = calibration.rows[: assemble.PARITY_ROWS]
    wanted = embed(bundle.model, rows) @ head.weight.T + head.bias
    compared = assemble.Compared(
        logits=(wanted, found := parity.run(model, rows)),
        # The encoder's own gates were passed when it was exported; what is new here is the head.
        export=parity.Difference(**bundle.manifest.parity["export"]),
        quantisation=parity.check_quantised(wanted, found, target.limits),
    )
    learned = ngrams.learn(model, train=train, calibration=calibration, vocabulary=tokenizer.get_vocab_size())
    return assemble.finish(
        folder,
        model=ngrams.add(model, learned, labels),
        compared=compared,
        trained=Trained(labels=labels, record=ngrams.recorded(record(bundle, splits, recipe), learned)),
        tokenizer=tokenizer,
        splits=splits,
        target=target,
    )


def record(bundle: Bundle, splits: Splits, recipe: HeadRecipe) -> dict[str, object]:
    """What the new manifest says of its making: the head's recipe and data, and all that the old one said of the encoder's."""
    return {
        "head": asdict(recipe),
        "data": splits.as_record(),
        "encoder": {"bundle": bundle.digest, "parity": bundle.manifest.parity, **bundle.manifest.training},
    }


def teach_ngrams(folder: Path, *, bundle: Bundle, splits: Splits, target: Target) -> Built:
    """
    Keep the network of a bundle with its head, and learn the n-grams beside it anew, or for the first time.

    What was proved of the network when it was exported is kept. How often rounding sends a text through another door is not: it depends on
    the thresholds, and the network that was rounded is gone. Arguments and errors as of `refit_bundle`.
    """
    labels = bundle.manifest.labels
    graph = export.load(bundle.model)
    drop_label_head(graph)
    ngrams.drop(graph)
    model = export.finish(graph, labels)
    tokenizer = batches.load_tokenizer(bundle.tokenizer, target.max_length)
    train, calibration = (examples(tokenizer, rows, labels) for rows in (splits.train, splits.calibration))
    learned = ngrams.learn(model, train=train, calibration=calibration, vocabulary=tokenizer.get_vocab_size())
    # The network's own record says which rows that learned from.
    learned = replace(learned, record=learned.record | {"data": splits.as_record()})
    compared = assemble.Compared(
        logits=None,
        export=parity.Difference(**bundle.manifest.parity["export"]),
        quantisation=parity.Difference(**bundle.manifest.parity["quantised"]),
    )
    return assemble.finish(
        folder,
        model=ngrams.add(model, learned, labels),
        compared=compared,
        trained=Trained(labels=labels, record=ngrams.recorded(bundle.manifest.training, learned)),
        tokenizer=tokenizer,
        splits=splits,
        target=target,
    )


def embed(model: bytes, rows: Sequence[Sequence[int]]) -> Floats:
    """What enters the head of an int8 file for tokenised texts, [rows, width], in order."""
    graph = export.load(model)
    name = head_of(graph).input[0]
    graph.graph.output.append(onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, ["batch", "width"]))
    running = open_session(graph.SerializeToString())
    parts: dict[int, Floats] = {}
    for places in batches.by_length(rows, BATCH):
        ids, mask = batches.pad([rows[place] for place in places])
        (found,) = running.run([name], {"input_ids": ids.numpy(), "attention_mask": mask.numpy()})
        parts.update(zip(places, found.astype(np.float64), strict=True))
    return np.array([parts[place] for place in range(len(rows))])


def with_head(model: bytes, head: Head, labels: Sequence[str]) -> bytes:
    """
    The file with another head, in seven bits a weight with a scale a label, as `quantize` writes it.

    Raises:
        HeadError: The file's head is of another shape.
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
    A head in seven bits, as the file keeps it.

    Args:
        head: What was fitted.
        step: The step of the vectors' own rounding.

    Returns:
        Weight (int8, as the head's), its scale a label (float32), bias (int32), its scale a label (float32).
    """
    scales = np.abs(head.weight).max(axis=1) / INT_MAX
    weight = np.round(head.weight / scales[:, None]).astype(np.int8)
    bias = np.round(head.bias / (scales * step)).astype(np.int32)
    return weight, scales.astype(np.float32), bias, (scales * step).astype(np.float32)


def drop_label_head(graph: onnx.ModelProto) -> None:
    """Take a second head (multilabel.py) out of the graph, where there is one: fitted beside another first one, it is of another bundle."""
    for kept in (graph.graph.output, graph.graph.node, graph.graph.initializer):
        ours = [item for item in kept if item.name.startswith(LABEL_OUTPUT)]
        for item in ours:
            kept.remove(item)


def head_of(graph: onnx.ModelProto) -> onnx.NodeProto:
    """The product that gives the network's logits."""
    for node in graph.graph.node:
        if node.op_type == "Gemm" and {export.OUTPUT, ngrams.NETWORK_LOGITS} & set(node.output):
            return node
    msg = "no product gives the logits"
    raise foreign(msg)


def foreign(why: str) -> HeadError:
    """What is said of a file whose head is of another make."""
    return HeadError(f"the bundle's head cannot be replaced: {why}. Next: train anew, with `tagstream model train`.")

"""Exports a trained network to one ONNX file: standard operators only, float32, with the labels in the metadata."""

import io
import warnings
from collections.abc import Sequence

import onnx
import torch
from torch import nn

from tagstream.model_export.bundle.bundle import ANY_PADDING, LABELS_METADATA_KEY, PADDING_METADATA_KEY
from tagstream.model_export.bundle.onnx_graph import STANDARD_DOMAINS

# The first opset with `Gelu`, see operators.py.
OPSET = 20
INPUTS, OUTPUT = ("input_ids", "attention_mask"), "logits"
MAX_BATCH = 4096
SAMPLE_SHAPE = (2, 16)


class ExportError(Exception):
    """A bundle may not hold the exported file."""

    exit_code = 1


def to_onnx(network: nn.Module, labels: Sequence[str], *, longest: int) -> bytes:
    """
    Export a network.

    Args:
        network: A network that computes logits from token ids and mask, in inference mode.
        labels: The labels in the order of the logits; they are written into the file's metadata.
        longest: The longest text that the network reads, in tokens.

    Raises:
        ExportError: The graph needs an operator outside the ONNX standard.
    """
    # Two tensors and not one tensor twice: the exporter takes an object that is given twice for one input.
    samples = (torch.zeros(SAMPLE_SHAPE, dtype=torch.int64), torch.ones(SAMPLE_SHAPE, dtype=torch.int64))
    sizes = {
        0: torch.export.Dim("batch", min=1, max=MAX_BATCH),
        1: torch.export.Dim("length", min=2, max=longest),
    }
    with torch.no_grad(), warnings.catch_warnings():
        # The exporter warns of its own future changes, which do not concern this code.
        warnings.simplefilter("ignore")
        program = torch.export.export(network, samples, dynamic_shapes=dict.fromkeys(INPUTS, sizes), strict=False)
        exported = torch.onnx.export(
            program, dynamo=True, opset_version=OPSET, input_names=list(INPUTS), output_names=[OUTPUT], verbose=False
        )
    if exported is None:
        msg = "the exporter returned nothing. Next: check with `pip check` that torch and onnxscript have the versions that the extra export needs."
        raise ExportError(msg)
    return finish(exported.model_proto, labels)


def finish(model: onnx.ModelProto, labels: Sequence[str], *, any_padding: bool = False) -> bytes:
    """
    Remove everything from the file that the runtime does not need, name the axes, and write the labels into the metadata.

    Args:
        model: The graph.
        labels: The labels in the order of the logits.
        any_padding: A text's logits do not depend on its padding, see `sums.py`. If the file's metadata already say so, they still do.

    Raises:
        ExportError: The graph needs an operator outside the ONNX standard, or is not valid ONNX.
    """
    foreign = sorted({node.domain for node in model.graph.node} - STANDARD_DOMAINS) + [f.name for f in model.functions]
    if foreign:
        msg = (
            f"the graph needs {foreign}, which are outside the ONNX standard. Next: export without optimisations of a runtime."
        )
        raise ExportError(msg)
    standard = [(entry.domain, entry.version) for entry in model.opset_import if entry.domain in STANDARD_DOMAINS]
    del model.opset_import[:]
    model.opset_import.extend(onnx.helper.make_opsetid(*entry) for entry in standard)
    for node in model.graph.node:
        node.ClearField("metadata_props")
        node.ClearField("doc_string")
    for value in (*model.graph.value_info, *model.graph.input, *model.graph.output, *model.graph.initializer):
        value.ClearField("metadata_props")
    _name_axes(model)
    any_padding = any_padding or any(entry.key == PADDING_METADATA_KEY for entry in model.metadata_props)
    del model.metadata_props[:]
    model.metadata_props.add(key=LABELS_METADATA_KEY, value="\n".join(labels))
    if any_padding:
        model.metadata_props.add(key=PADDING_METADATA_KEY, value=ANY_PADDING)
    _check(model)
    return bytes(model.SerializeToString(deterministic=True))


def _name_axes(model: onnx.ModelProto) -> None:
    for value in model.graph.input:
        for axis, name in zip(value.type.tensor_type.shape.dim, ("batch", "length"), strict=True):
            axis.dim_param = name
    for value in model.graph.output:
        value.type.tensor_type.shape.dim[0].dim_param = "batch"
    # The shapes of intermediate values name the exporter's own axes; the runtime infers these shapes again.
    del model.graph.value_info[:]


def _check(model: onnx.ModelProto) -> None:
    try:
        onnx.checker.check_model(model, full_check=True)
    except (onnx.checker.ValidationError, onnx.shape_inference.InferenceError) as error:
        msg = f"the exported graph is not valid ONNX: {error}. Next: report the versions of torch, onnx and onnxscript."
        raise ExportError(msg) from error


def load(data: bytes) -> onnx.ModelProto:
    """Parse a file that was written by this module."""
    return onnx.load_model(io.BytesIO(data), load_external_data=False)

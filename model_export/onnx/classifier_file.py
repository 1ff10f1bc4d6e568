"""A classifier that was exported to ONNX elsewhere: refused with the reason, or brought to the inputs and output of a bundle.

A bundle gives token ids, padded with 0, and a mask. The graph computes the other inputs of such files from these two: the token types are
0, the positions count the tokens, and the padding is replaced by the token with which the model was trained.
"""

import json
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper
from tokenizers import Tokenizer

from tagstream.model_export.bundle import files, onnx_graph
from tagstream.model_export.bundle.bundle import LABELS_METADATA_KEY, MAX_BYTES
from tagstream.model_export.bundle.model import open_session
from tagstream.model_export.calibrate.temperature import Floats
from tagstream.model_export.onnx import export
from tagstream.model_export.train import batches
from tagstream.model_export.train.pretrained import MOST_TOKENS, ModelRefusedError, in_order, labels_of, refused
from tagstream.model_export.train.private_copy import CONFIG, MOST_JSON_BYTES, MOST_SIZE, MOST_WEIGHT_BYTES, TOKENIZER

IDS, MASK, TYPES, POSITIONS = "input_ids", "attention_mask", "token_type_ids", "position_ids"
OUTPUT = "logits"
NUMBERS = (TensorProto.INT64, TensorProto.INT32)
# From this opset on, the operators of these graphs have the same meaning as in the opset of our exports.
REWRITABLE_OPSET = 18
# The names of this module's nodes and constants begin with this prefix.
PREFIX = "inputs."
EXPORT_AGAIN = "export it again with inputs input_ids and attention_mask of any batch and length, and the output logits"
SUM_TOLERANCE = 1e-3


@dataclass(frozen=True, slots=True, kw_only=True)
class ClassifierFile:
    """
    An ONNX file that was read and checked.

    Attributes:
        name: The path of the file.
        graph: The content, with the tensors from other files.
        tokenizer: The tokenizer, which cuts at `max_length` tokens and does not pad.
        labels: The labels in the order of the logits.
        max_length: The longest text, in tokens.
        pad: The number of the padding token in the model's training.
    """

    name: str
    graph: onnx.ModelProto
    tokenizer: Tokenizer
    labels: tuple[str, ...]
    max_length: int
    pad: int

    @property
    def kind(self) -> str:
        """The kind of the classifier, in words."""
        return "a classifier in ONNX"

    @property
    def runtime(self) -> str:
        """The program that runs the unchanged file, with the program's version."""
        import onnxruntime

        return f"onnxruntime {onnxruntime.__version__}"

    @property
    def rewritable(self) -> bool:
        """Whether the file's operators have the same meaning as in `operators`."""
        versions = [entry.version for entry in self.graph.opset_import if entry.domain in onnx_graph.STANDARD_DOMAINS]
        return max(versions, default=1) >= REWRITABLE_OPSET

    def logits(self, rows: Sequence[Sequence[int]]) -> Floats:
        """Return the logits of tokenised texts by the unchanged file, each text alone, [texts, labels]."""
        running = open_session(self.graph.SerializeToString())
        kinds = {value.name: helper.tensor_dtype_to_np_dtype(value.type.tensor_type.elem_type) for value in _inputs(self.graph)}
        found = []
        for row in rows:
            given = {IDS: row, MASK: [1] * len(row), TYPES: [0] * len(row), POSITIONS: list(range(len(row)))}
            feed = {name: np.array([given[name]], dtype=kind) for name, kind in kinds.items()}
            found.append(running.run([_output(self.name, self.graph).name], feed)[0][0])
        scores = np.asarray(found, dtype=np.float64)
        if len(scores) and scores.min() >= 0 and np.abs(scores.sum(axis=1) - 1).max() < SUM_TOLERANCE:
            why = "its output adds up to 1 for every text: these are probabilities, and temperature and energy need logits"
            raise refused(self.name, why, "export it again without the softmax at its end")
        return scores

    def plain(self) -> bytes:
        """
        Return the file with the inputs and the output of a bundle, in full precision.

        Raises:
            ExportError: A bundle may not hold the graph.
        """
        model = onnx.ModelProto()
        model.CopyFrom(self.graph)
        graph = model.graph
        given = {value.name: value.type.tensor_type.elem_type for value in _inputs(model)}
        output = _output(self.name, model)
        front = [node for name, kind in given.items() for node in _made(name, kind, self.pad)]
        made = {name: f"{PREFIX}{name}" for name in given}
        nodes = list(graph.node)
        for node in nodes:
            node.input[:] = [made.get(value, value) for value in node.input]
            # Nodes of the graph may read the output, too.
            node.input[:] = [OUTPUT if value == output.name else value for value in node.input]
            node.output[:] = [OUTPUT if value == output.name else value for value in node.output]
        del graph.node[:]
        graph.node.extend([*front, *nodes])
        read = {name for node in front for name in node.input}
        graph.initializer.extend(constant for constant in _constants(self.pad) if constant.name in read)
        del graph.input[:]
        graph.input.extend(helper.make_tensor_value_info(name, TensorProto.INT64, ["batch", "length"]) for name in (IDS, MASK))
        del graph.output[:]
        graph.output.append(helper.make_tensor_value_info(OUTPUT, TensorProto.FLOAT, ["batch", len(self.labels)]))
        return export.finish(model, self.labels)


def load(
    file: Path, *, tokenizer: Path | None = None, labels: Sequence[str] | None = None, max_length: int | None = None
) -> ClassifierFile:
    """
    Read an ONNX file.

    Args:
        file: The ONNX file. Tensors that are kept in other files must be in the same folder.
        tokenizer: The `tokenizer.json`; None for the one in the same folder.
        labels: The labels in the order of the logits; None for the labels in the `config.json` of the same folder.
        max_length: The longest text, in tokens; None for 512 or the model's own limit, whichever is less.

    Raises:
        ModelRefusedError: A bundle cannot hold this classifier.
    """
    name = str(file)
    graph = _read(name, file)
    said = _config(file.with_name(CONFIG))
    raw = _tokenizer(name, tokenizer or file.with_name(TOKENIZER))
    output = _output(name, graph)
    width = output.type.tensor_type.shape.dim[-1].dim_value
    longest = max_length or min(MOST_TOKENS, said.max_length or MOST_TOKENS)
    return ClassifierFile(
        name=name,
        graph=graph,
        tokenizer=batches.load_tokenizer(raw.to_str().encode(), longest),
        labels=labels_of(name, labels, said.labels, width),
        max_length=longest,
        pad=said.pad if said.pad is not None else int((raw.padding or {}).get("pad_id", 0)),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Said:
    """The values of the `config.json` in the file's folder; the defaults if there is no `config.json`."""

    labels: tuple[str, ...] = ()
    pad: int | None = None
    max_length: int | None = None


def _config(file: Path) -> _Said:
    if not os.path.lexists(file):
        return _Said()
    try:
        found = json.loads(files.read_whole(file, MOST_JSON_BYTES))
        pad, positions = found.get("pad_token_id"), found.get("max_position_embeddings")
        said = _Said(
            labels=in_order(found.get("id2label")),
            pad=None if pad is None else int(pad),
            # Models whose padding token is not 0 do not use their first positions.
            max_length=None if positions is None else int(positions) - (int(pad) + 1 if pad else 0),
        )
    except (OSError, ValueError, TypeError, AttributeError, OverflowError, RecursionError) as error:
        raise _unreadable(file, str(error)) from error
    if not 0 <= (said.pad or 0) <= MOST_SIZE or not (said.max_length is None or said.max_length > 0):
        raise _unreadable(file, f"pad_token_id {pad} or max_position_embeddings {positions} is out of bounds")
    return said


def _unreadable(file: Path, why: str) -> ModelRefusedError:
    next_step = "correct it, or move it away and give --labels"
    return refused(str(file), f"it cannot be read as a configuration: {why}", next_step)


def _read(name: str, file: Path) -> onnx.ModelProto:
    try:
        raw = files.read_whole(file, MOST_WEIGHT_BYTES)
        summary = onnx_graph.summarise(raw)
    except (OSError, ValueError) as error:
        raise refused(
            name, f"it is {error}" if isinstance(error, ValueError) else f"it cannot be read: {error}", "give an ONNX file"
        ) from error
    if LABELS_METADATA_KEY in summary.metadata:
        why = "it is the network of a bundle already"
        raise refused(name, why, "use that bundle, or calibrate it anew with `tagstream model calibrate` or `adapt`")
    if foreign := sorted(summary.domains - onnx_graph.STANDARD_DOMAINS - _unused(raw, summary.domains)):
        why = f"it needs operators outside the ONNX standard ({', '.join(foreign)}), which no other runtime has"
        raise refused(name, why, "export it again without the optimisations of a runtime")
    if endless := sorted(summary.operators & onnx_graph.CONTROL_FLOW):
        why = f"it has operators that repeat or choose others, and may never end: {', '.join(endless)}"
        raise refused(name, why, "export it again by tracing, without loops and branches")
    graph = onnx.ModelProto.FromString(raw)
    try:
        _refuse_distant(file, graph, len(summary.external_tensors))
        onnx.load_external_data_for_model(graph, str(file.parent))
    # The library's errors for missing files and files outside the folder have no common base class.
    except Exception as error:
        raise refused(name, f"its tensors cannot be read: {error}", "keep the files of its tensors beside it") from error
    _refuse_inputs(name, graph)
    _output(name, graph)
    return graph


def _refuse_distant(file: Path, graph: onnx.ModelProto, count: int) -> None:
    """
    Check the tensors in other files: these files must be regular files in the folder of the ONNX file, and must fit into memory.

    Args:
        file: The ONNX file.
        graph: The content of the ONNX file.
        count: The number of tensors in other files, including tensors in graphs inside of nodes.

    Raises:
        BundleFileError: A tensor's file is elsewhere or is not a regular file, a tensor is in a graph inside of a node, or the tensors are
            too large.
    """
    parts = [part for node in graph.graph.node for part in node.attribute]
    tensors = [*graph.graph.initializer, *(part.t for part in parts), *(tensor for part in parts for tensor in part.tensors)]
    distant = [tensor for tensor in tensors if tensor.external_data or tensor.data_location]
    if len(distant) != count:
        msg = "some lie in graphs inside of nodes"
        raise files.BundleFileError(msg)
    folder, left = Path(os.path.realpath(file.parent)), MOST_WEIGHT_BYTES
    for tensor in distant:
        said = {entry.key: entry.value for entry in tensor.external_data}
        held = files.inside(folder, said.get("location", ""), most_bytes=MOST_WEIGHT_BYTES).stat().st_size
        left -= max(0, int(said.get("length", held)))
        if left < 0:
            msg = f"they have more than {MOST_WEIGHT_BYTES:,} bytes"
            raise files.BundleFileError(msg)


def _unused(raw: bytes, domains: frozenset[str]) -> frozenset[str]:
    """Return the domains that a file imports but does not use: exporters import some domains in every file."""
    model = onnx.ModelProto.FromString(raw)
    used = {node.domain for node in model.graph.node} | {function.domain for function in model.functions}
    return domains - used


def _inputs(model: onnx.ModelProto) -> list[onnx.ValueInfoProto]:
    """Return the inputs without the constants, which older files list as inputs."""
    constants = {constant.name for constant in model.graph.initializer}
    return [value for value in model.graph.input if value.name not in constants]


def _refuse_inputs(name: str, model: onnx.ModelProto) -> None:
    inputs = {value.name: value.type.tensor_type for value in _inputs(model)}
    if unknown := sorted(set(inputs) - {IDS, MASK, TYPES, POSITIONS}):
        why = f"it has the input {', '.join(unknown)}, and a bundle has token ids and their mask alone"
        raise refused(name, why, EXPORT_AGAIN)
    if missing := [each for each in (IDS, MASK) if each not in inputs]:
        why = f"it has no input {' and no '.join(missing)}, so its scores of a text would depend on the padding"
        raise refused(name, why, EXPORT_AGAIN)
    for each, kind in inputs.items():
        sizes = kind.shape.dim
        if kind.elem_type not in NUMBERS or len(sizes) != 2:  # noqa: PLR2004 - texts and tokens
            raise refused(name, f"its input {each} is no table of whole numbers, [batch, length]", EXPORT_AGAIN)
        if any(size.HasField("dim_value") for size in sizes):
            fixed = " by ".join(str(size.dim_value) if size.HasField("dim_value") else "any" for size in sizes)
            raise refused(name, f"its input {each} has a fixed size, {fixed}", EXPORT_AGAIN)


def _output(name: str, model: onnx.ModelProto) -> onnx.ValueInfoProto:
    outputs = list(model.graph.output)
    found = next((value for value in outputs if value.name == OUTPUT), outputs[0] if len(outputs) == 1 else None)
    if found is None:
        why = f"none of its outputs is called {OUTPUT}: {', '.join(value.name for value in outputs)}"
        raise refused(name, why, EXPORT_AGAIN)
    kind = found.type.tensor_type
    sizes = kind.shape.dim
    if kind.elem_type != TensorProto.FLOAT or len(sizes) != 2 or sizes[1].dim_value < 2:  # noqa: PLR2004 - texts and labels
        why = f"its output {found.name} is not one score in single precision for each text and label, of at least two labels"
        raise refused(name, why, EXPORT_AGAIN)
    return found


def _tokenizer(name: str, file: Path) -> Tokenizer:
    try:
        found = Tokenizer.from_str(files.read_whole(file, MAX_BYTES[TOKENIZER]).decode())
    # The library raises `Exception` itself, not a narrower type.
    except Exception as error:
        why = f"its tokenizer {file} cannot be read: {error}"
        raise refused(name, why, f"give the tokenizer in its fast form ({TOKENIZER}), --tokenizer FILE") from error
    if any(found.encode("two words").type_ids):
        raise refused(name, "its tokenizer gives a text's tokens a type that is not 0", "give a tokenizer that gives type 0")
    return found


def _made(name: str, kind: int, pad: int) -> list[onnx.NodeProto]:
    """Return the nodes that compute an input of the file from the two inputs of a bundle."""
    made = f"{PREFIX}{name}"
    wide = made if kind == TensorProto.INT64 else f"{made}.wide"
    zero, one = f"{PREFIX}zero", f"{PREFIX}one"
    nodes = {
        IDS: [
            helper.make_node("Greater", [MASK, zero], [f"{made}.real"]),
            helper.make_node("Where", [f"{made}.real", IDS, f"{PREFIX}pad"], [wide]),
        ]
        if pad
        else [helper.make_node("Identity", [IDS], [wide])],
        MASK: [helper.make_node("Identity", [MASK], [wide])],
        TYPES: [helper.make_node("Mul", [MASK, zero], [wide])],
        POSITIONS: [
            helper.make_node("CumSum", [MASK, f"{PREFIX}axis"], [f"{made}.counted"]),
            helper.make_node("Sub", [f"{made}.counted", one], [wide]),
        ],
    }[name]
    cast = [] if kind == TensorProto.INT64 else [helper.make_node("Cast", [wide], [made], to=kind)]
    return [*nodes, *cast]


def _constants(pad: int) -> list[onnx.TensorProto]:
    numbers = {"zero": 0, "one": 1, "axis": 1, "pad": pad}
    return [numpy_helper.from_array(np.array(value, dtype=np.int64), f"{PREFIX}{name}") for name, value in numbers.items()]

"""Classifiers in ONNX files of others: brought to the inputs and the output of a bundle, or refused with the reason."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper
from tokenizers import Tokenizer, models, pre_tokenizers

from tagstream.model_export.bundle.bundle import DEFAULT_BUNDLE
from tagstream.model_export.bundle.manifest import MODEL
from tagstream.model_export.bundle.model import open_session
from tagstream.model_export.data.row import Row
from tagstream.model_export.data.splits import Splits
from tagstream.model_export.make.imported_classifier import Imported
from tagstream.model_export.onnx import classifier_file, parity
from tagstream.model_export.onnx.parity import GateLimits
from tagstream.model_export.train.pretrained import ModelRefusedError
from tagstream.model_export.train.work import NO_WORK

LABELS = ("bug", "wish")
WORDS = ("[PAD]", "crash", "broken", "please", "add")
WIDTH = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class Graph:
    """A classifier that adds up the vectors of a text's words; each field spoils it in one way."""

    inputs: tuple[str, ...] = ("input_ids", "attention_mask")
    kind: int = TensorProto.INT64
    length: int | str = "length"
    outputs: tuple[str, ...] = ("scores",)
    masked: bool = True
    softmax: bool = False
    domain: str = ""
    loop: bool = False
    pad: int = 0

    def model(self) -> onnx.ModelProto:
        """The file."""
        drawn = np.random.default_rng(1)
        vectors = drawn.normal(size=(len(WORDS), WIDTH)).astype(np.float32)
        weights = drawn.normal(size=(WIDTH, len(LABELS))).astype(np.float32)
        constants = [
            numpy_helper.from_array(value, name)
            for name, value in {
                "vectors": vectors,
                "weights": weights,
                "pad": np.array(self.pad, dtype=np.int64),
                "axis": np.array([1], dtype=np.int64),
                "last": np.array([2], dtype=np.int64),
            }.items()
        ]
        ids = "wide"
        nodes = [helper.make_node("Cast", [self.inputs[0]], [ids], to=TensorProto.INT64)]
        nodes.append(helper.make_node("Gather", ["vectors", ids], ["words"]))
        if self.masked:
            # As RoBERTa finds its positions: by the number of the padding, not by the mask.
            nodes += [
                helper.make_node("Equal", [ids, "pad"], ["padding"]),
                helper.make_node("Not", ["padding"], ["real"]),
                helper.make_node("Cast", ["real"], ["counts"], to=TensorProto.FLOAT),
                helper.make_node("Unsqueeze", ["counts", "last"], ["column"]),
                helper.make_node("Mul", ["words", "column"], ["kept"]),
            ]
        else:
            nodes.append(helper.make_node("Identity", ["words"], ["kept"]))
        nodes.append(helper.make_node("ReduceSum", ["kept", "axis"], ["sum"], keepdims=0))
        for extra in self.inputs[1:]:
            # Read, without an effect.
            nodes.append(helper.make_node("Cast", [extra], [f"{extra}.float"], to=TensorProto.FLOAT))
            nodes.append(helper.make_node("ReduceSum", [f"{extra}.float", "axis"], [f"{extra}.sum"], keepdims=1))
        if self.loop:
            branch = helper.make_graph(
                [helper.make_node("Identity", ["sum"], ["inner"])],
                "branch",
                [],
                [helper.make_tensor_value_info("inner", TensorProto.FLOAT, None)],
            )
            constants.append(numpy_helper.from_array(np.array(True), "yes"))
            nodes.append(helper.make_node("If", ["yes"], ["chosen"], then_branch=branch, else_branch=branch))
        if self.domain:
            nodes.append(helper.make_node("FusedThing", ["sum"], ["fused"], domain=self.domain))
        raw = "raw" if self.softmax else self.outputs[0]
        nodes.append(helper.make_node("MatMul", ["sum", "weights"], [raw]))
        if self.softmax:
            nodes.append(helper.make_node("Softmax", [raw], [self.outputs[0]], axis=-1))
        nodes += [helper.make_node("Identity", [self.outputs[0]], [name]) for name in self.outputs[1:]]
        graph = helper.make_graph(
            nodes,
            "classifier",
            [helper.make_tensor_value_info(name, self.kind, ["batch", self.length]) for name in self.inputs],
            [helper.make_tensor_value_info(name, TensorProto.FLOAT, ["batch", len(LABELS)]) for name in self.outputs],
            constants,
        )
        opsets = [helper.make_opsetid("", 17), *([helper.make_opsetid(self.domain, 1)] if self.domain else [])]
        return helper.make_model(graph, opset_imports=opsets, ir_version=9)

    def written(self, folder: Path) -> Path:
        """The file with its tokenizer and a configuration beside it."""
        tokenizer = Tokenizer(models.WordLevel({word: place for place, word in enumerate(WORDS)}, unk_token="[PAD]"))  # noqa: S106 - a token
        tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
        tokenizer.save(str(folder / "tokenizer.json"))
        said = {"id2label": dict(enumerate(LABELS)), "pad_token_id": self.pad}
        (folder / "config.json").write_text(json.dumps(said))
        onnx.save_model(self.model(), folder / "model.onnx")
        return folder / "model.onnx"


def logits(model: bytes, rows: Sequence[Sequence[int]]) -> list[list[float]]:
    """The scores of a file with a bundle's inputs, all rows in one run, padded with 0."""
    longest = max(map(len, rows))
    ids = np.array([[*row, *[0] * (longest - len(row))] for row in rows])
    mask = np.array([[1] * len(row) + [0] * (longest - len(row)) for row in rows])
    found: list[list[float]] = open_session(model).run(["logits"], {"input_ids": ids, "attention_mask": mask})[0].tolist()
    return found


@pytest.mark.parametrize(
    "graph",
    [
        Graph(),
        Graph(kind=TensorProto.INT32),
        Graph(inputs=("input_ids", "attention_mask", "token_type_ids", "position_ids")),
        Graph(pad=3),
        Graph(outputs=("hidden", "logits")),
    ],
    ids=["plain", "int32", "four-inputs", "other-padding", "two-outputs"],
)
def test_a_file_gets_the_inputs_of_a_bundle(graph: Graph, tmp_path: Path) -> None:
    """Types of tokens, positions, and the number of the padding follow from ids and mask: a text's scores are those of the file as it came."""
    loaded = classifier_file.load(graph.written(tmp_path))
    rows = [[1, 2], [4, 4, 1, 2, 1], [2]]
    assert loaded.labels == LABELS
    assert np.array(logits(loaded.plain(), rows)) == pytest.approx(loaded.logits(rows), abs=1e-5)


@pytest.mark.parametrize(
    ("graph", "why"),
    [
        (Graph(domain="com.microsoft"), r"operators outside the ONNX standard \(com.microsoft\)"),
        (Graph(loop=True), "operators that repeat or choose others, and may never end: If"),
        (Graph(length=16), "its input input_ids has a fixed size, any by 16"),
        (Graph(inputs=("input_ids",)), "it has no input attention_mask"),
        (Graph(inputs=("input_ids", "attention_mask", "pixel_values")), "it has the input pixel_values"),
        (Graph(kind=TensorProto.FLOAT), "its input input_ids is no table of whole numbers"),
        (Graph(outputs=("one", "two")), "none of its outputs is called logits: one, two"),
    ],
    ids=["custom", "loop", "fixed", "no-mask", "foreign-input", "floats", "outputs"],
)
def test_a_file_that_no_bundle_holds_is_refused(graph: Graph, why: str, tmp_path: Path) -> None:
    """The sentence names the reason and the next step."""
    with pytest.raises(ModelRefusedError, match=why) as error:
        classifier_file.load(graph.written(tmp_path))
    assert ". Next: " in str(error.value)


def test_the_network_of_a_bundle_is_no_foreign_one() -> None:
    """It has its thresholds already; to calibrate it anew is another command."""
    with pytest.raises(ModelRefusedError, match="it is the network of a bundle already"):
        classifier_file.load(DEFAULT_BUNDLE / MODEL)


def rows() -> Splits:
    """A few rows."""
    texts = ["crash broken", "please add", "crash", "add add please", "broken crash crash crash", "please"]
    made = tuple(Row(text=text, tag=LABELS["add" in text], source="own", topic=text) for text in texts)
    return Splits(train=(), calibration=made, holdout=(), corpus_test=(), unlabelled=(), near_duplicates_removed=0)


@pytest.mark.parametrize(
    ("graph", "why"),
    [
        (Graph(masked=False), "it ignores its attention mask"),
        (Graph(softmax=True), "these are probabilities"),
    ],
    ids=["mask", "probabilities"],
)
def test_a_network_whose_scores_no_decision_can_rest_on_is_refused(graph: Graph, why: str, tmp_path: Path) -> None:
    """Scores that move with the padding, or that are probabilities already, are found by asking the network."""
    file = graph.written(tmp_path)
    with pytest.raises(ModelRefusedError, match=why):
        Imported(place=str(file)).network(rows(), GateLimits(), NO_WORK)


def test_a_file_keeps_its_scores_as_a_network_of_a_bundle(tmp_path: Path) -> None:
    """A file of an older version of the standard is quantised, or kept, and says which."""
    file = Graph(pad=3).written(tmp_path)
    found = Imported(place=str(file)).network(rows(), GateLimits(), NO_WORK)
    assert found.trained.record["imported"]["form"].split(",")[0] in {"int8", "float32"}  # type: ignore[index] # of the record
    assert found.compared.quantisation.agreement >= 0.995
    tokens = [[1, 2], [4]]
    assert parity.run(found.model, tokens).shape == (2, 2)


@pytest.mark.parametrize(
    ("spoil", "why"),
    [
        (lambda file: file.write_bytes(b"no model"), "it is not an ONNX model"),
        (lambda file: file.unlink(), "it cannot be read"),
        (lambda file: file.with_name("tokenizer.json").unlink(), "its tokenizer .* cannot be read"),
        (lambda file: file.with_name("config.json").write_text("{"), "cannot be read as a configuration"),
        (lambda file: file.with_name("config.json").unlink(), "it has 2 logits and no names for them"),
    ],
    ids=["bytes", "missing", "tokenizer", "configuration", "labels"],
)
def test_files_that_are_broken_or_missing_are_named(spoil: object, why: str, tmp_path: Path) -> None:
    """Each is a sentence with the next step."""
    file = Graph().written(tmp_path)
    assert callable(spoil)
    spoil(file)
    with pytest.raises(ModelRefusedError, match=why):
        classifier_file.load(file)

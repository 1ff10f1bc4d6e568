"""
Makes `tiny_bundle/`: a real bundle of some twenty kilobytes, for every test that needs a classifier but not a good one.

A word votes for the labels that it is known for; votes are added up. All weights are multiples of a quarter, so that sums are
exact in any order. Words that nobody knows vote for nothing, and the answer is unsure. Run it again and the same bytes come out:

    python tests/data/make_tiny_bundle.py
"""

import random
import sys
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors

from tagstream.model_export.bundle import bundle
from tagstream.model_export.bundle.manifest import FORMAT, GoldenText, Manifest, Threshold
from tagstream.model_export.bundle.model import Prediction, predict
from tagstream.model_export.make.reference import describe

FOLDER = Path(__file__).parent / "tiny_bundle"
LABELS = ("computer-vision", "mlops", "natural-language-processing", "other")
SPECIAL = ("[PAD]", "[UNK]", "[CLS]", "[SEP]")
PAD, UNKNOWN, START, END = range(4)

# Words by how strongly they speak for a label.
WORDS: dict[str, dict[float, str]] = {
    "computer-vision": {
        2.5: "image images vision pixel pixels segmentation yolo",
        1.5: "video videos object objects detection detector camera photo photos face pose depth",
        0.75: "convolutional cnn frames generation",
    },
    "mlops": {
        2.5: "mlops deployment deploying deploy serving kubernetes",
        1.5: "pipeline pipelines production monitoring drift registry versioning feature store ci",
        0.75: "platform engineering cost rollback docker",
    },
    "natural-language-processing": {
        2.5: "nlp language languages translation sentiment bert text texts",
        1.5: "word words summarization summarisation question answering chatbot tokenization corpus dialogue gpt",
        0.75: "transformer transformers attention embeddings",
    },
    "other": {
        2.5: "reinforcement recommendation recommender forecasting audio speech",
        1.5: "graph graphs time series game games music tabular causal fraud molecules robot",
        0.75: "optimization course theory learning",
    },
}
BIAS = (0.0, 0.0, 0.0, 0.25)
GOLDEN_TEXTS = (
    "Object detection in images with YOLO",
    "Serving models on Kubernetes with monitoring and rollback",
    "Machine translation for low-resource languages",
    "Reinforcement learning for board games",
    "Attention for video generation",
    "A walk along the river",
)
THRESHOLD = 0.8
MAX_LENGTH = 64
REFERENCE_ROWS = 400
FILLERS = [
    "the",
    "a",
    "of",
    "for",
    "in",
    "with",
    "on",
    "new",
    "how",
    "why",
    "survey",
    "guide",
    "notes",
    "first",
    "small",
    "large",
    "open",
    "fast",
]


def votes() -> dict[str, tuple[float, ...]]:
    """Every known word with its vote a label."""
    return {
        word: tuple(weight if label == own else 0.0 for label in LABELS)
        for own, groups in WORDS.items()
        for weight, words in groups.items()
        for word in words.split()
    }


def tokenizer_file() -> bytes:
    """A word-level tokenizer with the special tokens of BERT."""
    vocabulary = {word: number for number, word in enumerate((*SPECIAL, *votes()))}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token=SPECIAL[UNKNOWN]))
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=True)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[("[CLS]", START), ("[SEP]", END)]
    )
    text: str = tokenizer.to_str()
    return text.encode()


def table() -> np.ndarray:
    """The votes by token id; special tokens have none."""
    return np.array([(0.0,) * len(LABELS)] * len(SPECIAL) + list(votes().values()), dtype=np.float32)


def model_file() -> bytes:
    """An embedding bag: gather the rows, hide the padding, add up, one product, one bias."""
    shape = ["batch", "length"]
    nodes = [
        helper.make_node("Gather", ["table", "input_ids"], ["gathered"], axis=0),
        helper.make_node("Cast", ["attention_mask"], ["mask"], to=TensorProto.FLOAT),
        helper.make_node("Unsqueeze", ["mask", "last_axis"], ["column"]),
        helper.make_node("Mul", ["gathered", "column"], ["visible"]),
        helper.make_node("ReduceSum", ["visible", "length_axis"], ["summed"], keepdims=0),
        helper.make_node("MatMul", ["summed", "head"], ["product"]),
        helper.make_node("Add", ["product", "bias"], ["logits"]),
    ]
    initializers = {
        "table": table(),
        "last_axis": np.array([2], dtype=np.int64),
        "length_axis": np.array([1], dtype=np.int64),
        "head": np.eye(len(LABELS), dtype=np.float32),
        "bias": np.array(BIAS, dtype=np.float32),
    }
    graph = helper.make_graph(
        nodes,
        "tiny",
        [helper.make_tensor_value_info(name, TensorProto.INT64, shape) for name in ("input_ids", "attention_mask")],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["batch", len(LABELS)])],
        [numpy_helper.from_array(value, name) for name, value in initializers.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], producer_name="tagstream")
    model.ir_version = 10
    helper.set_model_props(model, {bundle.LABELS_METADATA_KEY: "\n".join(LABELS)})
    onnx.checker.check_model(model, full_check=True)
    return bytes(model.SerializeToString(deterministic=True))


def prediction_of(tokenizer: Tokenizer, text: str) -> Prediction:
    """The classifier's prediction of a text, in numpy."""
    ids = tokenizer.encode(text).ids
    logits: list[float] = (table()[ids].sum(axis=0) + np.array(BIAS)).tolist()
    return predict(logits, labels=LABELS, temperature=1.0, tokens=len(ids), truncated=len(ids) > MAX_LENGTH)


def reference_texts() -> list[tuple[str, bool]]:
    """Ordinary traffic, and whether each has a description: words of one label among words that nobody votes for."""
    chance = random.Random(20)  # noqa: S311 - texts that repeat, not a secret
    texts = []
    for number in range(REFERENCE_ROWS):
        own = " ".join(WORDS[LABELS[number % len(LABELS)]].values()).split()
        told = chance.sample(own, chance.randint(1, 5)) + chance.sample(FILLERS, chance.randint(2, 7))
        chance.shuffle(told)
        texts.append((" ".join(told), number % 10 > 0))
    return [*((text, True) for text in GOLDEN_TEXTS), *texts]


def manifest(tokenizer: Tokenizer) -> Manifest:
    """A manifest with a reference of traffic that the tiny network knows."""
    golden = tuple(
        GoldenText(text=text, probabilities=tuple(prediction_of(tokenizer, text).probabilities.values()))
        for text in GOLDEN_TEXTS
    )
    confidences = [max(text.probabilities) for text in golden]
    rows = reference_texts()
    return Manifest(
        format=FORMAT,
        name="tiny",
        version="1",
        labels=LABELS,
        max_length=MAX_LENGTH,
        temperature=1.0,
        threshold=Threshold(
            confidence=THRESHOLD,
            target_precision=0.9,
            precision=1.0,
            precision_lower_bound=0.5,
            bound_level=0.95,
            coverage=round(sum(c >= THRESHOLD for c in confidences) / len(confidences), 6),
            rows=len(confidences),
        ),
        golden=golden,
        reference=describe(
            [prediction_of(tokenizer, text) for text, _ in rows],
            LABELS,
            texts=[text for text, _ in rows],
            described=[described for _, described in rows],
        ),
        metrics={},
        parity={},
        training={"made_by": "tests/data/make_tiny_bundle.py"},
        files={},
    )


def main(folder: Path = FOLDER) -> None:
    """Write the bundle; it is read back through every check."""
    tokenizer = tokenizer_file()
    written = bundle.write(folder, manifest=manifest(Tokenizer.from_buffer(tokenizer)), model=model_file(), tokenizer=tokenizer)
    sys.stdout.write(f"{written.path}: {written.digest}\n")


if __name__ == "__main__":
    main()

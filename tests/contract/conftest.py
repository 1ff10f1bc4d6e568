"""Bundles with the option `multilabel`: a tiny one, and the default bundle with a second head from `model refit`."""

from dataclasses import replace
from pathlib import Path

import msgspec
import numpy as np
import onnx
import onnxruntime as ort
import pytest
from onnx import TensorProto, helper, numpy_helper
from tokenizers import Tokenizer

from model_export.bundle import bundle
from model_export.bundle.bundle import DEFAULT_BUNDLE, Bundle
from model_export.bundle.manifest import Multilabel
from model_export.bundle.prediction import sigmoid
from model_export.data import corpus, splits
from model_export.data.row import Row
from model_export.data.splits import Splits

# Rows of one label beside all that have two: enough to learn something within seconds.
SINGLE_ROWS = 300


@pytest.fixture(scope="session")
def tiny_multilabel(tiny_bundle: Bundle, tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    """The tiny bundle with the option; a label with at least one vote is among the tags."""
    labels = tiny_bundle.manifest.labels
    network = with_second_output(tiny_bundle.model, len(labels))
    texts = [text.text for text in tiny_bundle.manifest.golden]
    option = Multilabel(
        thresholds=dict.fromkeys(labels, 0.5),
        golden=tuple(label_scores(network, Tokenizer.from_buffer(tiny_bundle.tokenizer), text) for text in texts),
        metrics={},
        training={},
    )
    return bundle.write(
        tmp_path_factory.mktemp("tiny-multilabel"),
        manifest=msgspec.structs.replace(tiny_bundle.manifest, multilabel=option),
        model=network,
        tokenizer=tiny_bundle.tokenizer,
    )


def with_second_output(model: bytes, labels: int) -> bytes:
    """The tiny network with the output `label_logits`: each label's votes minus one."""
    graph = onnx.load_model_from_string(model)
    graph.graph.initializer.append(numpy_helper.from_array(np.array(1.0, dtype=np.float32), "one"))
    graph.graph.node.append(helper.make_node("Sub", ["logits", "one"], ["label_logits"]))
    graph.graph.output.append(helper.make_tensor_value_info("label_logits", TensorProto.FLOAT, ["batch", labels]))
    return bytes(graph.SerializeToString(deterministic=True))


def label_scores(network: bytes, tokenizer: Tokenizer, text: str) -> tuple[float, ...]:
    """The second output of the network for a text."""
    ids = np.array([tokenizer.encode(text).ids], dtype=np.int64)
    running = ort.InferenceSession(network, providers=["CPUExecutionProvider"])
    (logits,) = running.run(["label_logits"], {"input_ids": ids, "attention_mask": np.ones_like(ids)})
    return tuple(map(sigmoid, logits[0].tolist()))


@pytest.fixture(scope="session")
def small_splits() -> Splits:
    """A part of the corpus that trains within seconds: all rows with two labels, and some with one."""

    def some(rows: list[Row], part: str) -> tuple[Row, ...]:
        of_part = [row for row in rows if row.tag != corpus.NOT_ML and splits.part_of_topic(row.topic) == part]
        single = [row for row in of_part if not row.tags]
        return tuple([row for row in of_part if row.tags] + single[:: max(1, len(single) // SINGLE_ROWS)])

    rows = corpus.read_corpus(corpus.CORPUS)
    return Splits(
        train=some(rows, "train"),
        calibration=some(rows, "calibration"),
        holdout=(),
        corpus_test=some(rows, "corpus_test"),
        unlabelled=(),
        near_duplicates_removed=0,
    )


@pytest.fixture(scope="session")
def default_multilabel(small_splits: Splits, tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    """The default bundle with a second head, as `tagstream model refit --multilabel` adds it."""
    # PyTorch and scikit-learn take seconds to import, so only this fixture imports them.
    from model_export.make.multilabel import add_to

    folder: Path = tmp_path_factory.mktemp("default-multilabel")
    calibration = small_splits.calibration[:100]
    return add_to(
        folder,
        bundle=bundle.read(DEFAULT_BUNDLE),
        splits=replace(small_splits, calibration=calibration),
    )

"""Bundles with other labels than the shipped one's, of some ten kilobytes: each label has a word that votes for it."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import onnx
from onnx import numpy_helper
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors

from tagstream.model_export.bundle import bundle
from tagstream.model_export.bundle.bundle import Bundle
from tagstream.model_export.bundle.manifest import GoldenText, Manifest, Threshold
from tagstream.model_export.bundle.model import Prediction, predict
from tagstream.model_export.make.reference import describe
from tests.data import make_tiny_bundle as tiny
from tests.foreign.labels import TICKETS

VOTE = 6.0


def word_of(label: str) -> str:
    """
    The word that votes for a label; no other word votes for any.

    >>> word_of("feature-request")
    'featurerequest'
    """
    return "".join(filter(str.isalnum, label))


def write(folder: Path, labels: Sequence[str] = TICKETS) -> Bundle:
    """Write a bundle with these labels; it is read back through every check."""
    votes = np.eye(len(labels), dtype=np.float32) * VOTE
    table = np.concatenate([np.zeros((len(tiny.SPECIAL), len(labels)), dtype=np.float32), votes])
    raw = _tokenizer(labels)
    tokenizer = Tokenizer.from_buffer(raw)

    def said(text: str) -> Prediction:
        ids = tokenizer.encode(text).ids
        logits: list[float] = table[ids].sum(axis=0).tolist()
        return predict(logits, labels=labels, temperature=1.0, tokens=len(ids), truncated=False)

    texts = [f"about {word_of(label)} and more" for label in labels]
    manifest = Manifest(
        format=tiny.FORMAT,
        name="foreign",
        version="1",
        labels=tuple(labels),
        max_length=tiny.MAX_LENGTH,
        temperature=1.0,
        threshold=Threshold(
            confidence=tiny.THRESHOLD,
            target_precision=0.9,
            precision=1.0,
            precision_lower_bound=0.5,
            bound_level=0.95,
            coverage=1.0,
            rows=len(texts),
        ),
        golden=tuple(GoldenText(text=text, probabilities=tuple(said(text).probabilities.values())) for text in texts[:9]),
        reference=describe(
            [said(text) for text in texts * 3], tuple(labels), texts=texts * 3, described=[True] * 3 * len(texts)
        ),
        metrics={},
        parity={},
        training={"made_by": "tests/foreign/bundles.py"},
        files={},
    )
    return bundle.write(folder, manifest=manifest, model=_model(table, labels), tokenizer=raw)


def _tokenizer(labels: Sequence[str]) -> bytes:
    vocabulary = {word: number for number, word in enumerate((*tiny.SPECIAL, *map(word_of, labels)))}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token=tiny.SPECIAL[tiny.UNKNOWN]))
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=True)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[("[CLS]", tiny.START), ("[SEP]", tiny.END)]
    )
    text: str = tokenizer.to_str()
    return text.encode()


def _model(table: np.ndarray, labels: Sequence[str]) -> bytes:
    """The network of the tiny bundle with other weights."""
    model = onnx.load_from_string(tiny.model_file())
    weights = {"table": table, "head": np.eye(len(labels), dtype=np.float32), "bias": np.zeros(len(labels), dtype=np.float32)}
    for weight in model.graph.initializer:
        if weight.name in weights:
            weight.CopyFrom(numpy_helper.from_array(weights[weight.name], weight.name))
    model.graph.output[0].type.tensor_type.shape.dim[1].dim_value = len(labels)
    onnx.helper.set_model_props(model, {bundle.LABELS_METADATA_KEY: "\n".join(labels)})
    return bytes(model.SerializeToString(deterministic=True))

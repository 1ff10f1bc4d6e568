"""Makes the rivals' model: the base encoder's six layers, a head fitted to the same rows as ours, exported and quantised dynamically."""

import hashlib
import logging
import os
import tempfile
from pathlib import Path

import torch
from onnxruntime.quantization import QuantType, quantize_dynamic
from torch import Tensor
from transformers import (
    BertConfig,
    BertForSequenceClassification,
    BertModel,
    PreTrainedTokenizerFast,
    TextClassificationPipeline,
)
from transformers.modeling_outputs import SequenceClassifierOutput

from benchmarks.peers import rival
from tagstream.model_export.data.splits import Splits
from tagstream.model_export.onnx.export import to_onnx
from tagstream.model_export.train import base_model, batches, checkpoint
from tagstream.model_export.train.checkpoint import Trained
from tagstream.model_export.train.examples import examples
from tagstream.model_export.train.head import HeadRecipe
from tagstream.model_export.train.network import TagNetwork
from tagstream.model_export.train.tuning import probe

# The encoder has not seen the rows, so the head may follow them further than that of a tuned one.
RECIPE = HeadRecipe(strength=10.0)


def made(folder: Path, splits: Splits) -> Path:
    """
    The folder with the model's files, made unless it is there; its name depends on the rows that the head learns from.

    Raises:
        BaseModelError: The base model is not installed.
    """
    known = hashlib.sha256(repr([sorted(splits.digests.items()), base_model.REVISION, RECIPE]).encode()).hexdigest()[:12]
    place = folder / f"rival-{known}"
    if place.is_dir():
        return place
    base = base_model.load()
    network = TagNetwork.from_bert(base.bert, labels=len(splits.labels)).eval()
    probe(network, examples(batches.load_tokenizer(base.tokenizer), splits.train, splits.labels), RECIPE)
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder) as name:
        written = Path(name, "rival")
        written.mkdir()
        plain = written / "plain.onnx"
        plain.write_bytes(to_onnx(network, splits.labels, longest=network.shape.positions))
        quiet = logging.getLogger().level
        # Signed weights with a scale a channel: the fastest and most accurate of the dynamic forms.
        quantize_dynamic(plain, written / rival.NETWORK, weight_type=QuantType.QInt8, per_channel=True)
        logging.getLogger().setLevel(quiet)
        plain.unlink()
        (written / rival.TOKENIZER).write_bytes(base.tokenizer)
        (written / rival.LABELS).write_text("\n".join(splits.labels), encoding="utf-8")
        checkpoint.save(written / rival.WEIGHTS, network, Trained(labels=splits.labels, record={}))
        # A rename is atomic: another run sees a whole folder or none.
        os.rename(written, place)  # noqa: PTH104 - Path.rename would move into a folder that has appeared meanwhile
    return place


class MeanPooled(BertForSequenceClassification):  # type: ignore[misc] # transformers has no types
    """The same network as a model of transformers: the mean of the tokens' vectors, unit length, the head."""

    def forward(self, input_ids: Tensor, attention_mask: Tensor, **_: object) -> SequenceClassifierOutput:
        """Logits, [batch, labels]."""
        states = self.bert(input_ids=input_ids, attention_mask=attention_mask).last_hidden_state
        summed = (states * attention_mask[:, :, None]).sum(dim=1)
        return SequenceClassifierOutput(logits=self.classifier(torch.nn.functional.normalize(summed, dim=-1)))


def pipeline(folder: Path) -> TextClassificationPipeline:
    """The pipeline of transformers around the same weights, in float32."""
    base = base_model.load()
    kept, trained = checkpoint.load(folder / rival.WEIGHTS)
    labels = dict(enumerate(trained.labels))
    config = BertConfig(**{**base.bert.config.to_dict(), "id2label": labels, "label2id": {v: k for k, v in labels.items()}})
    model = MeanPooled(config).eval()
    model.bert = BertModel(config, add_pooling_layer=False)
    model.bert.load_state_dict(base.bert.state_dict())
    model.classifier.load_state_dict(kept.head.state_dict())
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_file=str(folder / rival.TOKENIZER),
        pad_token="[PAD]",  # noqa: S106 - a word of the vocabulary
        model_max_length=rival.MAX_LENGTH,
    )
    return TextClassificationPipeline(model=model.eval(), tokenizer=tokenizer, device=-1)

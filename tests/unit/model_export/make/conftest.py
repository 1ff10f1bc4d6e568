"""A small encoder that nobody trained, for bundles within seconds."""

from collections.abc import Iterator
from functools import partial

import pytest
import torch
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors
from transformers import BertConfig, BertModel

from benchmarks.labels import synthetic
from tagstream.model_export.make import recipe
from tagstream.model_export.make.quick import QuickRecipe
from tagstream.model_export.onnx.ngrams import NgramRecipe
from tagstream.model_export.train import base_model
from tagstream.model_export.train.base_model import BaseModel

SPECIAL = ("[PAD]", "[UNK]", "[CLS]", "[SEP]")


@pytest.fixture(scope="module")
def base() -> BaseModel:
    """An encoder that nobody trained, whose tokens are the words of the templates."""
    texts = [row.text for row in synthetic.rows(600)]
    vocabulary = {
        word: place for place, word in enumerate((*SPECIAL, *sorted({word for text in texts for word in words(text)})))
    }
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token="[UNK]"))  # noqa: S106 - a token of text
    tokenizer.normalizer = normalizers.Lowercase()
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    torch.manual_seed(2)
    config = BertConfig(
        vocab_size=len(vocabulary),
        hidden_size=32,
        intermediate_size=64,
        num_attention_heads=2,
        num_hidden_layers=2,
        # Wide enough that the vectors of two texts differ, as those of a trained encoder do.
        initializer_range=0.3,
        max_position_embeddings=128,
    )
    bert = BertModel(config, add_pooling_layer=False).eval()
    with torch.no_grad():
        # Fresh biases are all zero, and the exporter keeps one constant for all of them: products share it.
        for name, parameter in bert.named_parameters():
            if not name.endswith("bias"):
                parameter.add_(torch.randn_like(parameter) * 0.02)
    return BaseModel(bert=bert, tokenizer=tokenizer.to_str().encode())


def words(text: str) -> list[str]:
    """The words of a text as the tokenizer cuts it."""
    return [word for word, _ in pre_tokenizers.Whitespace().pre_tokenize_str(text.lower())]


@pytest.fixture(scope="module")
def small_recipe(base: BaseModel) -> Iterator[None]:
    """A small encoder, few folds and few buckets."""
    ngrams = NgramRecipe(buckets=1 << 9, source_shares={}, class_levelling=0.0)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(base_model, "load", lambda: base)
        patch.setattr(recipe, "QuickRecipe", partial(QuickRecipe, folds=3, ngrams=ngrams))
        yield

"""Loads the multilingual encoder as a torch network: its four-bit weights are expanded to full precision."""

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from transformers import BertConfig, BertModel

from tagstream.model_export.data import multilingual
from tagstream.model_export.data.multilingual import Sizes
from tagstream.model_export.train.base_model import BaseModel

_EMBEDDED = {
    "emb.word": "word_embeddings.weight",
    "emb.pos": "position_embeddings.weight",
    "emb.type": "token_type_embeddings.weight",
    "emb.ln.w": "LayerNorm.weight",
    "emb.ln.b": "LayerNorm.bias",
}
_LAYERS = {
    "q": "attention.self.query",
    "k": "attention.self.key",
    "v": "attention.self.value",
    "ao": "attention.output.dense",
    "aln": "attention.output.LayerNorm",
    "fi": "intermediate.dense",
    "fo": "output.dense",
    "oln": "output.LayerNorm",
}
_KINDS = {"w": "weight", "b": "bias"}


def load() -> BaseModel:
    """
    Find, check and load the multilingual encoder.

    Raises:
        EncoderFileError: The package is missing, or the checksum of its file differs.
    """
    file = multilingual.read()
    sizes = file.sizes
    config = BertConfig(
        vocab_size=sizes.vocabulary,
        hidden_size=sizes.width,
        num_hidden_layers=sizes.layers,
        num_attention_heads=sizes.heads,
        intermediate_size=sizes.inner,
        max_position_embeddings=sizes.positions,
        type_vocab_size=sizes.kinds,
        layer_norm_eps=sizes.norm_epsilon,
    )
    bert = BertModel(config, add_pooling_layer=False)
    bert.load_state_dict(_state(file.tensors(), bert.state_dict(), sizes))
    return BaseModel(bert=bert.eval(), tokenizer=file.tokenizer.to_str().encode(), record=multilingual.as_record())


def _state(found: Mapping[str, npt.NDArray[np.float32]], like: Mapping[str, Tensor], sizes: Sizes) -> dict[str, Tensor]:
    names = {f"embeddings.{ours}": theirs for theirs, ours in _EMBEDDED.items()}
    names |= {
        f"encoder.layer.{layer}.{ours}.{kind}": f"l{layer}.{theirs}.{letter}"
        for layer in range(sizes.layers)
        for theirs, ours in _LAYERS.items()
        for letter, kind in _KINDS.items()
    }
    return {ours: torch.from_numpy(found[theirs].copy()).view(like[ours].shape) for ours, theirs in names.items()}

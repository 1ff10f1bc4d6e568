"""The network in training and in export: the same plain module, so there is no conversion that could fail.

The network is a BERT encoder with mean or first-token pooling, unit length, and a linear head. The structure suits the quantiser and the
runtime: Q, K and V are separate products, GELU is exact, layer normalisation is one operator, and the embedding of the single token type is
added to the positions in advance. `for_export` stores the word embeddings, two thirds of a small network, as int8 rows, each with a scale.
A lookup does not compute with the numbers, so the only cost is a rounding error of at most 0.4 % of a row's largest value.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal, Self

import torch
from torch import Tensor, nn
from transformers import BertModel

INT8_MAX = 127.0
# The score of padding: far below any score, and far from overflow in a sum.
MASKED = -10_000.0
# The vector of a text: the mean of its tokens' vectors, or the first token's vector. For the first token, the last layer computes only this
# token.
Pooling = Literal["mean", "first"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Shape:
    """The sizes of a network."""

    vocabulary: int
    positions: int
    width: int
    inner: int
    heads: int
    layers: int
    labels: int
    norm_epsilon: float = 1e-12
    dropout: float = 0.1
    pooling: Pooling = "mean"


class Layer(nn.Module):
    """One transformer layer, normalised after each half, as in BERT."""

    def __init__(self, shape: Shape) -> None:
        """Make a layer with fresh weights."""
        super().__init__()
        self.heads = shape.heads
        self.query = nn.Linear(shape.width, shape.width)
        self.key = nn.Linear(shape.width, shape.width)
        self.value = nn.Linear(shape.width, shape.width)
        self.attended = nn.Linear(shape.width, shape.width)
        self.attended_norm = nn.LayerNorm(shape.width, eps=shape.norm_epsilon)
        self.widen = nn.Linear(shape.width, shape.inner)
        self.narrow = nn.Linear(shape.inner, shape.width)
        self.norm = nn.LayerNorm(shape.width, eps=shape.norm_epsilon)
        self.dropout = nn.Dropout(shape.dropout)

    def forward(self, states: Tensor, bias: Tensor, *, first_only: bool = False) -> Tensor:
        """
        Map states to states of the same shape.

        Args:
            states: The states of the tokens, [batch, length, width].
            bias: Added to the attention's scores to hide the padding, [batch, 1, 1, length].
            first_only: Return the first token's state only, [batch, 1, width]. The first token still attends to all tokens.
        """
        key, value = self._split(self.key(states)), self._split(self.value(states))
        states = states[:, :1] if first_only else states
        query = self._split(self.query(states))
        scores = query @ key.transpose(-1, -2) / math.sqrt(query.shape[-1]) + bias
        mixed = self.dropout(torch.softmax(scores, dim=-1)) @ value
        joined = mixed.transpose(1, 2).flatten(2)
        states = self.attended_norm(states + self.dropout(self.attended(joined)))
        inner = nn.functional.gelu(self.widen(states))
        normed: Tensor = self.norm(states + self.dropout(self.narrow(inner)))
        return normed

    def _split(self, states: Tensor) -> Tensor:
        batch, length, width = states.shape
        return states.view(batch, length, self.heads, width // self.heads).transpose(1, 2)


class Int8Embedding(nn.Module):
    """A frozen embedding. Each row is int8 numbers times the row's scale."""

    rows: Tensor
    scales: Tensor

    def __init__(self, weight: Tensor) -> None:
        """Store `weight`, [rows, width], at a quarter of its size."""
        super().__init__()
        scales = weight.abs().amax(dim=1, keepdim=True).clamp_min(1e-12) / INT8_MAX
        self.register_buffer("rows", torch.round(weight / scales).to(torch.int8))
        self.register_buffer("scales", scales)

    def forward(self, ids: Tensor) -> Tensor:
        """Look up `ids`."""
        return self.rows[ids].float() * self.scales[ids]


class TagNetwork(nn.Module):
    """The network from token ids to logits."""

    def __init__(self, shape: Shape) -> None:
        """Make a network with fresh weights."""
        super().__init__()
        self.shape = shape
        self.words: nn.Module = nn.Embedding(shape.vocabulary, shape.width)
        self.positions = nn.Embedding(shape.positions, shape.width)
        self.embedded_norm = nn.LayerNorm(shape.width, eps=shape.norm_epsilon)
        self.layers = nn.ModuleList(Layer(shape) for _ in range(shape.layers))
        self.dropout = nn.Dropout(shape.dropout)
        self.head = nn.Linear(shape.width, shape.labels)

    @classmethod
    def from_bert(cls, bert: BertModel, *, labels: int) -> Self:
        """Take the weights of a BERT encoder; the head is fresh."""
        config = bert.config
        network = cls(
            Shape(
                vocabulary=config.vocab_size,
                positions=config.max_position_embeddings,
                width=config.hidden_size,
                inner=config.intermediate_size,
                heads=config.num_attention_heads,
                layers=config.num_hidden_layers,
                labels=labels,
                norm_epsilon=config.layer_norm_eps,
                dropout=config.hidden_dropout_prob,
            )
        )
        head = {f"head.{name}": value for name, value in network.head.state_dict().items()}
        network.load_state_dict(_renamed(bert.state_dict()) | head)
        return network

    def embed(self, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
        """Return the texts as unit vectors, [batch, width]."""
        mask = attention_mask.to(torch.float32)
        bias = ((1.0 - mask) * MASKED)[:, None, None, :]
        positions = self.positions.weight[: input_ids.shape[1]]
        states = self.dropout(self.embedded_norm(self.words(input_ids) + positions))
        first = self.shape.pooling == "first"
        for number, layer in enumerate(self.layers, start=1):
            states = layer(states, bias, first_only=first and number == self.shape.layers)
        # The first token, or the sum over tokens: the unit length makes sum and mean equal.
        summed = states[:, 0] if first else (states * mask[:, :, None]).sum(dim=1)
        unit: Tensor = summed / torch.sqrt((summed * summed).sum(dim=-1, keepdim=True))
        return unit

    def forward(self, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
        """Return the logits, [batch, labels]."""
        logits: Tensor = self.head(self.embed(input_ids, attention_mask))
        return logits

    def shallow(self, keep: Sequence[int], pooling: Pooling = "mean") -> "TagNetwork":
        """Copy the network with only the layers `keep`, in this order, and with this pooling."""
        shape = replace(self.shape, layers=len(keep), pooling=pooling)
        network = TagNetwork(shape)
        state = {name: value for name, value in self.state_dict().items() if not name.startswith("layers.")}
        for place, source in enumerate(keep):
            for name, value in self.layers[source].state_dict().items():
                state[f"layers.{place}.{name}"] = value
        network.load_state_dict(state)
        return network

    def with_labels(self, labels: int) -> "TagNetwork":
        """Copy the network with the first `labels` lines of its head."""
        network = TagNetwork(replace(self.shape, labels=labels))
        heads = {name: value[:labels] for name, value in self.state_dict().items() if name.startswith("head.")}
        network.load_state_dict(self.state_dict() | heads)
        return network.eval()

    def for_export(self) -> "TagNetwork":
        """Copy the network with int8 word embeddings. The copy is for inference and cannot be trained."""
        network = TagNetwork(self.shape)
        network.load_state_dict(self.state_dict())
        network.words = Int8Embedding(network.state_dict()["words.weight"])
        return network.eval()


_NAMES = {
    "attention.self.query": "query",
    "attention.self.key": "key",
    "attention.self.value": "value",
    "attention.output.dense": "attended",
    "attention.output.LayerNorm": "attended_norm",
    "intermediate.dense": "widen",
    "output.dense": "narrow",
    "output.LayerNorm": "norm",
}


def _renamed(bert: dict[str, Tensor]) -> dict[str, Tensor]:
    state = {
        "words.weight": bert["embeddings.word_embeddings.weight"],
        "positions.weight": bert["embeddings.position_embeddings.weight"] + bert["embeddings.token_type_embeddings.weight"][0],
        "embedded_norm.weight": bert["embeddings.LayerNorm.weight"],
        "embedded_norm.bias": bert["embeddings.LayerNorm.bias"],
    }
    for name, value in bert.items():
        if name.startswith("encoder.layer."):
            number, rest = name.removeprefix("encoder.layer.").split(".", 1)
            module, kind = rest.rsplit(".", 1)
            state[f"layers.{number}.{_NAMES[module]}.{kind}"] = value
    return state

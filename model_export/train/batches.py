"""Texts as tensors: the tokenizer setting and the batches that training, distillation and the parity check share."""

from collections.abc import Iterator, Sequence

import torch
from tokenizers import Tokenizer
from torch import Tensor

from tagstream.model_export.train.network import TagNetwork

MAX_LENGTH = 128
EMBED_BATCH = 32
POOL = 16


def load_tokenizer(raw: bytes, max_length: int = MAX_LENGTH) -> Tokenizer:
    """Read a tokenizer file; truncate at `max_length` tokens, and do not pad."""
    tokenizer = Tokenizer.from_buffer(raw)
    tokenizer.no_padding()
    tokenizer.enable_truncation(max_length)
    return tokenizer


def encode(tokenizer: Tokenizer, texts: Sequence[str]) -> list[list[int]]:
    """Return the token ids of every text, special tokens included."""
    return [list(encoding.ids) for encoding in tokenizer.encode_batch(list(texts))]


def windows(tokenizer: Tokenizer, texts: Sequence[str], most: int) -> list[list[list[int]]]:
    """Return the token ids of the first windows of every text, at most `most` windows for each; special tokens included."""
    return [
        [list(one.ids) for one in (encoding, *encoding.overflowing[: most - 1])]
        for encoding in tokenizer.encode_batch(list(texts))
    ]


def fast_dtype() -> torch.dtype:
    """
    Return the number format in which this processor computes networks fastest: bfloat16 if it has matrix units or dot products for bfloat16
    (AMX, AVX512-BF16), else float32.

    With dot products alone, the adviser reads a text in a quarter of the time of float32.
    """
    # PyTorch does not have public functions for these checks.
    has = torch.cpu._is_amx_tile_supported() or torch.cpu._is_avx512_bf16_supported()  # noqa: SLF001
    return torch.bfloat16 if has else torch.float32


def fast() -> torch.autocast:
    """Return a context in which matrix products are computed in `fast_dtype`."""
    dtype = fast_dtype()
    return torch.autocast("cpu", dtype=torch.bfloat16, enabled=dtype is torch.bfloat16)


def pad(rows: Sequence[Sequence[int]], filler: int = 0) -> tuple[Tensor, Tensor]:
    """Return `input_ids`, padded with `filler`, and `attention_mask`, each [batch, longest]."""
    longest = max(len(row) for row in rows)
    ids = torch.full((len(rows), longest), filler, dtype=torch.int64)
    mask = torch.zeros(len(rows), longest, dtype=torch.int64)
    for place, row in enumerate(rows):
        ids[place, : len(row)] = torch.tensor(row, dtype=torch.int64)
        mask[place, : len(row)] = 1
    return ids, mask


def by_length(rows: Sequence[Sequence[int]], size: int = EMBED_BATCH) -> Iterator[list[int]]:
    """Yield the positions of texts in batches of similar length, to save padding."""
    order = sorted(range(len(rows)), key=lambda position: len(rows[position]))
    for start in range(0, len(order), size):
        yield order[start : start + size]


@torch.no_grad()
def embed(network: TagNetwork, rows: Sequence[Sequence[int]]) -> Tensor:
    """Return unit vectors of tokenised texts, [rows, width], in the order of the texts."""
    network.eval()
    found = torch.empty(len(rows), network.shape.width)
    for positions in by_length(rows):
        found[positions] = network.embed(*pad([rows[position] for position in positions]))
    return found


@torch.no_grad()
def logits(network: TagNetwork, rows: Sequence[Sequence[int]]) -> Tensor:
    """Return logits of tokenised texts, [rows, labels], in the order of the texts."""
    found: Tensor = network.head(embed(network, rows))
    return found


def plan(rows: Sequence[Sequence[int]], weights: Tensor, *, size: int, steps: int, seed: int) -> Iterator[list[int]]:
    """
    Yield the positions of the texts of `steps` training batches. A text is drawn in proportion to its weight.

    Texts are drawn in pools of `POOL` batches, sorted by length inside the pool, and cut into batches. The batches are still random, and
    have a third of the padding.

    Args:
        rows: By text, the numbers of its tokens.
        weights: By text, the weight of the draw, [rows].
        size: The number of texts in a batch.
        steps: The number of batches.
        seed: The seed of the draw: the same seed gives the same batches.
    """
    generator = torch.Generator().manual_seed(seed)
    left = steps
    while left > 0:
        pooled = min(POOL, left)
        drawn = torch.multinomial(weights, pooled * size, replacement=True, generator=generator).tolist()
        drawn.sort(key=lambda position: len(rows[position]))
        for number in torch.randperm(pooled, generator=generator).tolist():
            yield drawn[number * size : (number + 1) * size]
        left -= pooled

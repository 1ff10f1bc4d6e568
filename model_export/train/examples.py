"""The texts that a network learns from: labels, the adviser's opinions, and the frequency with which each text is drawn."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from tokenizers import Tokenizer
from torch import Tensor, nn

from tagstream.model_export.data.row import Row
from tagstream.model_export.train import batches


@dataclass(frozen=True, slots=True, kw_only=True)
class Examples:
    """Tokenised texts, the number of each text's label, and each text's source."""

    rows: list[list[int]]
    targets: list[int]
    sources: list[str]

    def __add__(self, more: "Examples") -> "Examples":
        """Return these texts, then more texts."""
        return Examples(
            rows=[*self.rows, *more.rows], targets=[*self.targets, *more.targets], sources=[*self.sources, *more.sources]
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class SoftExamples:
    """
    The targets of a network.

    Attributes:
        rows: Tokenised texts, the labelled ones first.
        targets: By text, the probability of every label, [texts, labels]; all zero for a text without label and opinion.
        labelled: The number of texts with a label.
    """

    rows: list[list[int]]
    targets: Tensor
    labelled: int


def examples(tokenizer: Tokenizer, rows: Sequence[Row], labels: Sequence[str]) -> Examples:
    """
    Return rows as tokens, label numbers and sources.

    Args:
        tokenizer: Cuts the texts into tokens.
        rows: Texts with their labels.
        labels: All labels, in the bundle's order.

    Raises:
        ValueError: `labels` lacks the label of a row.
    """
    return Examples(
        rows=batches.encode(tokenizer, [row.text for row in rows]),
        targets=[labels.index(row.tag) for row in rows],
        sources=[row.source for row in rows],
    )


def soft_examples(
    train: Examples,
    unlabelled: Sequence[list[int]] = (),
    *,
    labels: int,
    advice: tuple[Tensor, Tensor] | None = None,
    advice_share: float = 0.5,
) -> SoftExamples:
    """
    Combine labels and opinions into one target for each text.

    Args:
        train: The labelled texts.
        unlabelled: Tokenised texts without a label.
        labels: The number of labels.
        advice: Probabilities of every label for the labelled and for the unlabelled texts; None without an adviser.
        advice_share: The weight of the opinion in a target of label and opinion, 0 to 1.
    """
    certain = nn.functional.one_hot(torch.tensor(train.targets), labels).float()
    known, silent = certain, torch.zeros(len(unlabelled), labels)
    if advice is not None:
        known, silent = torch.lerp(certain, advice[0], advice_share), advice[1]
    return SoftExamples(rows=[*train.rows, *unlabelled], targets=torch.cat([known, silent]), labelled=len(train.rows))


def soft_weights(
    train: Examples, texts: SoftExamples, shares: Mapping[str, float], levelling: float, unlabelled: float
) -> Tensor:
    """
    Return the weight with which each text is drawn: `drawing_weights` for labelled texts, and equal weights for unlabelled texts.

    Args:
        train: The labelled texts.
        texts: The labelled and the unlabelled texts.
        shares: The share of draws by source, as for `drawing_weights`.
        levelling: 0 to 1, as for `drawing_weights`.
        unlabelled: The share of all draws for unlabelled texts, at least 0 and below 1.

    Returns:
        The relative weights, [texts], in the order of `texts`.
    """
    known = drawing_weights(train, shares, levelling)
    rest = len(texts.rows) - texts.labelled
    each = float(known.sum()) * unlabelled / (1 - unlabelled) / max(1, rest)
    return torch.cat([known, torch.full((rest,), each)])


def natural_shares(train: Examples) -> dict[str, float]:
    """
    Return the shares of draws by source with which every row has the same weight.

    >>> natural_shares(Examples(rows=[[1]] * 3, targets=[0, 0, 0], sources=["mail", "mail", "chat"]))
    {'mail': 2.0, 'chat': 1.0}
    """
    return {source: float(rows) for source, rows in Counter(train.sources).items()}


def drawing_weights(train: Examples, shares: Mapping[str, float], levelling: float) -> Tensor:
    """
    Return the weight with which each row is drawn, [rows]. Every source gets its share of the draws, split over the source's classes.

    Args:
        train: The rows.
        shares: The relative share of draws by source; 1 for a source without an entry.
        levelling: 0 draws the classes of a source as often as they occur there; 1 draws all classes equally often.
    """
    cells = list(zip(train.sources, train.targets, strict=True))
    counts = Counter(cells)
    raw = {cell: count**-levelling for cell, count in counts.items()}
    totals = {source: sum(raw[cell] * counts[cell] for cell in counts if cell[0] == source) for source in set(train.sources)}
    return torch.tensor([shares.get(cell[0], 1.0) * raw[cell] / totals[cell[0]] for cell in cells])


def soft_loss(logits: Tensor, targets: Tensor, smoothing: float) -> Tensor:
    """
    Return the mean cross entropy with target probabilities. A row of zeros adds nothing.

    Args:
        logits: The logits, [batch, labels].
        targets: Probabilities of the labels, [batch, labels].
        smoothing: The part of each target that is spread over all labels, 0 to 1.

    >>> bool(soft_loss(torch.tensor([[2.0, 0.0]]), torch.zeros(1, 2), 0.1) == 0)
    True
    """
    known = targets.sum(dim=-1, keepdim=True)
    smoothed = targets * (1 - smoothing) + known * smoothing / targets.shape[-1]
    return -(smoothed * torch.log_softmax(logits, dim=-1)).sum(dim=-1).mean()

"""Fine-tune a pretrained encoder into a teacher: a linear probe, then all layers with small steps, then averaging with
the base.

Plain fine-tuning on a thousand titles overfits: features adapt to the words at hand, and the network becomes sure and
wrong on other texts. Three measures against it: the head is fitted on frozen features before anything moves (LP-FT,
Kumar et al. 2022), lower layers move less, and the tuned weights are averaged with the base's (WiSE-FT, Wortsman et al.
2022), with a share that the calibration rows choose.
"""

import logging
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from sklearn.linear_model import LogisticRegression
from tokenizers import Tokenizer
from torch import Tensor, nn
from transformers import get_linear_schedule_with_warmup

from model_export.calibrate.temperature import Floats, fit_temperature, level_sources, log_loss
from model_export.data.row import Row
from model_export.train import batches
from model_export.train.network import TagNetwork

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipe:
    """The parameters of training, besides the data."""

    seed: int = 20261101
    probe_strength: float = 10.0
    learning_rate: float = 5e-5
    layer_decay: float = 0.9
    epochs: int = 3
    batch_rows: int = 32
    source_shares: dict[str, float] = field(
        default_factory=lambda: {"madewithml": 0.4, "corpus": 0.25, "plain": 0.3, "lexicon": 0.05}
    )
    class_levelling: float = 0.3
    advice_share: float = 0.5
    unlabelled_share: float = 0.2
    label_smoothing: float = 0.05
    weight_decay: float = 0.01
    warmup_share: float = 0.1
    tuned_shares: tuple[float, ...] = (0.6, 0.8, 1.0)
    max_gradient: float = 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class HeadRecipe:
    """
    The fit of a head to a frozen encoder.

    The regression is weak on purpose: the encoder has seen most of these texts, and a strong fit would follow their
        memorised labels.
    """

    strength: float = 0.3
    source_shares: dict[str, float] = field(
        default_factory=lambda: {"madewithml": 0.35, "corpus": 0.25, "plain": 0.35, "lexicon": 0.05}
    )
    class_levelling: float = 0.5
    iterations: int = 2000


@dataclass(frozen=True, slots=True, kw_only=True)
class Head:
    """Logits are `vectors @ weight.T + bias`. Shapes: weight (labels, width), bias (labels,)."""

    weight: Floats
    bias: Floats


@dataclass(frozen=True, slots=True, kw_only=True)
class Examples:
    """Tokenised texts, the index of each one's label, and the source that each one came from."""

    rows: list[list[int]]
    targets: list[int]
    sources: list[str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Lessons:
    """
    The targets of a network.

    Attributes:
        rows: Tokenised texts, the labelled ones first.
        targets: The probability of every label for each text, [texts, labels]; all zero for a text without label and
            opinion.
        labelled: The number of texts that have a label.
    """

    rows: list[list[int]]
    targets: Tensor
    labelled: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Tuned:
    """A trained network, the share of tuning that was kept (0 to 1), and the calibration loss at every share."""

    network: TagNetwork
    tuned_share: float
    losses: dict[str, float]


def examples(tokenizer: Tokenizer, rows: Sequence[Row], labels: Sequence[str]) -> Examples:
    """
    Rows as tokens, label numbers and sources.

    Raises:
        ValueError: A row carries a label that `labels` lacks.
    """
    return Examples(
        rows=batches.encode(tokenizer, [row.text for row in rows]),
        targets=[labels.index(row.tag) for row in rows],
        sources=[row.source for row in rows],
    )


def tune(network: TagNetwork, train: Examples, calibration: Examples, recipe: Recipe, lessons: Lessons | None = None) -> Tuned:
    """
    Fit the head, tune all layers, and choose how much of the tuning to keep.

    Args:
        network: A pretrained encoder with a fresh head; it is changed in place.
        train: The rows to learn from.
        calibration: The rows that choose the share of tuning.
        recipe: Every number of the procedure.
        lessons: Targets of labelled and unlabelled texts; the labels of `train` alone by default.
    """
    torch.manual_seed(recipe.seed)
    first = HeadRecipe(
        strength=recipe.probe_strength, source_shares=recipe.source_shares, class_levelling=recipe.class_levelling
    )
    probe(network, train, first)
    base = {name: value.clone() for name, value in network.state_dict().items()}
    run_epochs(network, train, lessons or lessons_of(train), recipe)
    tuned = {name: value.clone() for name, value in network.state_dict().items()}
    losses: dict[float, float] = {}
    for share in recipe.tuned_shares:
        network.load_state_dict(interpolate(base, tuned, share))
        losses[share] = balanced_loss(network, calibration)
        logger.info("share_measured share=%.2f calibration_loss=%.4f", share, losses[share])
    best = min(losses, key=lambda share: losses[share])
    network.load_state_dict(interpolate(base, tuned, best))
    return Tuned(network=network.eval(), tuned_share=best, losses={str(share): loss for share, loss in losses.items()})


def probe(network: TagNetwork, train: Examples, recipe: HeadRecipe) -> None:
    """Fit the head of a network in place; the encoder does not change."""
    head = fit_head(batches.embed(network, train.rows).double().numpy(), train, recipe)
    with torch.no_grad():
        network.head.weight.copy_(torch.from_numpy(head.weight))
        network.head.bias.copy_(torch.from_numpy(head.bias))


def fit_head(vectors: Floats, train: Examples, recipe: HeadRecipe) -> Head:
    """Logistic regression on the vectors of the training texts, drawn in the recipe's shares."""
    weights = drawing_weights(train, recipe.source_shares, recipe.class_levelling)
    regression = LogisticRegression(C=recipe.strength, max_iter=recipe.iterations)
    regression.fit(vectors, train.targets, sample_weight=(weights / weights.mean()).double().numpy())
    return Head(weight=regression.coef_, bias=regression.intercept_)


def lessons_of(
    train: Examples,
    unlabelled: Sequence[list[int]] = (),
    *,
    advice: tuple[Tensor, Tensor] | None = None,
    advice_share: float = 0.5,
) -> Lessons:
    """
    Combine labels and opinions into one target for each text.

    Args:
        train: The labelled texts.
        unlabelled: Tokenised texts without a label.
        advice: Probabilities of every label for the labelled and for the unlabelled texts; None without an adviser.
        advice_share: The weight of an opinion beside a label, 0 to 1.
    """
    labels = max(train.targets) + 1 if advice is None else advice[0].shape[1]
    certain = nn.functional.one_hot(torch.tensor(train.targets), labels).float()
    known, others = certain, torch.zeros(len(unlabelled), labels)
    if advice is not None:
        known, others = torch.lerp(certain, advice[0], advice_share), advice[1]
    return Lessons(rows=[*train.rows, *unlabelled], targets=torch.cat([known, others]), labelled=len(train.rows))


def soft_loss(logits: Tensor, targets: Tensor, smoothing: float) -> Tensor:
    """
    Mean cross entropy with target probabilities, [batch, labels]; a row of zeros adds nothing.

    >>> bool(soft_loss(torch.tensor([[2.0, 0.0]]), torch.zeros(1, 2), 0.1) == 0)
    True
    """
    known = targets.sum(dim=-1, keepdim=True)
    smoothed = targets * (1 - smoothing) + known * smoothing / targets.shape[-1]
    return -(smoothed * torch.log_softmax(logits, dim=-1)).sum(dim=-1).mean()


def lesson_weights(
    train: Examples, lessons: Lessons, shares: Mapping[str, float], levelling: float, unlabelled: float
) -> Tensor:
    """
    How often each lesson is drawn: labelled ones by `drawing_weights`, the others `unlabelled` of all draws (0 to 1)
    together.
    """
    known = drawing_weights(train, shares, levelling)
    rest = len(lessons.rows) - lessons.labelled
    each = float(known.sum()) * unlabelled / (1 - unlabelled) / max(1, rest)
    return torch.cat([known, torch.full((rest,), each)])


def run_epochs(network: TagNetwork, train: Examples, lessons: Lessons, recipe: Recipe) -> None:
    """
    Tune every layer but the word embeddings.

    The embeddings stay: words that the training texts lack keep their place relative to the others.
    """
    steps = recipe.epochs * (len(train.rows) // recipe.batch_rows)
    optimiser = torch.optim.AdamW(parameter_groups(network, recipe), weight_decay=recipe.weight_decay, fused=True)
    schedule = get_linear_schedule_with_warmup(optimiser, round(steps * recipe.warmup_share), steps)
    network.words.requires_grad_(requires_grad=False)
    taught = bool(lessons.targets[lessons.labelled :].any())
    weights = lesson_weights(
        train, lessons, recipe.source_shares, recipe.class_levelling, recipe.unlabelled_share if taught else 0.0
    )
    network.train()
    for step, drawn in enumerate(batches.plan(lessons.rows, weights, size=recipe.batch_rows, steps=steps, seed=recipe.seed)):
        with batches.fast():
            logits = network(*batches.pad([lessons.rows[place] for place in drawn]))
        loss = soft_loss(logits.float(), lessons.targets[drawn], recipe.label_smoothing)
        torch.autograd.backward(loss)
        nn.utils.clip_grad_norm_(network.parameters(), recipe.max_gradient)
        optimiser.step()
        schedule.step()
        optimiser.zero_grad()
        if step % 50 == 0:
            logger.info("step_done step=%d of=%d loss=%.4f", step, steps, float(loss.detach()))
    network.eval()


def drawing_weights(train: Examples, shares: Mapping[str, float], levelling: float) -> Tensor:
    """
    A drawing weight a row: every source gets its share of the draws, every class inside a source its part of that
        share.

    Args:
        train: The rows.
        shares: The share of draws by source, in proportion; a source without an entry counts 1.
        levelling: 0 draws the classes of a source as often as they occur there, 1 all equally often.
    """
    cells = list(zip(train.sources, train.targets, strict=True))
    counts = Counter(cells)
    raw = {cell: count**-levelling for cell, count in counts.items()}
    totals = {source: sum(raw[cell] * counts[cell] for cell in counts if cell[0] == source) for source in set(train.sources)}
    return torch.tensor([shares.get(cell[0], 1.0) * raw[cell] / totals[cell[0]] for cell in cells])


def parameter_groups(network: TagNetwork, recipe: Recipe) -> list[dict[str, object]]:
    """The parameters by depth: each layer's rate is `layer_decay` times that of the layer above."""
    depth = network.shape.layers
    groups: list[dict[str, object]] = [{"params": list(network.head.parameters()), "lr": recipe.learning_rate}]
    for number, layer in enumerate(network.layers):
        rate = recipe.learning_rate * recipe.layer_decay ** (depth - 1 - number)
        groups.append({"params": list(layer.parameters()), "lr": rate})
    embeddings = [*network.positions.parameters(), *network.embedded_norm.parameters()]
    groups.append({"params": embeddings, "lr": recipe.learning_rate * recipe.layer_decay**depth})
    return groups


def interpolate(base: dict[str, Tensor], tuned: dict[str, Tensor], share: float) -> dict[str, Tensor]:
    """Weights on the line between two networks: 0 is the base, 1 the tuned one."""
    return {name: torch.lerp(base[name], tuned[name], share) for name in base}


def balanced_loss(network: TagNetwork, examples: Examples) -> float:
    """Log loss after temperature scaling, the mean over sources, so that a large one does not drown a small one."""
    logits = batches.logits(network, examples.rows).double().numpy()
    targets = np.array(examples.targets)
    level = level_sources(examples.sources)
    return log_loss(logits, targets, fit_temperature(logits, targets, level), level)

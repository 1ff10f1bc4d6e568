"""Fine-tunes a pretrained encoder into a teacher: a linear probe, then all layers with small steps, then an average with the base.

Plain fine-tuning on a thousand titles overfits: features adapt to the words of these titles, and the network makes confident mistakes on
other texts. There are three measures against overfitting. The head is fitted on frozen features before any layer is tuned (LP-FT, Kumar et
al. 2022). Lower layers have smaller learning rates. The tuned weights are averaged with the base's weights (WiSE-FT, Wortsman et al. 2022),
with a share that is chosen on the calibration rows.
"""

import logging
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor
from transformers import get_linear_schedule_with_warmup

from tagstream.model_export.calibrate.temperature import fit_temperature, level_sources, log_loss
from tagstream.model_export.train import batches
from tagstream.model_export.train.examples import Examples, SoftExamples, soft_loss, soft_weights
from tagstream.model_export.train.head import HeadRecipe, fit_head
from tagstream.model_export.train.network import TagNetwork
from tagstream.model_export.train.work import NO_WORK, Optimisation, Work

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class TeacherRecipe:
    """The parameters of training, without the data."""

    seed: int = 20261101
    probe_strength: float = 10.0
    learning_rate: float = 5e-5
    layer_decay: float = 0.9
    epochs: int = 3
    batch_rows: int = 32
    source_shares: dict[str, float] = field(
        default_factory=lambda: {"madewithml": 0.4, "corpus": 0.25, "plain": 0.3, "lexicon": 0.05, "real": 1.0}
    )
    class_levelling: float = 0.3
    unlabelled_share: float = 0.2
    label_smoothing: float = 0.05
    weight_decay: float = 0.01
    warmup_share: float = 0.1
    tuned_shares: tuple[float, ...] = (0.6, 0.8, 1.0)
    max_gradient: float = 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Tuned:
    """A trained network, the share of the tuned weights in the average (0 to 1), and the calibration loss at every share."""

    network: TagNetwork
    tuned_share: float
    losses: dict[str, float]


def tune(
    network: TagNetwork,
    train: Examples,
    calibration: Examples,
    recipe: TeacherRecipe,
    texts: SoftExamples,
    work: Work = NO_WORK,
) -> Tuned:
    """
    Fit the head, tune all layers, and choose the share of the tuned weights.

    Args:
        network: A pretrained encoder with a fresh head; it is changed in place.
        train: The rows to learn from.
        calibration: The rows on which the share is chosen.
        recipe: The numbers of the procedure.
        texts: Targets of labelled and unlabelled texts.
        work: Keeps the steps of tuning, and is told their progress.
    """
    torch.manual_seed(recipe.seed)
    first = HeadRecipe(
        strength=recipe.probe_strength, source_shares=recipe.source_shares, class_levelling=recipe.class_levelling
    )
    probe(network, train, first)
    base = {name: value.clone() for name, value in network.state_dict().items()}
    run_epochs(network, train, texts, recipe, work)
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
    """
    Fit the head of a network in place; the encoder does not change.

    Args:
        network: The network whose head is fitted.
        train: The training texts.
        recipe: The settings of the head.
    """
    head = fit_head(batches.embed(network, train.rows).double().numpy(), train, recipe, network.shape.labels)
    with torch.no_grad():
        network.head.weight.copy_(torch.from_numpy(head.weight))
        network.head.bias.copy_(torch.from_numpy(head.bias))


def run_epochs(network: TagNetwork, train: Examples, texts: SoftExamples, recipe: TeacherRecipe, work: Work = NO_WORK) -> None:
    """
    Tune every layer except the word embeddings.

    The embeddings stay, so that words outside the training texts keep their place relative to the other words.

    Args:
        network: The network; it is tuned in place.
        train: The labelled texts.
        texts: Targets of the labelled and the unlabelled texts.
        recipe: The settings of the tuning.
        work: Keeps the state of the tuning, so that an interrupted tuning can resume.
    """
    steps = recipe.epochs * (len(train.rows) // recipe.batch_rows)
    optimiser = torch.optim.AdamW(parameter_groups(network, recipe), weight_decay=recipe.weight_decay, fused=True)
    schedule = get_linear_schedule_with_warmup(optimiser, round(steps * recipe.warmup_share), steps)
    network.words.requires_grad_(requires_grad=False)
    taught = bool(texts.targets[texts.labelled :].any())
    weights = soft_weights(
        train, texts, recipe.source_shares, recipe.class_levelling, recipe.unlabelled_share if taught else 0.0
    )
    network.train()

    def loss_of(drawn: Sequence[int]) -> Tensor:
        with batches.fast():
            logits = network(*batches.pad([texts.rows[place] for place in drawn]))
        return soft_loss(logits.float(), texts.targets[drawn], recipe.label_smoothing)

    work.descend(
        "teacher",
        network,
        Optimisation(optimiser=optimiser, schedule=schedule, max_gradient=recipe.max_gradient),
        plan=batches.plan(texts.rows, weights, size=recipe.batch_rows, steps=steps, seed=recipe.seed),
        loss_of=loss_of,
        steps=steps,
    )
    network.eval()


def parameter_groups(network: TagNetwork, recipe: TeacherRecipe) -> list[dict[str, object]]:
    """Return the parameters by depth. The learning rate of a layer is `layer_decay` times the rate of the layer above."""
    depth = network.shape.layers
    groups: list[dict[str, object]] = [{"params": list(network.head.parameters()), "lr": recipe.learning_rate}]
    for number, layer in enumerate(network.layers):
        rate = recipe.learning_rate * recipe.layer_decay ** (depth - 1 - number)
        groups.append({"params": list(layer.parameters()), "lr": rate})
    embeddings = [*network.positions.parameters(), *network.embedded_norm.parameters()]
    groups.append({"params": embeddings, "lr": recipe.learning_rate * recipe.layer_decay**depth})
    return groups


def interpolate(base: dict[str, Tensor], tuned: dict[str, Tensor], share: float) -> dict[str, Tensor]:
    """
    Interpolate linearly between the weights of two networks.

    Args:
        base: The weights at 0, by name.
        tuned: The weights at 1, by name.
        share: The place on the line, 0 to 1.
    """
    return {name: torch.lerp(base[name], tuned[name], share) for name in base}


def balanced_loss(network: TagNetwork, examples: Examples) -> float:
    """Return the log loss after temperature scaling. Every source has the same weight, so a large source does not hide a small one."""
    logits = batches.logits(network, examples.rows).double().numpy()
    targets = np.array(examples.targets)
    level = level_sources(examples.sources)
    return log_loss(logits, targets, fit_temperature(logits, targets, level), level)

"""A shallow student, several times as fast as the encoder that it is cut from. It imitates a teacher, or learns from targets alone.

With a teacher, the student starts with some of the teacher's layers and with its head. It learns to reproduce the teacher's vector of every
text: 384 numbers instead of one label. So it learns as much from a text without a label. The labels of the other texts correct the
teacher's mistakes. Without a teacher, the student starts with some layers of the base encoder, and learns the targets: labels, and the
opinions of an adviser. A line that is dropped at the end turns its vectors into the adviser's, which have another width.

Training rounds as the int8 file does, so the later quantisation changes very little.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn
from transformers import get_linear_schedule_with_warmup

from tagstream.model_export.train import batches
from tagstream.model_export.train.examples import Examples, SoftExamples, soft_loss, soft_weights
from tagstream.model_export.train.network import Pooling, TagNetwork
from tagstream.model_export.train.rounding import rounded_activations
from tagstream.model_export.train.work import NO_WORK, Optimisation, Work


@dataclass(frozen=True, slots=True, kw_only=True)
class StudentRecipe:
    """The parameters of distillation, without the data and the teacher."""

    seed: int = 20261102
    layers: tuple[int, ...] = (0, 2, 5)
    pooling: Pooling = "mean"
    learning_rate: float = 2e-4
    epochs: int = 5
    batch_rows: int = 32
    source_shares: dict[str, float] = field(
        default_factory=lambda: {"madewithml": 0.4, "corpus": 0.25, "plain": 0.3, "lexicon": 0.05, "real": 1.0}
    )
    class_levelling: float = 0.3
    unlabelled_share: float = 0.25
    temperature: float = 2.0
    vector_weight: float = 8.0
    projection_rate: float = 3e-3
    label_weight: float = 1.0
    label_smoothing: float = 0.05
    weight_decay: float = 0.01
    warmup_share: float = 0.1
    dropout: float = 0.0
    max_gradient: float = 1.0


def spread(layers: int, of: int) -> tuple[int, ...]:
    """
    Return the layers of a network of `of` layers with which a student of `layers` layers starts: the first, the last, and an even spread.

    >>> spread(3, 6), spread(6, 6), spread(2, 3), spread(1, 6)
    ((0, 2, 5), (0, 1, 2, 3, 4, 5), (0, 2), (0,))
    """
    return tuple(place * (of - 1) // max(1, layers - 1) for place in range(layers))


def distil(
    teacher: TagNetwork, train: Examples, texts: SoftExamples, recipe: StudentRecipe, work: Work = NO_WORK
) -> TagNetwork:
    """
    Train a student that imitates a teacher.

    Args:
        teacher: The network to imitate; it is not changed.
        train: Labelled texts.
        texts: The texts of `train`, then texts without a label, with the label probabilities of each text. The student imitates the teacher
            on all texts.
        recipe: The numbers of the procedure.
        work: Keeps the steps of the training, and is told its progress.
    """
    torch.manual_seed(recipe.seed)
    vectors = batches.embed(teacher, texts.rows)
    with torch.no_grad():
        teacher_logits: Tensor = teacher.head(vectors)
    student = teacher.shallow(recipe.layers, recipe.pooling)

    def imitation(logits: Tensor, found: Tensor, drawn: Sequence[int]) -> Tensor:
        heat = recipe.temperature
        soft = nn.functional.kl_div(
            torch.log_softmax(logits / heat, dim=-1), torch.softmax(teacher_logits[drawn] / heat, dim=-1), reduction="none"
        )
        near = (found - vectors[drawn]).square().sum(dim=-1)
        return (soft.sum(dim=-1) * heat**2 + recipe.vector_weight * near).mean()

    return _descend(_Lesson(student=student, imitation=imitation), train, texts, recipe, work)


def learn(
    base: TagNetwork,
    train: Examples,
    texts: SoftExamples,
    recipe: StudentRecipe,
    work: Work = NO_WORK,
    *,
    vectors: Tensor | None = None,
) -> TagNetwork:
    """
    Train a student on targets, and on the vectors of an encoder of another kind.

    Args:
        base: The network whose layers the student starts with; it is not changed. Its head is not trained: a fresh one is.
        train: Labelled texts.
        texts: As for `distil`. A text without a target is not drawn where there are no vectors.
        recipe: The numbers of the procedure.
        work: Keeps the steps of the training, and is told its progress.
        vectors: The unit vector of each text, [texts, width]; None to learn from targets alone.
    """
    torch.manual_seed(recipe.seed)
    student = base.shallow(recipe.layers, recipe.pooling)
    student.head.reset_parameters()
    if vectors is None:
        return _descend(_Lesson(student=student), train, texts, recipe, work)
    projection, aims = nn.Linear(student.shape.width, vectors.shape[1]), vectors

    def imitation(_: Tensor, found: Tensor, drawn: Sequence[int]) -> Tensor:
        near = nn.functional.normalize(projection(found), dim=-1) - aims[drawn].float()
        return recipe.vector_weight * near.square().sum(dim=-1).mean()

    return _descend(_Lesson(student=student, imitation=imitation, projection=projection), train, texts, recipe, work)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Lesson:
    """
    A student and what it imitates.

    Attributes:
        student: The student; it is tuned in place.
        imitation: The loss of the distance from what is imitated, from logits, vectors and places of a batch; None to imitate nothing.
        projection: Turns the student's vectors into those that it imitates; None if they have the same width.
    """

    student: TagNetwork
    imitation: Callable[[Tensor, Tensor, Sequence[int]], Tensor] | None = None
    projection: nn.Linear | None = None


def _descend(lesson: _Lesson, train: Examples, texts: SoftExamples, recipe: StudentRecipe, work: Work) -> TagNetwork:
    student, rows = lesson.student, texts.rows
    _set_dropout(student, recipe.dropout)
    student.words.requires_grad_(requires_grad=False)
    steps = recipe.epochs * (len(rows) // recipe.batch_rows)
    groups: list[dict[str, object]] = [{"params": [parameter for parameter in student.parameters() if parameter.requires_grad]}]
    learner: nn.Module = student
    if lesson.projection is not None:
        groups.append({"params": list(lesson.projection.parameters()), "lr": recipe.projection_rate})
        learner = nn.ModuleList([student, lesson.projection])
    optimiser = torch.optim.AdamW(groups, lr=recipe.learning_rate, weight_decay=recipe.weight_decay, fused=True)
    schedule = get_linear_schedule_with_warmup(optimiser, round(steps * recipe.warmup_share), steps)
    weights = soft_weights(train, texts, recipe.source_shares, recipe.class_levelling, recipe.unlabelled_share)
    if lesson.imitation is None:
        weights = weights * (texts.targets.sum(dim=-1) > 0)
    student.train()

    def loss_of(drawn: Sequence[int]) -> Tensor:
        with batches.fast():
            found = student.embed(*batches.pad([rows[place] for place in drawn])).float()
        logits = student.head(found)
        taught = soft_loss(logits, texts.targets[drawn], recipe.label_smoothing)
        if lesson.imitation is None:
            return taught
        return lesson.imitation(logits, found, drawn) + recipe.label_weight * taught

    with rounded_activations(student):
        work.descend(
            "student",
            learner,
            Optimisation(optimiser=optimiser, schedule=schedule, max_gradient=recipe.max_gradient),
            plan=batches.plan(rows, weights, size=recipe.batch_rows, steps=steps, seed=recipe.seed),
            loss_of=loss_of,
            steps=steps,
        )
    return student.eval()


def _set_dropout(network: TagNetwork, share: float) -> None:
    for module in network.modules():
        if isinstance(module, nn.Dropout):
            module.p = share

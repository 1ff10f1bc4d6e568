"""From rows to a bundle, in one call: data, teacher, student, then everything that `assemble` proves and measures."""

import dataclasses
import logging
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import msgspec
import torch

from model_export.bundle.invariance import ParityError
from model_export.data.splits import Splits
from model_export.make.assemble import Built, Target, assemble
from model_export.train import advisor, base_model, batches, checkpoint
from model_export.train.checkpoint import Trained
from model_export.train.distil import StudentRecipe, distil
from model_export.train.head import HeadRecipe
from model_export.train.lessons import Examples, Lessons, examples, lessons_of
from model_export.train.network import TagNetwork
from model_export.train.tuning import Recipe, Tuned, balanced_loss, probe, tune
from model_export.train.work import NO_WORK, Work, libraries

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingPlan:
    """The recipes of a training: adviser, teacher, student and refitted head (None leaves a step out), and the number of cores."""

    advice: advisor.AdviceRecipe | None = dataclasses.field(default_factory=advisor.AdviceRecipe)
    teacher: Recipe = dataclasses.field(default_factory=Recipe)
    student: StudentRecipe | None = dataclasses.field(default_factory=StudentRecipe)
    head: HeadRecipe | None = None
    threads: int = 2


def train_bundle(
    folder: Path,
    *,
    splits: Splits,
    plan: TrainingPlan,
    target: Target,
    checkpoint_path: Path | None = None,
    base: base_model.BaseModel | None = None,
    work: Work = NO_WORK,
) -> Built:
    """
    Train a network and make a bundle of it.

    Args:
        folder: Where the bundle goes.
        splits: The rows, from `splits.load`.
        plan: How to train.
        target: The bundle's name and promise.
        checkpoint_path: Keep the trained network here, for `export_bundle`, and its teacher beside it (`teacher_path`).
        base: The pretrained encoder; the project's unless given.
        work: Keeps teacher and student, and is told how far they are.

    Raises:
        ParityError: A gate refuses the trained network; it is kept on disk, and the message says where.
    """
    base = base or base_model.load()
    network, trained = work.stage(
        "network.safetensors",
        lambda: fit(base, splits, plan, teacher_path(checkpoint_path) if checkpoint_path is not None else None, work),
        save=lambda path, made: checkpoint.save(path, *made),
        load=checkpoint.load,
    )
    if checkpoint_path is not None:
        checkpoint.save(checkpoint_path, network, trained)
    try:
        return assemble(folder, network=network, trained=trained, tokenizer=base.tokenizer, splits=splits, target=target)
    except ParityError as error:
        if work.folder is not None:
            # A training on a user's own rows has kept its network there, and knows neither --seed nor `export`.
            msg = f"{error} Or train with --quick, or on more rows. The trained network is in {work.folder}."
            raise ParityError(msg) from error
        # Training took half an hour: keep the network even though its file is refused.
        kept = checkpoint_path or folder.with_name(f"{folder.name}-refused.safetensors")
        if checkpoint_path is None:
            checkpoint.save(kept, network, trained)
        msg = f"{error} Or train with another --seed. The trained network is in {kept}, for `tagstream model export`."
        raise ParityError(msg) from error


def export_bundle(folder: Path, *, checkpoint_path: Path, splits: Splits, target: Target) -> Built:
    """
    Make a bundle of a network that was trained before.

    Raises:
        CheckpointError: The file is not a checkpoint.
        ParityError: A gate refuses the network.
    """
    network, trained = checkpoint.load(checkpoint_path)
    tokenizer = base_model.load().tokenizer
    return assemble(folder, network=network, trained=trained, tokenizer=tokenizer, splits=splits, target=target)


def teacher_path(checkpoint_path: Path) -> Path:
    """
    The file that keeps the teacher of a student.

    >>> str(teacher_path(Path("kept/network.safetensors")))
    'kept/network-teacher.safetensors'
    """
    return checkpoint_path.with_stem(f"{checkpoint_path.stem}-teacher")


def fit(
    base: base_model.BaseModel, splits: Splits, plan: TrainingPlan, keep_teacher: Path | None = None, work: Work = NO_WORK
) -> tuple[TagNetwork, Trained]:
    """Train the teacher and, if the plan has one, the student; return the last of them and its record."""
    torch.set_num_threads(plan.threads)
    tokenizer, labels = batches.load_tokenizer(base.tokenizer), splits.labels
    train, calibration = (examples(tokenizer, rows, labels) for rows in (splits.train, splits.calibration))
    lessons, advised = _lessons(splits, train, batches.encode(tokenizer, [row.text for row in splits.unlabelled]), plan)

    def teach() -> Tuned:
        fresh = TagNetwork.from_bert(base.bert, labels=len(labels))
        return tune(fresh, train, calibration, plan.teacher, lessons, work)

    tuned = work.stage("teacher.safetensors", teach, save=partial(_save_teacher, labels=labels), load=_load_teacher)
    network = tuned.network
    losses = {"teacher": min(tuned.losses.values())}
    if keep_teacher is not None and plan.student is not None:
        checkpoint.save(keep_teacher, network, Trained(labels=labels, record={"teacher": dataclasses.asdict(plan.teacher)}))
    if plan.student is not None:
        network = distil(network, train, lessons, plan.student, work)
        losses["student"] = balanced_loss(network, calibration)
    if plan.head is not None:
        probe(network, train, plan.head)
        losses["head"] = balanced_loss(network, calibration)
    logger.info("network_trained layers=%d calibration_losses=%s", network.shape.layers, losses)
    record = _record(splits, plan, tuned, losses, advised=advised)
    return network, Trained(labels=labels, record=record)


def _save_teacher(path: Path, tuned: Tuned, *, labels: tuple[str, ...]) -> None:
    record: dict[str, object] = {"tuned_share": tuned.tuned_share, "losses": tuned.losses}
    checkpoint.save(path, tuned.network, Trained(labels=labels, record=record))


def _load_teacher(path: Path) -> Tuned:
    network, trained = checkpoint.load(path)
    kept = msgspec.convert(trained.record, type=_Teacher)
    return Tuned(network=network, tuned_share=kept.tuned_share, losses=kept.losses)


class _Teacher(msgspec.Struct, frozen=True, kw_only=True):
    """The record of a teacher that is kept between two runs."""

    tuned_share: float
    losses: dict[str, float]


def _lessons(splits: Splits, train: Examples, unlabelled: list[list[int]], plan: TrainingPlan) -> tuple[Lessons, bool]:
    """The lessons of all texts, and whether the adviser took part."""
    count = len(splits.labels)
    if plan.advice is None:
        return lessons_of(train, unlabelled, labels=count), False
    encoder = advisor.find()
    if encoder is None:
        logger.warning("advice_missing next=pip install -r requirements/advisor.txt; training goes on with labels alone")
        return lessons_of(train, unlabelled, labels=count), False
    advice = advisor.advise(
        encoder,
        train,
        texts=[row.text for row in splits.train],
        topics=[row.topic for row in splits.train],
        unlabelled=[row.text for row in splits.unlabelled],
        recipe=plan.advice,
    )
    opinions = (advice.train, advice.unlabelled)
    return lessons_of(train, unlabelled, labels=count, advice=opinions, advice_share=plan.teacher.advice_share), True


def _record(splits: Splits, plan: TrainingPlan, tuned: Tuned, losses: dict[str, float], *, advised: bool) -> dict[str, object]:
    return {
        "base_model": {"name": base_model.NAME, "revision": base_model.REVISION, "sha256": base_model.SHA256},
        "data": splits.as_record(),
        "advisor": {"name": advisor.NAME, "sha256": advisor.SHA256, **dataclasses.asdict(plan.advice)}
        if advised and plan.advice is not None
        else None,
        "teacher": dataclasses.asdict(plan.teacher) | {"tuned_share": tuned.tuned_share},
        "student": dataclasses.asdict(plan.student) if plan.student is not None else None,
        "head": dataclasses.asdict(plan.head) if plan.head is not None else None,
        "calibration_losses": {name: round(loss, 6) for name, loss in losses.items()},
        "libraries": libraries(),
    }

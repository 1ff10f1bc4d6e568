"""From rows to a bundle, in one call: data, teacher, student, then everything that `assemble` proves and measures."""

import dataclasses
import logging
import time
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

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

logger = logging.getLogger(__name__)

LIBRARIES = ("torch", "transformers", "tokenizers", "onnx", "onnxscript", "onnxruntime", "scikit-learn", "numpy")


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
) -> Built:
    """
    Train a network and make a bundle of it.

    Args:
        folder: Where the bundle goes.
        splits: The rows, from `splits.load`.
        plan: How to train.
        target: The bundle's name and promise.
        checkpoint_path: Keep the trained network here, for `export_bundle`, and its teacher beside it (`teacher_path`).

    Raises:
        ParityError: A gate refuses the trained network; it is kept on disk, and the message says where.
    """
    base = base_model.load()
    network, trained = fit(base, splits, plan, teacher_path(checkpoint_path) if checkpoint_path is not None else None)
    if checkpoint_path is not None:
        checkpoint.save(checkpoint_path, network, trained)
    try:
        return assemble(folder, network=network, trained=trained, tokenizer=base.tokenizer, splits=splits, target=target)
    except ParityError as error:
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
    base: base_model.BaseModel, splits: Splits, plan: TrainingPlan, keep_teacher: Path | None = None
) -> tuple[TagNetwork, Trained]:
    """Train the teacher and, if the plan has one, the student; return the last of them and its record."""
    started = time.monotonic()
    torch.set_num_threads(plan.threads)
    tokenizer, labels = batches.load_tokenizer(base.tokenizer), splits.labels
    train, calibration = (examples(tokenizer, rows, labels) for rows in (splits.train, splits.calibration))
    lessons, advised = _lessons(splits, train, batches.encode(tokenizer, [row.text for row in splits.unlabelled]), plan)
    tuned = tune(TagNetwork.from_bert(base.bert, labels=len(labels)), train, calibration, plan.teacher, lessons)
    network = tuned.network
    losses = {"teacher": min(tuned.losses.values())}
    if keep_teacher is not None and plan.student is not None:
        checkpoint.save(keep_teacher, network, Trained(labels=labels, record={"teacher": dataclasses.asdict(plan.teacher)}))
    if plan.student is not None:
        network = distil(network, train, lessons, plan.student)
        losses["student"] = balanced_loss(network, calibration)
    if plan.head is not None:
        probe(network, train, plan.head)
        losses["head"] = balanced_loss(network, calibration)
    logger.info("network_trained layers=%d calibration_losses=%s", network.shape.layers, losses)
    record = _record(splits, plan, tuned, losses, time.monotonic() - started, advised=advised)
    return network, Trained(labels=labels, record=record)


def _lessons(splits: Splits, train: Examples, unlabelled: list[list[int]], plan: TrainingPlan) -> tuple[Lessons, bool]:
    """The lessons of all texts, and whether the adviser took part."""
    if plan.advice is None:
        return lessons_of(train, unlabelled), False
    encoder = advisor.find()
    if encoder is None:
        logger.warning("advice_missing next=pip install -r requirements/advisor.txt; training goes on with labels alone")
        return lessons_of(train, unlabelled), False
    advice = advisor.advise(
        encoder,
        train,
        texts=[row.text for row in splits.train],
        topics=[row.topic for row in splits.train],
        unlabelled=[row.text for row in splits.unlabelled],
        recipe=plan.advice,
    )
    return lessons_of(train, unlabelled, advice=(advice.train, advice.unlabelled), advice_share=plan.teacher.advice_share), True


def _record(
    splits: Splits, plan: TrainingPlan, tuned: Tuned, losses: dict[str, float], seconds: float, *, advised: bool
) -> dict[str, object]:
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
        "libraries": {name: version(name) for name in LIBRARIES},
        "seconds": round(seconds, 1),
    }

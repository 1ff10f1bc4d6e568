"""Trains a network for a user's labels: a teacher is tuned on the rows, and a student imitates the teacher."""

import dataclasses
import logging
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import msgspec
import torch

from tagstream.model_export.data.splits import Splits
from tagstream.model_export.make.network import Network, exported
from tagstream.model_export.onnx import parity
from tagstream.model_export.train import base_model, batches, checkpoint
from tagstream.model_export.train.base_model import BaseModel
from tagstream.model_export.train.checkpoint import Trained
from tagstream.model_export.train.distil import StudentRecipe, distil
from tagstream.model_export.train.examples import examples, soft_examples
from tagstream.model_export.train.network import TagNetwork
from tagstream.model_export.train.tuning import TeacherRecipe, Tuned, balanced_loss, tune
from tagstream.model_export.train.work import Work, libraries

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Training:
    """
    The tuning of the base encoder: the numbers of the procedure.

    Attributes:
        teacher: The recipe of the teacher, which is tuned.
        student: The recipe of the smaller student, which imitates the teacher.
        threads: The number of cores.
    """

    teacher: TeacherRecipe = field(default_factory=TeacherRecipe)
    student: StudentRecipe = field(default_factory=StudentRecipe)
    threads: int = 2

    def network(self, rows: Splits, limits: parity.GateLimits, work: Work) -> Network:
        """
        Train and export the network. Arguments are those of `NetworkSource.network`.

        Raises:
            BaseModelError: The pretrained encoder is missing or differs from its checksum.
            ParityError: As `exported`.
        """
        base = base_model.load()
        trained, record = checkpoint.kept(work, lambda: fit(base, rows, self, work))
        return exported(trained, record, base.tokenizer, rows, limits)


def fit(base: BaseModel, splits: Splits, plan: Training, work: Work) -> tuple[TagNetwork, Trained]:
    """
    Train the teacher and the student.

    Args:
        base: The pretrained encoder.
        splits: The rows, in their parts.
        plan: The recipes of teacher and student.
        work: Keeps finished stages, so that an interrupted training can resume.

    Returns:
        The student, and its record.
    """
    torch.set_num_threads(plan.threads)
    tokenizer, labels = batches.load_tokenizer(base.tokenizer), splits.labels
    train, calibration = (examples(tokenizer, rows, labels) for rows in (splits.train, splits.calibration))
    unlabelled = batches.encode(tokenizer, [row.text for row in splits.unlabelled])
    texts = soft_examples(train, unlabelled, labels=len(labels))
    fresh = TagNetwork.from_bert(base.bert, labels=len(labels))
    tuned = work.stage(
        "teacher.safetensors",
        lambda: tune(fresh, train, calibration, plan.teacher, texts, work),
        save=partial(_save_teacher, labels=labels),
        load=_load_teacher,
    )
    student = distil(tuned.network, train, texts, plan.student, work)
    losses = {"teacher": min(tuned.losses.values()), "student": balanced_loss(student, calibration)}
    logger.info("network_trained layers=%d calibration_losses=%s", student.shape.layers, losses)
    record: dict[str, object] = {
        "base_model": base_model.as_record(),
        "data": splits.as_record(),
        "teacher": dataclasses.asdict(plan.teacher) | {"tuned_share": tuned.tuned_share},
        "student": dataclasses.asdict(plan.student),
        "calibration_losses": {name: round(loss, 6) for name, loss in losses.items()},
        "libraries": libraries(),
    }
    return student, Trained(labels=labels, record=record)


def _save_teacher(path: Path, tuned: Tuned, *, labels: tuple[str, ...]) -> None:
    record: dict[str, object] = {"tuned_share": tuned.tuned_share, "losses": tuned.losses}
    checkpoint.save(path, tuned.network, Trained(labels=labels, record=record))


def _load_teacher(path: Path) -> Tuned:
    network, trained = checkpoint.load(path)
    kept = msgspec.convert(trained.record, type=_Teacher)
    return Tuned(network=network, tuned_share=kept.tuned_share, losses=kept.losses)


class _Teacher(msgspec.Struct, frozen=True, kw_only=True):
    """The record of a teacher, as it is kept between two runs."""

    tuned_share: float
    losses: dict[str, float]

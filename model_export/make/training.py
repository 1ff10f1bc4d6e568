"""Trains a network: a teacher is tuned on the rows, and a student imitates the teacher."""

import dataclasses
import logging
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import msgspec
import torch

from tagstream.model_export.bundle.bundle import Bundle
from tagstream.model_export.data.row import Row
from tagstream.model_export.data.splits import Splits
from tagstream.model_export.make.network import Network, exported
from tagstream.model_export.onnx import parity
from tagstream.model_export.onnx.restore import layers_in, restore
from tagstream.model_export.train import advisor, base_model, batches, checkpoint
from tagstream.model_export.train.base_model import BaseModel
from tagstream.model_export.train.checkpoint import Trained
from tagstream.model_export.train.distil import StudentRecipe, distil
from tagstream.model_export.train.examples import Examples, SoftExamples, examples, soft_examples
from tagstream.model_export.train.head import HeadRecipe
from tagstream.model_export.train.network import TagNetwork
from tagstream.model_export.train.tuning import TeacherRecipe, Tuned, balanced_loss, probe, tune
from tagstream.model_export.train.work import Work, libraries

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Training:
    """
    The tuning of the base encoder: the numbers of the procedure.

    Attributes:
        advice: The recipe of the adviser; None to learn from labels only.
        teacher: The recipe of the teacher, which is tuned.
        student: The recipe of the smaller student, which imitates the teacher; None if the teacher is the result.
        start: The bundle whose network replaces the teacher. The student starts with the layers of this network, or with the base encoder's
            layers if it has more layers. It imitates the network on known sources, and learns labels and opinions of its `new_sources`.
        head: The recipe of a head that is fitted anew at the end; None to keep the tuned head.
        threads: The number of cores.
        checkpoint: Write the trained network to this file, for `Checkpoint`, and its teacher to `teacher_path`, before the first gate.
    """

    advice: advisor.AdviceRecipe | None = field(default_factory=advisor.AdviceRecipe)
    teacher: TeacherRecipe = field(default_factory=TeacherRecipe)
    student: StudentRecipe | None = field(default_factory=StudentRecipe)
    start: Bundle | None = None
    head: HeadRecipe | None = None
    threads: int = 2
    checkpoint: Path | None = None

    def is_taught(self, row: Row) -> bool:
        """Whether this row is new to the network from which the training starts."""
        return self.start is None or self.student is None or row.source in self.student.new_sources

    def network(self, rows: Splits, limits: parity.GateLimits, work: Work) -> Network:
        """
        Train and export the network. Arguments are those of `NetworkSource.network`.

        Raises:
            BaseModelError: The pretrained encoder is missing or differs from its checksum.
            RestoreError: The network of the bundle to start from is not one of this project.
            ParityError: As `exported`.
        """
        base = base_model.load()
        trained, record = work.stage(
            "network.safetensors",
            lambda: fit(base, rows, self, work),
            save=lambda path, made: checkpoint.save(path, *made),
            load=checkpoint.load,
        )
        if self.checkpoint is not None:
            checkpoint.save(self.checkpoint, trained, record)
        return exported(trained, record, base.tokenizer, rows, limits)


def teacher_path(checkpoint_path: Path) -> Path:
    """
    Return the path of the file that keeps the teacher of a student.

    >>> str(teacher_path(Path("kept/network.safetensors")))
    'kept/network-teacher.safetensors'
    """
    return checkpoint_path.with_stem(f"{checkpoint_path.stem}-teacher")


def fit(base: BaseModel, splits: Splits, plan: Training, work: Work) -> tuple[TagNetwork, Trained]:
    """
    Train the teacher and, if the plan has one, the student.

    Args:
        base: The pretrained encoder.
        splits: The rows, in their parts.
        plan: The recipe of teacher, student and head.
        work: Keeps finished stages, so that an interrupted training can resume.

    Returns:
        The network that was trained last, and its record.
    """
    torch.set_num_threads(plan.threads)
    tokenizer, labels = batches.load_tokenizer(base.tokenizer), splits.labels
    train, calibration = (examples(tokenizer, rows, labels) for rows in (splits.train, splits.calibration))
    silent = [row for row in splits.unlabelled if plan.is_taught(row)]
    texts, advised = _soft_examples(splits, train, silent, batches.encode(tokenizer, [row.text for row in silent]), plan)

    fresh = TagNetwork.from_bert(base.bert, labels=len(labels))

    def teach() -> Tuned:
        if plan.start is not None:
            known = restore(plan.start.model, dataclasses.replace(fresh.shape, layers=layers_in(plan.start.model)))
            return Tuned(network=known, tuned_share=1.0, losses={"1.0": balanced_loss(known, calibration)})
        return tune(fresh, train, calibration, plan.teacher, texts, work)

    tuned = work.stage("teacher.safetensors", teach, save=partial(_save_teacher, labels=labels), load=_load_teacher)
    network = tuned.network
    losses = {"teacher": min(tuned.losses.values())}
    if plan.checkpoint is not None and plan.student is not None:
        alone = Trained(labels=labels, record={"teacher": dataclasses.asdict(plan.teacher)})
        checkpoint.save(teacher_path(plan.checkpoint), network, alone)
    if plan.student is not None:
        deeper = fresh if len(plan.student.layers) > network.shape.layers else None
        network = distil(network, train, texts, plan.student, work, deeper=deeper)
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
    """The record of a teacher, as it is kept between two runs."""

    tuned_share: float
    losses: dict[str, float]


def _soft_examples(
    splits: Splits, train: Examples, silent: list[Row], unlabelled: list[list[int]], plan: Training
) -> tuple[SoftExamples, bool]:
    """Return the soft examples of all texts, and whether the adviser took part. Only texts that the plan teaches (`is_taught`) get
    opinions.
    """
    count, others = len(splits.labels), [row.source for row in silent]
    if plan.advice is None:
        return soft_examples(train, unlabelled, labels=count, others=others), False
    encoder = advisor.find()
    if encoder is None:
        logger.warning("advice_missing next=pip install %s; training goes on with labels alone", " ".join(advisor.REQUIREMENTS))
        return soft_examples(train, unlabelled, labels=count, others=others), False
    places = [place for place, row in enumerate(splits.train) if plan.is_taught(row)]
    taught = [splits.train[place] for place in places]
    advice = advisor.advise(
        encoder,
        train.take(places),
        texts=[row.text for row in taught],
        topics=[row.topic for row in taught],
        unlabelled=[row.text for row in silent],
        recipe=plan.advice,
    )
    opinions = torch.nn.functional.one_hot(torch.tensor(train.targets), count).float()
    opinions[places] = advice.train
    share = plan.teacher.advice_share
    soft = soft_examples(
        train, unlabelled, labels=count, advice=(opinions, advice.unlabelled), advice_share=share, others=others
    )
    return soft, True


def _record(splits: Splits, plan: Training, tuned: Tuned, losses: dict[str, float], *, advised: bool) -> dict[str, object]:
    return {
        "base_model": base_model.as_record(),
        "data": splits.as_record(),
        "advisor": {"name": advisor.NAME, "sha256": advisor.SHA256, **dataclasses.asdict(plan.advice)}
        if advised and plan.advice is not None
        else None,
        "teacher": dataclasses.asdict(plan.teacher) | {"tuned_share": tuned.tuned_share}
        if plan.start is None
        else {"bundle": plan.start.digest, "parity": plan.start.manifest.parity, **plan.start.manifest.training},
        "student": dataclasses.asdict(plan.student) if plan.student is not None else None,
        "head": dataclasses.asdict(plan.head) if plan.head is not None else None,
        "calibration_losses": {name: round(loss, 6) for name, loss in losses.items()},
        "libraries": libraries(),
    }

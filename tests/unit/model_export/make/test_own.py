"""Bundles of a user's own labels: any number of them, with a small encoder, the quick way and the whole way."""

import random
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors
from transformers import BertConfig, BertModel

from benchmarks.labels import synthetic
from model_export.bundle.bundle import Bundle, read
from model_export.bundle.classifier import OnnxClassifier
from model_export.calibrate.errors import CalibrationError
from model_export.data.row import Row
from model_export.data.splits import Splits
from model_export.make import own
from model_export.make.own import own_bundle
from model_export.train import work
from model_export.train.base_model import BaseModel
from model_export.train.work import Work

SPECIAL = ("[PAD]", "[UNK]", "[CLS]", "[SEP]")


class StoppedError(Exception):
    """The process died here."""


def splits(labels: int, each: int, *, flipped: float = 0.0) -> Splits:
    """Rows of templates; some of the calibration and training rows carry a wrong label."""
    rows, drawn = synthetic.rows(labels * each, labels), random.Random(1)
    names = sorted({row.tag for row in rows})
    known = len(rows) * 4 // 5
    rows = [replace(row, tag=drawn.choice(names)) if n < known and drawn.random() < flipped else row for n, row in enumerate(rows)]
    return Splits(
        train=tuple(rows[: known * 3 // 4]),
        calibration=tuple(rows[known * 3 // 4 : known]),
        holdout=tuple(rows[known:]),
        corpus_test=(),
        unlabelled=(),
        near_duplicates_removed=0,
    )


@pytest.fixture(scope="module")
def base() -> BaseModel:
    """An encoder that nobody trained, whose tokens are the words of the templates."""
    texts = [row.text for row in synthetic.rows(600)]
    vocabulary = {word: place for place, word in enumerate((*SPECIAL, *sorted({word for text in texts for word in words(text)})))}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.Lowercase()
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    torch.manual_seed(2)
    config = BertConfig(
        vocab_size=len(vocabulary),
        hidden_size=16,
        intermediate_size=32,
        num_attention_heads=2,
        num_hidden_layers=6,
        max_position_embeddings=128,
    )
    return BaseModel(bert=BertModel(config, add_pooling_layer=False).eval(), tokenizer=tokenizer.to_str().encode())


def words(text: str) -> list[str]:
    """The words of a text as the tokenizer cuts it."""
    return [word for word, _ in pre_tokenizers.Whitespace().pre_tokenize_str(text.lower())]


def loaded(folder: Path, rows: Splits) -> Bundle:
    """The bundle, which a worker can load and which has the rows' labels and texts."""
    made = read(folder)
    labels = tuple(sorted({row.tag for row in rows.train}))
    assert OnnxClassifier(made).labels == made.manifest.labels == labels
    assert {text.text for text in made.manifest.golden} <= {row.text for row in (*rows.train, *rows.calibration)}
    assert set(made.manifest.thresholds) == set(labels)
    assert set(made.manifest.metrics) >= {"holdout", "calibration"}
    return made


@pytest.mark.parametrize(("labels", "each"), [(2, 40), (77, 7)])
def test_any_number_of_labels_has_a_bundle_the_quick_way(base: BaseModel, tmp_path: Path, labels: int, each: int) -> None:
    """Two labels and seventy-seven: the bundle loads, is right on rows that it has not seen, and every row calibrated it."""
    rows = splits(labels, each)
    built = own_bundle(tmp_path / "bank", splits=rows, precision=0.6, fast=True, work=Work(), base=base)
    made = loaded(tmp_path / "bank", rows)
    assert made.digest == built.bundle.digest
    assert (made.manifest.name, made.manifest.version) == ("bank", "1")
    assert made.manifest.threshold.rows == len(rows.train) + len(rows.calibration)
    assert built.metrics.evaluations["holdout"].accuracy > (0.9 if labels == 2 else 0.5)
    assert [path.name for path in tmp_path.iterdir()] == ["bank"]


def test_the_rows_are_judged_by_heads_that_have_not_seen_them(base: BaseModel, tmp_path: Path) -> None:
    """With a third of the labels wrong the network remembers many of them; the calibration does not take that for being right."""
    rows = splits(7, 50, flipped=0.35)
    pool = (*rows.train, *rows.calibration)
    built = own_bundle(tmp_path / "noisy", splits=rows, precision=0.6, fast=True, work=Work(), base=base)
    found = OnnxClassifier(built.bundle).classify([row.text for row in pool])
    remembered = sum(one.label == row.tag for one, row in zip(found, pool, strict=True)) / len(pool)
    judged = built.metrics.evaluations["calibration"].accuracy
    assert judged < 0.75
    assert remembered > judged + 0.1


@pytest.mark.parametrize(("fast", "stop"), [(True, ("heads in folds", 2)), (False, ("teacher", 12)), (False, ("student", 12))])
def test_a_stopped_training_goes_on_to_the_same_bundle(
    base: BaseModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, fast: bool, stop: tuple[str, int]
) -> None:
    """Stopped and started again, it gives the bytes of one that was never stopped, and leaves nothing beside the bundle."""
    monkeypatch.setattr(own, "LEAST_STEPS", 20)
    monkeypatch.setattr(work, "KEEP_EVERY", 5)
    rows = splits(2, 40)
    told: list[tuple[str, int]] = []

    def die(stage: str, done: int, _of: int) -> None:
        if (stage, done) == stop:
            raise StoppedError

    def go(folder: Path, at: Work) -> str:
        return own_bundle(folder / "bank", splits=rows, precision=0.6, fast=fast, work=at, base=base).bundle.digest

    whole = go(tmp_path / "whole", Work())
    kept = tmp_path / "bank.work"
    with pytest.raises(StoppedError):
        go(tmp_path, Work(kept, die))
    assert not (tmp_path / "bank").exists()
    assert go(tmp_path, Work(kept, lambda stage, done, _of: told.append((stage, done)))) == whole
    first = next(done for stage, done in told if stage == stop[0])
    assert first == (0 if fast else 11)
    assert not any(stage in {"export of the encoder", "vectors"} for stage, _ in told)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["bank", "whole"]


def test_a_refused_training_leaves_the_old_bundle(base: BaseModel, tmp_path: Path) -> None:
    """A label with rows of one group cannot be judged: the error says so, and the bundle that was there stays."""
    rows = splits(2, 40)
    own_bundle(tmp_path / "bank", splits=rows, precision=0.6, fast=True, work=Work(), base=base)
    before = read(tmp_path / "bank").digest
    lonely = Row(text="A lonely row", tag="lonely", source="own", topic="lonely")
    with pytest.raises(CalibrationError, match="one group alone"):
        own_bundle(
            tmp_path / "bank",
            splits=replace(rows, train=(*rows.train, lonely)),
            precision=0.6,
            fast=True,
            work=Work(),
            base=base,
        )
    assert read(tmp_path / "bank").digest == before

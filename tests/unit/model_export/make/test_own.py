"""Bundles of a user's own labels: any number of them, with a small encoder, the quick way and the whole way."""

import random
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest
import torch
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors
from transformers import BertConfig, BertModel

from benchmarks.labels import synthetic
from model_export.bundle.bundle import Bundle, read
from model_export.bundle.classifier import OnnxClassifier
from model_export.bundle.promise.promise import Promise
from model_export.calibrate.errors import CalibrationError
from model_export.data.row import Row
from model_export.data.splits import Splits
from model_export.make import own, quick
from model_export.make.assemble import Built, Target
from model_export.make.own import own_bundle
from model_export.make.quick import QuickRecipe
from model_export.onnx.ngrams import NgramRecipe
from model_export.onnx.parity import Limits
from model_export.train import work
from model_export.train.base_model import BaseModel
from model_export.train.distil import StudentRecipe
from model_export.train.work import Tell, Work

PROMISE = Promise(precision=0.6)
SPECIAL = ("[PAD]", "[UNK]", "[CLS]", "[SEP]")


class StoppedError(Exception):
    """The process died here."""


def splits(labels: int, each: int, *, flipped: float = 0.0) -> Splits:
    """Rows of templates; some of the calibration and training rows carry a wrong label."""
    rows, drawn = synthetic.rows(labels * each, labels), random.Random(1)  # noqa: S311 - the same rows each time
    names = sorted({row.tag for row in rows})
    known = len(rows) * 4 // 5
    rows = [
        replace(row, tag=drawn.choice(names)) if n < known and drawn.random() < flipped else row for n, row in enumerate(rows)
    ]
    return Splits(
        train=tuple(rows[: known * 3 // 4]),
        calibration=tuple(rows[known * 3 // 4 : known]),
        holdout=tuple(rows[known:]),
        corpus_test=(),
        unlabelled=(),
        near_duplicates_removed=0,
    )


NOISY = splits(7, 50, flipped=0.35)


def dies_at(stage: str, step: int) -> Tell:
    """Told of this step, the process dies."""

    def tell(name: str, done: int, _of: int) -> None:
        if (name, done) == (stage, step):
            raise StoppedError

    return tell


@pytest.fixture(scope="module", autouse=True)
def _small() -> Iterator[None]:
    """Few folds and buckets. An encoder that nobody trained hardly tells labels apart, so rounding may change more of them."""
    ngrams = NgramRecipe(buckets=1 << 9, source_shares={}, class_levelling=0.0)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(own, "Target", partial(Target, limits=Limits(quantised_agreement=0.8, quantised_flips=0.5)))
        patch.setattr(quick, "QuickRecipe", partial(QuickRecipe, folds=3, ngrams=ngrams))
        yield


@pytest.fixture(scope="module")
def base() -> BaseModel:
    """An encoder that nobody trained, whose tokens are the words of the templates."""
    texts = [row.text for row in synthetic.rows(600)]
    vocabulary = {
        word: place for place, word in enumerate((*SPECIAL, *sorted({word for text in texts for word in words(text)})))
    }
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token="[UNK]"))  # noqa: S106 - a token of text
    tokenizer.normalizer = normalizers.Lowercase()
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    torch.manual_seed(2)
    config = BertConfig(
        vocab_size=len(vocabulary),
        hidden_size=32,
        intermediate_size=64,
        num_attention_heads=2,
        num_hidden_layers=2,
        # Wide enough that the vectors of two texts differ, as those of a trained encoder do.
        initializer_range=0.3,
        max_position_embeddings=128,
    )
    bert = BertModel(config, add_pooling_layer=False).eval()
    with torch.no_grad():
        # Fresh biases are all zero, and the exporter keeps one constant for all of them: products share it.
        for name, parameter in bert.named_parameters():
            if not name.endswith("bias"):
                parameter.add_(torch.randn_like(parameter) * 0.02)
    return BaseModel(bert=bert, tokenizer=tokenizer.to_str().encode())


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


@pytest.fixture(scope="module")
def noisy(base: BaseModel, tmp_path_factory: pytest.TempPathFactory) -> Built:
    """A bundle of seven labels, a third of which are wrong."""
    folder = tmp_path_factory.mktemp("noisy") / "bank"
    return own_bundle(folder, splits=NOISY, promise=PROMISE, fast=True, work=Work(), base=base)


def test_seventy_seven_labels_have_a_bundle_the_quick_way(base: BaseModel, tmp_path: Path) -> None:
    """The bundle loads and is right on rows that it has not seen; every other row calibrated it."""
    rows = splits(77, 5)
    built = own_bundle(tmp_path / "bank", splits=rows, promise=PROMISE, fast=True, work=Work(), base=base)
    made = loaded(tmp_path / "bank", rows)
    assert made.digest == built.bundle.digest
    assert (made.manifest.name, made.manifest.version) == ("bank", "1")
    assert made.manifest.threshold.rows == len(rows.train) + len(rows.calibration)
    assert built.metrics.evaluations["holdout"].accuracy > 0.2
    assert [path.name for path in tmp_path.iterdir()] == ["bank"]


def test_the_rows_are_judged_by_heads_that_have_not_seen_them(noisy: Built) -> None:
    """The network remembers many of the wrong labels; the calibration does not take that for being right."""
    pool = (*NOISY.train, *NOISY.calibration)
    found = OnnxClassifier(noisy.bundle).classify([row.text for row in pool])
    remembered = sum(one.label == row.tag for one, row in zip(found, pool, strict=True)) / len(pool)
    judged = noisy.metrics.evaluations["calibration"].accuracy
    assert judged < 0.75
    assert remembered > judged + 0.1
    assert noisy.bundle.manifest.training["level_sources"] is False


def test_a_stopped_training_goes_on_to_the_same_bundle(noisy: Built, base: BaseModel, tmp_path: Path) -> None:
    """Stopped and started again, the quick way gives the bytes of a run that was never stopped, and leaves nothing behind."""
    told: list[tuple[str, int]] = []

    def go(tell: Tell) -> Built:
        kept = Work(tmp_path / "bank.work", tell)
        return own_bundle(tmp_path / "bank", splits=NOISY, promise=PROMISE, fast=True, work=kept, base=base)

    with pytest.raises(StoppedError):
        go(dies_at("heads in folds", 2))
    assert [path.name for path in tmp_path.iterdir()] == ["bank.work"]
    assert go(lambda stage, done, _of: told.append((stage, done))).bundle.digest == noisy.bundle.digest
    assert told[0] == ("heads in folds", 0)
    assert [path.name for path in tmp_path.iterdir()] == ["bank"]


def test_a_stopped_training_of_the_whole_network_goes_on(
    base: BaseModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two labels the whole way: the teacher is not tuned again, the student goes on from its last kept step."""
    monkeypatch.setattr(own, "LEAST_STEPS", 20)
    monkeypatch.setattr(own, "StudentRecipe", partial(StudentRecipe, layers=(1,)))
    monkeypatch.setattr(work, "KEEP_EVERY", 5)
    rows, told = splits(2, 40), list[tuple[str, int]]()

    def go(tell: Tell) -> Built:
        kept = Work(tmp_path / "bank.work", tell)
        return own_bundle(tmp_path / "bank", splits=rows, promise=PROMISE, fast=False, work=kept, base=base)

    with pytest.raises(StoppedError):
        go(dies_at("student", 12))
    go(lambda stage, done, _of: told.append((stage, done)))
    assert told[0] == ("student", 11)
    assert loaded(tmp_path / "bank", rows).manifest.threshold.rows == len(rows.calibration)
    assert [path.name for path in tmp_path.iterdir()] == ["bank"]


def test_refused_rows_leave_the_old_bundle(base: BaseModel, tmp_path: Path) -> None:
    """A label with rows of one group cannot be judged: the error comes before any work, and what was there stays."""
    (tmp_path / "bank").mkdir()
    (tmp_path / "bank" / "bundle.json").write_text("old", encoding="utf-8")
    lonely = Row(text="A lonely row", tag="lonely", source="own", topic="lonely")
    rows = replace(NOISY, train=(*NOISY.train, lonely))
    told: list[str] = []
    kept = Work(tmp_path / "bank.work", lambda stage, _done, _of: told.append(stage))
    with pytest.raises(CalibrationError, match="one group alone"):
        own_bundle(tmp_path / "bank", splits=rows, promise=PROMISE, fast=True, work=kept, base=base)
    assert (tmp_path / "bank" / "bundle.json").read_text(encoding="utf-8") == "old"
    assert ([path.name for path in tmp_path.iterdir()], told) == (["bank"], [])

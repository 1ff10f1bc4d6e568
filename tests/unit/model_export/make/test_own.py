"""Bundles of a user's own labels: any number of them, with a small encoder, the quick way and the whole way."""

import json
import random
from functools import partial
from itertools import pairwise
from pathlib import Path

import pytest

from benchmarks.labels import synthetic
from tagstream.model_export.bundle.bundle import Bundle, read
from tagstream.model_export.bundle.model import OnnxClassifier
from tagstream.model_export.bundle.promise.promise import ALWAYS_ASK, Promise
from tagstream.model_export.calibrate.errors import CalibrationError
from tagstream.model_export.calibrate.priced_promise import PricedPromise
from tagstream.model_export.data.row import Row
from tagstream.model_export.data.splits import Splits
from tagstream.model_export.make import multilabel, recipe, steps
from tagstream.model_export.make.draft import Draft
from tagstream.model_export.make.multilabel import LabelHeadRecipe
from tagstream.model_export.make.steps import Made
from tagstream.model_export.make.strangers import Strangers
from tagstream.model_export.onnx import export
from tagstream.model_export.onnx.graph import Graph
from tagstream.model_export.onnx.parity import GateLimits
from tagstream.model_export.train import base_model, work
from tagstream.model_export.train.distil import StudentRecipe
from tagstream.model_export.train.work import Tell, Work
from tagstream.monitoring.quality.costs import Costs, CostsError
from tagstream.stream.cli.models.options import MOST_LAYERS
from tests.replacing import replace

pytestmark = pytest.mark.usefixtures("small_recipe")

PROMISE = Promise(precision=0.6)


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


def own_bundle(
    folder: Path,
    rows: Splits,
    *,
    quick: bool = True,
    layers: int | None = None,
    multilabel: bool = False,
    kept: Work | None = None,
    strangers: Strangers | None = None,
    promise: Promise = PROMISE,
) -> Made:
    """A bundle of these rows. An encoder that nobody trained hardly tells labels apart, so rounding may change more of them."""
    of = recipe.own(rows, promise, name=folder.name, quick=quick, layers=layers, multilabel=multilabel, strangers=strangers)
    limits = GateLimits(quantised_agreement=0.8, quantised_flips=0.5)
    return steps.make(folder, replace(of, limits=limits), kept or Work())


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
def noisy(tmp_path_factory: pytest.TempPathFactory) -> Made:
    """A bundle of seven labels, a third of which are wrong."""
    folder = tmp_path_factory.mktemp("noisy") / "bank"
    return own_bundle(folder, NOISY)


def test_seventy_seven_labels_have_a_bundle_the_quick_way(tmp_path: Path) -> None:
    """The bundle loads and is right on rows that it has not seen; every other row calibrated it."""
    rows = splits(77, 5)
    built = own_bundle(tmp_path / "bank", rows)
    made = loaded(tmp_path / "bank", rows)
    assert made.digest == built.bundle.digest
    assert (made.manifest.name, made.manifest.version) == ("bank", "1")
    assert made.manifest.threshold.rows == len(rows.train) + len(rows.calibration)
    assert built.metrics.evaluations["holdout"].accuracy > 0.2
    assert [path.name for path in tmp_path.iterdir()] == ["bank"]


def test_the_rows_are_judged_by_heads_that_have_not_seen_them(noisy: Made) -> None:
    """The network remembers many of the wrong labels; the calibration does not take that for being right."""
    pool = (*NOISY.train, *NOISY.calibration)
    found = OnnxClassifier(noisy.bundle).classify([row.text for row in pool])
    remembered = sum(one.label == row.tag for one, row in zip(found, pool, strict=True)) / len(pool)
    judged = noisy.metrics.evaluations["calibration"].accuracy
    assert judged < 0.75
    assert remembered > judged + 0.1
    assert noisy.bundle.manifest.training["level_sources"] is False


def test_answers_are_learned_from_and_calibrate_nothing(noisy: Made, tmp_path: Path) -> None:
    """The heads that judge a row have learned from answers too, and no threshold, reference or figure counts one."""
    answered = tuple(replace(row, answered=place % 3 == 0) for place, row in enumerate(NOISY.train))
    made = own_bundle(tmp_path / "bank", replace(NOISY, train=answered))
    counted = sum(not row.answered for row in (*answered, *NOISY.calibration))
    assert counted < noisy.bundle.manifest.threshold.rows
    assert made.bundle.manifest.threshold.rows == made.metrics.evaluations["calibration"].rows == counted
    # The label's share of the rows that are learned from, answers among them, is what the network assumes.
    assert made.bundle.manifest.prior.offsets == noisy.bundle.manifest.prior.offsets
    texts = [row.text for row in answered if row.answered]
    without = own_bundle(tmp_path / "without", replace(NOISY, train=tuple(row for row in answered if not row.answered)))
    right = [
        sum(one.label == row.tag for one, row in zip(OnnxClassifier(each.bundle).classify(texts), answered[::3], strict=True))
        for each in (made, without)
    ]
    assert right[0] > right[1]


def priced(wrong: float | dict[str, float], floor: float = 0.3) -> Promise:
    """Thresholds by these prices."""
    return PricedPromise(
        kind="per-label", precision=floor, floor=floor, costs=Costs(source="c", currency="", item=1.0, wrong_publication=wrong)
    )


def test_prices_choose_the_thresholds_and_the_bundle_says_what_it_costs(noisy: Made, tmp_path: Path) -> None:
    """The rows that choose and those that measure are all rows; dear mistakes leave everything to people, with the same network."""
    cheap = own_bundle(tmp_path / "bank", NOISY, promise=priced(1.5))
    found, before = cheap.bundle.manifest, noisy.bundle.manifest
    assert found.priced is not None
    assert found.priced.rows + found.threshold.rows == before.threshold.rows
    assert 0.2 * before.threshold.rows < found.priced.rows < 0.5 * before.threshold.rows
    assert found.priced.cost.low <= found.priced.cost.value < found.priced.everything == 10_000
    assert {label for label, own in found.thresholds.items() if own.certified}
    assert all(own.certified or own.confidence == ALWAYS_ASK for own in found.thresholds.values())
    assert "everything to people 10,000" in cheap.as_text()
    assert (before.priced, found.files, found.temperature) == (None, before.files, before.temperature)
    dear = own_bundle(tmp_path / "dear", NOISY, promise=priced(1e6)).bundle.manifest
    assert dear.priced is not None
    assert dear.priced.cost.value == dear.priced.people.value == 10_000
    assert set(dear.asked_below().values()) == {ALWAYS_ASK}


def test_a_price_that_is_missing_is_told_before_the_training(tmp_path: Path) -> None:
    """No stage begins."""
    with pytest.raises(CostsError, match=r"no price of a wrong publication of .* Next: "):
        own_bundle(tmp_path / "bank", NOISY, promise=priced({"nothing": 1.0}), kept=Work(None, dies_at_any))
    assert not list(tmp_path.iterdir())


def dies_at_any(*_: object) -> None:
    """Told of any step, the process dies."""
    raise StoppedError


@pytest.fixture(scope="module")
def paired() -> Splits:
    """Half of the rows are two texts in one, of two labels, and the first one's label is the row's own."""
    plain = splits(3, 200)

    def half(rows: tuple[Row, ...]) -> tuple[Row, ...]:
        two = [
            replace(one, text=f"{one.text} {other.text}", tags=(one.tag, other.tag), topic=f"{one.topic}+")
            for one, other in pairwise(rows)
            if one.tag != other.tag
        ]
        return (*rows, *two)

    return replace(plain, train=half(plain.train), calibration=half(plain.calibration), holdout=half(plain.holdout))


@pytest.mark.parametrize("quick", [True, False])
def test_a_second_head_finds_further_labels(
    quick: bool, paired: Splits, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """More rows that neither head has seen have exactly their labels than by the tag alone, and the figures are those of what is published."""
    monkeypatch.setattr(recipe, "LEAST_STEPS", 20)
    monkeypatch.setattr(recipe, "StudentRecipe", partial(StudentRecipe, layers=(1,)))
    built = own_bundle(tmp_path / "bank", paired, quick=quick, multilabel=True)
    option = read(tmp_path / "bank").manifest.multilabel
    assert option is not None
    assert option.metrics["calibration"]["rows"] == len(paired.calibration)
    assert option.training["two_label_rows"] == sum(bool(row.tags) for row in paired.train)
    found = option.metrics["holdout"]
    for figure in ("micro_f1", "subset_accuracy"):
        assert found[figure] > found[f"{figure}_of_tag_alone"]
    said = OnnxClassifier(built.bundle).classify([row.text for row in paired.holdout])
    right = sum(set(one.tags) == {row.tag, *row.tags} for one, row in zip(said, paired.holdout, strict=True))
    assert found["subset_accuracy"] == round(right / len(said), 6)


def test_the_thresholds_of_a_second_head_rest_on_decisions_about_unseen_rows(tmp_path: Path) -> None:
    """The quick way's first head remembers wrong labels of calibration rows; its tag is no surer there than heads that have not seen them."""
    built = own_bundle(tmp_path / "bank", NOISY, multilabel=True)
    option = built.bundle.manifest.multilabel
    assert option is not None
    rows = NOISY.calibration
    remembered = sum(
        one.label == row.tag
        for one, row in zip(OnnxClassifier(built.bundle).classify([row.text for row in rows]), rows, strict=True)
    )
    assert option.metrics["calibration"]["subset_accuracy_of_tag_alone"] < remembered / len(rows) - 0.1


def test_a_second_head_keeps_its_thresholds_beside_rows_that_name_one_label(noisy: Made) -> None:
    """Such rows would say that no text has a further label; a new head has nothing to keep. Both are measured on the rows of today."""
    draft, of = Draft.of(noisy.bundle), LabelHeadRecipe(source_shares={}, class_levelling=0.0)
    new = multilabel.fitted(draft, NOISY, of)
    kept = dict.fromkeys(noisy.bundle.manifest.labels, 0.25)
    options = [multilabel.promised(draft, head, NOISY).manifest.multilabel for head in (new, replace(new, thresholds=kept))]
    assert [option is not None and option.thresholds == kept for option in options] == [False, True]
    assert [option is not None and bool(option.metrics) for option in options] == [True, True]


def test_answers_teach_a_second_head_nothing(noisy: Made) -> None:
    """They name one label of a text: taken for all of them, they would teach that the others are not there."""
    answered = tuple(replace(row, answered=place % 3 == 0) for place, row in enumerate(NOISY.train))
    kept = tuple(row for row in answered if not row.answered)
    draft, of = Draft.of(noisy.bundle), LabelHeadRecipe(source_shares={}, class_levelling=0.0)
    with_answers, without = (multilabel.fitted(draft, replace(NOISY, train=train), of) for train in (answered, kept))
    assert with_answers == without


def test_a_stopped_training_goes_on_to_the_same_bundle(noisy: Made, tmp_path: Path) -> None:
    """Stopped and started again, the quick way gives the bytes of a run that was never stopped, and leaves nothing behind."""
    told: list[tuple[str, int]] = []

    def go(tell: Tell) -> Made:
        kept = Work(tmp_path / "bank.work", tell)
        return own_bundle(tmp_path / "bank", NOISY, kept=kept)

    with pytest.raises(StoppedError):
        go(dies_at("heads in folds", 2))
    assert [path.name for path in tmp_path.iterdir()] == ["bank.work"]
    assert go(lambda stage, done, _of: told.append((stage, done))).bundle.digest == noisy.bundle.digest
    assert told[0] == ("heads in folds", 0)
    assert [path.name for path in tmp_path.iterdir()] == ["bank"]


def test_a_stopped_training_of_the_whole_network_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two labels the whole way: the teacher is not tuned again, the student goes on from its last kept step."""
    monkeypatch.setattr(recipe, "LEAST_STEPS", 20)
    monkeypatch.setattr(recipe, "StudentRecipe", partial(StudentRecipe, layers=(1,)))
    monkeypatch.setattr(work, "KEEP_EVERY", 5)
    rows, told = splits(2, 40), list[tuple[str, int]]()

    def go(tell: Tell) -> Made:
        kept = Work(tmp_path / "bank.work", tell)
        return own_bundle(tmp_path / "bank", rows, quick=False, kept=kept)

    with pytest.raises(StoppedError):
        go(dies_at("student", 12))
    go(lambda stage, done, _of: told.append((stage, done)))
    assert told[0] == ("student", 11)
    assert loaded(tmp_path / "bank", rows).manifest.threshold.rows == len(rows.calibration)
    assert [path.name for path in tmp_path.iterdir()] == ["bank"]


def layers_in(model: bytes) -> int:
    """The number of layers of a file's network, each with two norms; one more norm follows the embeddings."""
    return len(list(Graph(export.load(model)).of("LayerNormalization"))) // 2


def test_a_network_has_the_layers_that_were_asked_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Both layers of the small encoder the whole way, teacher, student and file; the quick way and the default keep their own."""
    monkeypatch.setattr(recipe, "LEAST_STEPS", 20)
    monkeypatch.setattr(base_model, "LAYERS", 2)
    monkeypatch.setattr(recipe, "StudentRecipe", partial(StudentRecipe, layers=(1,)))
    rows = splits(2, 40)
    found = [
        layers_in(own_bundle(tmp_path / str(layers), rows, quick=False, layers=layers).bundle.model) for layers in (None, 2)
    ]
    assert found == [1, 2]


def test_the_base_encoder_has_the_layers_that_the_options_allow() -> None:
    """The command says the number without PyTorch, and the recipe cuts by it."""
    config = json.loads((base_model.find() / base_model.CONFIG).read_bytes())
    assert {config["num_hidden_layers"], MOST_LAYERS} == {base_model.LAYERS}


def test_refused_rows_leave_the_old_bundle(tmp_path: Path) -> None:
    """A label with rows of one group cannot be judged: the error comes before any work, and what was there stays."""
    (tmp_path / "bank").mkdir()
    (tmp_path / "bank" / "bundle.json").write_text("old", encoding="utf-8")
    lonely = Row(text="A lonely row", tag="lonely", source="own", topic="lonely")
    rows = replace(NOISY, train=(*NOISY.train, lonely))
    told: list[str] = []
    kept = Work(tmp_path / "bank.work", lambda stage, _done, _of: told.append(stage))
    with pytest.raises(CalibrationError, match="one group alone"):
        own_bundle(tmp_path / "bank", rows, kept=kept)
    assert (tmp_path / "bank" / "bundle.json").read_text(encoding="utf-8") == "old"
    assert ([path.name for path in tmp_path.iterdir()], told) == (["bank"], [])

"""The gate of a bundle: its limit is proved, it costs what it says, and a bundle keeps it until another is fitted."""

from itertools import pairwise
from pathlib import Path

import msgspec
import numpy as np
import pytest

from tagstream.model_export.bundle.model import OnnxClassifier, limits_in
from tagstream.model_export.data.row import Row
from tagstream.model_export.make import recipe, steps, strangers
from tagstream.model_export.make.steps import Made
from tagstream.model_export.make.strangers import LEVEL, MOST_LOST, limit_of
from tests.replacing import replace
from tests.unit.model_export.make.test_own import NOISY, PROMISE, own_bundle

pytestmark = pytest.mark.usefixtures("small_recipe")

# A word that no row has, so that the vectors of these texts are unlike those of the labels.
NONE = tuple(
    Row(text=f"{first.text} {second.text} zzz zzz zzz", tag="", source="own", topic=f"none {place % 9}")
    for place, (first, second) in enumerate(pairwise(NOISY.holdout))
)


@pytest.mark.parametrize("rows", [299, 1000, 5000])
def test_a_limit_that_is_proved_loses_too_much_in_no_more_sets_than_it_may(rows: int) -> None:
    """In simulation the share of all texts that the limit loses is above 1 % in at most the 5 % of sets that the certainty leaves, with luck of the draws."""
    generator = np.random.default_rng(rows)
    false = 0
    for _ in range(1000):
        figures, published = generator.normal(size=rows), generator.random(rows) < 0.7
        # The share that is published and above the limit: seven tenths of a normal tail.
        limit = limit_of(published, figures)
        tail = 0.7 * (generator.normal(size=20_000) > limit).mean()
        false += tail > MOST_LOST
    assert false / 1000 <= (1 - LEVEL) * 1.4


def test_few_texts_lose_none() -> None:
    """Fewer than 299 texts prove nothing at 1 %: then the limit is the strangest text that is published, and of none published the strangest at all."""
    figures = np.array([3.0, 1.0, 2.0])
    assert limit_of(np.array([False, True, True]), figures) == 2.0
    assert limit_of(np.zeros(3, dtype=bool), figures) == 3.0


@pytest.fixture(scope="module")
def both(tmp_path_factory: pytest.TempPathFactory) -> tuple[Made, Made]:
    """A bundle without a gate and one with it, of the same rows."""
    folder = tmp_path_factory.mktemp("gates")
    gate = strangers.of_own(NONE, {"none.csv": "0"})
    return own_bundle(folder / "bank", NOISY), own_bundle(folder / "gated" / "bank", NOISY, strangers=gate)


def test_a_gate_adds_a_figure_and_changes_no_probability(both: tuple[Made, Made]) -> None:
    """The bundle with a gate says of every text what the one without says; its figure does not depend on the batch, and its record has both sides."""
    bare, gated = both
    texts = [row.text for row in (*NOISY.holdout, *NONE)]
    before, after = (OnnxClassifier(made.bundle).classify(texts) for made in both)
    assert [msgspec.structs.replace(found, strangeness=None) for found in after] == before
    assert [OnnxClassifier(gated.bundle).classify([text])[0] for text in texts[:20]] == after[:20]
    assert limits_in(bare.bundle.manifest.reference).strangeness is None
    limit = limits_in(gated.bundle.manifest.reference).strangeness
    assert limit is not None
    figures = [one.strangeness for one in after]
    ours, none = figures[: len(NOISY.holdout)], figures[len(NOISY.holdout) :]
    assert np.median(none) > np.quantile(ours, 0.75)
    record = gated.bundle.manifest.training[strangers.RECORD]
    assert record["limit"] == limit
    assert record["lost"]["calibration"]["rows"] == len((*NOISY.train, *NOISY.calibration))
    assert record["published"]["all"]["rows"] == len(NONE)
    assert "texts of none of the labels, strangeness above" in gated.as_text()


def test_labels_that_are_left_out_say_how_many_neighbours_pass(both: tuple[Made, Made], tmp_path: Path) -> None:
    """The quick way judges each row by a fit without its label too; a limit that may lose more lets fewer pass, and the record keeps what it may lose."""
    _, plain = both
    assert strangers.NEIGHBOURS not in plain.bundle.manifest.training[strangers.RECORD]
    passed = []
    for lose in (0.01, 0.2):
        gate = strangers.of_own(NONE, {}, neighbours=True, most_lost=lose)
        made = own_bundle(tmp_path / str(lose) / "bank", NOISY, strangers=gate)
        record = made.bundle.manifest.training[strangers.RECORD]
        rows, near = record["lost"]["calibration"], record[strangers.NEIGHBOURS]
        assert (record["most_lost"], rows["upper"] <= max(lose, 0.011)) == (lose, True)
        assert near["rows"] == rows["rows"] == len((*NOISY.train, *NOISY.calibration))
        assert (
            f"neighbours: {near['hits'] / near['rows']:.1%} of {near['rows']:,} texts of the labels pass it" in made.as_text()
        )
        texts = [row.text for row in (*NOISY.holdout, *NONE)]
        classifier = OnnxClassifier(made.bundle)
        assert [classifier.classify([text])[0] for text in texts[:20]] == classifier.classify(texts)[:20]
        passed.append(near["hits"])
    assert passed[1] < passed[0]


def test_a_bundle_that_is_calibrated_anew_keeps_its_gate(both: tuple[Made, Made], tmp_path: Path) -> None:
    """Without texts to learn from the output, its limit and its record stay; with others a new gate takes their place."""
    _, gated = both
    rows = replace(NOISY, train=NOISY.train[:40], calibration=NOISY.holdout, holdout=())
    old = gated.bundle.manifest
    kept = steps.make(tmp_path / "kept", recipe.calibrated(gated.bundle, rows, PROMISE)).bundle.manifest
    assert (kept.reference["ood_strangeness"], kept.files) == (old.reference["ood_strangeness"], old.files)
    assert kept.training[strangers.RECORD] == old.training[strangers.RECORD]
    other = strangers.of_own(NONE[: len(NONE) // 2], {})
    new = steps.make(tmp_path / "new", recipe.calibrated(gated.bundle, rows, PROMISE, strangers=other)).bundle.manifest
    assert new.training[strangers.RECORD]["learned"] == {"ours": 40, "none": len(NONE) // 2}
    assert new.files["model.onnx"] != old.files["model.onnx"]

"""Every way from a bundle to another names the first as the parent, and says what has changed."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest

from benchmarks.labels import synthetic
from tagstream.model_export.bundle.bundle import Bundle, read
from tagstream.model_export.bundle.manifest import LabelThreshold, Manifest, render
from tagstream.model_export.bundle.promise.promise import Promise
from tagstream.model_export.data.own.first_answers import FirstAnswers
from tagstream.model_export.data.own.labels import LabelInWords, LabelsInWords
from tagstream.model_export.data.own.row_list import ListedRow, MoveCounts, Moves
from tagstream.model_export.data.splits import Splits
from tagstream.model_export.make import parent, recipe, steps
from tagstream.model_export.make.parent import Predecessor
from tagstream.model_export.make.shares import KnownStream
from tagstream.model_export.onnx.parity import GateLimits
from tests.replacing import replace

PROMISE = Promise(precision=0.6)
LIMITS = GateLimits(quantised_agreement=0.8, quantised_flips=0.5)


def splits(count: int) -> Splits:
    """Rows of three labels."""
    rows = synthetic.rows(count, 3)
    return Splits(
        train=tuple(rows[: count // 2]),
        calibration=tuple(rows[count // 2 : count * 3 // 4]),
        holdout=tuple(rows[count * 3 // 4 :]),
        corpus_test=(),
        unlabelled=(),
        near_duplicates_removed=0,
        digests={"rows.csv": f"{count:064x}"},
        version=f"of {count}",
    )


@pytest.mark.usefixtures("small_recipe")
def test_a_chain_of_bundles_names_each_parent(tmp_path: Path) -> None:
    """A first bundle names none; a retrained one names what it follows, and a calibrated one what it was made from, not the parent's parent."""

    def made(name: str, of: recipe.BundleRecipe) -> Bundle:
        return steps.make(tmp_path / name, replace(of, limits=LIMITS)).bundle

    one = made("one", recipe.own(splits(120), PROMISE, name="one", quick=True))
    assert (parent.of(one.manifest.training), one.manifest.training["data"]["version"]) == (None, "of 120")
    went = ListedRow(file="rows.csv", line=2, tag="a", mark="0" * 16)
    moves = Moves(came=(), went=(went,), relabelled=(), stayed=5)
    own = recipe.own(splits(160), PROMISE, name="two", quick=True)
    two = made("two", replace(own, before=Predecessor(bundle=one, moves=moves)))
    named = parent.of(two.manifest.training)
    assert named is not None
    assert (named.name, named.version, named.digest) == ("one", one.manifest.version, one.digest)
    assert named.rows == MoveCounts(came=0, went=1, relabelled=0, stayed=5)
    assert {"rows", "network"} <= set(named.changed)
    assert {"labels", "tokenizer"}.isdisjoint(named.changed)
    three = made("three", recipe.calibrated(two, splits(200), Promise(precision=0.7)))
    last = parent.of(three.manifest.training)
    assert last is not None
    assert (last.digest, last.rows, "promise" in last.changed) == (two.digest, None, True)
    assert {"rows", "network", "labels"}.isdisjoint(last.changed)
    assert three.manifest.training["data"]["version"] == "of 160"
    assert three.manifest.training["calibrated"]["data"]["version"] == "of 200"
    assert read(tmp_path / "three").digest == three.digest


def test_every_recipe_of_a_bundle_has_it_as_the_parent(tiny_bundle: Bundle) -> None:
    """New head, n-grams, thresholds of rows, of known shares and of answers, and growth."""
    labels = tiny_bundle.manifest.labels
    rows = synthetic.rows(40, 2)
    some = tuple(replace(row, tag=labels[number % len(labels)], source="by-lot") for number, row in enumerate(rows))
    given = replace(splits(40), train=some, calibration=some, holdout=())
    words = LabelsInWords(
        name="labels.toml", labels={label: LabelInWords(about=f"About {label}.") for label in labels}, digests={}
    )
    answers = FirstAnswers(rows=some, none=(), left_out=0, digests={})
    shares = KnownStream(given=dict.fromkeys(labels, 1 / len(labels)), tags=None, decisions=None)
    nothing: Any = None
    made = {
        "refitted": recipe.refitted(tiny_bundle, given, PROMISE),
        "n-grams": recipe.refitted(tiny_bundle, given, PROMISE, keep_head=True),
        "calibrated": recipe.calibrated(tiny_bundle, given, PROMISE),
        "adapted": recipe.adapted(tiny_bundle, given, PROMISE, shares),
        "earned": recipe.earned(tiny_bundle, given, nothing, 0.9),
        "grown": recipe.grown(tiny_bundle, words, answers, PROMISE, name="grown"),
    }
    assert [name for name, of in made.items() if of.before != Predecessor(bundle=tiny_bundle)] == []
    first = {
        "started": recipe.started(words, (), PROMISE, name="first"),
        "own": recipe.own(given, PROMISE, name="own", quick=True),
    }
    assert [name for name, of in first.items() if of.before is not None] == []


def threshold(confidence: float) -> LabelThreshold:
    """A threshold of a label."""
    return LabelThreshold(
        confidence=confidence,
        target_precision=0.9,
        precision=0.9,
        precision_lower_bound=0.8,
        bound_level=0.95,
        rows=10,
        label_rows=20,
        certified=False,
    )


CHANGES: dict[str, Callable[[Manifest], dict[str, Any]]] = {
    "labels": lambda of: {"labels": of.labels[::-1]},
    "rows": lambda _: {"training": {"data": {"sha256": {"rows.csv": "0" * 64}}}},
    "network": lambda of: {"files": {**of.files, "model.onnx": "0" * 64}},
    "tokenizer": lambda of: {"files": {**of.files, "tokenizer.json": "0" * 64}},
    "length of texts": lambda of: {"windows": of.windows + 1},
    "temperature": lambda of: {"temperature": of.temperature + 1},
    "promise": lambda of: {"threshold": msgspec.structs.replace(of.threshold, promise="both")},
    "thresholds": lambda of: {"thresholds": {of.labels[0]: threshold(0.123)}},
    "limits": lambda of: {"reference": {**of.reference, "ood_energy": -123.0}},
}


@pytest.mark.parametrize("part", CHANGES)
def test_what_changed_is_said_and_nothing_else(tiny_bundle: Bundle, part: str) -> None:
    """Part by part, against the same bundle, of which nothing has changed."""
    manifest = tiny_bundle.manifest
    before = Predecessor(bundle=tiny_bundle)
    same = msgspec.convert(parent.recorded(manifest, before)[parent.RECORD], type=parent.Parent)
    assert (same.changed, same.changes()) == ((), "nothing that decides")
    new = msgspec.structs.replace(manifest, **CHANGES[part](manifest))
    said = msgspec.convert(parent.recorded(new, before)[parent.RECORD], type=parent.Parent)
    assert said.changed == (part,)


def test_an_older_program_meets_no_new_field(tiny_bundle: Bundle) -> None:
    """The parent is inside `training`, whose entries no version checks: at its top, a manifest with a field more would be refused."""
    manifest = tiny_bundle.manifest
    new = msgspec.structs.replace(manifest, training=parent.recorded(manifest, Predecessor(bundle=tiny_bundle)))
    assert msgspec.json.decode(render(new)).keys() == msgspec.json.decode(render(manifest)).keys()
    assert parent.RECORD in new.training

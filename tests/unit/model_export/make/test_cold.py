"""Bundles of labels in words, and of people's answers beside them, with a small encoder."""

import random
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from benchmarks.labels import synthetic
from tagstream.model_export.bundle.bundle import Bundle
from tagstream.model_export.bundle.manifest import ALWAYS_ASK
from tagstream.model_export.bundle.model import NO_LIMITS, OnnxClassifier, limits_in
from tagstream.model_export.bundle.promise.promise import Promise
from tagstream.model_export.data import random_half
from tagstream.model_export.data.own.first_answers import FirstAnswers, sort_out
from tagstream.model_export.data.own.labels import LabelInWords, LabelsInWords, of_record
from tagstream.model_export.data.own.rows import OwnRow, OwnRows
from tagstream.model_export.data.row import Row
from tagstream.model_export.make import progress, recipe, steps
from tagstream.model_export.make.recipe import BundleRecipe
from tagstream.model_export.onnx import heads
from tagstream.model_export.onnx.parity import GateLimits
from tests.replacing import replace

pytestmark = pytest.mark.usefixtures("small_recipe")

# An encoder that nobody trained is right in about half of its decisions here.
PROMISE = Promise(precision=0.4, floor=0.2)
WORDS = LabelsInWords(
    name="labels.toml",
    labels={
        "card-fee": LabelInWords(about="my card came with a fee", keywords=("charged", "expensive")),
        "card-late": LabelInWords(about="my card has not arrived yet"),
        "card-lost": LabelInWords(about="my card was stolen"),
        # No event of this label ever comes.
        "loan-how": LabelInWords(about="how does it work"),
    },
    digests={"labels.toml": "0" * 64},
)
COMING = [row for row in synthetic.rows(1200, 4) if row.tag in WORDS.labels]
FRESH = [row for row in synthetic.rows(1500, 4) if row.tag in WORDS.labels and row not in COMING]


def made(folder: Path, of: BundleRecipe) -> Bundle:
    """A bundle. Rounding changes more of what an encoder says that nobody trained."""
    return steps.make(folder, replace(of, limits=GateLimits(quantised_agreement=0.5, quantised_flips=0.5))).bundle


def said(rows: Sequence[Row], *, ids: Sequence[str] | None = None, wrong: bool = False) -> FirstAnswers:
    """Answers of people on these texts, in their order."""
    ids, drawn = ids or [f"event {place}" for place in range(len(rows))], random.Random(3)  # noqa: S311 - the same answers each time
    tags = [drawn.choice(sorted(WORDS.labels)) if wrong else row.tag for row in rows]
    own = [
        OwnRow(line=place, row=replace(row, tag=tag, topic=f"answer:{one}", answered=True), id=one)
        for place, (row, tag, one) in enumerate(zip(rows, tags, ids, strict=True), start=1)
    ]
    return sort_out(WORDS, OwnRows(name="answers.jsonl", unit="line", rows=tuple(own), digests={"answers.jsonl": "1" * 64}))


def grown(folder: Path, begun: Bundle, answers: FirstAnswers) -> Bundle:
    """The bundle of these answers."""
    return made(folder, recipe.grown(begun, WORDS, answers, PROMISE, name="cold"))


def right(bundle: Bundle, rows: Sequence[Row]) -> float:
    """The share right."""
    found = OnnxClassifier(bundle).classify([row.text for row in rows])
    return float(np.mean([one.label == row.tag for one, row in zip(found, rows, strict=True)]))


@pytest.fixture(scope="module")
def started(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    """A first bundle."""
    return made(tmp_path_factory.mktemp("cold") / "cold", recipe.started(WORDS, (), PROMISE, name="cold"))


@pytest.fixture(scope="module")
def certain(started: Bundle, tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    """A bundle of enough answers to certify something."""
    return grown(tmp_path_factory.mktemp("certain") / "cold", started, said(COMING[:300]))


def test_a_first_bundle_publishes_nothing(started: Bundle) -> None:
    """No row is there to certify a label: a person is asked at any confidence, and no figure, limit or certificate is made up."""
    manifest = started.manifest
    assert OnnxClassifier(started).labels == manifest.labels == tuple(WORDS.labels)
    assert set(manifest.asked_below().values()) == {ALWAYS_ASK}
    assert not manifest.threshold.certified
    assert (manifest.metrics, limits_in(manifest.reference)) == ({}, NO_LIMITS)
    assert of_record(manifest.training, started.path).labels == WORDS.labels
    assert (manifest.name, manifest.version) == ("cold", "1")


def test_the_reference_is_of_the_streams_own_texts(tmp_path: Path) -> None:
    """Where some are given: the live stream is not compared with sentences about labels."""
    found = made(tmp_path / "cold", recipe.started(WORDS, COMING[:40], PROMISE, name="cold")).manifest
    assert found.reference["rows"] == 40
    assert set(found.asked_below().values()) == {ALWAYS_ASK}


def test_answers_make_a_better_bundle_of_the_same_encoder(started: Bundle, certain: Bundle) -> None:
    """A label without an answer stays, the vectors are the same to the last bit, and more of what is new is right."""
    tokens = [[2, 7, 9, 3], [2, 11, 3]]
    assert certain.manifest.labels == started.manifest.labels
    assert np.array_equal(heads.embed(certain.model, tokens), heads.embed(started.model, tokens))
    assert certain.manifest.version == "2"
    assert certain.manifest.training["encoder"] == {"bundle": started.digest}
    assert right(certain, FRESH) > right(started, FRESH) + 0.1


def test_certificates_rest_on_answers_by_lot(certain: Bundle) -> None:
    """The others are learned from; threshold, figures and reference count none of them."""
    manifest = certain.manifest
    answers = said(COMING[:300]).rows
    by_lot = sum(row.source == "by-lot" for row in answers)
    assert 0 < by_lot < len(answers)
    assert manifest.threshold.certified
    assert manifest.threshold.rows == manifest.reference["rows"] == manifest.metrics["calibration"]["rows"] == by_lot
    kept = manifest.training[progress.RECORD]
    assert (sum(kept["answers"].values()), kept["by_lot"], kept["answers"]["loan-how"]) == (len(answers), by_lot, 0)


def test_answers_that_agree_with_nothing_certify_nothing(started: Bundle, tmp_path: Path) -> None:
    """Labels by a die: everything still goes to people, and the table says so."""
    found = grown(tmp_path / "cold", started, said(COMING[:120], wrong=True)).manifest
    assert set(found.asked_below().values()) == {ALWAYS_ASK}
    table = progress.table(found)
    assert table is not None
    assert table.note.startswith("No precision is certified, so all events go to people")
    assert {cells[2] for cells in table.rows} == {"no"}


def test_without_answers_by_lot_nothing_is_published(started: Bundle, tmp_path: Path) -> None:
    """All were chosen by doubt, however right the model is on them."""
    ids = [one for one in (f"event {place}" for place in range(999)) if not random_half.is_drawn(one)][:60]
    found = grown(tmp_path / "cold", started, said(COMING[:60], ids=ids)).manifest
    assert set(found.asked_below().values()) == {ALWAYS_ASK}
    assert found.metrics == {}


def test_a_bundle_grows_again(started: Bundle, certain: Bundle, tmp_path: Path) -> None:
    """From a grown one: its answers are in the file again, version and looks go on, and its record names the base encoder still."""
    again = grown(tmp_path / "cold", certain, said(COMING[:120]))
    assert again.manifest.version == "3"
    assert [progress.looks_at(bundle.manifest) for bundle in (started, certain, again)] == [0, 1, 2]
    assert again.manifest.training["base_model"] == certain.manifest.training["base_model"]
    assert of_record(again.manifest.training, again.path).labels == WORDS.labels


def test_the_table_says_what_is_certified_and_what_is_missing(certain: Bundle) -> None:
    """Of each label its answers, from where it is published, and how many more a certificate of its own needs."""
    table = progress.table(certain.manifest)
    assert table is not None
    assert [cells[0] for cells in table.rows] == list(certain.manifest.labels)
    by_label = {cells[0]: cells for cells in table.rows}
    assert by_label["loan-how"][1] == "0"
    assert any(cells[2].startswith("from 0.") for cells in table.rows)
    assert "a precision of 0.4 is certified for all published decisions together" in table.note
    assert "more answers about it" in by_label["loan-how"][3]

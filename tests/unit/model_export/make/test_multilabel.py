"""A second head: its fit, its thresholds, its figures, and the file that has it."""

import numpy as np
import pytest
import torch

from tagstream.model_export.bundle.model import LABEL_LOGITS, Prediction, add_tags, predict
from tagstream.model_export.data.madewithml import LABELS
from tagstream.model_export.data.row import Row
from tagstream.model_export.make import multilabel
from tagstream.model_export.make.multilabel import NEVER, LabelHeadRecipe
from tagstream.model_export.onnx import export, heads, parity, quantize
from tagstream.model_export.onnx.heads import HeadError
from tagstream.model_export.train.examples import Examples
from tagstream.model_export.train.head import Head
from tagstream.model_export.train.network import Shape, TagNetwork

WIDTH = 32
SHAPE = Shape(vocabulary=64, positions=64, width=WIDTH, inner=64, heads=4, layers=2, labels=len(LABELS))


def rows(count: int, seed: int) -> list[list[int]]:
    """Random token ids of several lengths."""
    generator = np.random.default_rng(seed)
    return [[2, *generator.integers(4, 64, generator.integers(4, 30)).tolist(), 3] for _ in range(count)]


@pytest.fixture(scope="module")
def model() -> bytes:
    """A random int8 network."""
    torch.manual_seed(0)
    plain = export.to_onnx(TagNetwork(SHAPE).for_export(), LABELS, longest=SHAPE.positions)
    return quantize.quantize(plain, rows(64, 1), LABELS)


def head() -> Head:
    """A head with large weights, of a different scale for each label."""
    generator = np.random.default_rng(3)
    return Head(
        weight=generator.normal(size=(len(LABELS), WIDTH)) * [[1], [2], [5], [9]], bias=generator.normal(size=len(LABELS))
    )


def said(label: str, **scores: float) -> Prediction:
    """A prediction of `label` (a or b), with these label scores."""
    logits = {"a": [1.0, 0.0], "b": [0.0, 1.0]}[label]
    found = predict(logits, labels=["a", "b"], temperature=1.0, tokens=3, truncated=False)
    return add_tags(found, [float(np.log(score / (1 - score))) for score in scores.values()], dict.fromkeys("ab", NEVER))


def test_the_second_output_says_what_its_head_says_of_the_vectors(model: bytes) -> None:
    """The second output is the fitted head's up to rounding; the first output and the vectors stay to the last bit."""
    given = rows(100, 2)
    made = heads.with_label_head(model, head(), LABELS)
    wanted = heads.embed(model, given) @ head().weight.T + head().bias
    assert np.abs(parity.run(made, given, output=LABEL_LOGITS) - wanted).max() < 0.02 * np.abs(wanted).max()
    assert np.array_equal(parity.run(made, given), parity.run(model, given))
    assert np.array_equal(heads.embed(made, given), heads.embed(model, given))


def test_a_second_head_takes_the_place_of_another(model: bytes) -> None:
    """Adding a second head twice gives the same file as adding it once."""
    once = heads.with_label_head(model, head(), LABELS)
    assert heads.with_label_head(once, head(), LABELS) == once
    assert len(once) - len(model) < 4096


def test_a_second_head_can_be_taken_away_again(model: bytes) -> None:
    """Removing the second head gives back the file without it, to the byte."""
    assert heads.without_label_head(heads.with_label_head(model, head(), LABELS), LABELS) == model


def test_a_head_of_another_width_is_refused(model: bytes) -> None:
    """A head of another width is refused with the next step."""
    narrow = Head(weight=head().weight[:, :8], bias=head().bias)
    with pytest.raises(HeadError, match=r"vectors of 32 numbers, not of 8.*Next: train anew"):
        heads.with_label_head(model, narrow, LABELS)


def test_a_row_with_two_labels_is_an_example_of_both() -> None:
    """Fitted on the axis of a, the axis of b and both: a text that lies on both is given both."""
    clusters = {(1, 0): [(4.0, 0.0)], (0, 1): [(0.0, 4.0)], (1, 1): [(4.0, 4.0)], (0, 0): [(0.0, 0.0)]}
    vectors = np.array([place for places in clusters.values() for place in places] * 20)
    carried = np.array(list(clusters) * 20, dtype=np.bool_)
    train = Examples(rows=[], targets=[0, 1, 0, 1] * 20, sources=["corpus"] * 80)
    found = multilabel.fit(vectors, train, carried, LabelHeadRecipe())
    assert ((vectors @ found.weight.T + found.bias > 0) == carried).all()


def test_the_truth_of_a_row_is_its_tag_and_its_tags() -> None:
    """A row carries its tag and its tags; a row without tags carries its tag alone."""
    one = Row(text="x", tag="b", source="corpus", topic="t")
    two = Row(text="x", tag="b", source="corpus", topic="t", tags=("b", "a"))
    assert multilabel.truth([one, two], ["a", "b"]).tolist() == [[False, True], [True, True]]


def test_a_threshold_is_where_the_published_tags_are_best() -> None:
    """The threshold of b is 0.7, from where all scores are right; the decision's own tag counts without a score."""
    predictions = [said("a", a=0.1, b=0.9), said("a", a=0.1, b=0.7), said("a", a=0.9, b=0.6), said("b", a=0.2, b=0.1)]
    carried = np.array([[1, 1], [1, 1], [1, 0], [0, 1]], dtype=np.bool_)
    assert multilabel.choose_thresholds(predictions, carried) == {"a": NEVER, "b": 0.7}


def test_sets_are_measured_beside_the_tag_alone() -> None:
    """Four rows counted by hand: one set of two found, one missed, one wrong tag added."""
    carried = np.array([[1, 1], [1, 1], [1, 0], [0, 1]], dtype=np.bool_)
    decided = np.array([[1, 0], [1, 0], [1, 0], [0, 1]], dtype=np.bool_)
    found = multilabel.measure(np.array([[1, 1], [1, 0], [1, 1], [0, 1]], dtype=np.bool_), decided, carried)
    assert found == {
        "rows": 4,
        "two_label_rows": 2,
        "two_label_subset_right": 1,
        "tags_added": 2,
        "tags_added_right": 1,
        "micro_f1": 0.833333,
        "micro_f1_of_tag_alone": 0.8,
        "macro_f1": 0.833333,
        "macro_f1_of_tag_alone": 0.75,
        "subset_accuracy": 0.5,
        "subset_accuracy_of_tag_alone": 0.5,
    }

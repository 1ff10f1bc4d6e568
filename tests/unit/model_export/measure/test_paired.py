"""Two models on the same rows: counts that can be checked by hand, and tests that neither side wins by being named first."""

from collections.abc import Sequence

import pytest
from scipy.stats import binom

from tagstream.model_export.bundle.model import Prediction
from tagstream.model_export.measure import evaluate, paired

LABELS = ("one", "two", "three")


def given(labels: Sequence[str]) -> list[Prediction]:
    """Predictions of these labels."""
    return [
        Prediction(label=label, confidence=0.9, probabilities={}, energy=-1.0, tokens=5, truncated=False) for label in labels
    ]


TRUTH = ["one"] * 40 + ["two"] * 40 + ["three"] * 20
OURS = ["one"] * 38 + ["two"] * 2 + ["two"] * 36 + ["three"] * 4 + ["three"] * 20
THEIRS = ["two"] * 9 + ["one"] * 31 + ["two"] * 40 + ["three"] * 15 + ["one"] * 5


def test_only_rows_that_part_the_models_are_counted() -> None:
    """Only the rows that one model alone has right are counted: fourteen for ours, six for the other."""
    found = paired.compare(given(OURS), given(THEIRS), TRUTH, labels=LABELS)
    assert (found.rows, found.only_ours, found.only_theirs) == (100, 14, 6)
    assert found.p_value == pytest.approx(2 * binom.cdf(6, 20, 0.5), abs=1e-6)


def test_difference_is_that_of_the_two_evaluations_and_lies_in_its_interval() -> None:
    """The paired difference is that of the two single figures and lies in its interval."""
    left, right = (
        evaluate.evaluate(given(labels), TRUTH, labels=LABELS, thresholds=dict.fromkeys(LABELS, 0.5)).weighted_f1
        for labels in (OURS, THEIRS)
    )
    found = paired.compare(given(OURS), given(THEIRS), TRUTH, labels=LABELS)
    assert found.difference == pytest.approx(left - right, abs=2e-6)
    assert found.interval[0] < found.difference < found.interval[1]


def test_the_other_way_round_is_the_same_test() -> None:
    """Exchanging the models changes the signs alone."""
    one = paired.compare(given(OURS), given(THEIRS), TRUTH, labels=LABELS)
    other = paired.compare(given(THEIRS), given(OURS), TRUTH, labels=LABELS)
    assert (other.only_ours, other.only_theirs, other.p_value) == (one.only_theirs, one.only_ours, one.p_value)
    assert other.difference == -one.difference
    assert other.interval == pytest.approx((-one.interval[1], -one.interval[0]), abs=0.02)


def test_a_model_against_itself_is_nothing() -> None:
    """A model against itself has no row apart and a difference of zero."""
    found = paired.compare(given(OURS), given(OURS), TRUTH, labels=LABELS)
    assert (found.p_value, found.difference, found.interval) == (1.0, 0.0, (0.0, 0.0))


def test_pairing_takes_the_luck_of_the_rows_out() -> None:
    """Two models that differ in a few rows have a much narrower interval of the difference than of either figure."""
    theirs = ["two", *OURS[1:]]
    found = paired.compare(given(OURS), given(theirs), TRUTH, labels=LABELS)
    low, high = evaluate.evaluate(given(OURS), TRUTH, labels=LABELS, thresholds=dict.fromkeys(LABELS, 0.5)).weighted_f1_interval
    assert found.interval[1] - found.interval[0] < (high - low) * 0.75
    assert found.interval[0] >= 0


@pytest.mark.parametrize(
    ("ours", "theirs", "tags"), [([], [], []), (["one"], ["one", "two"], ["one", "two"]), (["one"], [], ["one"])]
)
def test_rows_that_do_not_pair_are_an_error(ours: list[str], theirs: list[str], tags: list[str]) -> None:
    """Predictions of other rows are refused."""
    with pytest.raises(ValueError, match="cannot be paired"):
        paired.compare(given(ours), given(theirs), tags, labels=LABELS)

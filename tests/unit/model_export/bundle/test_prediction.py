"""Properties of the scores that are computed from logits."""

import math

from hypothesis import given
from hypothesis import strategies as st

from tagstream.model_export.bundle.model import energy, predict, score

LOGITS = st.lists(st.floats(-50, 50), min_size=2, max_size=8)
TEMPERATURES = st.floats(0.05, 100)


@given(LOGITS, TEMPERATURES)
def test_scores_are_probabilities(logits: list[float], temperature: float) -> None:
    """Each score lies in 0 to 1, and their sum is one but for rounding."""
    found = score(logits, temperature)
    assert all(0 <= value <= 1 for value in found)
    assert math.isclose(sum(found), 1, abs_tol=len(logits) * 5e-5 + 1e-9)


@given(LOGITS, TEMPERATURES)
def test_label_is_the_first_of_the_most_probable(logits: list[float], temperature: float) -> None:
    """The label has the highest rounded score, a tie goes to the earlier label, and labels keep the bundle's order."""
    labels = [f"label-{len(logits) - number}" for number in range(len(logits))]
    found = predict(logits, labels=labels, temperature=temperature, tokens=3, truncated=False)
    scores = list(score(logits, temperature))
    assert list(found.probabilities.items()) == list(zip(labels, scores, strict=True))
    assert found.confidence == max(scores)
    assert found.label == labels[scores.index(max(scores))]


@given(LOGITS, TEMPERATURES, st.floats(-20, 20))
def test_scores_do_not_change_when_all_logits_move(logits: list[float], temperature: float, shift: float) -> None:
    """Scores depend on the differences of logits only, as softmax does."""
    moved = score([value + shift for value in logits], temperature)
    assert all(math.isclose(a, b, abs_tol=2e-4) for a, b in zip(score(logits, temperature), moved, strict=True))


@given(LOGITS)
def test_energy_lies_just_under_the_largest_logit(logits: list[float]) -> None:
    """Energy is minus the log-sum-exp, so it lies below minus the largest logit by at most the log of the label count."""
    assert -max(logits) - math.log(len(logits)) - 1e-9 <= energy(logits) <= -max(logits) + 1e-9


@given(LOGITS)
def test_higher_temperature_never_raises_the_confidence(logits: list[float]) -> None:
    """A higher temperature levels the scores."""
    assert max(score(logits, 2.0)) <= max(score(logits, 1.0)) + 1e-9

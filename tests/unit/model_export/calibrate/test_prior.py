"""Priors: the offsets take out one set of shares and put in another; EM finds a stream's shares, or says why it cannot."""

import numpy as np
import pytest

from tagstream.model_export.bundle.model import score
from tagstream.model_export.calibrate import prior
from tagstream.model_export.calibrate.errors import CalibrationError

LABELS = ("a", "b", "c")
EVEN = np.full(3, 1 / 3)


def drawn(rows: int, shares: tuple[float, ...], apart: float, seed: int = 1) -> tuple[np.ndarray, np.ndarray]:
    """The targets of rows, and the exact probabilities of their labels under even shares: one noisy measurement a label."""
    generator = np.random.default_rng(seed)
    targets = generator.choice(3, rows, p=shares)
    seen = generator.normal(size=(rows, 3)) + apart * np.eye(3)[targets]
    likely = np.exp(apart * seen)
    return targets, likely / likely.sum(axis=1, keepdims=True)


def test_offsets_move_probabilities_from_one_prior_to_another() -> None:
    """A text that says nothing gets the shares of the new prior, whatever the network learned."""
    learned, wanted = np.array([0.6, 0.3, 0.1]), np.array([0.2, 0.3, 0.5])
    made = prior.make(LABELS, learned=learned, expected=wanted, source="given", record={})
    offsets = [made.offsets[label] for label in LABELS]
    assert score(np.log(learned).tolist(), 1.0, offsets) == (0.2, 0.3, 0.5)
    assert sum(offsets) == pytest.approx(0, abs=1e-5)
    assert prior.learned_by(made, LABELS) == pytest.approx(learned, abs=1e-4)


def test_rows_are_weighted_to_the_shares() -> None:
    """Their weights have mean 1 and the shares of the prior; a label without rows is left out."""
    targets = np.array([0] * 60 + [1] * 40)
    weights = prior.row_weights(targets, np.array([0.25, 0.25, 0.5]))
    assert weights.mean() == pytest.approx(1)
    assert weights[targets == 0].sum() == pytest.approx(weights[targets == 1].sum())


def test_em_finds_the_shares_of_a_stream() -> None:
    """Two thousand decisions of a sound network give the shares to within three hundredths; the intervals hold them."""
    shares = (0.7, 0.2, 0.1)
    targets, rows = drawn(900, (1 / 3, 1 / 3, 1 / 3), 2.0)
    _, stream = drawn(2000, shares, 2.0, seed=2)
    found = prior.estimate(stream, EVEN, rows=rows, targets=targets)
    assert found.shares == pytest.approx(shares, abs=0.03)
    assert all(low <= share <= high for share, (low, high) in zip(found.shares, found.intervals, strict=True))
    assert prior.as_record(found, LABELS)["decisions"] == 2000


@pytest.mark.parametrize(
    ("decisions", "apart", "why"),
    [
        (150, 2.0, "150 decisions do not say how often"),
        (2000, 0.15, "confuses labels too often"),
        (250, 0.7, "leave the share of label number"),
    ],
)
def test_shares_that_are_not_identified_are_refused(decisions: int, apart: float, why: str) -> None:
    """Too few decisions, a network that tells labels apart too badly, or an interval too wide: each is a refusal of its own."""
    targets, rows = drawn(900, (1 / 3, 1 / 3, 1 / 3), apart)
    _, stream = drawn(decisions, (0.5, 0.3, 0.2), apart, seed=2)
    with pytest.raises(CalibrationError, match=rf"{why}.*Next: "):
        prior.estimate(stream, EVEN, rows=rows, targets=targets)


def test_a_label_without_calibration_rows_is_refused() -> None:
    """Its mistakes are not known."""
    targets, rows = drawn(900, (0.5, 0.5, 0.0), 2.0)
    with pytest.raises(CalibrationError, match="label number 3 has no calibration row"):
        prior.estimate(rows, EVEN, rows=rows, targets=targets)


@pytest.mark.parametrize(
    ("given", "why"),
    [
        ({"a": 0.5, "b": 0.5}, "c missing"),
        ({"a": 1, "b": 1, "c": 1, "d": 1}, "d unknown"),
        ({"a": 1, "b": 1, "c": 0}, "over 0"),
    ],
)
def test_given_shares_are_checked(given: dict[str, float], why: str) -> None:
    """A missing, an unknown and an impossible share are refused."""
    with pytest.raises(CalibrationError, match=why):
        prior.checked(given, LABELS)


def test_given_shares_need_not_sum_to_one() -> None:
    """Counts are shares as well."""
    assert prior.checked({"a": 20, "b": 30, "c": 50}, LABELS) == pytest.approx([0.2, 0.3, 0.5])

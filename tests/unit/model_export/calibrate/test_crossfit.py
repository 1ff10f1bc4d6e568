"""Cross-fitting: every row is scored by a model that has seen neither it nor its group, and the certificate stays true."""

import numpy as np
import pytest
from scipy.special import softmax

from tagstream.model_export.calibrate import joint
from tagstream.model_export.calibrate.crossfit import cross_fit
from tagstream.model_export.calibrate.errors import CalibrationError
from tagstream.model_export.calibrate.joint import DecidedRows


def test_every_row_is_scored_once_by_a_model_without_its_group() -> None:
    """The model is the list of rows that it learned from: none has the group of the row that it scores."""
    generator = np.random.default_rng(3)
    groups = [f"topic {place}" for place in generator.integers(0, 30, 200)]
    targets = generator.integers(0, 3, 200)
    scored: list[int] = []

    def score(learned: np.ndarray, places: np.ndarray) -> np.ndarray:
        assert not {groups[place] for place in learned} & {groups[place] for place in places}
        assert set(targets[learned].tolist()) == {0, 1, 2}
        scored.extend(places.tolist())
        return np.repeat(places[:, None].astype(float), 3, axis=1)

    found = cross_fit(groups, targets, fit=lambda places: places, score=score, folds=5)
    assert sorted(scored) == list(range(200))
    assert found[:, 0].tolist() == list(range(200))


def test_a_label_with_few_groups_gets_fewer_folds() -> None:
    """A label of two groups is cross-fitted in two folds."""
    groups = [*map(str, range(40)), "a", "a", "b"]
    targets = np.array([0] * 40 + [1] * 3)
    fitted: list[int] = []

    def fit(places: np.ndarray) -> int:
        fitted.append(len(places))
        return 0

    cross_fit(groups, targets, fit=fit, score=lambda _, places: np.zeros((len(places), 2)))
    assert len(fitted) == 2


@pytest.mark.parametrize("groups", [["a", "b", "c", "c"], []])
def test_a_label_of_one_group_is_refused(groups: list[str]) -> None:
    """A label that only one group has cannot be learned without it."""
    targets = np.array([0, 0, 1, 1])[: len(groups)]
    with pytest.raises(CalibrationError, match=r"two groups or more of every label.*Next: give more rows"):
        cross_fit(groups, targets, fit=lambda places: places, score=lambda _, places: np.zeros((len(places), 2)))


def test_logits_that_are_no_numbers_are_refused() -> None:
    """A model that gives NaN is refused, and not calibrated."""
    with pytest.raises(CalibrationError, match="no finite logits"):
        cross_fit(
            list("abcd"),
            np.array([0, 0, 1, 1]),
            fit=lambda places: places,
            score=lambda _, places: np.full((len(places), 2), np.nan),
        )


def test_rows_that_no_fold_leaves_out_stand_for_labels_of_one_group() -> None:
    """Every model learns from the last rows, which get no logits; so a label may have one row beside them, or none."""
    groups, targets = [*"abcd", *"xyz"], np.array([0, 0, 0, 1, 0, 1, 2])
    learned: list[set[int]] = []

    def fit(places: np.ndarray) -> None:
        learned.append(set(places.tolist()))

    found = cross_fit(groups, targets, fit=fit, score=lambda _, places: np.zeros((len(places), 3)), folds=2, always=3)
    assert found.shape == (4, 3)
    assert all({4, 5, 6} <= places for places in learned)
    assert learned[0] | learned[1] == set(range(7))
    assert learned[0] & learned[1] == {4, 5, 6}
    with pytest.raises(CalibrationError, match="two groups or more"):
        cross_fit([*"aa", *"xy"], np.array([0, 1, 0, 1]), fit=fit, score=lambda *_: np.zeros((2, 2)), always=2)


SETS = 150


@pytest.mark.parametrize("apart", [2.0, 2.6])
def test_the_certificate_holds_for_the_model_that_learned_from_every_row(apart: float) -> None:
    """
    Over seeded sets, cross-fitted rows certify thresholds; the model that is shipped has learned from all of them,
    and is below the target on fresh rows in at most 5 % of the sets, plus luck of the draws.
    """
    generator = np.random.default_rng(31)
    centres = apart * np.eye(3)

    def rows(count: int) -> tuple[np.ndarray, np.ndarray]:
        targets = generator.integers(0, 3, count)
        return centres[targets] + generator.normal(size=(count, 3)), targets

    def fitted(vectors: np.ndarray, targets: np.ndarray) -> np.ndarray:
        return np.array([vectors[targets == label].mean(axis=0) for label in range(3)])

    def logits(means: np.ndarray, vectors: np.ndarray) -> np.ndarray:
        """Linear discriminants: the log probabilities of the labels, but for a constant of the row."""
        found: np.ndarray = vectors @ means.T - (means**2).sum(axis=1) / 2
        return found

    def decided(scores: np.ndarray, targets: np.ndarray) -> DecidedRows:
        said = scores.argmax(axis=1)
        confidence = softmax(scores, axis=1).max(axis=1).round(4)
        return DecidedRows(said=said, confidence=confidence, right=said == targets, weight=np.ones(len(targets)))

    fresh, truth = rows(20_000)
    certified = false = 0
    for _ in range(SETS):
        vectors, targets = rows(600)
        held = cross_fit(
            [str(place % 60) for place in range(600)],
            targets,
            fit=lambda places, vectors=vectors, targets=targets: fitted(vectors[places], targets[places]),  # type: ignore[misc]
            score=lambda means, places, vectors=vectors: logits(means, vectors[places]),  # type: ignore[misc]
            folds=5,
        )
        found = joint.choose(decided(held, targets), 3, target=0.9, floor=0.0, risk=0.05)
        if found is None:
            continue
        certified += 1
        shipped = decided(logits(fitted(vectors, targets), fresh), truth)
        false += float(shipped.right[joint.kept(shipped, found.thresholds)].mean()) < 0.9
    assert certified > SETS / 2
    assert false / SETS <= 0.05 * 4 / 3

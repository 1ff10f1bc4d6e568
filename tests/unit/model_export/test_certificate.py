"""What a certificate promises: the level holds over repetitions, the walk is cautious, and a refusal says what is lacking."""

from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from model_export import calibrate
from model_export.bundle import ALWAYS_ASK, LabelThreshold
from model_export.calibrate import GRID

LABELS = ("computer-vision", "mlops", "natural-language-processing", "other")
RISK = 0.05 / 4
EDGES = np.array(GRID)
COUNTS = st.lists(st.tuples(st.integers(0, 40), st.integers(0, 4)), min_size=len(GRID), max_size=len(GRID))
# So few mistakes that most draws are certified somewhere.
GOOD_COUNTS = st.lists(
    st.tuples(st.integers(0, 40), st.sampled_from((0, 0, 0, 0, 0, 0, 0, 1))), min_size=len(GRID), max_size=len(GRID)
)


def chosen(rows: list[tuple[str, float, bool]], target: float = 0.95, floor: float = 0.0) -> dict[str, LabelThreshold]:
    """The thresholds for rows of (predicted label, confidence, right)."""
    said, confidences, right = ([row[place] for row in rows] for place in range(3))
    return calibrate.choose_thresholds(said, confidences, right, labels=LABELS, target_precision=target, floor=floor)


def cumulated(counts: list[tuple[int, int]]) -> tuple[np.ndarray, np.ndarray]:
    """Rows and mistakes at or above each confidence of the grid, from (rows, mistakes) between two of them."""
    rows = np.array([count for count, _ in counts])
    wrong = np.minimum(rows, [mistakes for _, mistakes in counts])
    return rows.cumsum(), wrong.cumsum()


def steep(confidence: np.ndarray) -> np.ndarray:
    """Right as often as it says."""
    return confidence


def flat(confidence: np.ndarray) -> np.ndarray:
    """Just short of the target at every confidence: whatever is certified is certified wrongly."""
    return np.full_like(confidence, 0.9499)


def boastful(confidence: np.ndarray) -> np.ndarray:
    """Less often right than it says, by two thirds more mistakes."""
    return (1 - (1 - confidence) * 5 / 3).clip(0, 1)


def cliff(confidence: np.ndarray) -> np.ndarray:
    """Good above 0.97, and far from it below."""
    return np.where(confidence >= 0.97, 0.985, 0.8)


@pytest.mark.parametrize("world", [steep, flat, boastful, cliff])
@pytest.mark.parametrize("label_rows", [150, 600, 3000])
def test_a_false_certificate_is_as_rare_as_the_level_says(world: Callable[[np.ndarray], np.ndarray], label_rows: int) -> None:
    """
    Over two thousand seeded sets of calibration rows of one label, at most its part of the level has a certificate whose true precision
    is below the target; a third on top is what two thousand draws may be off.
    """
    generator = np.random.default_rng(11)
    shares = np.diff(np.concatenate([[0.0], 1 - EDGES**4, [1.0]]))
    inside = world(np.concatenate([EDGES, [0.27]]))
    truth = np.cumsum(shares * inside) / np.cumsum(shares)
    false = 0
    for counts in generator.multinomial(label_rows, shares, size=2000):
        wrong = generator.binomial(counts, 1 - inside)
        found = calibrate.lowest_certified(counts.cumsum()[:-1], wrong.cumsum()[:-1], label_rows, target=0.95, risk=RISK)
        false += found is not None and truth[GRID.index(found)] < 0.95
    assert false / 2000 <= RISK * 4 / 3


def test_looking_without_a_test_breaks_the_promise_that_the_walk_keeps() -> None:
    """In the world where nothing deserves it, the empirical rule promises in most draws: the simulation can tell the two apart."""
    generator = np.random.default_rng(12)
    promised = 0
    for _ in range(200):
        confidence = generator.uniform(0.3, 1, 300).round(4)
        found = calibrate._seen(confidence, generator.uniform(size=300) < 0.9499, target=0.95, floor=0.0)
        promised += found < ALWAYS_ASK
    assert promised / 200 > 0.5


def test_rows_that_deserve_it_are_certified() -> None:
    """A label of a thousand rows that are as often right as they say gets a certificate, and one that covers a good part of it."""
    generator = np.random.default_rng(13)
    confidence = (1 - generator.beta(0.5, 3, 1000)).clip(0.25, 1).round(4)
    rows = [
        ("mlops", float(one), bool(hit)) for one, hit in zip(confidence, generator.uniform(size=1000) < confidence, strict=True)
    ]
    found = chosen(rows)["mlops"]
    assert found.certified
    assert found.rows > 300
    assert found.precision_lower_bound >= 0.95
    assert found.confidence in GRID


@settings(max_examples=30)
@given(GOOD_COUNTS, st.sampled_from([0.8, 0.9, 0.95]))
def test_a_certificate_is_borne_out_by_the_bound_at_its_own_place(counts: list[tuple[int, int]], target: float) -> None:
    """The p-value and Clopper-Pearson are the same statement, and the label has rows enough."""
    rows, wrong = cumulated(counts)
    found = calibrate.lowest_certified(rows, wrong, int(rows[-1]), target=target, risk=RISK)
    assume(found is not None)
    place = GRID.index(found)  # type: ignore[arg-type]
    assert calibrate.lower_bound(int(rows[place] - wrong[place]), int(rows[place]), 1 - RISK) >= target - 1e-9
    assert rows[place] >= calibrate.least_rows(target, RISK)


@given(GOOD_COUNTS, st.integers(0, len(GRID) - 1))
def test_one_more_mistake_never_publishes_more(counts: list[tuple[int, int]], place: int) -> None:
    """A right row that turns wrong raises the certified confidence, or takes it away."""
    rows, wrong = cumulated(counts)
    worse = wrong.copy()
    worse[place:] += 1
    assume((worse <= rows).all())
    before, after = (
        calibrate.lowest_certified(rows, mistakes, int(rows[-1]), target=0.9, risk=RISK) for mistakes in (wrong, worse)
    )
    assert after is None or (before is not None and before <= after)


@given(st.floats(0.5, 0.995), st.floats(0.001, 0.2), st.integers(0, 4))
def test_the_least_rows_are_the_least(target: float, risk: float, mistakes: int) -> None:
    """So many prove it, one fewer does not."""
    least = calibrate.least_rows(target, risk, mistakes)
    assert calibrate.p_value(mistakes, int(least), target) <= risk < calibrate.p_value(mistakes, int(least) - 1, target)


@settings(max_examples=20)
@given(COUNTS, st.sampled_from([0.8, 0.9, 0.95]))
def test_labels_needed_are_the_fewest_that_the_walk_itself_accepts(counts: list[tuple[int, int]], target: float) -> None:
    """The same rows so many times over, mistakes rounded up: the walk passes, and with one row fewer it does not."""
    rows, wrong = cumulated(counts)
    had = int(rows[-1])
    assume(had > 0)
    assume(calibrate.lowest_certified(rows, wrong, had, target=target, risk=RISK) is None)
    needed = calibrate.labels_needed(rows, wrong, had, target=target, risk=RISK)
    assume(needed is not None)

    def certified(total: int) -> bool:
        more, mistakes = rows * total // had, -(-wrong * total // had)
        return calibrate.lowest_certified(more, mistakes, total, target=target, risk=RISK) is not None

    assert needed is not None
    assert certified(had + needed)
    assert needed == 1 or not certified(had + needed - 1)


def test_a_refusal_says_how_many_labels_are_lacking() -> None:
    """Ten right of ten prove nothing at 0.95: a perfect record needs 86 rows where four labels share the level."""
    found = chosen([("mlops", 0.996, True)] * 10)["mlops"]
    assert (found.certified, found.labels_needed, found.confidence) == (False, 76, 0.996)
    assert found.sentence("mlops") == (
        "mlops: 0.95 is not certified: 76 more labels of mlops needed. Until then its threshold 0.996 is no promise: "
        "1.0000 of 10 calibration rows at 0.996 or more are right, at least 0.6452"
    )


def test_a_label_that_nothing_was_called_is_asked_about_always() -> None:
    """No row says anything of it: the refusal names the whole of what a perfect record needs."""
    found = chosen([("mlops", 0.996, True)] * 10)["other"]
    assert (found.confidence, found.rows, found.precision) == (ALWAYS_ASK, 0, None)
    assert found.sentence("other") == (
        "other: 0.95 is not certified: 86 more labels of other needed. Until then a person is asked about all of it"
    )


def test_what_is_wrong_where_it_is_surest_is_asked_about_always() -> None:
    """No threshold was seen to keep the target, and no number of such labels would help: both are said."""
    found = chosen([("mlops", 0.99, False), ("mlops", 0.98, True)] * 50)["mlops"]
    assert (found.confidence, found.labels_needed) == (ALWAYS_ASK, None)
    assert "not even 100,000 more labels of mlops would do, if they are like these. Until then a person" in found.sentence(
        "mlops"
    )


def test_a_certificate_says_what_it_rests_on() -> None:
    """Two hundred right of two hundred, split over four labels."""
    found = chosen([("mlops", 0.96, True)] * 200)["mlops"]
    assert (found.certified, found.confidence, found.labels_needed, found.bound_level) == (True, 0.3, None, 0.9875)
    assert found.sentence("mlops") == (
        "mlops: 0.95 is certified (98.75%) from confidence 0.3 on: 1.0000 of 200 calibration rows at 0.3 or more are right, "
        "at least 0.9783"
    )


def test_nothing_certifies_perfection() -> None:
    """A target of 1 is refuted by no number of rows, and the refusal does not divide by nought."""
    found = chosen([("mlops", 0.96, True)] * 500, target=1.0)["mlops"]
    assert (found.certified, found.labels_needed, found.confidence) == (False, None, 0.96)


def test_few_rows_do_not_publish_more_than_all_rows_together_would() -> None:
    """Three right of three at 0.4 are no reason to publish at 0.4."""
    assert chosen([("mlops", 0.4, True)] * 3 + [("mlops", 0.93, True)], floor=0.9)["mlops"].confidence == 0.93


def test_every_label_gets_an_equal_part_of_the_level() -> None:
    """With two labels a perfect record of 72 rows is enough, with four it is not: all certificates hold together."""
    said, confidences, right = ["mlops"] * 72, [0.99] * 72, [True] * 72
    for labels, enough in ((("mlops", "other"), True), (LABELS, False)):
        found = calibrate.choose_thresholds(said, confidences, right, labels=labels, target_precision=0.95, floor=0.0)
        assert found["mlops"].certified == enough

"""Earned thresholds: a false one is rare on all days together, answers speak by their weight, too few change nothing."""

from collections.abc import Callable

import numpy as np
import pytest
from scipy.special import bdtr

from tagstream.model_export.bundle.manifest import ALWAYS_ASK, LabelThreshold
from tagstream.model_export.calibrate import earned_thresholds, martingale
from tagstream.model_export.calibrate.certificate import GRID
from tagstream.model_export.calibrate.earned_thresholds import Earned, Evidence
from tagstream.model_export.calibrate.martingale import WeightedAnswers
from tests.replacing import replace

LABELS = ("computer-vision", "mlops", "natural-language-processing", "other")
RISK = 0.05 / 4
TARGET = 0.95


def threshold(confidence: float, *, certified: bool = True) -> LabelThreshold:
    """A threshold of the bundle."""
    return LabelThreshold(
        confidence=confidence,
        target_precision=TARGET,
        precision=0.99,
        precision_lower_bound=0.955 if certified else 0.9,
        bound_level=1 - RISK,
        rows=200,
        label_rows=400,
        certified=certified,
    )


def evidence(*rows: tuple[str, float, bool, float, int]) -> Evidence:
    """Answers from (label, confidence, right, weight, count)."""
    said, confidence, right, weight, count = zip(*rows, strict=True) if rows else ((), (), (), (), ())
    return Evidence(
        said=np.array(said, dtype=np.str_),
        confidence=np.array(confidence, dtype=np.float64),
        right=np.array(right, dtype=np.bool_),
        weight=np.array(weight, dtype=np.float64),
        publishable=np.ones(len(said), dtype=np.bool_),
        count=np.array(count, dtype=np.int64),
    )


def earn(found: Evidence, *, confidence: float = 0.98, certified: bool = True) -> Earned:
    """The verdict on the label `other`, whose threshold is at this confidence; other labels have no answers."""
    present = {label: threshold(confidence, certified=certified) for label in LABELS}
    start = dict.fromkeys(LABELS, confidence)
    return earned_thresholds.earn(found, present=present, start=start, target_precision=TARGET)["other"]


def answers(right: int, wrong: int, *, weight: float = 1.0, largest: float | None = None) -> WeightedAnswers:
    """So many right and so many wrong answers of one weight."""
    return WeightedAnswers(
        right=np.array([True, False]),
        weight=np.array([weight, weight]),
        count=np.array([right, wrong]),
        largest=largest or weight,
    )


def steep(confidence: np.ndarray) -> np.ndarray:
    """The share right equals the confidence."""
    return confidence


def flat(confidence: np.ndarray) -> np.ndarray:
    """The share right is just short of the target at every confidence: every certificate is false."""
    return np.full_like(confidence, 0.9499)


def cliff(confidence: np.ndarray) -> np.ndarray:
    """Good above 0.97, and far from it below."""
    return np.where(confidence >= 0.97, 0.985, 0.8)


def proved_on_some_day(world: Callable[[np.ndarray], np.ndarray], *, per_day: int, seed: int) -> bool:
    """
    Whether any of thirty nightly calibrations proves a confidence with less than the target right.

    Thresholds move with what is proved, so that events of a less sure strip are audited from then on and no longer answered by all.
    """
    generator = np.random.default_rng(seed)
    edges = np.array([*GRID, 0.27])
    shares = np.diff(np.concatenate([[0.0], 1 - np.array(GRID) ** 4, [1.0]]))
    inside = world(edges)
    truth = np.cumsum(shares * inside) / np.cumsum(shares)
    reached = 0.98
    seen = np.zeros((len(edges), 2, 2), dtype=np.int64)
    for _ in range(30):
        events = generator.multinomial(per_day, shares)
        door = (edges >= reached).astype(np.int64)
        asked = np.where(door == 1, generator.binomial(events, 0.1), events)
        right = generator.binomial(asked, inside)
        seen[np.arange(len(edges)), 1, door] += right
        seen[np.arange(len(edges)), 0, door] += asked - right
        cells, agreed, doors = np.nonzero(seen)
        found = Evidence(
            said=np.full(len(cells), "other"),
            confidence=edges[cells],
            right=agreed.astype(np.bool_),
            weight=np.where(doors == 1, 10.0, 1.0),
            publishable=np.ones(len(cells), dtype=np.bool_),
            count=seen[cells, agreed, doors],
        )
        present = {"other": threshold(0.98)}
        reached = earned_thresholds.reached(found, present=present, start={"other": 0.98}, target_precision=TARGET)["other"]
        if reached in GRID and reached < 0.98 and truth[GRID.index(reached)] < TARGET:
            return True
    return False


@pytest.mark.parametrize("world", [steep, flat, cliff])
def test_a_false_threshold_is_rare_on_all_days_together(world: Callable[[np.ndarray], np.ndarray]) -> None:
    """Over sixty seeded months of one label with a calibration every night, no more go wrong than the level says."""
    assert sum(proved_on_some_day(world, per_day=400, seed=seed) for seed in range(60)) <= 3


def test_an_exact_test_every_night_would_break_the_level_that_the_bets_keep() -> None:
    """Known-bad: the binomial test of one calibration, asked again after every day, proves what is false far more often."""
    generator = np.random.default_rng(3)
    exact = bets = 0
    for _ in range(200):
        right = generator.binomial(40, 0.9499, size=200).cumsum()
        rows = 40 * np.arange(1, 201)
        exact += bool((bdtr(rows - right, rows, 1 - TARGET) <= RISK).any())
        day = np.diff(np.concatenate([[0], right]))
        found = WeightedAnswers(
            right=np.tile([True, False], 200),
            weight=np.ones(400),
            count=np.column_stack([day, 40 - day]).ravel(),
            largest=1.0,
        )
        places = np.arange(2, 401, 2)
        bets += bool((martingale.log_wealth(found, target=TARGET, places=places) >= -np.log(RISK)).any())
    assert bets <= 0.02 * 200 < exact


def test_a_threshold_goes_down_as_far_as_the_answers_prove() -> None:
    """Right answers down to 0.8, and mistakes below: the walk stops between."""
    rows = [("other", confidence, True, 1.0, 400) for confidence in (0.985, 0.9, 0.85, 0.8)]
    found = earn(evidence(*rows, ("other", 0.75, False, 1.0, 300)))
    assert (found.verdict, found.threshold.certified) == ("earned", True)
    assert 0.75 < found.threshold.confidence <= 0.8
    assert found.threshold.precision_lower_bound >= TARGET
    assert (found.threshold.rows, found.threshold.label_rows) == (1600, 1900)


def test_an_audit_answer_speaks_for_all_events_like_it() -> None:
    """One wrong answer in twenty audits, with weight 50, is not outvoted by thousands of right ones of weight 1."""
    audits = (("other", 0.99, True, 50.0, 190), ("other", 0.99, False, 50.0, 30))
    assert earn(evidence(*audits, ("other", 0.9, True, 1.0, 2000))).verdict != "earned"
    unweighted = ((label, confidence, right, 1.0, count) for label, confidence, right, _, count in audits)
    assert earn(evidence(*unweighted, ("other", 0.9, True, 1.0, 2000))).verdict == "earned"


def test_too_few_answers_change_nothing_and_say_how_many_times_as_many_would() -> None:
    """The present certificate stands; so many times the answers are indeed enough."""
    found = earn(evidence(("other", 0.99, True, 1.0, 30)))
    assert (found.verdict, found.threshold) == ("kept", threshold(0.98))
    assert found.times_needed is not None
    enough = int(np.ceil(30 * found.times_needed))
    assert earn(evidence(("other", 0.99, True, 1.0, enough))).verdict == "earned"
    assert earn(evidence(("other", 0.99, True, 1.0, enough * 9 // 10))).verdict == "kept"


def test_answers_that_refute_the_promise_withdraw_the_label() -> None:
    """Four fifths right at every confidence: a person is asked about every event of the label."""
    found = earn(evidence(("other", 0.99, True, 1.0, 400), ("other", 0.99, False, 1.0, 100)))
    assert (found.verdict, found.threshold.confidence, found.threshold.certified) == ("withdrawn", ALWAYS_ASK, False)


def test_a_refuted_label_keeps_the_stricter_part_that_is_proved() -> None:
    """The surest answers are right and the others are not: the threshold rises to where they are."""
    found = earn(evidence(("other", 0.99, True, 1.0, 900), ("other", 0.981, False, 1.0, 300)), confidence=0.98)
    assert (found.verdict, found.threshold.confidence) == ("earned", 0.99)


def test_a_label_without_certificate_may_begin_anywhere() -> None:
    """A label about which a person is always asked has no walk, and is certified where its answers prove it."""
    found = earn(evidence(("other", 0.97, True, 1.0, 900)), confidence=ALWAYS_ASK, certified=False)
    assert (found.verdict, found.threshold.confidence) == ("earned", 0.97)
    assert found.threshold.certified


def test_a_threshold_takes_in_the_least_sure_answer_and_nothing_far_below_it() -> None:
    """Answers that end between two confidences of the grid prove the confidence of the least sure, and none below."""
    assert earn(evidence(("other", 0.99, True, 1.0, 900), ("other", 0.9546, True, 1.0, 900))).threshold.confidence == 0.9546


def test_no_answers_keep_everything() -> None:
    """Without an answer nothing is proved, and no number of times would do."""
    found = earn(evidence())
    assert (found.verdict, found.answers, found.times_needed) == ("kept", 0, None)


def test_answers_that_no_threshold_decides_about_prove_nothing_but_count_for_the_share() -> None:
    """A strange text goes to a person at any confidence, so its answer is no evidence for a threshold."""
    given = evidence(("other", 0.99, True, 1.0, 900))
    strange = replace(given, publishable=np.zeros(1, dtype=np.bool_))
    assert earn(strange).verdict == "kept"
    assert (given.published({"other": 0.98}), strange.published({"other": 0.98})) == (1.0, 0.0)


def test_the_share_published_counts_every_answer_by_its_weight() -> None:
    """Ten audits at one in fifty are five hundred published events, beside five hundred in review."""
    given = evidence(("other", 0.99, True, 50.0, 10), ("other", 0.7, True, 1.0, 500))
    assert given.published({"other": 0.98}) == pytest.approx(0.5)


def test_the_bound_is_the_target_that_the_bets_still_disprove() -> None:
    """The bets disprove the bound and not a little more; more right answers raise it."""
    few, many = answers(190, 2), answers(1900, 20)
    bound = martingale.share_at_least(few, risk=RISK)
    assert martingale.log_wealth(few, target=bound)[0] >= -np.log(RISK) > martingale.log_wealth(few, target=bound + 1e-4)[0]
    assert bound < martingale.share_at_least(many, risk=RISK) < 0.99
    assert martingale.share_at_least(answers(0, 9), risk=RISK) == 0.0


def test_the_bets_against_a_share_grow_where_it_is_lower() -> None:
    """A share right of 0.8 is proved to be under 0.95, one of 0.99 is not."""
    assert martingale.log_wealth_against(answers(400, 100), target=TARGET) > -np.log(RISK)
    assert martingale.log_wealth_against(answers(495, 5), target=TARGET) < 0

"""The joint walk: false certificates stay within the level, labels below the floor are held back, and weighted rows count rightly."""

from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tagstream.model_export.bundle.manifest import ALWAYS_ASK
from tagstream.model_export.bundle.promise.promise import Promise
from tagstream.model_export.calibrate import joint
from tagstream.model_export.calibrate.joint import FACTORS, GRID, DecidedRows
from tagstream.model_export.calibrate.prior import row_weights
from tagstream.model_export.calibrate.promised_thresholds import promised
from tagstream.model_export.calibrate.thresholds import choose_thresholds

TARGET, RISK, SETS = 0.95, 0.05, 1000
LABELS = ("a", "b", "c")


def honest(confidence: np.ndarray, _: np.ndarray) -> np.ndarray:
    """The share right equals the confidence."""
    return confidence


def boastful(confidence: np.ndarray, _: np.ndarray) -> np.ndarray:
    """Two thirds more mistakes than the confidence says."""
    return (1 - (1 - confidence) * 5 / 3).clip(0, 1)


def cliff(confidence: np.ndarray, _: np.ndarray) -> np.ndarray:
    """Good above 0.97, and far from it below."""
    return np.where(confidence >= 0.97, 0.985, 0.8)


def just_short(confidence: np.ndarray, _: np.ndarray) -> np.ndarray:
    """The share right is just short of the target at every confidence: every certificate is wrong."""
    return np.full_like(confidence, 0.9499)


def sound(confidence: np.ndarray, _: np.ndarray) -> np.ndarray:
    """Every label is right far more often than it must be."""
    return np.full_like(confidence, 0.985)


def one_spoils(confidence: np.ndarray, said: np.ndarray) -> np.ndarray:
    """One of the labels is often wrong, however sure the model is; the others are honest."""
    return np.where(said == 0, 0.8, confidence)


def drawn(generator: np.random.Generator, world: Callable[[np.ndarray, np.ndarray], np.ndarray], rows: int) -> DecidedRows:
    """Calibration rows of a world, in which half of the confidences are above 0.95."""
    said = generator.choice(3, rows, p=(0.5, 0.3, 0.2))
    confidence = (1 - generator.beta(0.4, 2.5, rows)).clip(0.25, 1).round(4)
    right = generator.uniform(size=rows) < world(confidence, said)
    return DecidedRows(said=said, confidence=confidence, right=right, weight=np.ones(rows))


@pytest.mark.parametrize("world", [honest, boastful, cliff, just_short, one_spoils])
@pytest.mark.parametrize("rows", [200, 1500])
def test_a_false_certificate_is_as_rare_as_the_level_says(
    world: Callable[[np.ndarray, np.ndarray], np.ndarray], rows: int
) -> None:
    """Over a thousand seeded sets, the thresholds publish a share right below the target in at most 5 %, plus luck of the draws."""
    generator = np.random.default_rng(21)
    crowd = drawn(generator, world, 20_000)
    chance = world(crowd.confidence, crowd.said)
    false = 0
    for _ in range(SETS):
        found = joint.choose(drawn(generator, world, rows), 3, target=TARGET, floor=0.9, risk=RISK)
        false += found is not None and float(chance[joint.kept(crowd, found.thresholds)].mean()) < TARGET
    assert false / SETS <= RISK * 4 / 3


def test_honest_confidences_publish_most_of_what_could_be_published() -> None:
    """With 1,500 honest rows the certified share is four fifths or more of the share that the truth allows."""
    generator = np.random.default_rng(22)
    crowd = drawn(generator, honest, 100_000)
    order = np.argsort(-crowd.confidence)
    possible = float((np.cumsum(crowd.confidence[order]) / np.arange(1, len(order) + 1) >= TARGET).mean())
    shares = []
    for _ in range(30):
        found = joint.choose(drawn(generator, honest, 1500), 3, target=TARGET, floor=0.9, risk=RISK)
        shares.append(0.0 if found is None else found.published)
    assert np.mean(shares) >= 0.8 * possible


def test_a_label_below_the_floor_is_held_back_and_the_others_are_not() -> None:
    """A label that is right in 0.8 is left to people; the others are published and certified together."""
    decided = drawn(np.random.default_rng(23), one_spoils, 3000)
    found = joint.choose(decided, 3, target=TARGET, floor=0.9, risk=RISK)
    assert found is not None
    assert found.thresholds[0] == ALWAYS_ASK
    assert found.thresholds[1] == found.thresholds[2] == found.confidence < 0.95
    shown = decided.take(joint.kept(decided, found.thresholds))
    assert shown.bound(found.risk) >= TARGET
    assert found.risk < RISK * joint.level_of(np.array([3, 0, 0])) + 1e-12


def test_no_label_is_published_below_the_floor() -> None:
    """In many draws of a boastful world with few rows, each label's published rows keep the floor."""
    generator = np.random.default_rng(24)
    for _ in range(100):
        decided = drawn(generator, boastful, 400)
        found = joint.choose(decided, 3, target=0.9, floor=0.9, risk=RISK)
        if found is None:
            continue
        for label in range(3):
            seen = decided.take((decided.said == label) & joint.kept(decided, found.thresholds)).precision()
            assert seen is None or seen >= 0.9 - 1e-9


def test_the_parts_of_the_level_are_no_more_than_the_level() -> None:
    """Over all paths of four labels the parts sum to 1 at most."""
    count = len(FACTORS)
    places = np.array(np.meshgrid(*[range(count)] * 4)).reshape(4, -1).T
    assert 0.95 < sum(joint.level_of(each) for each in places) <= 1.0


@settings(max_examples=30)
@given(st.lists(st.integers(0, len(FACTORS) - 1), min_size=2, max_size=5))
def test_a_path_never_grows_stricter(places: list[int]) -> None:
    """The thresholds of a path lie on the grid and fall from step to step; a stricter label is never below the others."""
    path = joint.path_of(np.array(places))
    assert (np.diff(path, axis=0) <= 0).all()
    assert set(path.ravel().tolist()) <= {*GRID, ALWAYS_ASK}
    assert (path >= np.asarray(GRID)[:, None]).all()


def test_weighted_rows_prove_what_is_true_of_the_stream_that_they_stand_for() -> None:
    """
    The rows have a label half as often as the stream and the model errs on it: rows that count alike certify too much, weighted
    ones do not.
    """
    generator = np.random.default_rng(25)
    false = {"alike": 0, "weighted": 0}
    for _ in range(300):
        carried = generator.uniform(size=1500) < 0.2
        right = generator.uniform(size=1500) < np.where(carried, 0.88, 0.985)
        weight = np.where(carried, 0.5 / 0.2, 0.5 / 0.8)
        for name, each in (("alike", np.ones(1500)), ("weighted", weight)):
            decided = DecidedRows(said=np.zeros(1500, np.int64), confidence=np.full(1500, 0.97), right=right, weight=each)
            # In the stream 0.9325 is right.
            false[name] += joint.choose(decided, 1, target=TARGET, floor=0.0, risk=RISK) is not None
    assert false["weighted"] / 300 <= RISK
    assert false["alike"] / 300 > 0.4


def test_a_label_whose_rows_are_all_right_by_luck_is_bet_on_like_the_others() -> None:
    """
    Weights go by the rows' own labels. The few rows that weigh much are those that would be wrong, so that the rows of a prediction
    often weigh the same and are all right; neither walk nor bound may then take the exact test, which no longer sees the weights.
    """
    generator = np.random.default_rng(32)
    grid = np.repeat(np.asarray(GRID)[:, None], 2, axis=1)
    # Half of the stream carries `b`, of which 8 % is taken for `a`.
    share = 1 / 1.08
    false = {"own": 0, "walk": 0, "bound": 0}
    for _ in range(SETS // 8):
        carried = (generator.uniform(size=120) < 0.1).astype(np.int64)
        said = np.where(generator.uniform(size=120) < 0.08, 0, carried)
        weight = row_weights(carried, np.array([0.5, 0.5]))
        sure, right = np.full(120, 0.97), said == carried
        decided = DecidedRows(said=said, confidence=sure, right=right, weight=weight)
        own = decided.take(said == 0)
        assert (own.largest, own.weighted) == (decided.largest, decided.weighted)
        found = choose_thresholds(
            np.array(LABELS)[said].tolist(),
            sure.tolist(),
            right.tolist(),
            labels=LABELS[:2],
            target_precision=TARGET,
            pooled=0.9,
            weights=weight,
        )
        false["own"] += found["a"].certified
        false["walk"] += bool(joint.walk(own, grid, target=TARGET, risk=RISK).any())
        false["bound"] += own.bound(RISK) > share
    assert max(false.values()) / (SETS // 8) <= RISK * 4 / 3, false


def test_a_budget_publishes_its_share_and_certifies_what_it_buys() -> None:
    """People see a fifth at most; the precision that is promised is the bound of the published rows."""
    decided = drawn(np.random.default_rng(26), honest, 2000)
    found = promised(decided, LABELS, Promise(review_budget=0.2)).threshold
    assert 0.8 <= found.coverage < 0.83
    assert found.certified
    assert found.target_precision <= found.precision_lower_bound < found.precision
    assert found.bound_level == 0.95
    assert found.sentence().startswith("all labels: people see 20% of events, and that buys a certified precision of 0.9")


def test_an_overall_promise_says_which_floors_are_certified() -> None:
    """Many rows certify the floor; a label of thirty rows is only seen to keep it, and the record says how many rows it lacks."""
    decided = drawn(np.random.default_rng(27), honest, 1500)
    few = DecidedRows(said=np.full(30, 2), confidence=np.full(30, 0.99), right=np.ones(30, dtype=np.bool_), weight=np.ones(30))
    others = decided.take(decided.said != 2)
    both = DecidedRows(
        said=np.concatenate([others.said, few.said]),
        confidence=np.concatenate([others.confidence, few.confidence]),
        right=np.concatenate([others.right, few.right]),
        weight=np.ones(len(others.said) + 30),
    )
    found = promised(both, LABELS, Promise())
    assert found.threshold.certified
    assert (found.threshold.promise, found.threshold.floor) == ("overall", 0.9)
    assert [found.thresholds[label].certified for label in LABELS] == [True, True, False]
    assert {each.target_precision for each in found.thresholds.values()} == {0.9}
    assert found.thresholds["c"].labels_needed is not None
    assert "a precision of 0.95 is certified for all published decisions together" in found.threshold.sentence()


@pytest.mark.parametrize("kind", ["overall", "both"])
def test_rows_that_certify_nothing_say_so(kind: str) -> None:
    """Twenty rows certify nothing: the threshold is where the target is seen, and says that it is no promise."""
    decided = drawn(np.random.default_rng(28), honest, 20)
    found = promised(decided, LABELS, Promise(kind=kind))  # type: ignore[arg-type]
    assert not found.threshold.certified
    assert "nothing is certified" in found.threshold.sentence()
    assert not any(each.certified for each in found.thresholds.values())


def test_the_trade_costs_more_for_more() -> None:
    """A stricter precision never publishes more, and the asked one is among the rows of the table."""
    trade = promised(drawn(np.random.default_rng(29), honest, 3000), LABELS, Promise(precision=0.955)).trade
    assert 0.955 in {each.target_precision for each in trade}
    shares = [each.published for each in trade]
    assert shares == sorted(shares, reverse=True)
    assert shares[0] > shares[-1]


def test_a_promise_of_both_certifies_every_label_at_the_target() -> None:
    """With many rows each label and all together are certified at 0.95; the floor is the target."""
    found = promised(drawn(np.random.default_rng(30), sound, 4000), LABELS, Promise(kind="both"))
    assert found.threshold.certified
    assert all(each.certified and each.target_precision == 0.95 for each in found.thresholds.values())


def test_a_promise_per_label_of_weighted_rows_is_bet_on() -> None:
    """Weights that level the labels keep the certificates honest, and the record is one that a manifest takes."""
    decided = drawn(np.random.default_rng(31), honest, 4000)
    weight = np.where(decided.said == 0, 0.7, 1.3)
    weighted = DecidedRows(said=decided.said, confidence=decided.confidence, right=decided.right, weight=weight / weight.mean())
    exact, bet = (promised(each, LABELS, Promise(kind="per-label")) for each in (decided, weighted))
    for label in LABELS:
        assert bet.thresholds[label].certified
        assert exact.thresholds[label].confidence <= bet.thresholds[label].confidence + 0.02
        assert bet.thresholds[label].precision_lower_bound >= 0.95

"""Two means at any time: the formulas against plain numbers, their bounds, and values that prove nothing."""

import math

import numpy as np
import pytest
from scipy.stats import skew

from tagstream.stream.rollout.means import BEFORE, LEAST_UNITS, SKEWED, TUNED, ArmMean, TwoMeans


def arm(values: np.ndarray, origin: float = 0.0) -> ArmMean:
    """These values."""
    apart = values - origin
    return ArmMean.of(np.array([float(len(values))]), *(np.array([(apart**power).sum()]) for power in (1, 2, 3)), origin=origin)


def two(challenger: float, champion: float, *, units: int = 2_000, spread: float = 1.0) -> TwoMeans:
    """Arms with values around these means, half above and half below."""
    around = np.tile([-spread, spread], units // 2)
    return TwoMeans(challenger=arm(challenger + around), champion=arm(champion + around))


# One value that is not 0.
TINY = arm(np.eye(1, 2_000)[0] * 1e-120)


def test_an_arm_has_the_mean_the_variance_and_the_skewness_of_its_values() -> None:
    """From sums of powers, whatever they begin at."""
    values = np.random.default_rng(5).lognormal(1.0, 0.7, size=900)
    for origin in (0.0, 3.0):
        found = arm(values, origin)
        assert found.mean[0] == pytest.approx(values.mean())
        assert found.variance[0] == pytest.approx(values.var(ddof=1))
        assert found.skewness[0] == pytest.approx(skew(values))
        assert found.least_units[0] == pytest.approx(max(LEAST_UNITS, SKEWED * skew(values) ** 2))


def test_the_interval_is_the_published_boundary() -> None:
    """Asymptotic confidence sequence: for a difference of 0, |z| stays below the square root of (1 + 1 / t) * log((1 + t) / risk ** 2)."""
    units, risk = 4_000, 0.05
    t = units / TUNED
    limit = math.sqrt((1 + 1 / t) * math.log((1 + t) / risk**2))
    error = math.sqrt(two(5, 5).challenger.variance[0] * 2 / (units / 2))
    for times, inside in ((0.999, True), (1.001, False)):
        low, high = two(5 + times * limit * error, 5).interval(risk)
        assert bool(low[0] <= 1 <= high[0]) is inside


def test_the_bounds_are_the_ratios_that_their_test_does_not_refuse() -> None:
    """At each bound the difference from so many times the champion's mean is at its limit, and the means' own ratio lies between."""
    arms, risk = two(5.2, 5), 0.05
    t = float(arms.units[0]) / TUNED
    square = (1 + 1 / t) * math.log((1 + t) / risk**2)
    for bound in arms.interval(risk):
        error = arms.challenger.variance / arms.challenger.units + bound**2 * arms.champion.variance / arms.champion.units
        assert float(((arms.challenger.mean - bound * arms.champion.mean) ** 2 / error)[0]) == pytest.approx(square)
    low, high = arms.interval(risk)
    assert low[0] < 5.2 / 5 < high[0]


def test_evidence_is_one_sided_and_grows_with_the_difference() -> None:
    """Evidence for above is none for below; where nothing differs it is at most the stake."""
    found = [float(two(5 + apart, 5).evidence(1.0, above=True)[0]) for apart in (-0.2, 0.0, 0.1, 0.2)]
    assert found == sorted(found)
    assert found[0] == found[1] < 0 < found[3]
    assert float(two(4.8, 5).evidence(1.0, above=False)[0]) == pytest.approx(found[3])


@pytest.mark.parametrize(
    "arms",
    [two(5.0, 4.0, units=98), two(5.0, 4.0, spread=0.0), TwoMeans(challenger=TINY, champion=two(5.0, 4.0).champion)],
    ids=["few", "all alike", "too small for the square of a float"],
)
def test_few_units_or_values_that_are_alike_prove_nothing(arms: TwoMeans) -> None:
    """However far apart the means are."""
    assert not arms.enough[0]
    assert math.isfinite(arms.challenger.least_units[0])
    assert float(arms.evidence(1.0, above=True)[0]) == 0.0
    assert [float(bound[0]) for bound in arms.interval(0.05)] == [-math.inf, math.inf]


def test_a_champion_whose_mean_may_be_zero_has_no_relative_interval() -> None:
    """Nothing can be a part of nothing."""
    assert [float(bound[0]) for bound in two(0.5, 0.001).interval(0.05)] == [-math.inf, math.inf]


def test_the_units_needed_are_those_at_which_half_have_crossed_the_limit() -> None:
    """With so many units the expected `z` is a little below its limit, for the interval and for the proof of two equal means."""
    arms, risk = two(5.0, 5.0), 0.05
    needed = float(arms.units_to_see(0.02, risk)[0])
    t = needed / TUNED
    limit = math.sqrt((1 + 1 / t) * math.log((1 + t) / risk**2))
    error = math.sqrt(4 * float(arms.challenger.variance[0]) / needed)
    assert 0.02 * 5 / error == pytest.approx(limit - BEFORE, rel=1e-6)
    assert 100 < float(arms.units_to_see(0.002, risk)[0]) / needed < 200
    proving = 4 * round(float(arms.units_to_prove(0.98, risk)[0]) / 4)
    error = math.sqrt((1 + 0.98**2) / (proving / 2))
    reached = two(5.0 + BEFORE * error, 5.0, units=proving // 2)
    assert float(reached.evidence(0.98, above=True)[0]) == pytest.approx(-math.log(risk), rel=0.01)

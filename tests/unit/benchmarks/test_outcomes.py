"""Canaries whose consumers measure an outcome, with a known truth: false alarms stay within their level, and known-bad rules exceed it."""

import numpy as np
import pytest
from scipy.stats import binom

from benchmarks.outcomes import KNOWN_BAD, RISK, RULES, WORLDS, Rule, by_interval, by_proof_above, by_proof_below, simulate
from tagstream.stream.rollout.evidence import Evidence
from tagstream.stream.rollout.verdict import judge
from tests.replacing import replace
from tests.unit.stream.rollout.test_verdict import GUARDS, measured

CANARIES = 200
# More errors than this come in one of ten thousand runs, if their rate is the level.
MOST = int(binom.isf(1e-4, CANARIES, RISK))
EVENTS = 20_000


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("name", ["clicks (0.2)", "minutes"])
def test_a_false_alarm_is_rare_however_often_one_looks(name: str, rule: str) -> None:
    """After each hundredth of 20,000 events, without a difference: the interval, and a proof on either side."""
    world = replace(WORLDS[name], events=EVENTS)
    assert simulate(world, canaries=CANARIES, seed=7, rule=RULES[rule]).share * CANARIES <= MOST


@pytest.mark.parametrize(("difference", "rule"), [(-0.1, by_proof_above), (0.1, by_proof_below)])
def test_a_difference_as_large_as_the_margin_is_seldom_proved_to_be_smaller(difference: float, rule: Rule) -> None:
    """A challenger that is worse by the margin is not promoted, and one that is not worse by more does not go back."""
    world = replace(WORLDS["clicks (0.2)"], difference=difference, events=EVENTS)
    ends = simulate(world, canaries=CANARIES, seed=7, rule=rule, against=1 + difference)
    assert ends.share * CANARIES <= MOST


def test_a_test_of_fixed_size_that_is_repeated_alarms_too_often() -> None:
    """Known-bad, in the same simulation."""
    world, rule = KNOWN_BAD["a test of fixed size at each look"]
    assert simulate(replace(world, events=EVENTS), canaries=CANARIES, seed=7, rule=rule).share * CANARIES > MOST


@pytest.mark.parametrize("name", ["clicks (0.2)", "minutes"])
def test_the_needed_events_are_those_that_half_of_the_canaries_need(name: str) -> None:
    """Of a difference of a tenth, first said when the units are enough: within a third of the true median."""
    world = replace(WORLDS[name], difference=0.1, events=40_000)
    ends = simulate(world, canaries=CANARIES, seed=7, difference=0.1)
    seen, needed = float(np.median(ends.seen)), float(np.nanmedian(ends.needed))
    assert abs(needed - seen) <= seen / 3, (needed, seen)


@pytest.mark.parametrize("clicks", [200, 380, 470, 800])
def test_the_simulation_compares_as_the_verdict_does(clicks: int) -> None:
    """The same values, one by one, through `Evidence` and `judge`: the same interval."""
    found = Evidence(guards=GUARDS, labels=4, share=0.5)
    for one in measured((clicks, 2_000)):
        found.take(one)
    gate = next(gate for gate in judge(found, days=1).gates if gate.name == "outcome clicks")
    arms = found.measured.means("clicks")
    has_none = gate.figures["low"] <= 0 <= gate.figures["high"]
    assert bool(by_interval(arms, 1.0, GUARDS.alpha)[0]) != has_none

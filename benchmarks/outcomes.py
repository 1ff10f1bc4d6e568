"""Simulated canaries whose consumers measure an outcome: how often does a comparison err, and after how many events does it see a difference?

`python -m benchmarks.outcomes` prints the table of docs/error-rates.md. `stream/rollout/means.py`, the very code of the verdict, looks after
each hundredth event. Each event is a unit with one value. The last lines are known-bad rules, which show that the simulation can tell.
"""

import argparse
import math
import time
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from tagstream.monitoring.quality.sample import Bools, Floats, Ints
from tagstream.stream.contract.rollout_records import Guards
from tagstream.stream.rollout.means import ArmMean, TwoMeans

EVERY = 100
RISK = Guards().alpha
# So many looks at a time fit into memory.
AT_ONCE = 50


@dataclass(frozen=True, slots=True, kw_only=True)
class World:
    """
    A truth.

    Attributes:
        difference: By such a part of the champion's mean the challenger's is greater.
        rate: The champion's share of clicks; None for minutes, whose logarithms are normal.
        spread: The standard deviation of the minutes' logarithms.
        share: The challenger's share of the events.
        events: After so many events a canary ends.
    """

    difference: float
    rate: float | None = None
    spread: float = 1.0
    share: float = 0.5
    events: int = 100_000


Rule = Callable[[TwoMeans, float, float], Bools]
"""Which looks say that the challenger's mean is not so many times the champion's; the last argument is the risk."""


def by_interval(arms: TwoMeans, ratio: float, risk: float) -> Bools:
    """The interval that the verdict shows."""
    low, high = arms.interval(risk)
    found: Bools = (low > ratio) | (high < ratio)
    return found


def by_proof_above(arms: TwoMeans, ratio: float, risk: float) -> Bools:
    """The proof that the challenger's mean is above."""
    found: Bools = arms.evidence(ratio, above=True) >= -math.log(risk)
    return found


def by_proof_below(arms: TwoMeans, ratio: float, risk: float) -> Bools:
    """The proof that the challenger's mean is below."""
    found: Bools = arms.evidence(ratio, above=False) >= -math.log(risk)
    return found


def by_rule_for_one_look(arms: TwoMeans, ratio: float, risk: float) -> Bools:
    """Known-bad: so many units as Cochran's rule for one look asks for, a quarter of ours."""
    halved = (replace(arm, skewness=arm.skewness / 2) for arm in (arms.challenger, arms.champion))
    return by_proof_below(TwoMeans(challenger=next(halved), champion=next(halved)), ratio, risk)


def by_test_at_each_look(arms: TwoMeans, ratio: float, risk: float) -> Bools:
    """Known-bad: the test of a fixed number of units, asked again at every look."""
    one, other = arms.challenger, arms.champion
    error = np.sqrt(one.variance / one.units + ratio**2 * other.variance / other.units)
    assert risk == RISK, "its limit is that of the level"
    found: Bools = (np.abs(one.mean - ratio * other.mean) > 1.96 * error) & arms.enough
    return found


@dataclass(frozen=True, slots=True, kw_only=True)
class Ends:
    """
    How canaries went, each array with the shape (canaries,).

    Attributes:
        seen: The events after which a rule spoke; infinity if it never did.
        needed: The events that the first look with enough units said that the difference needs; not a number without such a look.
    """

    seen: Floats
    needed: Floats

    @property
    def share(self) -> float:
        """The share of canaries in which the rule spoke."""
        return float(np.isfinite(self.seen).mean())


def simulate(
    world: World, *, canaries: int, seed: int, rule: Rule = by_interval, against: float = 1.0, difference: float = 0.1
) -> Ends:
    """
    Canaries, each looked at after every hundredth event.

    Args:
        world: Their truth.
        canaries: How many.
        seed: The same seed gives the same ones.
        rule: What looks.
        against: The ratio of the means that the rule may refuse.
        difference: The difference for which `needed` is said.
    """
    generator = np.random.default_rng(seed)
    seen, needed, done = np.full(canaries, np.inf), np.full(canaries, np.nan), 0
    sums = np.zeros((2, 4, canaries))
    while done < world.events and not np.isfinite(seen).all():
        looks = min(AT_ONCE, (world.events - done) // EVERY)
        its = generator.binomial(EVERY, world.share, size=(looks, canaries))
        counts = np.stack([its, EVERY - its])
        drawn = [_sums(world, generator, counts[0], 1 + world.difference), _sums(world, generator, counts[1], 1.0)]
        grown = sums[:, :, None] + np.stack(drawn).cumsum(axis=2)
        sums = grown[:, :, -1]
        arms = TwoMeans(challenger=ArmMean.of(*grown[0]), champion=ArmMean.of(*grown[1]))
        events = done + EVERY * (1 + np.arange(looks))
        spoke = rule(arms, against, RISK)
        seen = np.where(np.isinf(seen) & spoke.any(axis=0), events[spoke.argmax(axis=0)], seen)
        first = np.isnan(needed) & arms.enough.any(axis=0)
        said = arms.units_to_see(difference, RISK)[arms.enough.argmax(axis=0), np.arange(canaries)]
        needed = np.where(first, said, needed)
        done += EVERY * looks
    return Ends(seen=seen, needed=needed)


def _sums(world: World, generator: np.random.Generator, counts: Ints, times: float) -> Floats:
    """The number of values and the sums of their first three powers, at each look, shape (4, looks, canaries)."""
    if world.rate is not None:
        clicks = generator.binomial(counts, world.rate * times)
        return np.stack([counts, clicks, clicks, clicks]).astype(np.float64)
    values = times * np.exp(generator.normal(0.0, world.spread, size=int(counts.sum())))
    ends = np.concatenate([[0], counts.ravel().cumsum()])
    powers = [np.diff(np.concatenate([[0.0], (values**power).cumsum()])[ends]).reshape(counts.shape) for power in (1, 2, 3)]
    return np.stack([counts.astype(np.float64), *powers])


WORLDS = {
    "clicks (0.2)": World(difference=0.0, rate=0.2),
    "clicks (0.02)": World(difference=0.0, rate=0.02),
    "clicks (0.2), a share of 0.05": World(difference=0.0, rate=0.2, share=0.05),
    "minutes": World(difference=0.0),
    "minutes, a share of 0.05": World(difference=0.0, share=0.05),
}
# The events after which a canary ends, by the difference: none may be left that has not seen it.
DIFFERENT = {
    "clicks (0.2)": {0.02: 1_500_000, 0.1: 100_000},
    "minutes": {0.02: 600_000, 0.1: 50_000},
}
RULES: dict[str, Rule] = {"the interval": by_interval, "a proof above": by_proof_above, "a proof below": by_proof_below}
KNOWN_BAD: dict[str, tuple[World, Rule]] = {
    "a test of fixed size at each look": (WORLDS["clicks (0.2)"], by_test_at_each_look),
    "so few skewed values as one look needs": (WORLDS["minutes, a share of 0.05"], by_rule_for_one_look),
}


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--canaries", type=int, default=200, help="simulated canaries a line")
    parser.add_argument("--seed", type=int, default=29)
    given = parser.parse_args()
    started = time.monotonic()
    print(f"\n| {given.canaries:,} canaries of 100,000 events a line, no difference | {' | '.join(RULES)} |")
    print("|---|---|---|---|")
    for name, world in WORLDS.items():
        found = (simulate(world, canaries=given.canaries, seed=given.seed, rule=rule).share for rule in RULES.values())
        print(f"| {name} | {' | '.join(f'{one:.1%}' for one in found)} |", flush=True)
    for name, (world, rule) in KNOWN_BAD.items():
        print(f"| known-bad, {name} | {simulate(world, canaries=given.canaries, seed=given.seed, rule=rule).share:.1%} | | |")
    print("\n| outcome | difference | seen | events until half have seen it | events needed, as first said (median) |")
    print("|---|---|---|---|---|")
    for name, ends in DIFFERENT.items():
        for difference, events in ends.items():
            world = replace(WORLDS[name], difference=difference, events=events)
            end = simulate(world, canaries=given.canaries, seed=given.seed, difference=difference)
            print(
                f"| {name} | {difference:.0%} | {end.share:.0%} | {np.median(end.seen):,.0f} | {np.nanmedian(end.needed):,.0f} |",
                flush=True,
            )
    print(f"\n{time.monotonic() - started:.0f} s")


if __name__ == "__main__":
    main()

"""Rollouts with a known truth: errors stay within their level, and known-bad rules exceed it in the same simulation."""

import numpy as np
import pytest
from scipy.stats import binom

from benchmarks.rollouts import (
    AT_MARGIN,
    KNOWN_BAD,
    MOST_SKIPPING,
    SKIPPING,
    SLICE,
    WORLDS,
    Ends,
    Seen,
    World,
    by_answers_alone,
    by_proof,
    guards_of,
    simulate,
    skipping,
    two_arms,
)
from tagstream.stream.contract.rollout_records import Guards
from tagstream.stream.rollout.evidence import Evidence, Shadowed
from tagstream.stream.rollout.verdict import judge
from tests.replacing import replace
from tests.unit.stream.rollout.observed import answered

ROLLOUTS = 200
LEVEL = 0.05
# More errors than this come in one of ten thousand runs, if their rate is the level.
MOST = int(binom.isf(1e-4, ROLLOUTS, LEVEL))
FALSE_TO_PROMOTE = [name for name, world in WORLDS.items() if world.better <= -0.01 or world.better_in_slice < 0]
FALSE_TO_SEND_BACK = [name for name, world in WORLDS.items() if world.better >= -0.01]


@pytest.fixture(scope="module")
def ends() -> dict[str, Ends]:
    """How the rollouts of each world ended."""
    return {name: simulate(world, rollouts=ROLLOUTS, seed=7) for name, world in WORLDS.items()}


@pytest.mark.parametrize("name", FALSE_TO_PROMOTE)
def test_a_false_promotion_is_rare(ends: dict[str, Ends], name: str) -> None:
    """With the truth at the margin, also with slips, anchoring, few disagreements, drawn ones, and a slice that is worse."""
    assert ends[name].promoted.sum() <= MOST


@pytest.mark.parametrize("name", FALSE_TO_SEND_BACK)
def test_a_false_rollback_is_rare(ends: dict[str, Ends], name: str) -> None:
    """With the truth at the margin, and with every better one."""
    assert ends[name].back.sum() <= MOST


@pytest.mark.parametrize("name", KNOWN_BAD)
def test_known_bad_rules_are_found(name: str) -> None:
    """A test of fixed size that is looked at again and again, a margin that is not shrunk, answers without weights, and promotion by silence."""
    world, rule = KNOWN_BAD[name]
    assert simulate(world, rollouts=ROLLOUTS, seed=7, rule=rule).promoted.sum() > MOST


@pytest.mark.parametrize("name", SKIPPING)
def test_people_who_skip_what_the_champion_has_right_promote_nothing(name: str) -> None:
    """Of a challenger that is two points worse, at answer shares of 0.6 to 0.9 and up to 600 answers."""
    assert simulate(skipping(*SKIPPING[name]), rollouts=ROLLOUTS, seed=7, most=MOST_SKIPPING).promoted.sum() <= MOST


def test_without_the_bound_on_what_is_unanswered_they_would() -> None:
    """Known-bad: the answers alone, where 69 % are answered."""
    world = skipping(*SKIPPING["69 %, half skipped, the same"])
    assert simulate(world, rollouts=ROLLOUTS, seed=7, rule=by_answers_alone, most=MOST_SKIPPING).promoted.sum() > MOST


def test_a_rollback_without_the_allowance_for_anchoring_is_found() -> None:
    """Known-bad: where a third of the reviewers repeat the champion's tag, an equal challenger would go back."""
    world = World(better=0.0, on_review=0.9, anchoring=0.3)

    def back(allowance: float) -> int:
        guards = Guards(asked_at_least=world.drawn, anchoring=allowance)
        ends = simulate(world, rollouts=ROLLOUTS, seed=7, rule=lambda seen: by_proof(replace(seen, guards=guards)))
        return int(ends.back.sum())

    assert back(0.3) <= MOST < back(0.0)


def test_a_bundle_that_is_one_point_better_is_promoted(ends: dict[str, Ends]) -> None:
    """In at least 80 % within 250 answers, with slips and anchoring too; the median needs a twentieth of two arms."""
    plain, slipping = ends["one point better"], ends["one point better, 5 % slips and anchoring"]
    assert max(plain.within(0.8), slipping.within(0.8)) <= 250
    assert plain.within(0.5) * 20 <= two_arms(0.88, 0.01, Guards(), power=0.5)


@pytest.mark.parametrize(
    ("name", "answers", "unanswered"),
    [("one point better", 200, 0), ("one point better", 400, 9), ("three points worse", 250, 0)],
)
def test_the_simulation_judges_as_the_verdict_does(name: str, answers: int, unanswered: int) -> None:
    """The same answers, one by one, through `Evidence` and `judge`: the same proofs at the same look; also with an unanswered question for each so many."""
    states = {compared(WORLDS[name], WORLDS[name].kinds(), look, unanswered) for look in range(10, answers, 10)}
    assert len(states) > 1


def test_the_simulation_judges_a_slice_as_the_verdict_does() -> None:
    """A guarded slice keeps what is better as a whole from promotion, in both."""
    world = WORLDS["one point better, a guarded slice too"]
    states = {compared(world, world.kinds(), look) for look in range(100, 1_000, 100)}
    assert len(states) > 1


def compared(world: World, kinds: np.ndarray, answers: int, silent: int = 0) -> tuple[bool, bool]:
    """Whether so many answers promote and send back, by the simulation and by the verdict, which must agree."""
    rng, guards, events = np.random.default_rng(3), guards_of(world), 4_000
    evidence, counts = Evidence(guards=guards, labels=4), np.zeros((1, 1, 2, 2, 3), dtype=np.int64)
    for number in range(events):
        evidence.take(shadowed(f"a{number}", "a", in_slice=number % 5 == 0))
    unanswered = np.zeros((1, 1, 2, 2), dtype=np.int64)
    for number in range(answers):
        part, door, favours = np.unravel_index(rng.choice(kinds.size, p=kinds.ravel()), kinds.shape)
        evidence.take(shadowed(str(number), "b", in_slice=bool(part), probability=1.0 if door == 0 else world.drawn))
        if silent and number % silent == 0:
            unanswered[0, 0, part, door] += 1
            continue
        counts[0, 0, part, door, favours] += 1
        evidence.take(answered(number, "bca"[favours]))
    of_part = counts.sum(axis=(1, 3, 4)) + unanswered.sum(axis=(1, 3))
    agreed = np.array([[events - events // 5, events // 5]])
    seen = Seen(
        world=world, guards=guards, events=of_part + agreed, disagreements=of_part, counts=counts, unanswered=unanswered
    )
    promoted, back = (bool(found[0, 0]) for found in by_proof(seen))
    states = {gate.name: gate.state for gate in judge(evidence, days=1).gates}
    assert back == (states["answers"] == "worse")
    assert back or promoted == all(
        state == "passes" for name, state in states.items() if name == "answers" or name.startswith("slice")
    )
    return promoted, back


def shadowed(event_id: str, challenger: str, *, in_slice: bool, probability: float | None = None) -> Shadowed:
    """An event that the champion tags `a`."""
    return Shadowed(
        event_id=event_id,
        champion="a",
        challenger=challenger,
        champion_asks=probability == 1.0,
        challenger_asks=False,
        probability=probability,
        slices=frozenset({SLICE}) if in_slice else frozenset(),
    )


def test_the_world_is_what_it_says() -> None:
    """Weighted answers of all kinds together have the mean that the truth says, shrunk by slips."""
    for world in (
        AT_MARGIN,
        replace(AT_MARGIN, apart=0.02),
        World(better=0.01, disagree=0.1, sliced=0.2, better_in_slice=-0.03),
    ):
        kinds = world.kinds().sum(axis=0) * world.weight[:, None]
        mean = float((kinds @ np.array([1.0, 0.0, -1.0])).sum() / kinds.sum())
        assert mean == pytest.approx(world.better / world.disagree)
        slipping = replace(world, slips=0.05)
        kinds = slipping.kinds().sum(axis=0) * world.weight[:, None]
        assert float((kinds @ np.array([1.0, 0.0, -1.0])).sum() / kinds.sum()) == pytest.approx(mean * (1 - 0.05 * 4 / 3))

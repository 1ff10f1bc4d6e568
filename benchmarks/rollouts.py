"""Simulated rollouts whose truth is known: how often is a challenger promoted or sent back in error, and after how many answers?

`python -m benchmarks.rollouts` prints the tables of docs/error-rates.md. After every fifth answer the tests of `stream/rollout/proof.py`, the
very code of the verdict, may end the rollout. The margins are computed anew whenever the answers are a fifth more.
The last lines are known-bad rules, which show that the simulation can tell.
"""

import argparse
import math
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace

import numpy as np
from scipy.stats import norm

from tagstream.monitoring.quality.sample import Bools, Floats, Ints
from tagstream.stream.contract.rollout_records import GuardedSlice, Guards
from tagstream.stream.rollout import proof
from tagstream.stream.rollout.verdict import LEAST_ANSWERED, LEAST_ANSWERS, SENDING_BACK

LABELS = 4
# So many rollouts at a time fit into a processor's cache.
AT_ONCE = 500
MOST_ANSWERS = 1_000
# The evidence is looked at after each so many answers.
EVERY = 5
# Margins are computed anew after so much more answers.
GROWTH = 0.2
# About what the shipped bundle has on the corpus test (docs/certificates.md), and what it promises of published decisions.
ACCURACIES = (0.88, 0.95)
Z = np.array([1.0, 0.0, -1.0])
SLICE = "guarded"


@dataclass(frozen=True, slots=True, kw_only=True)
class World:
    """
    A truth, and how people see it. There are two kinds of disagreements: those that lie on `review` anyway, and those that are drawn.

    Attributes:
        better: By so much of all events the challenger is right more often, -1 to 1.
        disagree: The share of events on which the two disagree.
        neither: The share of disagreements on which neither is right.
        on_review: The share of disagreements that lie on `review`.
        drawn: The probability with which the others are asked about.
        apart: Of all events, so much better is the challenger on `review`, and so much worse on the others, than `better` says.
        sliced: The share of events that is in the guarded slice.
        better_in_slice: As `better`, of the slice's events.
        slips: The share of answers with a wrong label.
        anchoring: The share of answers on `review` that repeat the champion's tag.
        answered: The probability with which a question has an answer.
        skipped: Of the answers that favour the champion, so many are left out.
    """

    better: float
    disagree: float = 0.06
    neither: float = 0.1
    on_review: float = 0.4
    drawn: float = 0.5
    apart: float = 0.0
    sliced: float = 0.0
    better_in_slice: float = 0.0
    slips: float = 0.0
    anchoring: float = 0.0
    answered: float = 1.0
    skipped: float = 0.0

    @property
    def weight(self) -> Floats:
        """One over the probability of an answer on `review`, and of another one."""
        return np.array([1.0, 1.0 / self.drawn])

    def kinds(self) -> Floats:
        """The probability that an answered disagreement is of each kind, and answered for each model: shape (slice, door, favours), sum 1."""
        found = self._asked() * self._has_answer()
        total: Floats = found / found.sum()
        return total

    def silent(self) -> Floats:
        """The probability that a question is of each kind and has no answer: shape (slice, door), the sum is the share without one."""
        asked = self._asked()
        found: Floats = (asked * (1.0 - self._has_answer())).sum(axis=-1) / asked.sum()
        return found

    def _has_answer(self) -> Floats:
        found: Floats = self.answered * np.array([1.0, 1.0, 1.0 - self.skipped])
        return found

    def _asked(self) -> Floats:
        found = np.zeros((2, 2, 3))
        outside = (self.better - self.sliced * self.better_in_slice) / (1 - self.sliced)
        for part, share, better in ((0, 1 - self.sliced, outside), (1, self.sliced, self.better_in_slice)):
            for door, of_door, asked in ((0, self.on_review, 1.0), (1, 1 - self.on_review, self.drawn)):
                shifted = better + self.apart * (1 if door == 0 else -self.on_review / (1 - self.on_review))
                found[part, door] = share * of_door * asked * self._answers(shifted / self.disagree, seen=door == 0)
        return found

    def _answers(self, mean: float, *, seen: bool) -> Floats:
        right = np.array([1 - self.neither + mean, 2 * self.neither, 1 - self.neither - mean]) / 2
        assert right.min() >= 0, "no such world: the models do not disagree often enough"
        wrong = self.slips / (LABELS - 1)
        # By whether the challenger, neither or the champion is right, whom the answer favours: a slip names each other label alike.
        named = np.array(
            [
                [1 - self.slips, self.slips - wrong, wrong],
                [wrong, 1 - 2 * wrong, wrong],
                [wrong, self.slips - wrong, 1 - self.slips],
            ]
        )
        anchored = self.anchoring if seen else 0.0
        answers: Floats = (1 - anchored) * (right @ named) + anchored * np.array([0.0, 0.0, 1.0])
        return answers

    @property
    def asked(self) -> float:
        """The share of disagreements that people are asked about."""
        return self.on_review + (1 - self.on_review) * self.drawn


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """
    Observations of rollouts; the first axis of each array is the rollout.

    Attributes:
        world: Theirs.
        guards: By which they are judged.
        events: Events so far, of the slice's outside and of the slice, shape (rollouts, 2).
        disagreements: Of these, shape (rollouts, 2).
        counts: Answers after each of the next looks, shape (rollouts, looks, slice, door, favours).
        unanswered: Questions without an answer by then, shape (rollouts, looks, slice, door).
    """

    world: World
    guards: Guards
    events: Ints
    disagreements: Ints
    counts: Ints
    unanswered: Ints

    @property
    def answers(self) -> Ints:
        """How many answers there are at each look, shape (rollouts, looks)."""
        found: Ints = self.counts.sum(axis=(2, 3, 4))
        return found

    def kinds(self, counts: Ints) -> tuple[Floats, Floats, Ints]:
        """Whom answers favour, their weight, and how many there are, of counts with the shape (rollouts, looks, door, favours)."""
        return np.tile(Z, 2), np.repeat(self.world.weight, 3), counts.reshape(*counts.shape[:2], 6)


Rule = Callable[[Seen], tuple[Bools, Bools]]
"""Which looks promote, and which send back: two arrays of the shape (rollouts, looks)."""


def by_proof(seen: Seen, *, slips: float | None = None, weighted: bool = True, bounded: bool = True) -> tuple[Bools, Bools]:
    """The proofs of `stream/rollout/verdict.py`: overall and in guarded slices."""
    guards = seen.guards
    risk = proof.risk_of_try(guards.alpha, 1)
    largest = 1 / guards.asked_at_least if weighted else 1.0

    def not_worse(counts: Ints, unanswered: Ints, events: Ints, disagreements: Ints, margin: float) -> Bools:
        most = proof.most_share(disagreements, events, risk=proof.RATE_PART * risk)
        assumed = guards.slips if slips is None else slips
        shrunk = proof.margin_of_promotion(margin, most, slips=assumed, labels=LABELS)
        answered = counts.sum(axis=-1)
        enough = answered.sum(axis=-1) >= np.maximum(LEAST_ANSWERS, LEAST_ANSWERED * (answered + unanswered).sum(axis=-1))
        if bounded:
            counts = counts.copy()
            counts[..., 2] += proof.hidden(answered + unanswered, answered)
        z, weight, count = seen.kinds(counts)
        if not weighted:
            weight = np.ones(6)
        found = proof.not_worse(z, weight, count, margin=shrunk[:, None], largest=largest)
        proved: Bools = (found >= -math.log((1 - proof.RATE_PART) * risk)) & enough
        return proved

    every = seen.counts.sum(axis=2)
    events, disagreements = seen.events.sum(axis=1), seen.disagreements.sum(axis=1)
    promoted = not_worse(every, seen.unanswered.sum(axis=2), events, disagreements, guards.margin)
    for one in guards.slices:
        inside = seen.counts[:, :, 1], seen.unanswered[:, :, 1]
        promoted &= not_worse(*inside, seen.events[:, 1], seen.disagreements[:, 1], one.margin)
    risk_back = guards.alpha / SENDING_BACK
    least = proof.least_share(disagreements, events, risk=proof.RATE_PART * risk_back)
    margin = proof.margin_of_rollback(guards.margin, least, anchoring=guards.anchoring)
    z, weight, count = seen.kinds(every)
    against = proof.worse(z, weight if weighted else np.ones(6), count, margin=margin[:, None], largest=largest)
    return promoted, against >= -math.log((1 - proof.RATE_PART) * risk_back)


def by_proof_without_slips(seen: Seen) -> tuple[Bools, Bools]:
    """Known-bad: the margin is not shrunk, as if nobody slipped."""
    return by_proof(seen, slips=0.0)


def by_unweighted_proof(seen: Seen) -> tuple[Bools, Bools]:
    """Known-bad: an answer on a drawn disagreement counts as much as one on `review`."""
    return by_proof(seen, weighted=False)


def by_answers_alone(seen: Seen) -> tuple[Bools, Bools]:
    """Known-bad: what has no answer is taken to be like what has one."""
    return by_proof(seen, bounded=False)


def by_test_at_each_look(seen: Seen) -> tuple[Bools, Bools]:
    """Known-bad: the test of a fixed number of answers, at the whole level, asked again at every look."""
    z, weight, count = seen.kinds(seen.counts.sum(axis=2))
    share = seen.disagreements.sum(axis=1) / seen.events.sum(axis=1)
    margin = (proof.shrunk(seen.guards.slips, LABELS) * seen.guards.margin / share)[:, None, None]
    paid = weight * (z + margin)
    mean = (count * paid).sum(axis=-1)
    spread = np.sqrt((count * paid**2).sum(axis=-1))
    score = np.divide(mean, spread, out=np.zeros_like(mean), where=spread > 0)
    enough = (seen.answers >= LEAST_ANSWERS) & (spread > 0)
    limit = norm.isf(seen.guards.alpha)
    return (score >= limit) & enough, (score <= -limit) & enough


def by_silence(seen: Seen) -> tuple[Bools, Bools]:
    """Known-bad: a challenger that was not proved to be worse by the end is promoted."""
    promoted, back = by_proof(seen)
    return promoted | (seen.answers >= MOST_ANSWERS), back


@dataclass(frozen=True, slots=True, kw_only=True)
class Ends:
    """How rollouts ended: promoted, sent back, and after how many answers (`MOST_ANSWERS` where nothing was proved); shape (rollouts,)."""

    promoted: Bools
    back: Bools
    answers: Ints

    def within(self, share: float) -> float:
        """The number of answers within which this share of all rollouts is promoted; infinity where fewer are."""
        wanted = math.ceil(share * len(self.answers))
        found = np.sort(self.answers[self.promoted])
        return float(found[wanted - 1]) if wanted <= len(found) else math.inf


def guards_of(world: World) -> Guards:
    """The defaults, with the least probability that the world's drawing has and a guard of its slice."""
    slices = (GuardedSlice(name=SLICE),) if world.sliced else ()
    return Guards(asked_at_least=world.drawn, slices=slices, slips=max(Guards().slips, world.slips))


def simulate(world: World, *, rollouts: int, seed: int, rule: Rule = by_proof, most: int = MOST_ANSWERS) -> Ends:
    """Rollouts until each has its verdict or so many answers; the same seed gives the same ones."""
    generator = np.random.default_rng(seed)
    found = [_simulate(world, min(AT_ONCE, rollouts - begun), generator, rule, most) for begun in range(0, rollouts, AT_ONCE)]
    return Ends(
        promoted=np.concatenate([one.promoted for one in found]),
        back=np.concatenate([one.back for one in found]),
        answers=np.concatenate([one.answers for one in found]),
    )


def _simulate(world: World, rollouts: int, generator: np.random.Generator, rule: Rule, most: int) -> Ends:
    guards = guards_of(world)
    promoted, back = np.zeros((2, rollouts), dtype=np.bool_)
    answers = np.full(rollouts, most, dtype=np.int64)
    going, events, disagreements = np.arange(rollouts), *np.zeros((2, rollouts, 2), dtype=np.int64)
    counts, unanswered, done = np.zeros((rollouts, 2, 2, 3), dtype=np.int64), np.zeros((rollouts, 2, 2), dtype=np.int64), 0
    kinds, silent = world.kinds(), world.silent()
    while done < most and len(going):
        looks = min(max(1, int(GROWTH * done) // EVERY), (most - done) // EVERY)
        shape = (len(going), looks)
        left = unanswered[:, None] + _unanswered(silent, generator, shape).cumsum(axis=1)
        asked = looks * EVERY + (left[:, -1] - unanswered).sum(axis=(1, 2))
        more_events, more_disagreements = _stream(world, generator, asked)
        events, disagreements = events + more_events, disagreements + more_disagreements
        more = generator.multinomial(EVERY, kinds.ravel(), size=shape).reshape(*shape, *kinds.shape)
        grown = counts[:, None] + more.cumsum(axis=1)
        seen = Seen(world=world, guards=guards, events=events, disagreements=disagreements, counts=grown, unanswered=left)
        promotes, sends_back = rule(seen)
        ends = promotes | sends_back
        ended, first = ends.any(axis=1), ends.argmax(axis=1)
        rows = np.arange(len(going))
        # Where both are proved at one look, it goes back.
        back[going] = ended & sends_back[rows, first]
        promoted[going] = ended & ~sends_back[rows, first]
        answers[going[ended]] = done + EVERY * (1 + first[ended])
        done += EVERY * looks
        kept = ~ended
        going, events, disagreements, counts = going[kept], events[kept], disagreements[kept], grown[kept, -1]
        unanswered = left[kept, -1]
    return Ends(promoted=promoted, back=back, answers=answers)


def _unanswered(silent: Floats, generator: np.random.Generator, shape: tuple[int, int]) -> Ints:
    """Questions without an answer that come before the next answers of each look, shape (rollouts, looks, slice, door)."""
    share = silent.sum()
    if share <= 0:
        return np.zeros((*shape, *silent.shape), dtype=np.int64)
    found = generator.negative_binomial(EVERY, 1 - share, size=shape)
    return generator.multinomial(found, (silent / share).ravel()).reshape(*shape, *silent.shape)


def _stream(world: World, generator: np.random.Generator, asked: Ints) -> tuple[Ints, Ints]:
    """Events and disagreements that pass until so many more questions are asked, each of shape (rollouts, 2)."""
    chance = world.disagree * world.asked
    passed = asked + generator.negative_binomial(asked, chance)
    unasked = generator.binomial(passed - asked, world.disagree * (1 - world.asked) / (1 - chance))
    in_slice = generator.binomial(passed, world.sliced)
    # The models disagree as often in the slice as outside of it.
    disagreements = asked + unasked
    of_slice = generator.hypergeometric(in_slice, passed - in_slice, disagreements)
    return np.stack([passed - in_slice, in_slice], axis=1), np.stack([disagreements - of_slice, of_slice], axis=1)


def two_arms(accuracy: float, better: float, guards: Guards, *, power: float) -> int:
    """
    The answers that two independent arms need together for the same proof at the same level: the usual normal approximation.

    Args:
        accuracy: The share right of the champion.
        better: The challenger's, beyond it.
        guards: Whose margin and level hold.
        power: The share of rollouts that succeed.
    """
    level = proof.risk_of_try(guards.alpha, 1)
    variance = accuracy * (1 - accuracy) + (accuracy + better) * (1 - accuracy - better)
    apart = better + guards.margin
    scores: float = norm.isf(level) + norm.ppf(power)
    return 2 * math.ceil(scores**2 * variance / apart**2)


AT_MARGIN = World(better=-0.01)
# A large stream, of whose disagreements few are drawn: their share is well known, so that the bounds leave no slack.
LARGE = World(better=-0.01, disagree=0.015, on_review=0.0, drawn=0.02, slips=0.15)
WORLDS = {
    "worse by the margin, one point": AT_MARGIN,
    "the same, 5 % slips": replace(AT_MARGIN, slips=0.05),
    "the same, 5 % slips and anchoring": replace(AT_MARGIN, slips=0.05, anchoring=0.05),
    "the same, few disagreements (2 %)": replace(AT_MARGIN, disagree=0.02),
    "the same, many disagreements (20 %)": replace(AT_MARGIN, disagree=0.2),
    "the same, better on review, worse elsewhere": replace(AT_MARGIN, apart=0.02),
    "the same, a large stream, 15 % slips": LARGE,
    "one point better, a slice worse by its margin": World(better=0.01, disagree=0.1, sliced=0.2, better_in_slice=-0.03),
    "equal": World(better=0.0),
    "equal, 5 % slips and anchoring": World(better=0.0, slips=0.05, anchoring=0.05),
    "one point better": World(better=0.01),
    "one point better, 5 % slips and anchoring": World(better=0.01, slips=0.05, anchoring=0.05),
    "one point better, few disagreements (2 %)": World(better=0.01, disagree=0.02),
    "one point better, many disagreements (20 %)": World(better=0.01, disagree=0.2),
    "one point better, published ones by audit alone (2 %)": World(better=0.01, drawn=0.02),
    "one point better, a guarded slice too": World(better=0.01, disagree=0.1, sliced=0.2, better_in_slice=0.01),
    "two points worse": World(better=-0.02),
    "three points worse": World(better=-0.03),
}
KNOWN_BAD: dict[str, tuple[World, Rule]] = {
    "a test of fixed size at each look": (AT_MARGIN, by_test_at_each_look),
    "margin not shrunk, a large stream, 15 % slips": (LARGE, by_proof_without_slips),
    "answers unweighted": (replace(AT_MARGIN, apart=0.02), by_unweighted_proof),
    "promotion by silence": (AT_MARGIN, by_silence),
}


def skipping(disagree: float, right: float, skipped: float, answered: float) -> World:
    """
    A challenger that is two points worse, and people who skip what the champion has right.

    Args:
        disagree: The share of events on which the two disagree.
        right: The share of these on which the champion is right.
        skipped: The share of these that people leave out.
        answered: The share of all questions that they answer: of the others they leave out as many at random.
    """
    world = World(better=-0.02, disagree=disagree, neither=1 - 2 * right + 0.02 / disagree, skipped=skipped)
    return replace(world, answered=answered / (1 - float(world.silent().sum())))


# By the share of questions that have an answer. The champion is right in 62 % where neither model is in a tenth, and they disagree on 6 %.
SKIPPING = {
    "60 %, half skipped, they disagree on 6 %, the champion right in 62 %": (0.06, 0.37 / 0.6, 0.5, 0.6),
    "60 %, 65 % skipped, the same": (0.06, 0.37 / 0.6, 0.6486, 0.6),
    "69 %, half skipped, the same": (0.06, 0.37 / 0.6, 0.5, 0.6916),
    "70 %, half skipped, they disagree on 10 %, the champion right in 60 %": (0.1, 0.6, 0.5, 0.7),
    "80 %, half skipped, they disagree on 10 %, the champion right in 40 %": (0.1, 0.4, 0.5, 0.8),
    "80 %, half skipped, they disagree on 20 %, the champion right in 40 %": (0.2, 0.4, 0.5, 0.8),
    "90 %, half skipped, they disagree on 15 %, the champion right in 20 %": (0.15, 0.2, 0.5, 0.9),
    "90 %, half skipped, they disagree on 20 %, the champion right in 20 %": (0.2, 0.2, 0.5, 0.9),
}
MOST_SKIPPING = 600
HONEST = {"equal": 0.0, "one point better": 0.01, "two points better": 0.02}
SHARES = (1.0, 0.95, 0.9, 0.85, 0.8, 0.7, 0.6)


def show_skipping(rollouts: int, seed: int) -> None:
    """The tables of unanswered questions: what people who skip can promote, and what the bound costs where they skip at random."""
    print(
        f"\n| {rollouts:,} streams of at most {MOST_SKIPPING} answers, two points worse | promoted by answers alone | promoted |"
    )
    print("|---|---|---|")
    for name, given in SKIPPING.items():
        world = skipping(*given)
        ends = [
            simulate(world, rollouts=rollouts, seed=seed, rule=rule, most=MOST_SKIPPING)
            for rule in (by_answers_alone, by_proof)
        ]
        print(f"| {name} | {' | '.join(f'{one.promoted.mean():.1%}' for one in ends)} |", flush=True)
    print(
        f"\n| {rollouts:,} honest streams | answered | promoted | half within | 80 % within | by answers alone | half within | 80 % within |"
    )
    print("|---|---|---|---|---|---|---|---|")
    for name, better in HONEST.items():
        for answered in SHARES:
            world = World(better=better, answered=answered)
            ends = [simulate(world, rollouts=rollouts, seed=seed, rule=rule) for rule in (by_proof, by_answers_alone)]
            shown = (f"{one.promoted.mean():.1%} | {within(one, 0.5)} | {within(one, 0.8)}" for one in ends)
            print(f"| {name} | {answered:.0%} | {' | '.join(shown)} |", flush=True)


def within(ends: Ends, share: float) -> str:
    """The answers within which this share is promoted, for a table; empty where fewer are."""
    found = ends.within(share)
    return f"{found:,.0f}" if math.isfinite(found) else ""


def row(name: str, ends: Ends) -> str:
    """One line of the table."""
    open_ = ~(ends.promoted | ends.back)
    back = np.median(ends.answers[ends.back]) if ends.back.any() else math.nan
    return (
        f"| {name} | {ends.promoted.mean():.1%} | {ends.back.mean():.1%} | {open_.mean():.1%} | {within(ends, 0.5)} | {within(ends, 0.8)} | "
        f"{'' if math.isnan(back) else f'{back:,.0f}'} |"
    )


def show(title: str, ends: Iterable[tuple[str, Ends]]) -> None:
    """A table of rollouts."""
    print(f"\n| {title} | promoted | sent back | not proven | half promoted within | 80 % within | sent back after |")
    print("|---|---|---|---|---|---|---|")
    for name, found in ends:
        print(row(name, found), flush=True)


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--rollouts",
        type=int,
        default=10_000,
        help="simulated rollouts a line; a tenth for known-bad rules and for unanswered questions",
    )
    parser.add_argument("--seed", type=int, default=29)
    given = parser.parse_args()
    started, few = time.monotonic(), max(1, given.rollouts // 10)
    found: dict[str, Ends] = {}

    def judged() -> Iterator[tuple[str, Ends]]:
        for name, world in WORLDS.items():
            found[name] = simulate(world, rollouts=given.rollouts, seed=given.seed)
            yield name, found[name]

    show(f"{given.rollouts:,} rollouts a line", judged())
    show(
        f"known-bad rules, worse by the margin, {few:,} a line",
        ((name, simulate(world, rollouts=few, seed=given.seed, rule=rule)) for name, (world, rule) in KNOWN_BAD.items()),
    )
    better = found["one point better"]
    print("\n| one point better | answers of the verdict | of two arms, 0.88 right | times | of two arms, 0.95 right | times |")
    print("|---|---|---|---|---|---|")
    for words, power in (("half promoted", 0.5), ("80 % promoted", 0.8)):
        its = better.within(power)
        arms = [two_arms(accuracy, 0.01, Guards(), power=power) for accuracy in ACCURACIES]
        print(f"| {words} | {its:,.0f} | {' | '.join(f'{number:,} | {number / its:.0f}' for number in arms)} |")
    show_skipping(few, given.seed)
    print(f"\n{time.monotonic() - started:.0f} s")


if __name__ == "__main__":
    main()

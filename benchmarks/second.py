"""Simulated second opinions of known skill: is the promise kept for what they settle, and how many items fewer do people get?

`python -m benchmarks.second` prints the tables; `--streams 1000` is the full size; `--facts 137000` prints how long a fact takes. A stream has
1,000 review items a day for 90 days. The tests of `stream/second/proof.py`, the very code of the warranty, look after each tenth of a day, and
then a rule decides what is settled next. People answer at once; what they leave out counts as wrong in the proofs.

**Kept at every time**: at each look, of all that the stream has settled until then, the mean chance of being right is at least the promise. The
chance is what the simulation draws from, so it has no luck of its own. It is the running share: after a fall of the second's skill the share of the
last days is below the promise until the audits withdraw the certificates, which `settled below the promise` shows.
"""

import argparse
import math
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from heapq import heappop, heappush

import numpy as np
from scipy.stats import norm

from tagstream.monitoring.quality.sample import Bools, Floats, Ints
from tagstream.stream.second import proof
from tagstream.stream.second.facts import Answer, Cells, Opinion
from tagstream.stream.second.warranty import Warranty

PROMISE = 0.9
ALPHA = 0.05
AUDIT = 0.05
PER_DAY = 1_000
DAYS = 90
LOOKS_A_DAY = 10
# So many streams at a time fit into a processor's cache.
AT_ONCE = 250
# Review items by true label; the share of them on which the model is right, which is low, for it was unsure; and of easy ones.
LABELS = np.array([0.4, 0.3, 0.2, 0.1])
MODEL = 0.6
EASY = 0.5
BANDS = 2
CELLS = len(LABELS) * 2 * BANDS
UNANSWERED = 0.02


@dataclass(frozen=True, slots=True, kw_only=True)
class Kind:
    """
    What one second does with review items, as chances over cells: label, then agreement (no, yes), then band of the score.

    Attributes:
        share: The share of the review items that get an opinion in each cell, shape (CELLS,); the rest gets none.
        right: The chance that the opinion is right, shape (CELLS,).
    """

    share: Floats
    right: Floats


def alike(skill: float, *, sure: float = 0.7) -> Kind:
    """A second that is right equally often in each cell, so that neither agreement nor score says anything; `sure` is the share of high scores."""
    share = np.einsum("l,a,b->lab", LABELS, [1 - MODEL, MODEL], [1 - sure, sure]).ravel()
    return Kind(share=share, right=np.full(CELLS, skill))


def made(
    *,
    easy: float,
    hard: float | None = None,
    with_model: float = 0.0,
    repeats: float = 0.0,
    follows: float = 0.0,
    told: float = 0.0,
    sure: tuple[float, float] = (0.7, 0.7),
) -> Kind:
    """
    A second by how it comes to its label.

    Args:
        easy: The chance that it is right on an easy item.
        hard: On a hard one; None: the same.
        with_model: By so much this chance is higher where the model is right than where it is wrong.
        repeats: Where both are wrong, the share in which it says what the model says; else any wrong label alike.
        follows: The share of items in which it repeats the model whatever the item is.
        told: The share of items whose title tells it to say the first label, and it does.
        sure: The share of high scores, on easy and on hard items.
    """
    count = len(LABELS)
    mass = np.zeros((count, 2, BANDS, 2))
    for truth, of_truth in enumerate(LABELS):
        for model in range(count):
            model_right = model == truth
            of_model = MODEL if model_right else (1 - MODEL) / (count - 1)
            for of_ease, skill, high in ((EASY, easy, sure[0]), (1 - EASY, easy if hard is None else hard, sure[1])):
                right = skill + with_model * ((1 - MODEL) if model_right else -MODEL)
                assert 0 <= right <= 1, "no such second: it would be right more often than always"
                says = np.where(np.arange(count) == truth, right, (1 - right) * (1 - repeats * (not model_right)) / (count - 1))
                if not model_right:
                    says[model] += (1 - right) * repeats
                says = (1 - follows) * says + follows * (np.arange(count) == model)
                says = (1 - told) * says + told * (np.arange(count) == 0)
                for label in range(count):
                    here = of_truth * of_model * of_ease * says[label]
                    mass[label, int(label == model), :, int(label == truth)] += here * np.array([1 - high, high])
    both = mass.reshape(CELLS, 2)
    share = both.sum(axis=1)
    return Kind(share=share, right=np.divide(both[:, 1], share, out=np.zeros(CELLS), where=share > 0))


def silent(kind: Kind, share: float) -> Kind:
    """The same second, which gives no opinion on so many items."""
    return replace(kind, share=kind.share * (1 - share))


def one_label(before: Kind, skill: float) -> Kind:
    """The same second, which is right so often where it gives the first label."""
    return replace(before, right=np.where(np.arange(CELLS) < CELLS // len(LABELS), skill, before.right))


@dataclass(frozen=True, slots=True, kw_only=True)
class World:
    """
    A second in a stream.

    Attributes:
        first: What it does.
        later: What it does from a later day on; None if it stays the same.
        after: The days from the first certificate until then.
        announced: Whether its fingerprint changes then too.
        skipped: The share of items without an answer, where the second is right and where it is wrong.
        audits: The probability of an audit where it disagrees with the model, and where it agrees.
        renewed: After each so many days its fingerprint changes.
    """

    first: Kind
    later: Kind | None = None
    after: float = 20.0
    announced: bool = False
    skipped: tuple[float, float] = (UNANSWERED, UNANSWERED)
    audits: tuple[float, float] = (AUDIT, AUDIT)
    renewed: int = DAYS

    @property
    def probability(self) -> Floats:
        """The probability of an audit in each cell, shape (CELLS,)."""
        return np.broadcast_to(np.array(self.audits)[None, :, None], (len(LABELS), 2, BANDS)).ravel()


@dataclass(frozen=True, slots=True, kw_only=True)
class Block:
    """
    The answers of one look.

    Attributes:
        asked: Items that all go to people, shape (streams, cells, 3): right, wrong, without an answer.
        audits: The cell of each audit in its order, shape (streams, most audits); -1 beyond the last one.
        right: Whether its answer agrees, of the same shape; not where there is no answer.
        day: The day.
    """

    asked: Ints
    audits: Ints
    right: Bools
    day: float


@dataclass(slots=True)
class Rule:
    """What decides which cells of each stream are settled: `settles`, shape (streams, cells)."""

    streams: int
    probability: Floats
    alpha: float = ALPHA
    asked: Ints = field(init=False)
    settles: Bools = field(init=False)
    withdrawn: Ints = field(init=False)

    def __post_init__(self) -> None:
        """Begin without an answer."""
        self.asked = np.zeros((self.streams, CELLS, 3), dtype=np.int64)
        self.settles = np.zeros((self.streams, CELLS), dtype=np.bool_)
        self.withdrawn = np.zeros((self.streams, CELLS), dtype=np.int64)

    def learn(self, block: Block) -> None:
        """Take the answers of one look."""
        raise NotImplementedError

    def renew(self, streams: Bools) -> None:
        """Begin anew in these streams, shape (streams,): their fingerprint has changed."""


@dataclass(slots=True)
class ByWarranty(Rule):
    """The proofs of `stream/second/proof.py`."""

    watches: Floats = field(init=False)
    of_all: Floats = field(init=False)
    second: Ints = field(init=False)
    tries: Ints = field(init=False)

    def __post_init__(self) -> None:
        """Begin without an answer."""
        Rule.__post_init__(self)
        self.watches, self.of_all = proof.begun(self.streams, CELLS), proof.begun(self.streams)
        self.second, self.tries = np.ones((2, self.streams, CELLS), dtype=np.int64)

    def learn(self, block: Block) -> None:
        """Certify by what all people are asked about, withdraw by audits."""
        self.asked += block.asked
        open_ = ~self.settles & block.asked.any(axis=2)
        self.settles[open_] = self.proved(self.asked[open_], self.risk()[open_])
        self.watch(block)

    def risk(self) -> Floats:
        """The risk of the present try of each cell, shape (streams, cells)."""
        return proof.risk_of_try(self.alpha, CELLS, self.second, self.tries)

    def proved(self, asked: Ints, risk: Floats) -> Bools:
        """Whether these counts certify, shape (cells of streams,)."""
        found: Bools = proof.evidence(asked[:, 0], asked.sum(axis=1), promise=PROMISE) >= -np.log(risk)
        return found

    def watch(self, block: Block) -> None:
        """Follow the audits one by one."""
        largest, every = 1.0 / self.probability.min(), np.arange(self.streams)
        # An audit after a withdrawal is about an item that was settled before it.
        stale = np.zeros((self.streams, CELLS), dtype=np.bool_)
        for cell, right in zip(block.audits.T, block.right.T, strict=True):
            rows = every[(cell >= 0) & ~stale[every, cell]]
            if not len(rows):
                continue
            of, wrong = cell[rows], (~right[rows]).astype(np.float64)
            weight = 1.0 / self.probability[of]
            self.watches[rows, of] = proof.watched(self.watches[rows, of], wrong, weight, promise=PROMISE, largest=largest)
            self.of_all[rows] = proof.watched(self.of_all[rows], wrong, weight, promise=PROMISE, largest=largest)
            everywhere = proof.alarmed(self.of_all[rows])
            here = proof.alarmed(self.watches[rows, of]) & ~everywhere
            back = np.zeros((self.streams, CELLS), dtype=np.bool_)
            back[rows[here], of[here]] = True
            back[rows[everywhere]] = True
            self.of_all[rows[everywhere]] = 0.0
            stale |= back
            self.withdrawn += back & self.settles
            self.begin(back)

    def begin(self, back: Bools) -> None:
        """Begin a further try of these cells."""
        self.tries += back
        self.settles &= ~back
        self.asked[back] = 0
        self.watches[back] = 0.0

    def renew(self, streams: Bools) -> None:
        """Begin anew, as another second."""
        self.begin(np.broadcast_to(streams[:, None], self.settles.shape))
        self.of_all[streams] = 0.0
        self.tries[streams] = 1
        self.second += streams[:, None]


class ByFixedTest(ByWarranty):
    """Known-bad: the test of a fixed number of answers, asked again at every look."""

    def proved(self, asked: Ints, risk: Floats) -> Bools:
        """Whether the share right is significantly above the promise, as if this look were the only one."""
        rows = asked.sum(axis=1)
        score = (asked[:, 0] - PROMISE * rows) / np.sqrt(np.maximum(rows, 1) * PROMISE * (1 - PROMISE))
        found: Bools = (rows >= 30) & (score >= norm.isf(risk))  # noqa: PLR2004
        return found


class ByWholeRisk(ByWarranty):
    """Known-bad: each cell, each fingerprint and each try has the whole risk."""

    def risk(self) -> Floats:
        """The risk over all."""
        return np.full(self.settles.shape, self.alpha)


class ByAnswersAlone(ByWarranty):
    """Known-bad: what has no answer is taken to be like what has one."""

    def proved(self, asked: Ints, risk: Floats) -> Bools:
        """Whether the answered items certify."""
        return ByWarranty.proved(self, asked * np.array([1, 1, 0]), risk)


class WithoutAudits(ByWarranty):
    """Known-bad: answers after settling are ignored."""

    def watch(self, block: Block) -> None:
        """Look away."""


class WithoutRenewal(ByWarranty):
    """Known-bad: certificates stay when the fingerprint changes."""

    def renew(self, streams: Bools) -> None:
        """Keep all."""


class ByScore(Rule):
    """A rival: what has a high score is settled from the first day on, and nothing is audited."""

    def __post_init__(self) -> None:
        """Settle the highest band."""
        Rule.__post_init__(self)
        self.settles[:, BANDS - 1 :: BANDS] = True
        self.probability = np.zeros(CELLS)

    def learn(self, block: Block) -> None:
        """Learn nothing."""


class ByBargain(Rule):
    """
    A rival: BARGAIN's rule (Zeighami, Shankar and Parameswaran 2025) with people as the truth.

    It has a batch: people label the items of the first days. From the highest score down, each threshold is tested with the whole risk
    until one is not proved; the last proved one holds for the rest of the stream. Of what is settled nothing is audited. The bets are ours, and the
    target is that of settled items: its own counts people's items as right too.
    """

    BATCH_DAYS = 5

    def __post_init__(self) -> None:
        """Settle nothing before the batch is labelled."""
        Rule.__post_init__(self)
        self.probability = np.zeros(CELLS)

    def learn(self, block: Block) -> None:
        """Test the thresholds at the end of the batch."""
        self.asked += block.asked
        if block.day < self.BATCH_DAYS or self.settles.any():
            return
        of_band = self.asked.reshape(self.streams, -1, BANDS, 3).sum(axis=1)[:, ::-1].cumsum(axis=1)[..., :2]
        found = proof.evidence(of_band[..., 0], of_band.sum(axis=-1), promise=PROMISE)
        proved = np.logical_and.accumulate(found >= -math.log(self.alpha), axis=1)[:, ::-1]
        self.settles = np.tile(proved, CELLS // BANDS)


@dataclass(frozen=True, slots=True, kw_only=True)
class Ends:
    """
    How streams ended, each array with the shape (streams,).

    Attributes:
        lowest: The lowest running share right of what was settled, by chances, at any look; 1 where nothing was settled.
        settled: Items that were settled.
        right: Of these, truly right.
        saved: Settled items that nobody was asked about.
        covered: Whether the intervals of the share right, and of the number saved rightly, hold the truth; shape (streams, 2).
        withdrawn: Certificates that audits withdrew.
        below: Items settled in cells whose chance was below the promise then, and of these truly right; shape (streams, 2).
        days: The length in days.
    """

    lowest: Floats
    settled: Ints
    right: Ints
    saved: Ints
    covered: Bools
    withdrawn: Ints
    below: Ints
    days: int

    @property
    def kept(self) -> float:
        """The share of streams that kept the promise at every look."""
        return float((self.lowest >= PROMISE - 1e-9).mean())

    @property
    def fewer(self) -> Floats:
        """The share of all items that people need not answer, shape (streams,)."""
        found: Floats = self.saved / (self.days * PER_DAY)
        return found

    @property
    def some(self) -> Bools:
        """The streams in which something was settled, shape (streams,)."""
        found: Bools = self.settled > 0
        return found


MakeRule = Callable[[int, Floats], Rule]


def simulate(
    world: World,
    *,
    streams: int,
    seed: int,
    rule: MakeRule = ByWarranty,
    days: int = DAYS,
    per_look: int = PER_DAY // LOOKS_A_DAY,
) -> Ends:
    """Streams of so many days; the same seed gives the same ones."""
    generator = np.random.default_rng(seed)
    found = [
        _simulate(world, min(AT_ONCE, streams - begun), generator, rule, (days, per_look))
        for begun in range(0, streams, AT_ONCE)
    ]
    columns = ("lowest", "settled", "right", "saved", "covered", "withdrawn", "below")
    return Ends(**{name: np.concatenate([getattr(one, name) for one in found]) for name in columns}, days=days)


def _simulate(world: World, streams: int, generator: np.random.Generator, make: MakeRule, length: tuple[int, int]) -> Ends:
    days, per_look = length
    rule = make(streams, world.probability)
    later = world.later or world.first
    lowest, chances, first_day = np.ones(streams), np.zeros(streams), np.full(streams, np.inf)
    # Of each cell: settled, audited, and audits with an answer; each right and wrong.
    settled, audited, answered = np.zeros((3, streams, CELLS, 2), dtype=np.int64)
    below = np.zeros((streams, 2), dtype=np.int64)
    looks, fallen = days * PER_DAY // per_look, np.zeros((streams, 1), dtype=np.bool_)
    for look in range(looks):
        day = look * per_look / PER_DAY
        fell, fallen = fallen, (day >= first_day + (world.after if world.later else np.inf))[:, None]
        rule.renew((fallen & ~fell)[:, 0] & world.announced | (look > 0 and day % world.renewed == 0))
        share, right = np.where(fallen, later.share, world.first.share), np.where(fallen, later.right, world.first.right)
        chance = np.concatenate([share * right, share * (1 - right), 1 - share.sum(axis=1, keepdims=True)], axis=1)
        items = generator.multinomial(per_look, np.maximum(chance, 0.0))[:, :-1].reshape(streams, 2, CELLS).transpose(0, 2, 1)
        own = items * rule.settles[:, :, None]
        drawn = generator.binomial(own, rule.probability[:, None])
        has_answer = 1.0 - np.array(world.skipped)
        seen, asked = generator.binomial(drawn, has_answer), generator.binomial(items - own, has_answer)
        settled, audited, answered = settled + own, audited + drawn, answered + seen
        short = own * (right < PROMISE)[:, :, None]
        below += np.stack([short.sum(axis=(1, 2)), short[:, :, 0].sum(axis=1)], axis=1)
        chances += (own.sum(axis=2) * right).sum(axis=1)
        number = settled.sum(axis=(1, 2))
        lowest = np.minimum(lowest, np.divide(chances, number, out=np.ones(streams), where=number > 0))
        first_day = np.where(np.isinf(first_day) & rule.settles.any(axis=1), day, first_day)
        silent_ = (items - own - asked).sum(axis=2, keepdims=True)
        # In the proofs, an audit without an answer is wrong.
        cells, agrees = _in_order(np.stack([seen[:, :, 0], drawn.sum(axis=2) - seen[:, :, 0]], axis=2), generator)
        rule.learn(
            Block(
                asked=np.concatenate([asked, silent_], axis=2), audits=cells, right=agrees, day=(look + 1) * per_look / PER_DAY
            )
        )
    return Ends(
        lowest=lowest,
        settled=settled.sum(axis=(1, 2)),
        right=settled[:, :, 0].sum(axis=1),
        saved=(settled - audited).sum(axis=(1, 2)),
        covered=np.array([_covered(*one, rule.probability) for one in zip(settled, audited, answered, strict=True)]),
        withdrawn=rule.withdrawn.sum(axis=1),
        below=below,
        days=days,
    )


def _in_order(audits: Ints, generator: np.random.Generator) -> tuple[Ints, Bools]:
    """Audits in a random order: the cell of each and whether it is right, from counts of the shape (streams, cells, 2)."""
    streams = len(audits)
    number = audits.reshape(streams, -1)
    kinds = np.tile(np.arange(number.shape[1]), streams).repeat(number.ravel())
    rows = np.arange(streams).repeat(number.sum(axis=1))
    order = np.lexsort((generator.random(len(kinds)), rows))
    most = int(number.sum(axis=1).max(initial=0))
    begins = number.sum(axis=1).cumsum() - number.sum(axis=1)
    found = np.full((streams, most), -2, dtype=np.int64)
    found[rows, np.arange(len(kinds)) - begins[rows]] = kinds[order]
    return found // 2, found % 2 == 0


def _covered(settled: Ints, audited: Ints, answered: Ints, probability: Floats) -> tuple[bool, bool]:
    """Whether the intervals hold the truth, of one stream: counts of the shape (cells, 2)."""
    if not settled.any():
        return False, False
    kinds = np.unique(probability)

    def of_kind(counts: Ints) -> Ints:
        return np.array([counts[probability == kind].sum(axis=0) for kind in kinds])

    right, wrong = of_kind(answered).T

    def holds(unseen: Ints) -> bool:
        low, high = proof.share_right(right, wrong, of_kind(unseen).sum(axis=1))
        its, all_ = int(unseen[:, 0].sum()), int(unseen.sum())
        return math.floor(low * all_) <= its <= math.ceil(high * all_)

    return holds(settled - answered), holds(settled - audited)


GOOD = alike(0.97)
WORLDS = {
    "right in 0.97 of each cell": World(first=GOOD),
    "right in 0.95": World(first=alike(0.95)),
    "right in 0.92": World(first=alike(0.92)),
    "right in 0.899, all answered": World(first=alike(0.899), skipped=(0.0, 0.0)),
    "right in 0.88": World(first=alike(0.88)),
    "right in 0.80": World(first=alike(0.80)),
    "right in 0.80, sure of all": World(first=alike(0.80, sure=1.0)),
    "right in 0.80, errs by itself": World(first=made(easy=0.80)),
    "right in 0.97, errs by itself": World(first=made(easy=0.97)),
    "right in 0.95, repeats the model in 60 %": World(first=made(easy=0.95, follows=0.6)),
    "right in 0.90, errs with the model": World(first=made(easy=0.90, with_model=0.225, repeats=1.0)),
    "right in 0.99 of easy items and 0.60 of hard ones": World(first=made(easy=0.99, hard=0.60, sure=(0.9, 0.1))),
    "0.97, falls to 0.70 on day 20": World(first=GOOD, later=alike(0.70)),
    "0.97, falls to 0.85 on day 20": World(first=GOOD, later=alike(0.85)),
    "0.97, falls to 0.87 on day 20": World(first=GOOD, later=alike(0.87)),
    "0.97, one label falls to 0.50 on day 20": World(first=GOOD, later=one_label(GOOD, 0.50)),
    "0.97, obeys 5 % of titles": World(first=made(easy=0.97, told=0.05)),
    "0.97, obeys 30 % of titles from day 20 on": World(first=made(easy=0.97), later=made(easy=0.97, told=0.30)),
    "0.97, too slow in 40 %": World(first=silent(GOOD, 0.4)),
    "dead": World(first=silent(GOOD, 1.0)),
    "0.97, 5 % unanswered": World(first=GOOD, skipped=(0.05, 0.05)),
    "0.97, 10 % unanswered": World(first=GOOD, skipped=(0.10, 0.10)),
    "0.88, people skip half of what it has wrong": World(first=alike(0.88), skipped=(0.0, 0.5)),
    "0.97, audits of 20 % where it disagrees": World(first=made(easy=0.97), audits=(0.2, AUDIT)),
    "0.97, another fingerprint every 15 days": World(first=GOOD, renewed=15),
    "0.97, another with 0.70 on the next day": World(first=GOOD, later=alike(0.70), after=1.0, announced=True),
    "0.899, all answered, another fingerprint every 15 days": World(first=alike(0.899), skipped=(0.0, 0.0), renewed=15),
}
# No audit can foresee it: what is settled before the audits see the fall is wrong more often than promised.
SLEEPER = World(first=GOOD, later=alike(0.70), after=0.0)
KNOWN_BAD: Mapping[str, tuple[World, MakeRule]] = {
    "a test of fixed size at each look": (WORLDS["right in 0.899, all answered"], ByFixedTest),
    "each cell, try and fingerprint with the whole risk": (
        WORLDS["0.899, all answered, another fingerprint every 15 days"],
        ByWholeRisk,
    ),
    "unanswered items left out": (WORLDS["0.88, people skip half of what it has wrong"], ByAnswersAlone),
    "answers after settling ignored": (WORLDS["0.97, falls to 0.70 on day 20"], WithoutAudits),
    "certificates of an older fingerprint": (WORLDS["0.97, another with 0.70 on the next day"], WithoutRenewal),
}
RIVALS: Mapping[str, MakeRule] = {"high scores": ByScore, "BARGAIN's rule": ByBargain}


def row(name: str, ends: Ends) -> str:
    """One line of the table."""
    some, fewer = ends.some, ends.fewer
    below = ends.below[ends.below[:, 0] > 0]
    right = f"{np.median(ends.right[some] / ends.settled[some]):.3f}" if some.any() else ""
    lowest = f"{ends.lowest[some].min():.3f}" if some.any() else ""
    covered = " | ".join(f"{share:.1%}" for share in ends.covered[some].mean(axis=0)) if some.any() else " | "
    after = f"{np.median(below[:, 0]):,.0f} | {np.median(below[:, 1] / below[:, 0]):.2f}" if len(below) else " | "
    return (
        f"| {name} | {some.mean():.1%} | {ends.kept:.1%} | {lowest} | {right} | {np.median(fewer):.1%} | {np.quantile(fewer, 0.05):.1%} | "
        f"{covered} | {(ends.withdrawn > 0).mean():.1%} | {after} |"
    )


def show(title: str, found: Mapping[str, tuple[World, MakeRule]], *, streams: int, seed: int) -> None:
    """A table of seconds."""
    print(
        f"\n| {title} | something settled | promise kept at every time | lowest running share | right of settled | people's items fall by | in 95 % by at "
        "least | interval of right covers | of saved covers | some withdrawn | settled below the promise | right of it |"
    )
    print("|---|---|---|---|---|---|---|---|---|---|---|---|")
    for name, (world, rule) in found.items():
        print(row(name, simulate(world, streams=streams, seed=seed, rule=rule)), flush=True)


def show_rivals(streams: int, seed: int) -> None:
    """The table of the rivals: how often each keeps the promise, and by how much people's items fall."""
    print(f"\n| {streams:,} streams | {' | '.join(f'{name}: promise kept | items fall by' for name in RIVALS)} |")
    print(f"|---|{'---|---|' * len(RIVALS)}")
    for name, world in WORLDS.items():
        ends = [simulate(world, streams=streams, seed=seed, rule=rule) for rule in RIVALS.values()]
        print(f"| {name} | {' | '.join(f'{one.kept:.1%} | {np.median(one.fewer):.1%}' for one in ends)} |", flush=True)


def stream_of_facts(facts: int, skill: float, *, lag: int = 300, seed: int = 29) -> Warranty:
    """A warranty after so many facts, with a look at an item's cell before each opinion and after each answer; answers come out of order."""
    generator, cells = np.random.default_rng(seed), Cells(("a", "b"))
    found, waiting, taken, item = Warranty(PROMISE, cells), list[tuple[int, int, Opinion, Answer]](), 0, 0
    while taken < facts:
        label, agrees, is_right = "ab"[generator.integers(2)], generator.random() < MODEL, generator.random() < skill
        cell = cells.of(label, agrees=bool(agrees))
        settled = found.may_settle("second", cell)
        opinion = Opinion(
            event_id=str(item),
            at_ms=item * 1_000,
            fingerprint="second",
            cell=cell,
            settled=settled,
            probability=AUDIT if settled else 1.0,
            asked=not settled or bool(generator.random() < AUDIT),
        )
        found.take(opinion)
        item, taken = item + 1, taken + 1
        if opinion.asked and generator.random() >= UNANSWERED:
            when = item + int(generator.integers(lag))
            answer = Answer(event_id=opinion.event_id, at_ms=when * 1_000, label=label if is_right else None)
            # Some overtake others on the way.
            heappush(waiting, (when + int(generator.integers(20)), item, opinion, answer))
        while waiting and waiting[0][0] <= item:
            _, _, opinion, answer = heappop(waiting)
            found.take(answer)
            taken += 1
            if opinion.cell is not None:
                found.may_settle("second", opinion.cell)
    return found


def show_speed(facts: int) -> None:
    """The time that a fact takes."""
    print("\n| right in | microseconds a fact | settled |\n|---|---|---|")
    for skill in (0.97, 0.899, 0.80):
        begun = time.perf_counter()
        found = stream_of_facts(facts, skill)
        print(f"| {skill} | {1e6 * (time.perf_counter() - begun) / facts:.0f} | {found.status().settled:,} |", flush=True)


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--streams", type=int, default=200, help="simulated streams a line; a fifth for known-bad rules and rivals"
    )
    parser.add_argument("--seed", type=int, default=29)
    parser.add_argument("--facts", type=int, help="print only the time that a warranty takes for each of so many facts")
    given = parser.parse_args()
    if given.facts:
        show_speed(given.facts)
        return
    started, few = time.monotonic(), max(1, given.streams // 5)
    ours: dict[str, tuple[World, MakeRule]] = {name: (world, ByWarranty) for name, world in WORLDS.items()}
    show(f"{given.streams:,} streams of {DAYS} days", ours, streams=given.streams, seed=given.seed)
    show(
        "the limit", {"falls to 0.70 with its first certificate": (SLEEPER, ByWarranty)}, streams=given.streams, seed=given.seed
    )
    show(f"known-bad rules, {few:,} streams", KNOWN_BAD, streams=few, seed=given.seed)
    show_rivals(few, given.seed)
    print(f"\n{time.monotonic() - started:.0f} s")


if __name__ == "__main__":
    main()

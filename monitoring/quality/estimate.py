"""Live accuracy, precision, recall and F1, with 95 % intervals that hold near 1 and for few mistakes.

Wald's interval fails near 1, and recall and F1 are ratios of two estimates. So the interval of every figure comes from 2,000
plausible versions of the stream. In each version, the shares of a stratum's true labels are drawn from a Dirichlet posterior:
Jeffreys' prior (half an answer right and half an answer wrong) and `worth` plain answers. The figure is computed for each
version, and the middle 95 % of the values are its interval. For one share, this is Jeffreys' interval at the effective sample
size. Franco, Little, Louis and Slud 2019 recommend this small-sample interval for surveys. They recommend Korn and Graubard's
interval, too, which is wider than its level says.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from tagstream.monitoring.quality.figures import ACCURACY, BY_LABEL, Totals
from tagstream.monitoring.quality.reviewers import Reviewers, Slips, reviewers, slip_draws, slips, with_missed, without_slips
from tagstream.monitoring.quality.sample import Bools, Floats, Population, Sample
from tagstream.monitoring.quality.strata import Stratum, strata

DRAWS = 2000
# The most cells that are drawn at once: a bundle with many labels takes more time, but not more memory.
MOST_CELLS = 1_000_000
SEED = 7
LEVEL = 0.95
# Over both destinations the versions vary a little too little, because slips are known from a few overturned answers only. In
# simulated months the middle 96 % of the versions covers the truth as promised; the middle 95 % covers one recall in only 92 % of
# the months (`python -m benchmarks.quality`).
LEVEL_OF_BOTH_DESTINATIONS = 0.96
# With fewer answers, an interval is correct but too wide to use: the reader is told how many answers are missing.
LEAST_ANSWERS = 50
# The largest share of a label's answers that may be slips of people who meant another label. Above it, recall and F1 are not known.
MOST_SLIPPED = 0.25


@dataclass(frozen=True, slots=True, kw_only=True)
class Figure:
    """
    One figure and its 95 % interval.

    Attributes:
        value: The estimate, 0 to 1; None without an answer.
        low: Lower end of the interval.
        high: Upper end of the interval.
        answers: Number of answers that the estimate rests on.
        slipped: Share of the label's answers that are probably slips, 0 to 1; 0 for a figure that slips do not change.
    """

    value: float | None
    low: float
    high: float
    answers: int
    slipped: float = 0.0

    @property
    def missing(self) -> int:
        """The number of answers that are missing to `LEAST_ANSWERS`; 0 if there are enough."""
        return max(0, LEAST_ANSWERS - self.answers)

    @property
    def shown(self) -> bool:
        """Whether the figure may be shown: it has enough answers and few slips."""
        return self.value is not None and not self.missing and self.slipped <= MOST_SLIPPED


@dataclass(frozen=True, slots=True, kw_only=True)
class MistakeCost:
    """
    What the model's mistakes cost, in the unit of the prices.

    Attributes:
        value: The estimate.
        versions: The cost in each plausible version of the stream, [DRAWS].
        level: The share of the versions between the ends of a 95 % interval.
    """

    value: float
    versions: Floats
    level: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Estimate:
    """
    The figures of one scope.

    Attributes:
        decisions: Number of decisions of the stream in this scope.
        drawn: Number of decisions that were drawn for people.
        answers: Number of drawn decisions with a settled answer.
        unanswered: Share of the drawn decisions without an answer, weighted by the decisions each stands for, 0 to 1.
        accuracy: Share of decisions that are right.
        by_label: By label, the figures `precision`, `recall` and `f1`.
    """

    decisions: float
    drawn: int
    answers: int
    unanswered: float
    accuracy: Figure
    by_label: dict[str, dict[str, Figure]]

    @property
    def anyway(self) -> tuple[float, float]:
        """
        The least and the largest accuracy, whatever the truth of the unanswered decisions is.

        The interval of `accuracy` assumes that unanswered decisions are like answered ones. People may leave out the model's mistakes, and
        no figure shows that.
        """
        answered = 1 - self.unanswered
        return answered * self.accuracy.low, answered * self.accuracy.high + self.unanswered


def published(sample: Sample, population: Population | None = None, *, people: Reviewers | None = None) -> Estimate:
    """
    Estimate the figures of the published decisions: consumers of `tagged` got these without a person.

    Recall counts published decisions only: of those whose truth is a label, the share that was published under this label.

    Args:
        sample: The drawn decisions of the window; decisions in `review` are left out.
        population: All decisions of the window; see `strata`.
        people: The reviewers' slips; estimated from the sample unless given.
    """
    rows = sample.where(sample.published)
    return _estimate(rows, [one for one in strata(rows, population) if one.published], people or reviewers(sample))


def everything(sample: Sample, population: Population | None = None, *, people: Reviewers | None = None) -> Estimate:
    """
    Estimate the figures of the model over both destinations, as if all decisions were published.

    Each decision in `review` has the answer of one person. These answers are corrected for the slips that audits have found.

    Args:
        sample: The drawn decisions of the window.
        population: All decisions of the window; see `strata`.
        people: The reviewers' slips; estimated from the sample unless given.
    """
    return _estimate(sample, strata(sample, population), people or reviewers(sample), level=LEVEL_OF_BOTH_DESTINATIONS)


def accuracy(sample: Sample, population: Population | None = None, *, people: Reviewers | None = None) -> Figure:
    """
    Estimate the accuracy of published decisions, and no other figure.

    Args:
        sample: The drawn decisions of a slice; decisions in `review` are left out.
        population: All decisions of the slice; see `strata`.
        people: The reviewers' slips; estimated from the sample unless given.
    """
    rows = sample.where(sample.published)
    found = [one for one in strata(rows, population) if one.published]
    window = _Window(found, people or reviewers(sample), labels=len(sample.labels))
    return window.figure(ACCURACY, 0, rows.decisions(rows.settled))


def mistake_cost(
    sample: Sample, population: Population, prices: tuple[Floats, Floats], *, people: Reviewers | None = None
) -> MistakeCost:
    """
    Estimate what the model's mistakes cost, or would cost.

    Args:
        sample: The drawn decisions.
        population: All decisions; see `strata`.
        prices: What a mistake costs for decisions on `tagged`, then on `review`, by predicted label and truth, each [K, K + 1] and at
            least 0. A destination at 0 adds nothing.
        people: The reviewers' slips; estimated from the sample unless given.
    """
    both = bool(prices[1].any())
    rows = sample if both else sample.where(sample.published)
    found = [one for one in strata(rows, population) if both or one.published]
    level = LEVEL_OF_BOTH_DESTINATIONS if both else LEVEL
    window = _Window(found, people or reviewers(sample), labels=len(sample.labels), level=level)
    price = np.array([prices[0 if one.published else 1][one.predicted] for one in found])
    price = price.reshape(len(found), len(sample.labels) + 1)
    return window.cost(price, rows.decisions(rows.settled))


def _estimate(sample: Sample, found: list[Stratum], people: Reviewers, level: float = LEVEL) -> Estimate:
    window = _Window(found, people, labels=len(sample.labels), level=level)
    answers = sample.where(sample.settled)
    figures = {}
    for number, label in enumerate(sample.labels):
        named, true = answers.predicted == number, answers.truth == number
        bases = {"precision": named, "recall": true, "f1": named | true}
        slipped = {"precision": 0.0, "recall": window.slipped[number], "f1": window.slipped[number]}
        figures[label] = {
            name: replace(window.figure(name, number, answers.decisions(bases[name])), slipped=float(slipped[name]))
            for name in BY_LABEL
        }
    return Estimate(
        decisions=sum(one.population for one in found),
        drawn=len(sample),
        answers=len(answers),
        unanswered=1 - float(sample.design[sample.answered].sum() / sample.design.sum()) if len(sample) else 1.0,
        accuracy=window.figure(ACCURACY, 0, len(answers)),
        by_label=figures,
    )


class _Window:
    """The strata of one scope, and the uncertainty that their answers leave."""

    def __init__(self, found: list[Stratum], people: Reviewers, *, labels: int, level: float = LEVEL) -> None:
        self._people = people
        self._level = level
        self._labels = labels
        self._predicted = np.array([one.predicted for one in found], dtype=np.int64)
        self._once = np.array([not one.published for one in found], dtype=np.bool_)
        self._populations = np.array([one.population for one in found])
        self._shares = np.array([one.shares for one in found]).reshape(len(found), labels + 1)
        worth = np.array([one.worth for one in found])
        # If every decision is answered, `worth` is infinite; the draws need a finite number.
        self._worth = np.minimum(worth, 1e12)
        self._doubt = np.array([_doubt(one, labels) for one in found]).reshape(len(found), labels + 1)
        unanswered = np.array([np.append(one.expected, 0.0) for one in found]).reshape(len(found), labels + 1)
        middle = np.where((worth > 0)[:, None], self._shares, unanswered)[None] * self._populations[:, None]
        self._middle = self._corrected(middle, slips(people))
        self.slipped = _slipped(middle[0, self._once], slips(people))

    def figure(self, name: str, label: int, answers: int) -> Figure:
        """Return a figure with the interval from plausible versions of the stream."""
        totals = Totals(self._middle, self._predicted)
        prior = self._prior(totals.good(name, label), totals.bad(name, label).astype(np.float64))
        versions = self._measured(prior, answers, lambda one: one.measure(name, label))
        return _figure(totals.measure(name, label), versions, answers, self._level)

    def cost(self, price: Floats, answers: int) -> MistakeCost:
        """Return what mistakes cost at a price for each stratum and truth, [strata, K + 1]."""
        totals = Totals(self._middle, self._predicted)
        prices = totals.bad(ACCURACY, 0) * price
        # A dear label weighs as much in the prior as in the cost: one that alone has a price gets the prior of its precision.
        prior = self._prior(totals.good(ACCURACY, 0) * price.max(axis=1, initial=0.0, keepdims=True), prices)
        versions = self._measured(prior, answers, lambda one: _sum(one.cells * prices))
        return MistakeCost(value=float(_sum(totals.cells * prices)[0]), versions=versions, level=self._level)

    def _measured(self, prior: Floats, answers: int, measure: Callable[[Totals], Floats]) -> Floats:
        """Return a figure in each plausible version of the stream, [DRAWS]."""
        # The same answers give the same interval. Other answers give another seed, so that two windows do not share the luck of one draw.
        generator = np.random.default_rng([SEED, answers, int(self._populations.sum())])
        shapes = self._worth[:, None] * self._shares + prior
        at_once = max(1, MOST_CELLS // max(1, shapes.size))
        versions = [
            measure(self._versions(shapes, min(at_once, DRAWS - begin), generator)) for begin in range(0, DRAWS, at_once)
        ]
        found: Floats = np.concatenate(versions)
        return found

    def _versions(self, shapes: Floats, draws: int, generator: np.random.Generator) -> Totals:
        """Plausible versions of the stream."""
        drawn = generator.standard_gamma(shapes, size=(draws, *shapes.shape))
        total = drawn.sum(axis=-1, keepdims=True)
        cells = self._populations[:, None] * np.divide(drawn, total, out=np.zeros_like(drawn), where=total > 0)
        return Totals(self._corrected(cells, slip_draws(self._people, draws, generator)), self._predicted)

    def _prior(self, good: Bools | Floats, bad: Floats) -> Floats:
        """
        The prior of a figure, in answers: half a hit and half a mistake of the figure over all strata, [strata, K + 1].

        The prior does not grow with the number of strata; otherwise, the interval would lie too low.

        Args:
            good: How much a decision in a cell counts as a hit, [strata, K + 1].
            bad: How much it counts as a mistake, [strata, K + 1].
        """
        hits, mistakes = good * self._populations[:, None], bad * self._populations[:, None] * self._doubt
        # Cells that the figure does not count need a prior, too: it keeps a stratum without an answer uncertain.
        rest = 0.5 * ((good == 0) & (np.arange(self._labels + 1) == self._predicted[:, None]))
        found: Floats = rest + 0.5 * hits / max(hits.sum(), 1e-12) + 0.5 * mistakes / max(mistakes.sum(), 1e-12)
        return found

    def _corrected(self, cells: Floats, slip: Slips) -> Floats:
        found = cells.copy()
        once, twice = self._once, ~self._once
        found[:, once] = without_slips(cells[:, once], slip)
        found[:, twice] = with_missed(cells[:, twice], slip, self._predicted[twice])
        return found


def _sum(cells: Floats) -> Floats:
    """Sum the cells of each version, [draws]."""
    found: Floats = cells.sum(axis=(-2, -1))
    return found


def _doubt(one: Stratum, labels: int) -> Floats:
    """The distribution of the true label of a mistake in this stratum, [K + 1]: half by the model's probabilities, half uniform."""
    doubt = np.append(one.expected, 0.0)
    doubt[one.predicted] = 0.0
    evenly = np.full(labels + 1, 1 / labels)
    evenly[one.predicted] = 0.0
    found: Floats = 0.5 * evenly + 0.5 * (doubt / doubt.sum() if doubt.sum() else evenly)
    return found


def _slipped(answers: Floats, slip: Slips) -> Floats:
    """By label, the share of the single answers with this label that are slips of people who meant another label, [K]."""
    labels = answers.shape[-1] - 1
    named = answers.sum(axis=0)
    mistaken = named @ slip.named()[0]
    found: Floats = np.divide(mistaken, named[:labels], out=np.zeros(labels), where=named[:labels] > 0)
    return found


def _figure(value: Floats, versions: Floats, answers: int, level: float) -> Figure:
    versions = versions[~np.isnan(versions)]
    if not len(versions) or np.isnan(value[0]):
        return Figure(value=None, low=0.0, high=1.0, answers=answers)
    low, high = np.quantile(versions, ((1 - level) / 2, (1 + level) / 2))
    middle = float(value[0])
    # If all answers are right, the truth may be 1, which no plausible version reaches.
    return Figure(
        value=middle if answers else None, low=float(min(low, middle)), high=float(max(high, middle)), answers=answers
    )

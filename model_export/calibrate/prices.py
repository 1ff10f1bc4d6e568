"""Thresholds by label that make the expected cost least, and what they cost.

An event that is published costs the price of its mistake, or nothing if it is right; an event that a person sees costs the price of an
item. The expected cost is a sum over labels, so each label's threshold is chosen alone. The candidates are the confidences at which the
label's walk proves the floor (`joint.walk`), and asking a person about every event. Fixed-sequence testing proves all of them together,
so that any may be chosen after all prices are seen, and the certificate stays one.

Rows that have chosen the thresholds look too cheap: the floor is proved, and the price low, where the rows are lucky. So a third of the
rows (`measures`) chooses nothing, and the cost is measured on it. The interval is that of plausible versions of the stream: the shares of
the rows are drawn from their Dirichlet posterior, with half a mistake as prior (Jeffreys), because a mistake that the rows do not show may
be dear. `python -m benchmarks.prices` measures how often the interval holds.
"""

import hashlib
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from tagstream.model_export.bundle.manifest import ALWAYS_ASK
from tagstream.model_export.bundle.promise.promise import Money, Priced
from tagstream.model_export.calibrate import joint
from tagstream.model_export.calibrate.certificate import Bools
from tagstream.model_export.calibrate.joint import DecidedRows, kept
from tagstream.model_export.calibrate.temperature import Floats, Ints
from tagstream.monitoring.quality.costs import Costs

EVENTS = 10_000
# The share of the rows on which the cost is measured.
MEASURES = 1 / 3
VERSIONS = 2000
# The most numbers that are drawn at once.
AT_ONCE = 1_000_000
SEED = 7
LEVEL = 0.95
DECIMALS = 4
# Costs that differ by less are equal: sums in another order differ by rounding.
EQUAL = 1e-9


@dataclass(frozen=True, slots=True, kw_only=True)
class PricedRows:
    """
    Calibration rows with what each event costs.

    Attributes:
        decided: The rows.
        mistake: The price of publishing each row, 0 if it is right, shape (rows,).
        item: The price of an item for a person.
    """

    decided: DecidedRows
    mistake: Floats
    item: float

    @classmethod
    def of(cls, decided: DecidedRows, truth: Ints, labels: Sequence[str], costs: Costs) -> "PricedRows":
        """
        Return rows with their prices.

        Args:
            decided: The rows.
            truth: The index of each row's label, shape (rows,).
            labels: The labels.
            costs: The prices.

        Raises:
            CostsError: A label, a confusion or an item has no price.
        """
        return cls(decided=decided, mistake=costs.of_mistakes(labels)[decided.said, truth], item=costs.of_item())

    def take(self, chosen: Bools | Ints) -> "PricedRows":
        """Return a subset of the rows, in the given order."""
        return PricedRows(decided=self.decided.take(chosen), mistake=self.mistake[chosen], item=self.item)

    def cost(self, published: Bools) -> float:
        """Return the mean cost of an event if these rows are published, and the others go to people."""
        return float(np.average(np.where(published, self.mistake, self.item), weights=self.decided.weight))


def choose(rows: PricedRows, labels: int, *, floor: float, risk: float) -> tuple[float, ...]:
    """
    Return the threshold of each label that makes the expected cost on the rows least, in label order.

    Of equal costs the one is taken with which people see the fewest events, and of these thresholds the highest.

    Args:
        rows: The rows.
        labels: The number of labels.
        floor: The share right of each label's published decisions to prove, above 0 and below 1.
        risk: The error level of all labels together.

    Returns:
        The thresholds. `ALWAYS_ASK` for a label whose floor cannot be proved, or for which people cost least.
    """
    proved = candidates(rows.decided, labels, floor=floor, risk=risk)
    return tuple(_cheapest(rows.take(rows.decided.said == label), own) for label, own in enumerate(proved))


def candidates(decided: DecidedRows, labels: int, *, floor: float, risk: float) -> list[tuple[float, ...]]:
    """
    Return the confidences at which each label's walk proves the floor, the strictest first. All these proofs hold together.

    Args:
        decided: The rows.
        labels: The number of labels.
        floor: As in `choose`.
        risk: As in `choose`.
    """
    grid = np.asarray(joint.grid_of(decided))
    path = np.repeat(grid[:, None], labels, axis=1)
    found = []
    for label in range(labels):
        spent = joint.walk(decided.take(decided.said == label), path, target=floor, risk=risk / labels)
        found.append(tuple(grid[spent > 0].tolist()))
    return found


def _cheapest(own: PricedRows, proved: Sequence[float]) -> float:
    """Return the threshold of one label."""
    found, decided = [(0.0, 0.0, -ALWAYS_ASK)], own.decided
    for confidence in proved:
        public = decided.confidence >= confidence
        more = float(decided.weight[public] @ (own.mistake[public] - own.item))
        found.append((more, -float(decided.weight[public].sum()), -confidence))
    least = min(more for more, _, _ in found) + EQUAL * float(decided.weight.sum())
    return -min(each[1:] for each in found if each[0] <= least)[1]


def measures(groups: Sequence[str]) -> Bools:
    """
    Return True for each row on which the cost is measured, shape (rows,); the others choose the thresholds.

    Args:
        groups: The group of each row. Rows of one group resemble each other and are on one side.
    """
    sizes = Counter(groups)
    # In order and not below a limit: the parts of the data are divided by limits of this hash.
    order = sorted(sizes, key=lambda group: hashlib.sha256(group.encode()).digest())
    before = np.cumsum([0, *(sizes[group] for group in order)])[:-1]
    chosen = {group for group, rows in zip(order, before.tolist(), strict=True) if rows < MEASURES * len(groups)}
    return np.array([group in chosen for group in groups], dtype=np.bool_)


def measured(rows: PricedRows, labels: Sequence[str], costs: Costs, thresholds: Sequence[float], *, asked: Bools) -> Priced:
    """
    Return the expected cost of `EVENTS` events, as a manifest records it.

    Args:
        rows: Rows that have not chosen the thresholds, at least one.
        labels: The labels.
        costs: The prices.
        thresholds: The threshold of each label, in label order.
        asked: True for each row that goes to a person at any confidence, shape (rows,).
    """
    published = kept(rows.decided, thresholds) & ~asked
    generator = np.random.default_rng([SEED, len(asked)])
    # By row: the cost of mistakes as it is, of people as it is, and of mistakes if people see nothing.
    amounts = (rows.mistake * published, np.where(published, 0.0, rows.item), rows.mistake)
    prices = costs.of_mistakes(labels)[:, : len(labels)][~np.eye(len(labels), dtype=np.bool_)].reshape(len(labels), -1)
    # The mistake of the prior was published, so no person has seen it.
    priors = (
        _mistakes(rows.decided.said[published], prices, generator),
        0.0 if published.any() else rows.item,
        _mistakes(rows.decided.said, prices, generator),
    )
    versions = _versions(rows.decided.weight, amounts, priors, generator)
    mistakes, people, nothing = (float(np.average(each, weights=rows.decided.weight)) for each in amounts)
    return Priced(
        wrong_publication=_as_read(costs),
        item=rows.item,
        currency=costs.currency,
        rows=len(asked),
        published=round(float(np.average(published, weights=rows.decided.weight)), 6),
        cost=_money(mistakes + people, versions[0] + versions[1]),
        mistakes=_money(mistakes, versions[0]),
        people=_money(people, versions[1]),
        everything=round(EVENTS * rows.item, DECIMALS),
        nothing=_money(nothing, versions[2]),
    )


def _mistakes(said: Ints, prices: Floats, generator: np.random.Generator) -> Floats | float:
    """Return the price of a mistake in some published row, with any truth, by version, shape (VERSIONS,). 0 if no row is published."""
    if not len(said):
        return 0.0
    found: Floats = prices[generator.choice(said, size=VERSIONS), generator.integers(prices.shape[1], size=VERSIONS)]
    return found


def _versions(
    weight: Floats, amounts: Sequence[Floats], priors: Sequence[Floats | float], generator: np.random.Generator
) -> Floats:
    """
    Return the mean of each amount in plausible versions of the stream, shape (amounts, VERSIONS).

    Args:
        weight: The weight of each row, shape (rows,).
        amounts: Amounts of each row, each of shape (rows,).
        priors: By amount, that of the half row of the prior, by version or for all versions.
        generator: The source of chance.
    """
    # Rows that are alike are drawn as one: a sum of gamma variables of one scale is one.
    kinds, counts = np.unique(np.stack([weight, *amounts], axis=1), axis=0, return_counts=True)
    mass = np.empty((len(amounts) + 1, VERSIONS))
    at_once = max(1, AT_ONCE // len(kinds))
    for begin in range(0, VERSIONS, at_once):
        size = min(at_once, VERSIONS - begin)
        drawn = generator.standard_gamma(counts, size=(size, len(kinds))) * kinds[:, 0]
        mass[:, begin : begin + size] = np.stack([drawn.sum(axis=1), *(drawn @ kinds[:, 1:]).T])
    half = generator.standard_gamma(0.5, size=VERSIONS) * float(weight.mean())
    found: Floats = (mass[1:] + np.stack([half * each for each in priors])) / (mass[0] + half)
    return found


def _money(value: float, versions: Floats) -> Money:
    low, high = np.quantile(versions, ((1 - LEVEL) / 2, (1 + LEVEL) / 2))
    return Money(
        value=round(EVENTS * value, DECIMALS),
        low=round(EVENTS * min(float(low), value), DECIMALS),
        high=round(EVENTS * max(float(high), value), DECIMALS),
    )


def _as_read(costs: Costs) -> float | dict[str, float | dict[str, float]]:
    """Return the prices of wrong publications, as plain values for a manifest."""
    wrong = costs.wrong_publication
    if isinstance(wrong, float):
        return wrong
    if isinstance(wrong, int):
        return float(wrong)
    return {label: price if isinstance(price, int | float) else dict(price) for label, price in wrong.items()}

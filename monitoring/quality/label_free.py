"""The accuracy that the model expects of itself, and the gap between it and the accuracy that people found.

The expected accuracy needs no answers, so it is known at once and for every window. It misses labels that change meaning, and
mistakes with a high confidence. Only people see these: they show as the gap between expected and measured accuracy.
"""

from dataclasses import dataclass

import numpy as np

from tagstream.monitoring.quality.estimate import Figure
from tagstream.monitoring.quality.figures import BY_LABEL, Totals
from tagstream.monitoring.quality.sample import Population, Sample, expected_shares


@dataclass(frozen=True, slots=True, kw_only=True)
class LabelFree:
    """
    Expected figures of the published decisions.

    Attributes:
        accuracy: Mean confidence; None without a drawn decision.
        by_label: By label, `precision`, `recall` and `f1`; None where no decision counts for the figure.
    """

    accuracy: float | None
    by_label: dict[str, dict[str, float | None]]


def expected(sample: Sample, population: Population | None = None) -> LabelFree:
    """
    Return the expected figures of the published decisions, answered or not.

    Args:
        sample: The drawn decisions. They are used where the population is not known.
        population: All decisions of the window.
    """
    rows = sample.where(sample.published)
    count = len(rows.labels)
    cells = np.zeros((1, count, count + 1))
    for label in range(count):
        inside = rows.where(rows.predicted == label)
        if population is not None and population.decisions[0, label] >= max(1, len(inside)):
            cells[0, label, :count] = population.probabilities[0, label]
        elif len(inside):
            cells[0, label, :count] = inside.design.sum() * expected_shares(label, inside)
    totals = Totals(cells, np.arange(count))
    by_label = {
        label: {name: _known(measure(totals, number)[0]) for name, measure in BY_LABEL.items()}
        for number, label in enumerate(rows.labels)
    }
    return LabelFree(accuracy=_known(totals.accuracy()[0]), by_label=by_label)


def gap(without: LabelFree, measured: Figure) -> Figure:
    """
    Return expected minus measured accuracy: above zero, the model is overconfident.

    Only the measured accuracy widens the interval, because the expected accuracy is a mean over all published decisions.
    """
    if without.accuracy is None or measured.value is None:
        return Figure(value=None, low=-1.0, high=1.0, answers=measured.answers)
    return Figure(
        value=without.accuracy - measured.value,
        low=without.accuracy - measured.high,
        high=without.accuracy - measured.low,
        answers=measured.answers,
    )


def _known(value: float) -> float | None:
    return None if np.isnan(value) else float(value)

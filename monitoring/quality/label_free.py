"""The accuracy that the model itself expects, and how far it is from what people found.

The expectation needs no answer, so it is there at once and for every window. It is blind to labels that change meaning and to
mistakes that the model is sure of: the gap between it and the measured accuracy is the part that only people can see.
"""

from dataclasses import dataclass

import numpy as np

from tagstream.monitoring.quality.estimate import Figure
from tagstream.monitoring.quality.figures import BY_LABEL, Totals
from tagstream.monitoring.quality.sample import Population, Sample, expected_shares


@dataclass(frozen=True, slots=True, kw_only=True)
class LabelFree:
    """
    Expected figures of what is published.

    Attributes:
        accuracy: Mean confidence; None without a drawn decision.
        by_label: Label to `precision`, `recall` and `f1`; None where nothing of the label is expected.
    """

    accuracy: float | None
    by_label: dict[str, dict[str, float | None]]


def expected(sample: Sample, population: Population | None = None) -> LabelFree:
    """
    The expected figures of what is published, answered or not.

    Args:
        sample: The drawn decisions; they speak where the population is not known.
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
    How much more the model expects of itself than people found: above zero it is too sure.

    The interval is that of the measured accuracy, because the expectation is a mean of all that was published.
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

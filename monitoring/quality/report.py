"""Everything that can be said of one window: measured, expected, by slice, of the reviewers, and what to do next."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from monitoring.quality.advice import Advice, advise
from monitoring.quality.estimate import Estimate, Figure, accuracy, everything, published
from monitoring.quality.label_free import LabelFree, expected, gap
from monitoring.quality.reviewers import Reviewers, reviewers
from monitoring.quality.sample import Bools, Floats, Sample

# Names of slices come from events: the most frequent ones are shown.
MOST_VALUES = 12


@dataclass(frozen=True, slots=True, kw_only=True)
class Window:
    """
    The decisions of one stretch of time, closed by the time of the decision.

    Attributes:
        sample: What was drawn for people, answered or not.
        populations: All decisions by door and predicted label, [2, K]; None if only the drawn ones are known.
        slices: Name of a slice to its value of each row, [n] of text.
        movable: Whether low confidence alone sent the row to people, [n].
    """

    sample: Sample
    populations: Floats | None
    slices: Mapping[str, npt.NDArray[np.str_]]
    movable: Bools


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """
    Live quality of one window.

    Attributes:
        promise: The accuracy that consumers of `tagged` are promised.
        published: What consumers got without a person.
        model: The model over both doors.
        expected: What the model expects of itself, without labels.
        gap: Expected minus measured accuracy of what is published.
        slices: Slice to its values to their accuracy, of what is published.
        reviewers: What second opinions say of first ones.
        advice: Whether new thresholds are worth doing.
    """

    promise: float
    published: Estimate
    model: Estimate
    expected: LabelFree
    gap: Figure
    slices: dict[str, dict[str, Figure]]
    reviewers: Reviewers
    advice: Advice


def measure(window: Window, *, promise: float) -> Report:
    """Estimate everything of a window; `promise` is the promised accuracy, 0 to 1."""
    sample = window.sample
    measured = published(sample, window.populations)
    model = everything(sample, window.populations)
    without = expected(sample)
    return Report(
        promise=promise,
        published=measured,
        model=model,
        expected=without,
        gap=gap(without, measured.accuracy),
        slices={name: _by_value(sample, values) for name, values in window.slices.items()},
        reviewers=reviewers(sample),
        advice=advise(sample, measured, movable=window.movable, promise=promise, decisions=model.decisions),
    )


def _by_value(sample: Sample, values: npt.NDArray[np.str_]) -> dict[str, Figure]:
    found, counts = np.unique(values[sample.published], return_counts=True)
    shown = found[np.argsort(-counts, kind="stable")][:MOST_VALUES]
    return {str(value): accuracy(sample.where(sample.published & (values == value))) for value in shown}

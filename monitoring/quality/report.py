"""Everything that can be said of one window: measured, expected, by slice, of the reviewers, and what to do next."""

from collections.abc import Mapping
from dataclasses import dataclass

from monitoring.quality.advice import UNJUDGED, Advice, advise
from monitoring.quality.estimate import Estimate, Figure, accuracy, everything, published
from monitoring.quality.label_free import LabelFree, expected, gap
from monitoring.quality.reviewers import Reviewers, reviewers
from monitoring.quality.sample import Bools, Population, Sample


@dataclass(frozen=True, slots=True, kw_only=True)
class Window:
    """
    The decisions of one stretch of time, closed by the time of the decision.

    Attributes:
        sample: What was drawn for people, answered or not.
        population: All decisions; None if only the drawn ones are known.
        slices: Name of a slice to its values, each with what of it was drawn and published.
        movable: Whether low confidence alone sent the row to people, [n].
    """

    sample: Sample
    population: Population | None
    slices: Mapping[str, Mapping[str, Sample]]
    movable: Bools


@dataclass(frozen=True, slots=True, kw_only=True)
class Promise:
    """
    What consumers of `tagged` are promised.

    Attributes:
        accuracy: Of all that is published together, 0 to 1.
        least: The precision below which no label is to lie, 0 to 1.
    """

    accuracy: float
    least: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """
    Live quality of one window.

    Attributes:
        promise: The accuracy that consumers of `tagged` are promised; None where it is not known.
        published: What consumers got without a person.
        model: The model over both doors.
        expected: What the model expects of itself, without labels.
        gap: Expected minus measured accuracy of what is published.
        slices: Slice to its values to their accuracy, of what is published.
        reviewers: What second opinions say of first ones.
        advice: Whether new thresholds are worth doing.
    """

    promise: float | None
    published: Estimate
    model: Estimate
    expected: LabelFree
    gap: Figure
    slices: dict[str, dict[str, Figure]]
    reviewers: Reviewers
    advice: Advice


def measure(window: Window, *, promise: Promise | None) -> Report:
    """Estimate everything of a window; without a promise nothing is judged by one."""
    sample = window.sample
    measured = published(sample, window.population)
    model = everything(sample, window.population)
    without = expected(sample, window.population)
    return Report(
        promise=None if promise is None else promise.accuracy,
        published=measured,
        model=model,
        expected=without,
        gap=gap(without, measured.accuracy),
        slices={name: {value: accuracy(rows) for value, rows in values.items()} for name, values in window.slices.items()},
        reviewers=reviewers(sample),
        advice=UNJUDGED
        if promise is None
        else advise(
            sample,
            measured,
            movable=window.movable,
            promise=promise.accuracy,
            least=promise.least,
            decisions=model.decisions,
        ),
    )

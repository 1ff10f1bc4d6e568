"""Everything that can be said of one window: measured, expected, by slice, of the reviewers, and what to do next."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from tagstream.monitoring.quality.advice import UNJUDGED, ThresholdAdvice, advise
from tagstream.monitoring.quality.estimate import Estimate, Figure, accuracy, everything, published
from tagstream.monitoring.quality.label_free import LabelFree, expected, gap
from tagstream.monitoring.quality.reviewers import Reviewers, reviewers
from tagstream.monitoring.quality.sample import Bools, Population, Sample


@dataclass(frozen=True, slots=True, kw_only=True)
class DecisionGroup:
    """
    The decisions of a window that one model made, or one arm of it.

    Attributes:
        name: Of the model, or of the arm.
        bundles: Digests of the bundles that made them, the newest first. They may differ in thresholds, and in nothing that an accuracy rests on.
        epochs: Those in which they were made, in their order; 0 is the time before the first change of the model.
        sample: Those that were drawn for people.
        population: All of them.
        fallback: How many of them the champion made in the challenger's place.
    """

    name: str
    bundles: tuple[str, ...]
    epochs: tuple[int, ...]
    sample: Sample
    population: Population
    fallback: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Window:
    """
    The decisions of one stretch of time, closed by the time of the decision.

    Attributes:
        sample: The decisions that were drawn for people, answered or not.
        population: All decisions; None if only the drawn ones are known.
        slices: Name of a slice to its values, each with its drawn decisions that were published.
        movable: Whether low confidence alone sent the row to people, [n].
        models: By model, the newest first; none where there is one bundle.
        arms: Champion and challenger of the newest canary; none without one.
    """

    sample: Sample
    population: Population | None
    slices: Mapping[str, Mapping[str, Sample]]
    movable: Bools
    models: Sequence[DecisionGroup] = ()
    arms: Sequence[DecisionGroup] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class PromisedAccuracy:
    """
    The promise to consumers of `tagged`.

    Attributes:
        accuracy: Of all that is published together, 0 to 1.
        least: The precision below which no label is to lie, 0 to 1.
    """

    accuracy: float
    least: float


@dataclass(frozen=True, slots=True, kw_only=True)
class MeasuredModel:
    """
    How right one model is, or one arm; name, bundles, epochs and fallback as in `DecisionGroup`.

    Attributes:
        published: Its decisions that consumers got without a person.
        model: Its decisions over both destinations.
    """

    name: str
    bundles: tuple[str, ...]
    epochs: tuple[int, ...]
    fallback: int
    published: Estimate
    model: Estimate


@dataclass(frozen=True, slots=True, kw_only=True)
class QualityReport:
    """
    Live quality of one window.

    Attributes:
        promise: The accuracy that consumers of `tagged` are promised; None where it is not known.
        published: The decisions that consumers got without a person.
        model: The model over both destinations, `tagged` and `review`.
        expected: The figures that the model expects of itself, without labels.
        gap: Expected minus measured accuracy of what is published.
        slices: Slice to its values to their accuracy, of what is published.
        reviewers: The slips in first opinions, by the second ones.
        advice: Whether new thresholds are worth doing.
        models: As in `Window`.
        arms: As in `Window`.
    """

    promise: float | None
    published: Estimate
    model: Estimate
    expected: LabelFree
    gap: Figure
    slices: dict[str, dict[str, Figure]]
    reviewers: Reviewers
    advice: ThresholdAdvice
    models: tuple[MeasuredModel, ...] = ()
    arms: tuple[MeasuredModel, ...] = ()


def measure(window: Window, *, promise: PromisedAccuracy | None) -> QualityReport:
    """Estimate everything of a window; without a promise nothing is judged by one."""
    sample = window.sample
    measured = published(sample, window.population)
    model = everything(sample, window.population)
    without = expected(sample, window.population)
    people = reviewers(sample)
    return QualityReport(
        promise=None if promise is None else promise.accuracy,
        published=measured,
        model=model,
        expected=without,
        gap=gap(without, measured.accuracy),
        slices={name: {value: accuracy(rows) for value, rows in values.items()} for name, values in window.slices.items()},
        reviewers=people,
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
        models=tuple(_measured(one, people) for one in window.models),
        arms=tuple(_measured(one, people) for one in window.arms),
    )


def _measured(one: DecisionGroup, people: Reviewers) -> MeasuredModel:
    """With the slips of all answers: people do not know which model they look at, and one model's audits may be few."""
    return MeasuredModel(
        name=one.name,
        bundles=one.bundles,
        epochs=one.epochs,
        fallback=one.fallback,
        published=published(one.sample, one.population, people=people),
        model=everything(one.sample, one.population, people=people),
    )

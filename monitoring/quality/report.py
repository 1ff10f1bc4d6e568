"""The quality report of one window: measured and expected figures, slices, reviewers' slips, and advice."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from tagstream.monitoring.quality.advice import UNJUDGED, ThresholdAdvice, advise
from tagstream.monitoring.quality.estimate import Estimate, Figure, accuracy, everything, published
from tagstream.monitoring.quality.feedback import Feedback
from tagstream.monitoring.quality.label_free import LabelFree, expected, gap
from tagstream.monitoring.quality.reviewers import Reviewers, reviewers
from tagstream.monitoring.quality.sample import Bools, Population, Sample


@dataclass(frozen=True, slots=True, kw_only=True)
class DecisionGroup:
    """
    The decisions of one model, or of one arm, in a window.

    Attributes:
        name: The name of the model or the arm.
        bundles: Digests of the bundles that made the decisions, the newest first. The bundles may differ in thresholds, but not in
            anything that changes the accuracy.
        epochs: The epochs of the decisions, in order; 0 is the time before the first change of the model.
        sample: The decisions that were drawn for people.
        population: All decisions of the group.
        fallback: Number of decisions that the champion made in the challenger's place.
        feedback: What people, readers and viewers said about the decisions.
        sources: The number of decisions by the events' source.
    """

    name: str
    bundles: tuple[str, ...]
    epochs: tuple[int, ...]
    sample: Sample
    population: Population
    fallback: int
    feedback: Feedback
    sources: Mapping[str, int]


@dataclass(frozen=True, slots=True, kw_only=True)
class Window:
    """
    The decisions of one time span, selected by the time of the decision.

    Attributes:
        sample: The decisions that were drawn for people, answered or not.
        population: All decisions; None if only the drawn ones are known.
        slices: By slice and value, the drawn decisions that were published.
        movable: Whether low confidence alone sent the row to people, [n].
        models: The decisions of each model, the newest model first; empty if there is only one bundle.
        arms: The decisions of champion and challenger of the newest canary; empty without a canary.
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
        accuracy: The accuracy of all published decisions together, 0 to 1.
        least: The least precision that is allowed for a label, 0 to 1.
    """

    accuracy: float
    least: float


@dataclass(frozen=True, slots=True, kw_only=True)
class MeasuredModel:
    """
    The figures of one model or one arm. `name`, `bundles`, `epochs`, `fallback`, `feedback` and `sources` are as in `DecisionGroup`.

    Attributes:
        published: The figures of the decisions that consumers got without a person.
        model: The figures over both destinations.
    """

    name: str
    bundles: tuple[str, ...]
    epochs: tuple[int, ...]
    fallback: int
    feedback: Feedback
    sources: Mapping[str, int]
    published: Estimate
    model: Estimate


@dataclass(frozen=True, slots=True, kw_only=True)
class QualityReport:
    """
    Live quality of one window.

    Attributes:
        promise: The accuracy that consumers of `tagged` are promised; None if it is not known.
        published: The figures of the decisions that consumers got without a person.
        model: The figures of the model over both destinations, `tagged` and `review`.
        expected: The figures that the model expects of itself, without labels.
        gap: Expected minus measured accuracy of the published decisions.
        slices: By slice and value, the accuracy of the published decisions.
        reviewers: The slips in first opinions, found by second opinions.
        advice: Whether new thresholds are worth the work.
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
    """Estimate all figures of a window. Without a promise, the advice is `UNJUDGED`."""
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
    """Estimate one group, with the slips of all answers: people do not know whose decision they review, and a group may have few audits."""
    return MeasuredModel(
        name=one.name,
        bundles=one.bundles,
        epochs=one.epochs,
        fallback=one.fallback,
        feedback=one.feedback,
        sources=one.sources,
        published=published(one.sample, one.population, people=people),
        model=everything(one.sample, one.population, people=people),
    )

"""Alarms for the page and the terminal: the conditions of `prometheus/alerts.yml`, judged without Prometheus.

The names are those of the alerts, so each has its page in `docs/runbooks`. An alert looks at an hour and waits before
it fires; an alarm describes the present, over the span that the figures name.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from enum import StrEnum

from monitoring import limits
from monitoring.figures.figures import Figures, Measure
from monitoring.vocabulary import DriftSignal


class Tier(StrEnum):
    """Urgency, the most urgent first. Page: users are affected now. Ticket: look at it in working hours. Info: good to know."""

    PAGE = "page"
    TICKET = "ticket"
    INFO = "info"


@dataclass(frozen=True, slots=True, kw_only=True)
class Alarm:
    """
    One alarm.

    Attributes:
        name: The alert's name.
        tier: Its urgency.
        what: A sentence with the figures.
        next: The next step.
        also: The other alerts on the same cause.
    """

    name: str
    tier: Tier
    what: str
    next: str
    also: tuple[str, ...] = ()


# One change of the stream moves many figures. Of its alarms the first of these is told: it is nearest to the cause.
CAUSES = (
    "TokensPerWordDrift",
    "WithoutDescriptionShare",
    "UnseenSourceShare",
    "ContentDrift",
    "PredictionDrift",
    "OutOfDistributionShare",
    "ConfidenceDrift",
    "EnergyDrift",
    "ReviewShareRise",
    "SuddenChange",
)


# The next step for all drift: the finding names words, labels, sources and example events. Whether a worker has learnt its words and
# sources yet is in none of its metrics.
DRIFT = (
    "tagstream drift tail --from-beginning says which labels and events moved, and which words and sources, if the worker has a "
    "reference for them (docs/drift.md)."
)

# The watched signals as people call them.
SIGNALS: Mapping[str, str] = {
    DriftSignal.CONFIDENCE: "The mean confidence",
    DriftSignal.ENERGY: "The mean energy",
    DriftSignal.TOKENS_PER_WORD: "The mean number of tokens per word",
    DriftSignal.DESCRIBED: "The share of events with a description",
}

# The next step where no model decides: drift is no cause, and no drift is looked for.
RULES = "find out why the model does not decide (docs/runbooks/ReviewShareOverBudget.md), then set TAGSTREAM_DECIDER=model."


def alarms(figures: Figures) -> list[Alarm]:
    """All alarms of a moment, pages before tickets."""
    found = [
        *_workers(figures),
        *_transactions(figures),
        *_flow(figures),
        *_models(figures),
        *_reviews(figures),
        *_unwatched(figures),
        *_one_cause(
            figures, [*_distances(figures), *_shares(figures), *_rise(figures), *_windows(figures), *_changes(figures)]
        ),
        *_unlike(figures),
    ]
    return sorted(found, key=lambda alarm: list(Tier).index(alarm.tier))


def _one_cause(figures: Figures, found: list[Alarm]) -> list[Alarm]:
    """What moved in the stream, as one alarm: the sentence nearest to the cause, since when, and the names of the others."""
    if not found:
        return []
    first, *others = sorted(found, key=lambda alarm: CAUSES.index(alarm.name))
    since = figures.detectors.last_change
    clock = datetime.fromtimestamp(since, UTC).strftime("%H:%M UTC") if since is not None else ""
    # A jump from before the judged span may be another one.
    recent = since is not None and figures.at - since < limits.ONE_CAUSE_SECONDS
    what = f"{first.what.removesuffix('.')}, since {clock}." if recent else first.what
    return [replace(first, what=what, also=tuple(dict.fromkeys(other.name for other in others if other.name != first.name)))]


def _unlike(figures: Figures) -> Iterator[Alarm]:
    found = figures.detectors.from_bundle
    far = max((found.get(name, 0.0) for name in ("confidence", "energy")), default=0.0)
    if far > limits.UNLIKE_BUNDLE_KS:
        what = f"Your stream is unlike what the model was tuned on (KS {far:.2f}), so its promise need not hold here."
        next_step = "let people answer audits; tagstream quality then says how good the tags are."
        yield Alarm(name="StreamUnlikeBundle", tier=Tier.INFO, what=what, next=next_step)


def _workers(figures: Figures) -> Iterator[Alarm]:
    for trouble in figures.troubles:
        if trouble.no_fault:
            continue
        # A next step that the worker itself names is better informed, so it replaces ours.
        why, _, step = trouble.why.partition(" Next: ")
        if trouble.breaker_open:
            name, so = "CircuitBreakerOpen", "has stopped and waits for a person"
            usual = "docs/runbooks/CircuitBreakerOpen.md; the worker's /readyz names the file that keeps it open."
        elif trouble.brokers_silent:
            name, so, usual = (
                "BrokersUnreachable",
                "gets no answer from Kafka",
                "run tagstream doctor: it checks each broker.",
            )
        elif trouble.answers:
            name, so, usual = "Stalled", "is not ready", "read the worker's last log lines."
        else:
            name, so, usual = "WorkerAbsent", "does not answer", "check whether it runs, then run tagstream doctor."
        what = f"The worker {trouble.worker} {so}: {why.removesuffix('.')}."
        yield Alarm(name=name, tier=Tier.PAGE, what=what, next=f"{step.removesuffix('.')}." if step else usual)


def _transactions(figures: Figures) -> Iterator[Alarm]:
    found = [one for one in figures.position.open_transactions if one.seconds > limits.OPEN_TRANSACTION_SECONDS]
    if found:
        waiting = ", ".join(f"{one.events} of partition {one.partition} for {one.seconds:.0f} s" for one in found)
        what = f"Events wait behind an open transaction of a producer, and no worker may read them: {waiting}."
        next_step = "tagstream doctor, then docs/runbooks/OpenTransaction.md: it finds the producer and ends the transaction."
        yield Alarm(name="OpenTransaction", tier=Tier.PAGE, what=what, next=next_step)


def _flow(figures: Figures) -> Iterator[Alarm]:
    shares = {share.name: share for share in figures.shares}
    stale = shares["stale"]
    if stale.over:
        what = f"{stale.value:.1%} of the outcomes came more than {limits.STALE_SECONDS:.0f} s after their event, and it continues."
        yield Alarm(
            name="FreshnessBurn", tier=Tier.PAGE, what=what, next="add workers if the lag grows; else wait for it to fall."
        )
    dead = shares["dead_letter"]
    if dead.over:
        what = f"{dead.value:.1%} of the events became dead letters{_most_frequent(figures.dead_letters)}."
        next_step = "tagstream dlq list --since 1h shows each with its reason."
        yield Alarm(name="DeadLetterRatio", tier=Tier.PAGE, what=what, next=next_step)


def _most_frequent(reasons: Mapping[str, int]) -> str:
    """
    The most frequent reason with its count, so that a reason of few is not taken for that of most.

    >>> _most_frequent({"invalid_json": 3, "wrong_type": 2, "empty": 9})
    '; most frequent reason: empty (9 of 14)'
    """
    if not reasons:
        return ""
    most = max(reasons, key=lambda reason: reasons[reason])
    return f"; most frequent reason: {most} ({reasons[most]} of {sum(reasons.values())})"


def _models(figures: Figures) -> Iterator[Alarm]:
    if _decide_differently(figures):
        if len({model.digest for model in figures.models}) > 1:
            versions = ", ".join(sorted(f"{model.version} ({model.digest[:8]})" for model in figures.models))
            what = f"Workers decide with different bundles: {versions}. Drift is not judged until they agree."
            following = "finish or undo the roll-out."
        else:
            ways = ", ".join(sorted(model.arithmetic or "as the bundle's maker" for model in figures.models))
            what = f"Workers on different processors compute the same bundle differently: {ways}."
            following = "run all workers on processors of one kind."
        yield Alarm(name="ModelVersionSkew", tier=Tier.TICKET, what=what, next=following)


def _distances(figures: Figures) -> Iterator[Alarm]:
    moved = max(figures.labels, key=lambda label: label.psi_term or 0.0, default=None)
    most = f", mostly in {moved.label}" if moved and moved.psi_term else ""
    yield from _judged(
        figures.distances,
        {
            "labels": (
                "PredictionDrift",
                lambda one: f"The mix of tags differs from the reference (PSI {one.value:.2f}){most}.",
            ),
            "confidence": (
                "ConfidenceDrift",
                lambda one: f"The model's confidence differs from the reference (KS {one.value:.2f}).",
            ),
            "energy": (
                "EnergyDrift",
                lambda one: f"The texts are less, or more, familiar to the model than in the reference (KS {one.value:.2f}).",
            ),
            "tokens_per_word": (
                "TokensPerWordDrift",
                lambda one: f"At least {one.value:.0%} of the texts are in another language or format (tokens per word).",
            ),
        },
        _what_moved(figures),
    )


def _shares(figures: Figures) -> Iterator[Alarm]:
    yield from _judged(
        figures.shares,
        {
            "out_of_distribution": (
                "OutOfDistributionShare",
                lambda one: f"{one.value:.1%} of the texts are unlike the training text; in the reference {one.reference:.1%}.",
            ),
            "without_description": (
                "WithoutDescriptionShare",
                lambda one: f"{one.value:.0%} of the events are a title alone; in the reference {one.reference:.0%}.",
            ),
            "unseen_source": (
                "UnseenSourceShare",
                lambda one: f"{one.value:.0%} of the events come from producers that known_sources does not name.",
            ),
        },
        _what_moved(figures),
    )


def _rise(figures: Figures) -> Iterator[Alarm]:
    (review,) = (one for one in figures.shares if one.name == "review")
    if review.over and review.value is not None and review.value <= limits.REVIEW_RATIO:
        what = f"{review.value:.0%} of the decisions go to a person; in the reference {review.reference or 0.0:.0%}."
        yield Alarm(name="ReviewShareRise", tier=Tier.TICKET, what=what, next=_what_moved(figures))


def _reviews(figures: Figures) -> Iterator[Alarm]:
    (review,) = (one for one in figures.shares if one.name == "review")
    if review.over and review.value is not None and review.value > limits.REVIEW_RATIO:
        window, what = figures.window, f"{review.value:.0%} of the decisions go to a person"
        # The rules have no predictions, so the decisions beyond the predictions are theirs.
        if window.decided - window.decisions > window.decided / 2:
            what, next_step = f"{what}: the keyword rules decide, and they are sure of no event.", RULES
        else:
            what, next_step = f"{what}; the budget is {limits.REVIEW_RATIO:.0%}.", _what_moved(figures)
        yield Alarm(name="ReviewShareOverBudget", tier=Tier.TICKET, what=what, next=next_step)


def _changes(figures: Figures) -> Iterator[Alarm]:
    jumped = [SIGNALS.get(signal, signal) for signal, count in figures.detectors.changes.items() if count]
    if jumped:
        first, *others = jumped
        what = " and ".join([first, *(other[0].lower() + other[1:] for other in others)])
        yield Alarm(name="SuddenChange", tier=Tier.TICKET, what=f"{what} jumped in a worker.", next=DRIFT)


def _unwatched(figures: Figures) -> Iterator[Alarm]:
    silent, window = figures.detectors.silent_seconds or 0.0, figures.window
    if silent > limits.COMPARED_SECONDS and window.seconds:
        meanwhile = window.decisions / window.seconds * limits.COMPARED_SECONDS
        if meanwhile > limits.COMPARED_WINDOWS * max(limits.COMPARED_LEAST, figures.detectors.window_events):
            what = f"No window of events has been compared with the reference for {silent / 3600:.0f} h, so drift would not be noticed."
            next_step = "search the workers' logs for drift, then restart them."
            yield Alarm(name="DriftEvaluationStale", tier=Tier.TICKET, what=what, next=next_step)


def _windows(figures: Figures) -> Iterator[Alarm]:
    if figures.window.decisions < limits.LEAST_DECISIONS:
        return
    sentences: dict[str, Callable[[float], str]] = {
        # New producers bring new words, so they are told first.
        "sources": lambda score: (
            f"{score:.0%} of the events are from producers that the reference does not have, beyond chance."
        ),
        "words": lambda score: f"Words that were rare are now in many events (z {score:.1f}).",
    }
    for signal, sentence in sentences.items():
        score, threshold = figures.detectors.scores.get(signal), figures.detectors.thresholds.get(signal)
        if score is not None and threshold and score >= threshold:
            yield Alarm(name="ContentDrift", tier=Tier.TICKET, what=sentence(score), next=DRIFT)


def _what_moved(figures: Figures) -> str:
    """The next step of a drift alarm. Before its first full window a worker has compared nothing, so it has no finding to read."""
    found = figures.detectors
    if found.compared_seconds_ago is not None or not found.window_events:
        return DRIFT
    return (
        f"tagstream tail content shows the events; no window of {found.window_events:.0f} decisions has been compared with the "
        f"reference yet, so no finding names words, labels or sources."
    )


def _judged(
    measures: tuple[Measure, ...], sentences: Mapping[str, tuple[str, Callable[[Measure], str]]], next_step: str
) -> Iterator[Alarm]:
    for measure in measures:
        if measure.name in sentences and measure.over:
            name, sentence = sentences[measure.name]
            yield Alarm(name=name, tier=Tier.TICKET, what=sentence(measure), next=next_step)


def _decide_differently(figures: Figures) -> bool:
    return len({(model.digest, model.arithmetic) for model in figures.models}) > 1

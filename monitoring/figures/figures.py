"""The figures that people look at, page and terminal alike: flow, latency, confidence, labels, drift. Computed, never drawn, here."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from monitoring import limits
from monitoring.comparison import ks, psi, psi_terms
from monitoring.figures.history import Windows
from monitoring.figures.snapshot import Snapshot, bins
from monitoring.health import SILENT
from monitoring.vocabulary import Destination

DECISIONS = "tagstream_predictions_total"
PUBLISHED = "tagstream_events_published_total"
CONFIDENCE = "tagstream_confidence_ratio"
AGE = "tagstream_event_age_seconds"
BREAKER = "tagstream_circuit_breaker_open"


@dataclass(frozen=True, slots=True, kw_only=True)
class Trouble:
    """A worker that does not answer, or answers that it is not ready; `why` in its own words, if need be with what to do next."""

    worker: str
    answers: bool
    why: str
    breaker_open: bool = False
    brokers_silent: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Model:
    """A bundle that decides."""

    name: str
    version: str
    digest: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Window:
    """
    What drift is judged on: its length and its events; seconds are None where a worker does not say them.

    `decisions` are the model's; `decided` left by `tagged` or `review`, whoever decided, the keyword rules too.
    """

    seconds: float | None
    decisions: int
    decided: int
    events: int
    since_start: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Flow:
    """Events a second of the last seconds, and how old they were at the end."""

    received: float | None = None
    tagged: float | None = None
    review: float | None = None
    dlq: float | None = None
    p50_seconds: float | None = None
    p99_seconds: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Totals:
    """Events since the workers began."""

    received: int
    tagged: int
    review: int
    dlq: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Position:
    """Where the workers stand in the log, added up; the oldest event is the oldest of all workers."""

    lag: int | None
    inflight: int | None
    partitions: int | None
    oldest_seconds: float | None
    idle_seconds: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Label:
    """One label: its share of the decisions beside the reference's, its part of the PSI, and the mean confidence of its decisions."""

    label: str
    share: float | None
    reference: float | None
    psi_term: float | None
    confidence: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Bar:
    """The share of confidences above `low` and up to `high`, beside the reference's."""

    low: float
    high: float
    share: float | None
    reference: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Confidence:
    """
    How sure the model is.

    Attributes:
        mean: The estimate of accuracy without labels: right if the model is as sure as it is right, which it cannot see itself.
        thresholds: Below it a person is asked, by label (the strictest of the workers); above 1 where one always is.
        bars: The distribution beside the reference's.
    """

    mean: float | None
    thresholds: Mapping[str, float]
    bars: tuple[Bar, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Measure:
    """
    A figure with its limit.

    Attributes:
        name: For machines.
        title: For people.
        value: None where the workers do not have it.
        reference: What it was in the reference, where there is such a thing.
        limit: An alarm above it; None where nothing is judged.
    """

    name: str
    title: str
    value: float | None
    reference: float | None = None
    limit: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Detectors:
    """
    What the workers' own detectors say.

    Attributes:
        changes: Sudden changes in the window, by signal.
        scores: Of the last windows of words, tags and sources.
        thresholds: From where on they are findings; empty where the workers do not say.
        compared_seconds_ago: When the last of them was compared with the reference; None before the first.
        silent_seconds: The same, or since the start before the first; None where the workers do not compare at all.
        window_events: Decisions in a window, the largest of the workers'; 0 where none of them says.
    """

    changes: Mapping[str, int]
    scores: Mapping[str, float]
    thresholds: Mapping[str, float]
    compared_seconds_ago: float | None
    silent_seconds: float | None
    window_events: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Figures:
    """Everything at one moment. `distances` are judged by distributions, `shares` by counting."""

    at: float
    workers: int
    troubles: tuple[Trouble, ...]
    models: tuple[Model, ...]
    window: Window
    flow: Flow
    totals: Totals
    position: Position
    labels: tuple[Label, ...]
    confidence: Confidence
    distances: tuple[Measure, ...]
    shares: tuple[Measure, ...]
    dead_letters: Mapping[str, int]
    detectors: Detectors


def trouble_of(worker: str, seen: Snapshot, *, ready: bool, why: str) -> Trouble | None:
    """
    What keeps a worker that answers from deciding; None if nothing does.

    Args:
        worker: Its name.
        seen: Its own series.
        ready: What its readiness says, true where there is none to ask.
        why: In its own words.
    """
    # A breaker that is open is not a worker that is stuck, and readiness alone cannot tell one from the other.
    opened = any(seen.gauge(BREAKER))
    if ready and not opened:
        return None
    why = "the circuit breaker is open" if ready else why
    return Trouble(worker=worker, answers=True, why=why, breaker_open=opened, brokers_silent=why.startswith(SILENT))


def figures(windows: Windows, troubles: Sequence[Trouble] = ()) -> Figures:
    """The figures of these spans; `troubles` are what the workers' readiness says, or that they do not answer."""
    judged, total = windows.judged, windows.total
    return Figures(
        at=total.at,
        workers=total.workers,
        troubles=tuple(troubles),
        models=tuple(
            Model(name=info.get("name", ""), version=info.get("version", ""), digest=info.get("digest", ""))
            for info in total.infos("tagstream_model_info")
            # Before a bundle is loaded the series has no labels.
            if info.get("digest")
        ),
        window=Window(
            seconds=judged.seconds,
            decisions=_count(judged, DECISIONS),
            decided=sum(_count(judged, PUBLISHED, destination=door.value) for door in (Destination.TAGGED, Destination.REVIEW)),
            events=_count(judged, PUBLISHED),
            since_start=windows.since_start,
        ),
        flow=_flow(windows.flow) if windows.flow else Flow(),
        totals=Totals(
            received=_count(total, "tagstream_events_received_total"),
            **{door.value: _count(total, PUBLISHED, destination=door.value) for door in Destination},
        ),
        position=_position(total),
        labels=_labels(judged),
        confidence=_confidence(judged),
        distances=_distances(judged),
        shares=_shares(judged),
        dead_letters={
            reason: round(count)
            for reason, count in sorted(judged.counter_by("tagstream_events_dead_lettered_total", "reason").items())
            if count
        },
        detectors=_detectors(judged, total),
    )


def _count(snapshot: Snapshot, name: str, **labels: str) -> int:
    return round(snapshot.counter(name, **labels) or 0)


def _flow(last: Snapshot) -> Flow:
    ages = last.histogram(AGE)
    return Flow(
        received=last.rate("tagstream_events_received_total"),
        **{door.value: last.rate(PUBLISHED, destination=door.value) for door in Destination},
        p50_seconds=ages.quantile(0.5) if ages else None,
        p99_seconds=ages.quantile(0.99) if ages else None,
    )


def _position(now: Snapshot) -> Position:
    def whole(name: str) -> int | None:
        values = now.gauge(name)
        return round(sum(values)) if values else None

    last = max(now.gauge("tagstream_last_event_timestamp_seconds"), default=0.0)
    return Position(
        lag=whole("tagstream_committed_lag_events"),
        inflight=whole("tagstream_inflight_events"),
        partitions=whole("tagstream_assigned_partitions"),
        oldest_seconds=max(now.gauge("tagstream_oldest_unprocessed_seconds"), default=None),
        idle_seconds=max(0.0, now.at - last) if last else now.seconds,
    )


def _mix(judged: Snapshot) -> tuple[dict[str, float], dict[str, float]]:
    """Share and reference of the labels."""
    counts = judged.counter_by(DECISIONS, "label")
    whole = sum(counts.values())
    share = {label: count / whole for label, count in counts.items()} if whole else {}
    return share, judged.gauge_by("tagstream_reference_label_ratio", "label")


def _labels(judged: Snapshot) -> tuple[Label, ...]:
    share, reference = _mix(judged)
    terms = psi_terms(share, reference)
    names = sorted(judged.counter_by(DECISIONS, "label").keys() | reference.keys())
    found = []
    for name in names:
        sure = judged.histogram(CONFIDENCE, label=name)
        found.append(
            Label(
                label=name,
                share=share.get(name),
                reference=reference.get(name),
                psi_term=terms.get(name),
                confidence=sure.mean if sure else None,
            )
        )
    return tuple(found)


def _confidence(judged: Snapshot) -> Confidence:
    live = judged.histogram(CONFIDENCE)
    reference = {(one.low, one.high): one.share for one in bins(judged.reference_cdf("tagstream_reference_confidence_cdf"))}
    shares = {(one.low, one.high): one.share for one in bins(live.cdf)} if live else {}
    edges = sorted(shares.keys() | reference.keys())
    return Confidence(
        mean=live.mean if live else None,
        thresholds=judged.gauge_by("tagstream_confidence_threshold_ratio", "label"),
        bars=tuple(
            Bar(low=max(0.0, low), high=min(1.0, high), share=shares.get((low, high)), reference=reference.get((low, high)))
            for low, high in edges
        ),
    )


def _distances(judged: Snapshot) -> tuple[Measure, ...]:
    def distance(name: str, title: str, live: str, reference: str, limit: float) -> Measure:
        histogram = judged.histogram(live)
        return Measure(
            name=name,
            title=title,
            value=ks(histogram.cdf, judged.reference_cdf(reference)) if histogram else None,
            limit=limit,
        )

    return (
        Measure(name="labels", title="label mix (PSI)", value=psi(*_mix(judged)), limit=limits.LABEL_PSI),
        distance("confidence", "confidence (KS)", CONFIDENCE, "tagstream_reference_confidence_cdf", limits.CONFIDENCE_KS),
        distance("energy", "energy (KS)", "tagstream_energy_score", "tagstream_reference_energy_cdf", limits.ENERGY_KS),
        distance(
            "tokens_per_word",
            "tokens a word (KS)",
            "tagstream_text_tokens_per_word_ratio",
            "tagstream_reference_text_tokens_per_word_cdf",
            limits.TOKENS_PER_WORD_KS,
        ),
    )


def _shares(judged: Snapshot) -> tuple[Measure, ...]:
    def reference(name: str) -> float | None:
        return max(judged.gauge(name), default=None)

    usual_ood = reference("tagstream_reference_ood_ratio")
    usual_bare = reference("tagstream_reference_without_description_ratio")
    tagged = judged.counter(PUBLISHED, destination=Destination.TAGGED.value)
    reviewed = judged.counter(PUBLISHED, destination=Destination.REVIEW.value)
    decided = (tagged or 0) + (reviewed or 0)
    sources = judged.counter_by("tagstream_events_by_source_total", "source")
    ages = judged.histogram(AGE)
    outcomes, dead = judged.counter(PUBLISHED), judged.counter(PUBLISHED, destination=Destination.DLQ.value)
    return (
        Measure(
            name="review",
            title="sent to a person",
            value=None if reviewed is None or not decided else reviewed / decided,
            limit=limits.REVIEW_RATIO,
        ),
        Measure(
            name="dead_letter",
            title="dead letters",
            value=None if dead is None or not outcomes else dead / outcomes,
            limit=limits.DEAD_LETTER_RATIO,
        ),
        Measure(
            name="stale",
            title=f"older than {limits.STALE_SECONDS:.0f} s",
            value=ages.share_above(limits.STALE_SECONDS) if ages else None,
            limit=limits.STALE_RATIO,
        ),
        Measure(
            name="out_of_distribution",
            title="unlike the training text",
            value=judged.ratio("tagstream_ood_events_total", DECISIONS),
            reference=usual_ood,
            limit=None
            if usual_ood is None
            else limits.OUT_OF_DISTRIBUTION_TIMES * max(usual_ood, limits.OUT_OF_DISTRIBUTION_LEAST),
        ),
        Measure(
            name="without_description",
            title="title alone",
            value=judged.ratio("tagstream_events_without_description_total", DECISIONS),
            reference=usual_bare,
            limit=None if usual_bare is None else min(1.0, usual_bare + limits.WITHOUT_DESCRIPTION_MORE),
        ),
        Measure(
            name="truncated",
            title="too long for the network",
            value=judged.ratio("tagstream_events_truncated_total", DECISIONS),
            reference=reference("tagstream_reference_truncated_ratio"),
        ),
        Measure(
            name="unseen_source",
            title="unknown source",
            # Not those that name none: the contract allows that.
            value=sources.get("unseen", 0.0) / sum(sources.values()) if sum(sources.values()) else None,
            limit=limits.UNSEEN_SOURCE_RATIO,
        ),
    )


def _detectors(judged: Snapshot, total: Snapshot) -> Detectors:
    # A worker that has not looked yet has 0 here.
    last = max(judged.gauge("tagstream_drift_last_evaluated_timestamp_seconds"), default=None)
    ago = max(0.0, judged.at - last) if last else None
    return Detectors(
        changes={
            signal: round(count)
            for signal, count in sorted(judged.counter_by("tagstream_drift_changes_total", "signal").items())
        },
        scores=judged.gauge_by("tagstream_drift_score", "signal"),
        thresholds=judged.gauge_by("tagstream_drift_threshold", "signal"),
        compared_seconds_ago=ago,
        silent_seconds=total.seconds if last == 0 else ago,
        window_events=max(judged.gauge("tagstream_drift_window_events"), default=0.0),
    )

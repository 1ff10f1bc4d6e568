"""Computes the figures of one moment from the workers' metrics: plain figures, and figures with a limit (distances and shares)."""

from collections.abc import Iterator, Sequence

from tagstream.monitoring import limits
from tagstream.monitoring.comparison import ks, psi, psi_terms
from tagstream.monitoring.figures.figures import (
    Bar,
    BlockedPartition,
    Confidence,
    Detectors,
    EventTotals,
    Figures,
    Flow,
    JudgedSpan,
    LabelFigures,
    LoadedModel,
    LogPosition,
    Measure,
    RolloutFigures,
    Trouble,
)
from tagstream.monitoring.figures.history import Look
from tagstream.monitoring.figures.limited import (
    DEAD_LETTERS,
    DISTANCES,
    LABEL_MIX,
    LATE,
    REVIEW_BUDGET,
    REVIEW_RISE,
    STRANGE,
    UNDESCRIBED,
    UNSEEN_SOURCES,
    Limited,
)
from tagstream.monitoring.figures.scrape import Scrape
from tagstream.monitoring.figures.snapshot import Snapshot, bins
from tagstream.monitoring.figures.windows import DECISIONS, windows
from tagstream.monitoring.health import SILENT, STARTING, STOPPING
from tagstream.monitoring.signals import DISTRIBUTIONS, Signal
from tagstream.monitoring.vocabulary import Destination, PlanState

BREAKER = "tagstream_circuit_breaker_open"
PUBLISHED = "tagstream_events_published_total"
CONFIDENCE = "tagstream_confidence_ratio"
AGE = "tagstream_event_age_seconds"


def trouble_of(worker: str, seen: Scrape, *, ready: bool, why: str) -> Trouble | None:
    """
    Return why a worker that answers does not decide events; None if it decides events.

    Args:
        worker: The worker's name.
        seen: The worker's metrics.
        ready: Whether the worker is ready; true if its readiness cannot be asked.
        why: The reason that the readiness gives.
    """
    # Readiness alone cannot tell an open breaker from a stuck worker, so the gauge decides.
    opened = any(value for values in seen.gauges.get(BREAKER, {}).values() for value in values)
    if ready and not opened:
        return None
    why = "the circuit breaker is open" if ready else why
    return Trouble(
        worker=worker,
        answers=True,
        why=why,
        breaker_open=opened,
        brokers_silent=why.startswith(SILENT),
        no_fault=why in {STARTING, STOPPING},
    )


def figures(look: Look, troubles: Sequence[Trouble] = ()) -> Figures:
    """Return the figures of a look. `troubles` are the workers that are not ready or do not answer."""
    spans = windows(look)
    judged, total = spans.judged, spans.total
    return Figures(
        at=total.at,
        workers=total.workers,
        troubles=tuple(troubles),
        models=tuple(
            LoadedModel(**{field: info.get(field, "") for field in ("name", "version", "digest", "arithmetic")})
            for info in total.infos("tagstream_model_info")
            # Before a bundle is loaded the series has no labels.
            if info.get("digest")
        ),
        window=JudgedSpan(
            seconds=judged.seconds,
            decisions=_count(judged, DECISIONS),
            decided=sum(
                _count(judged, PUBLISHED, destination=destination.value)
                for destination in (Destination.TAGGED, Destination.REVIEW)
            ),
            events=_count(judged, PUBLISHED),
            since_start=spans.since_start,
        ),
        flow=_flow(spans.flow) if spans.flow else Flow(),
        totals=EventTotals(
            received=_count(total, "tagstream_events_received_total"),
            **{destination.value: _count(total, PUBLISHED, destination=destination.value) for destination in Destination},
        ),
        position=_position(total),
        labels=_labels(judged),
        confidence=_confidence(judged),
        distances=distances(judged),
        shares=shares(judged, spans.minutes),
        dead_letters={
            reason: round(count)
            for reason, count in sorted(judged.counter_by("tagstream_events_dead_lettered_total", "reason").items())
            if count
        },
        detectors=_detectors(judged, total),
        rollout=_rollout(judged, total),
    )


def _count(snapshot: Snapshot, name: str, **labels: str) -> int:
    return round(snapshot.counter(name, **labels) or 0)


def _flow(last: Snapshot) -> Flow:
    ages = last.histogram(AGE)
    p50, p99 = (ages.quantile(share) if ages else None for share in (0.5, 0.99))
    return Flow(
        seconds=last.seconds,
        received=last.rate("tagstream_events_received_total"),
        **{destination.value: last.rate(PUBLISHED, destination=destination.value) for destination in Destination},
        p50_seconds=p50.value if p50 else None,
        p99_seconds=p99.value if p99 else None,
        p50_more=p50 is not None and p50.more,
        p99_more=p99 is not None and p99.more,
    )


def _position(now: Snapshot) -> LogPosition:
    def whole(name: str) -> int | None:
        values = now.gauge(name)
        return round(sum(values)) if values and not now.unknown(name) else None

    lag = whole("tagstream_committed_lag_events")
    # A worker reports 0 if it has no event in hand. Events may still wait in the log: 0 is their age only if the lag is 0.
    oldest = max(now.gauge("tagstream_oldest_unprocessed_seconds"), default=None)
    return LogPosition(
        lag=lag,
        inflight=whole("tagstream_inflight_events"),
        partitions=whole("tagstream_assigned_partitions"),
        oldest_seconds=oldest if oldest or lag == 0 else None,
        open_transactions=_open_transactions(now),
    )


def _open_transactions(now: Snapshot) -> tuple[BlockedPartition, ...]:
    since = now.gauge_by("tagstream_open_transaction_since_timestamp_seconds", "partition")
    return tuple(
        BlockedPartition(partition=partition, events=round(events), seconds=max(0.0, now.at - since.get(partition, now.at)))
        for partition, events in sorted(now.gauge_by("tagstream_open_transaction_events", "partition").items())
    )


def _labels(judged: Snapshot) -> tuple[LabelFigures, ...]:
    share, reference = label_shares(judged)
    terms = psi_terms(share, reference)
    names = sorted(judged.counter_by(DECISIONS, "label").keys() | reference.keys())
    found = []
    for name in names:
        sure = judged.histogram(CONFIDENCE, label=name)
        found.append(
            LabelFigures(
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


def _detectors(judged: Snapshot, total: Snapshot) -> Detectors:
    # 0 for a worker that has not compared a window yet.
    last = max(judged.gauge("tagstream_drift_last_evaluated_timestamp_seconds"), default=None)
    ago = max(0.0, judged.at - last) if last else None
    return Detectors(
        changes={
            signal: round(count)
            for signal, count in sorted(judged.counter_by("tagstream_drift_changes_total", "signal").items())
        },
        scores=judged.gauge_by("tagstream_drift_score", "signal"),
        thresholds=judged.gauge_by("tagstream_drift_threshold", "signal"),
        floods=judged.gauge_by("tagstream_drift_flood_ratio", "signal"),
        compared_seconds_ago=ago,
        silent_seconds=total.seconds if last == 0 else ago,
        window_events=max(judged.gauge("tagstream_drift_window_events"), default=0.0),
        learned=min(judged.gauge("tagstream_drift_learned_ratio"), default=1.0),
        from_bundle=judged.gauge_by("tagstream_reference_distance_from_bundle", "figure"),
        last_change=max(judged.gauge("tagstream_drift_last_change_timestamp_seconds"), default=0.0) or None,
    )


def _rollout(judged: Snapshot, now: Snapshot) -> RolloutFigures | None:
    # A worker exports all three gauges or none.
    own = [now.gauge(f"tagstream_{name}") for name in ("rollout_epoch", "rollout_followed", "assigned_partitions")]
    epochs = [epoch for epoch, followed, _ in zip(*own, strict=False) if followed]
    if not epochs:
        return None
    arms = judged.counter_by("tagstream_rollout_decisions_total", "arm")
    decided = sum(arms.values())
    # A worker reports 0 for every state other than its own, and for all states without a plan.
    planned = {state: now.gauge("tagstream_rollout_planned_epoch", state=state.value) for state in PlanState}
    loaded = max(now.gauge("tagstream_model_loaded_timestamp_seconds"), default=0.0)
    return RolloutFigures(
        workers=len(epochs),
        apart=sum(bool(partitions) and not followed for _, followed, partitions in zip(*own, strict=False)),
        epochs=tuple(sorted({round(epoch) for epoch in epochs})),
        settled_seconds=max(0.0, now.at - loaded) if loaded else None,
        arms={arm: count / decided for arm, count in arms.items()} if decided else {},
        planned=round(max((epoch for values in planned.values() for epoch in values), default=0)) or None,
        states={state.value: workers for state, values in planned.items() if (workers := sum(map(bool, values)))},
        closing=round(max(now.gauge("tagstream_rollout_closing_epoch"), default=0)) or None,
        held_events=round(sum(now.gauge("tagstream_rollout_held_events"))),
        held_seconds=max(now.gauge("tagstream_rollout_held_seconds"), default=0.0),
        refusals=_count(judged, "tagstream_rollout_refusals_total"),
    )


def label_shares(judged: Snapshot) -> tuple[dict[str, float], dict[str, float]]:
    """Return the share of each label among the decisions, and the share of each label in the bundle's reference."""
    counts = judged.counter_by(DECISIONS, "label")
    whole = sum(counts.values())
    share = {label: count / whole for label, count in counts.items()} if whole else {}
    return share, judged.gauge_by("tagstream_reference_label_ratio", "label")


def distances(judged: Snapshot) -> tuple[Measure, ...]:
    """Return the distances from the reference: the distance of the labels, and of each judged distribution."""
    enough = _enough_decisions(judged) and not _skewed(judged)

    def distance(signal: Signal, figure: Limited) -> Measure:
        counted = DISTRIBUTIONS[signal]
        histogram = judged.histogram(counted.metric)
        value = ks(histogram.cdf, judged.reference_cdf(counted.reference)) if histogram else None
        return _measure(value, figure, enough=enough)

    return (
        _measure(psi(*label_shares(judged)), LABEL_MIX, enough=enough),
        *(distance(signal, figure) for signal, figure in DISTANCES.items()),
    )


def shares(judged: Snapshot, minutes: Sequence[Snapshot] = ()) -> tuple[Measure, ...]:
    """
    Return shares of the decisions or of the outcomes, each with its limit.

    Args:
        judged: The span of the shares.
        minutes: Each of the last three minutes. Late outcomes are over their limit only if they are over it in each minute, too.
    """
    return (*_outcome_shares(judged, minutes), *_text_shares(judged))


def _outcome_shares(judged: Snapshot, minutes: Sequence[Snapshot]) -> Iterator[Measure]:
    tagged = judged.counter(PUBLISHED, destination=Destination.TAGGED.value)
    reviewed = judged.counter(PUBLISHED, destination=Destination.REVIEW.value)
    # The decisions of the keyword rules count, too. The rules send every event to a person.
    decided = (tagged or 0) + (reviewed or 0)
    usual = None if _skewed(judged) else max(judged.gauge(REVIEW_RISE.reference), default=None)
    yield _measure(
        None if reviewed is None or not decided else reviewed / decided,
        REVIEW_BUDGET,
        REVIEW_RISE,
        reference=usual,
        enough=decided >= limits.LEAST_DECISIONS,
    )
    outcomes, dead = judged.counter(PUBLISHED), judged.counter(PUBLISHED, destination=Destination.DLQ.value)
    yield _measure(
        None if dead is None or not outcomes else dead / outcomes,
        DEAD_LETTERS,
        enough=(dead or 0) >= limits.LEAST_BAD_EVENTS,
    )
    ages = judged.histogram(AGE)
    stale = _stale(judged)
    yield _measure(
        stale,
        LATE,
        enough=ages is not None
        and round((stale or 0.0) * ages.count) >= limits.LEAST_BAD_EVENTS
        and len(minutes) > 0
        and all((_stale(minute) or 0.0) > LATE.limit for minute in minutes),
    )


def _stale(span: Snapshot) -> float | None:
    ages = span.histogram(AGE)
    return ages.share_above(limits.STALE_SECONDS) if ages else None


def _text_shares(judged: Snapshot) -> Iterator[Measure]:
    def reference(name: str) -> float | None:
        return max(judged.gauge(name), default=None)

    sources = judged.counter_by("tagstream_events_by_source_total", "source")
    enough = _enough_decisions(judged) and not _skewed(judged)
    yield _measure(
        judged.ratio("tagstream_ood_events_total", DECISIONS), STRANGE, reference=reference(STRANGE.reference), enough=enough
    )
    yield _measure(
        judged.ratio("tagstream_events_without_description_total", DECISIONS),
        UNDESCRIBED,
        reference=reference(UNDESCRIBED.reference),
        enough=enough,
    )
    yield Measure(
        name="truncated",
        title="too long for the network",
        value=judged.ratio("tagstream_events_truncated_total", DECISIONS),
        reference=reference("tagstream_reference_truncated_ratio"),
    )
    yield _measure(
        # Events without a source are not counted: the contract allows them.
        sources.get("unseen", 0.0) / sum(sources.values()) if sum(sources.values()) else None,
        UNSEEN_SOURCES,
        # The sources are compared with a list in the settings, so it does not matter which bundle decides.
        enough=_enough_decisions(judged),
    )


def _measure(value: float | None, *figures: Limited, reference: float | None = None, enough: bool) -> Measure:
    """Return a figure with the lowest of its limits; `enough` says whether there are enough events to judge the figure."""
    found = [limit for figure in figures if (limit := figure.at(reference)) is not None]
    limit = min(found, default=None)
    over = enough and value is not None and limit is not None and value > limit
    return Measure(name=figures[0].name, title=figures[0].title, value=value, reference=reference, limit=limit, over=over)


def _enough_decisions(judged: Snapshot) -> bool:
    return (judged.counter(DECISIONS) or 0.0) >= limits.LEAST_DECISIONS


def _skewed(judged: Snapshot) -> bool:
    """Whether several bundles decide: no bundle's reference fits their pooled figures."""
    return len({info["digest"] for info in judged.infos("tagstream_model_info") if info.get("digest")}) > 1

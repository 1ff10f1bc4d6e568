"""Computes the figures of one moment from the workers' metrics."""

from collections.abc import Sequence

from monitoring.comparison import psi_terms
from monitoring.figures.figures import (
    Bar,
    Confidence,
    Detectors,
    Figures,
    Flow,
    JudgedSpan,
    LabelFigures,
    LoadedModel,
    OpenTransaction,
    Position,
    Totals,
    Trouble,
)
from monitoring.figures.histogram import bins
from monitoring.figures.history import Windows
from monitoring.figures.measures import AGE, CONFIDENCE, DECISIONS, PUBLISHED, distances, label_shares, shares
from monitoring.figures.snapshot import Snapshot
from monitoring.health import SILENT, STARTING, STOPPING
from monitoring.vocabulary import Destination

BREAKER = "tagstream_circuit_breaker_open"


def trouble_of(worker: str, seen: Snapshot, *, ready: bool, why: str) -> Trouble | None:
    """
    The reason why a worker that answers does not decide events; None if it does.

    Args:
        worker: The worker's name.
        seen: The worker's metrics.
        ready: Its readiness; true if it has no readiness to ask.
        why: The reason that its readiness gives.
    """
    # Readiness alone cannot tell an open breaker from a stuck worker, so the gauge decides.
    opened = any(seen.gauge(BREAKER))
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


def figures(windows: Windows, troubles: Sequence[Trouble] = ()) -> Figures:
    """The figures of these spans. `troubles` are the workers that are not ready or do not answer."""
    judged, total = windows.judged, windows.total
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
        distances=distances(judged),
        shares=shares(judged, windows.minutes),
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
    p50, p99 = (ages.quantile(share) if ages else None for share in (0.5, 0.99))
    return Flow(
        seconds=last.seconds,
        received=last.rate("tagstream_events_received_total"),
        **{door.value: last.rate(PUBLISHED, destination=door.value) for door in Destination},
        p50_seconds=p50.value if p50 else None,
        p99_seconds=p99.value if p99 else None,
        p50_more=p50 is not None and p50.more,
        p99_more=p99 is not None and p99.more,
    )


def _position(now: Snapshot) -> Position:
    def whole(name: str) -> int | None:
        values = now.gauge(name)
        return round(sum(values)) if values and not now.unknown(name) else None

    lag = whole("tagstream_committed_lag_events")
    # The workers report 0 for "nothing in hand". That is the age of what waits only if nothing waits.
    oldest = max(now.gauge("tagstream_oldest_unprocessed_seconds"), default=None)
    return Position(
        lag=lag,
        inflight=whole("tagstream_inflight_events"),
        partitions=whole("tagstream_assigned_partitions"),
        oldest_seconds=oldest if oldest or lag == 0 else None,
        open_transactions=_open_transactions(now),
    )


def _open_transactions(now: Snapshot) -> tuple[OpenTransaction, ...]:
    since = now.gauge_by("tagstream_open_transaction_since_timestamp_seconds", "partition")
    return tuple(
        OpenTransaction(partition=partition, events=round(events), seconds=max(0.0, now.at - since.get(partition, now.at)))
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
        compared_seconds_ago=ago,
        silent_seconds=total.seconds if last == 0 else ago,
        window_events=max(judged.gauge("tagstream_drift_window_events"), default=0.0),
        learned=min(judged.gauge("tagstream_drift_learned_ratio"), default=1.0),
        from_bundle=judged.gauge_by("tagstream_reference_distance_from_bundle", "figure"),
        last_change=max(judged.gauge("tagstream_drift_last_change_timestamp_seconds"), default=0.0) or None,
    )

"""Figures with a limit: distances from the reference, and shares."""

from collections.abc import Iterator, Sequence

from monitoring import limits
from monitoring.comparison import ks, psi
from monitoring.figures.figures import Measure
from monitoring.figures.snapshot import Snapshot
from monitoring.vocabulary import Destination

DECISIONS = "tagstream_predictions_total"
PUBLISHED = "tagstream_events_published_total"
CONFIDENCE = "tagstream_confidence_ratio"
AGE = "tagstream_event_age_seconds"


def label_shares(judged: Snapshot) -> tuple[dict[str, float], dict[str, float]]:
    """The share of each label among the decisions, and its share in the bundle's reference."""
    counts = judged.counter_by(DECISIONS, "label")
    whole = sum(counts.values())
    share = {label: count / whole for label, count in counts.items()} if whole else {}
    return share, judged.gauge_by("tagstream_reference_label_ratio", "label")


def distances(judged: Snapshot) -> tuple[Measure, ...]:
    """Distances of the labels, confidence, energy and tokens per word from the reference."""
    enough = _enough_decisions(judged) and not _skewed(judged)

    def distance(name: str, title: str, live: str, reference: str, limit: float) -> Measure:
        histogram = judged.histogram(live)
        value = ks(histogram.cdf, judged.reference_cdf(reference)) if histogram else None
        return _measure(name, title, value, limit=limit, enough=enough)

    return (
        _measure("labels", "label mix (PSI)", psi(*label_shares(judged)), limit=limits.LABEL_PSI, enough=enough),
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


def shares(judged: Snapshot, minutes: Sequence[Snapshot] = ()) -> tuple[Measure, ...]:
    """
    Shares of the decisions or of the outcomes, each with its limit.

    Args:
        judged: The span that the shares are of.
        minutes: Each of the last three minutes. Late outcomes are over their limit only if they are so in each of them too.
    """
    return (*_outcome_shares(judged, minutes), *_text_shares(judged))


def _outcome_shares(judged: Snapshot, minutes: Sequence[Snapshot]) -> Iterator[Measure]:
    tagged = judged.counter(PUBLISHED, destination=Destination.TAGGED.value)
    reviewed = judged.counter(PUBLISHED, destination=Destination.REVIEW.value)
    # Decisions of the keyword rules count too, which send everything to a person.
    decided = (tagged or 0) + (reviewed or 0)
    usual = None if _skewed(judged) else max(judged.gauge("tagstream_reference_review_ratio"), default=None)
    yield _measure(
        "review",
        "sent to a person",
        None if reviewed is None or not decided else reviewed / decided,
        reference=usual,
        # The budget, or a share that is news although the budget has room for it.
        limit=limits.REVIEW_RATIO if usual is None else min(limits.REVIEW_RATIO, usual + limits.REVIEW_MORE),
        enough=decided >= limits.LEAST_DECISIONS,
    )
    outcomes, dead = judged.counter(PUBLISHED), judged.counter(PUBLISHED, destination=Destination.DLQ.value)
    yield _measure(
        "dead_letter",
        "dead letters",
        None if dead is None or not outcomes else dead / outcomes,
        limit=limits.DEAD_LETTER_RATIO,
        enough=(dead or 0) >= limits.LEAST_BAD_EVENTS,
    )
    ages = judged.histogram(AGE)
    stale = _stale(judged)
    yield _measure(
        "stale",
        f"older than {limits.STALE_SECONDS:.0f} s",
        stale,
        limit=limits.STALE_RATIO,
        enough=ages is not None
        and round((stale or 0.0) * ages.count) >= limits.LEAST_BAD_EVENTS
        and len(minutes) > 0
        and all((_stale(minute) or 0.0) > limits.STALE_RATIO for minute in minutes),
    )


def _stale(span: Snapshot) -> float | None:
    ages = span.histogram(AGE)
    return ages.share_above(limits.STALE_SECONDS) if ages else None


def _text_shares(judged: Snapshot) -> Iterator[Measure]:
    def reference(name: str) -> float | None:
        return max(judged.gauge(name), default=None)

    usual_ood = reference("tagstream_reference_ood_ratio")
    usual_bare = reference("tagstream_reference_without_description_ratio")
    sources = judged.counter_by("tagstream_events_by_source_total", "source")
    enough = _enough_decisions(judged) and not _skewed(judged)
    yield _measure(
        "out_of_distribution",
        "unlike the training text",
        judged.ratio("tagstream_ood_events_total", DECISIONS),
        reference=usual_ood,
        limit=None
        if usual_ood is None
        else limits.OUT_OF_DISTRIBUTION_TIMES * max(usual_ood, limits.OUT_OF_DISTRIBUTION_LEAST),
        enough=enough,
    )
    yield _measure(
        "without_description",
        "title alone",
        judged.ratio("tagstream_events_without_description_total", DECISIONS),
        reference=usual_bare,
        limit=None if usual_bare is None else min(1.0, usual_bare + limits.WITHOUT_DESCRIPTION_MORE),
        enough=enough,
    )
    yield _measure(
        "truncated",
        "too long for the network",
        judged.ratio("tagstream_events_truncated_total", DECISIONS),
        reference=reference("tagstream_reference_truncated_ratio"),
    )
    yield _measure(
        "unseen_source",
        "unknown source",
        # Events without a source are not counted: the contract allows them.
        sources.get("unseen", 0.0) / sum(sources.values()) if sum(sources.values()) else None,
        limit=limits.UNSEEN_SOURCE_RATIO,
        enough=enough,
    )


def _measure(
    name: str,
    title: str,
    value: float | None,
    *,
    reference: float | None = None,
    limit: float | None = None,
    enough: bool = False,
) -> Measure:
    """A measure; `enough` says whether there are enough events to judge it."""
    over = enough and value is not None and limit is not None and value > limit
    return Measure(name=name, title=title, value=value, reference=reference, limit=limit, over=over)


def _enough_decisions(judged: Snapshot) -> bool:
    return (judged.counter(DECISIONS) or 0.0) >= limits.LEAST_DECISIONS


def _skewed(judged: Snapshot) -> bool:
    """Whether several bundles decide: their figures together are of none of the references."""
    return len({info["digest"] for info in judged.infos("tagstream_model_info") if info.get("digest")}) > 1

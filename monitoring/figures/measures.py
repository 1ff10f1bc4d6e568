"""Figures with a limit: distances from the reference, and shares."""

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

    def distance(name: str, title: str, live: str, reference: str, limit: float) -> Measure:
        histogram = judged.histogram(live)
        return Measure(
            name=name,
            title=title,
            value=ks(histogram.cdf, judged.reference_cdf(reference)) if histogram else None,
            limit=limit,
        )

    return (
        Measure(name="labels", title="label mix (PSI)", value=psi(*label_shares(judged)), limit=limits.LABEL_PSI),
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


def shares(judged: Snapshot) -> tuple[Measure, ...]:
    """Shares of the decisions or of the outcomes, each with its limit."""

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
            # Events without a source are not counted: the contract allows them.
            value=sources.get("unseen", 0.0) / sum(sources.values()) if sum(sources.values()) else None,
            limit=limits.UNSEEN_SOURCE_RATIO,
        ),
    )

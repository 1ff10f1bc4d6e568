"""The metrics of `tagstream rollout shadow`: the documented vocabulary, and a bounded number of series."""

from prometheus_client import CollectorRegistry

from tagstream.monitoring.metrics.shadow import DOORS, MOST_LABELS, OTHER_LABELS, ShadowMetrics
from tagstream.monitoring.vocabulary import ShadowFailure

# Name and labels; the page docs/metrics.md has the same names.
VOCABULARY = """
tagstream_shadow_events_total result
tagstream_shadow_tags_total old new
tagstream_shadow_doors_total old new
tagstream_shadow_published_total result
tagstream_shadow_challenger_failures_total kind
tagstream_shadow_asked_total
"""


def documented_of_a_follower() -> dict[str, set[str]]:
    """The documented labels of each metric, by its name."""
    return {name: set(labels) for name, *labels in map(str.split, VOCABULARY.strip().splitlines())}


def series(registry: CollectorRegistry) -> dict[str, list[dict[str, str]]]:
    """The labels of every series, by name."""
    found: dict[str, list[dict[str, str]]] = {}
    for metric in registry.collect():
        for sample in metric.samples:
            if not sample.name.endswith("_created"):
                found.setdefault(sample.name, []).append(sample.labels)
    return found


def test_what_is_documented_is_what_a_follower_registers() -> None:
    """The registered names and labels are exactly the documented ones."""
    registry = CollectorRegistry()
    ShadowMetrics(registry, labels=("a", "b"))
    assert {name: set(labels[0]) for name, labels in series(registry).items()} == documented_of_a_follower()


def test_any_number_of_labels_makes_a_bounded_number_of_series() -> None:
    """Those at the end of a long list are one; no event makes a series."""
    registry = CollectorRegistry()
    labels = [f"label-{number}" for number in range(1000)]
    metrics = ShadowMetrics(registry, labels=labels)
    before = series(registry)
    assert len(before["tagstream_shadow_tags_total"]) == (MOST_LABELS + 1) ** 2
    for label in (*labels, "of another bundle"):
        metrics.compared((label, labels[0]), ("tagged", "review"))
    for kind in ShadowFailure:
        metrics.failed(kind)
    assert series(registry) == before


def test_an_event_is_counted_by_what_became_of_it() -> None:
    """Tags, doors and results have each compared event once; a failure is none of them."""
    registry = CollectorRegistry()
    metrics = ShadowMetrics(registry, labels=("a", "b"))
    metrics.compared(("a", "a"), (DOORS[0], DOORS[1]))
    metrics.compared(("a", "b"), (DOORS[0], DOORS[0]))
    metrics.failed(ShadowFailure.RAISED)
    metrics.dead_letter()
    metrics.published("equal", 2)
    value = registry.get_sample_value
    assert [
        value("tagstream_shadow_events_total", {"result": name}) for name in ("agreed", "disagreed", "failed", "dead_letter")
    ] == [
        1,
        1,
        1,
        1,
    ]
    assert value("tagstream_shadow_tags_total", {"old": "a", "new": "b"}) == 1
    assert value("tagstream_shadow_doors_total", {"old": "tagged", "new": "review"}) == 1
    assert value("tagstream_shadow_challenger_failures_total", {"kind": "raised"}) == 1
    assert value("tagstream_shadow_published_total", {"result": "equal"}) == 2
    assert OTHER_LABELS not in {labels["old"] for labels in series(registry)["tagstream_shadow_tags_total"]}

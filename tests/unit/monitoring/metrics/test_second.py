"""The metrics of `tagstream second`: the documented vocabulary, what is counted, and nothing that is not known yet."""

import math

from prometheus_client import CollectorRegistry

from tagstream.monitoring.metrics.second import ASKING, LABEL, READING, SecondMetrics
from tagstream.monitoring.vocabulary import NoOpinion
from tests.unit.monitoring.metrics.test_shadow import series

# Name and labels; the page docs/metrics.md has the same names.
VOCABULARY = """
tagstream_second_opinions_total result
tagstream_second_settled_total
tagstream_second_audits_total
tagstream_second_calls_total
tagstream_second_cost_total
tagstream_second_waiting_items
tagstream_second_certified_kinds
tagstream_second_withdrawn_certificates
tagstream_second_generation
"""
STANDING = ("waiting_items", "certified_kinds", "withdrawn_certificates", "generation")


def documented_of_a_second() -> dict[str, set[str]]:
    """The documented labels of each metric, by its name."""
    return {name: set(labels) for name, *labels in map(str.split, VOCABULARY.strip().splitlines())}


def value(metrics: SecondMetrics, name: str, **labels: str) -> float:
    """A figure as a scrape has it."""
    found = metrics.registry.get_sample_value(f"tagstream_second_{name}", labels)
    assert found is not None, name
    return found


def test_what_is_documented_is_what_a_second_registers() -> None:
    """The registered names and labels are exactly the documented ones, and each result is there before the first opinion."""
    found = series(SecondMetrics(CollectorRegistry()).registry)
    assert {name: set(labels[0]) for name, labels in found.items()} == documented_of_a_second()
    assert {labels["result"] for labels in found["tagstream_second_opinions_total"]} == {LABEL, *NoOpinion}


def test_what_the_topics_have_is_not_known_before_they_are_read() -> None:
    """A zero would look like a change when the process says again what the process before it has said."""
    metrics = SecondMetrics(CollectorRegistry())
    assert all(math.isnan(value(metrics, name)) for name in STANDING)
    assert metrics.verdict() == READING
    metrics.begun()
    metrics.stands(waiting=7, certified=3, withdrawn=1, generation=2)
    assert [value(metrics, name) for name in STANDING] == [7, 3, 1, 2]
    assert metrics.verdict() == ASKING


def test_an_opinion_is_counted_by_its_result_with_what_it_took() -> None:
    """Requests that failed are paid for too."""
    metrics = SecondMetrics(CollectorRegistry())
    metrics.opinion(None, calls=1, cost=0.25)
    metrics.opinion(NoOpinion.LATE, calls=3, cost=0.5)
    counted = {result: value(metrics, "opinions_total", result=result) for result in (LABEL, *NoOpinion)}
    assert {result: count for result, count in counted.items() if count} == {LABEL: 1, NoOpinion.LATE: 1}
    assert (value(metrics, "calls_total"), value(metrics, "cost_total")) == (4, 0.75)


def test_an_audit_is_one_of_the_settled_items() -> None:
    """Its decision is published like the others."""
    metrics = SecondMetrics(CollectorRegistry())
    metrics.settled(audited=True)
    metrics.settled(audited=False)
    assert (value(metrics, "settled_total"), value(metrics, "audits_total")) == (2, 1)

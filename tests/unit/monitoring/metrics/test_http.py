"""The metrics of `tagstream serve`: the documented vocabulary, and that each series is there from the start."""

from prometheus_client import CollectorRegistry

from tagstream.monitoring.metrics.http import STATUSES, HttpMetrics
from tagstream.monitoring.vocabulary import Destination, HttpFace

# Name and labels; the page docs/metrics.md has the same names.
VOCABULARY = """
tagstream_http_requests_total door status
tagstream_http_request_duration_seconds door
tagstream_http_rows_total destination
tagstream_http_waiting_rows
tagstream_http_epoch
tagstream_http_most_waiting_rows
tagstream_http_table_rows_total result
tagstream_trace_spans_total result
"""


def documented_of_a_service() -> dict[str, set[str]]:
    """The documented labels of each metric, by its name."""
    return {name: set(labels) for name, *labels in map(str.split, VOCABULARY.strip().splitlines())}


def registered() -> CollectorRegistry:
    """A registry with the metrics of a service that has started."""
    registry = CollectorRegistry()
    HttpMetrics(registry).started(most_waiting=7)
    return registry


def test_what_is_documented_is_what_a_service_registers() -> None:
    """The registered names and labels are exactly the documented ones."""
    found: dict[str, set[str]] = {}
    for metric in registered().collect():
        for sample in metric.samples:
            name = sample.name
            if metric.type == "histogram":
                name = metric.name
            found[name] = set(sample.labels) - {"le"}
    assert found == documented_of_a_service()


def test_every_series_is_there_from_the_start() -> None:
    """A counter that is missing until its first event silently drops out of sums."""
    registry = registered()
    for door in HttpFace:
        for status in STATUSES:
            assert registry.get_sample_value("tagstream_http_requests_total", {"door": door, "status": str(status)}) == 0
    for destination in Destination:
        assert registry.get_sample_value("tagstream_http_rows_total", {"destination": destination}) == 0
    assert registry.get_sample_value("tagstream_http_most_waiting_rows") == 7


def test_a_status_that_is_not_ours_is_an_error_of_ours() -> None:
    """The label set stays closed."""
    registry = CollectorRegistry()
    HttpMetrics(registry).request(HttpFace.CLASSIFY, 418, 0.1)
    assert registry.get_sample_value("tagstream_http_requests_total", {"door": "classify", "status": "500"}) == 1

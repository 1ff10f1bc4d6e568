"""The metrics of `tagstream serve`: requests, rows, the queue before the model, and the table."""

from collections import Counter as Tally
from collections.abc import Sequence
from typing import Self

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector, generate_latest

from tagstream.monitoring.metrics.families import STAGE_BUCKETS
from tagstream.monitoring.metrics.traces import TraceMetrics
from tagstream.monitoring.vocabulary import Destination, HttpFace

# `STATUSES` has the statuses that the service gives. Any other status is an error of ours, and is counted as 500.
CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
STATUSES = (200, 202, 204, 400, 401, 403, 404, 405, 406, 408, 410, 413, 415, 421, 422, 429, 500, 503, 504)
RESULTS = ("found", "absent", "failed")


class HttpMetrics:
    """
    The series of one server on one registry.

    Attributes:
        registry: The registry, on which the process registers its other series.
        traces: The metrics of spans.
    """

    def __init__(self, registry: CollectorRegistry, traces: TraceMetrics | None = None) -> None:
        """Register every metric and create every series. `traces` are on the same registry; None makes them."""
        self.traces = TraceMetrics(registry) if traces is None else traces
        self.registry = registry

        def counter(name: str, text: str, *names: str) -> Counter:
            return Counter(name, text, names, registry=registry)

        self._requests = counter(
            "tagstream_http_requests",
            "Answers to requests for decisions, and to answers of viewers (door feedback).",
            "door",
            "status",
        )
        self._seconds = Histogram(
            "tagstream_http_request_duration_seconds",
            "Time from the head of a request to its answer.",
            ["door"],
            buckets=STAGE_BUCKETS,
            registry=registry,
        )
        self._rows = counter("tagstream_http_rows", "Rows that the model decided or that were rejected.", "destination")
        self._waiting = Gauge("tagstream_http_waiting_rows", "Rows that wait for the model.", registry=registry)
        self._most_waiting = Gauge(
            "tagstream_http_most_waiting_rows", "Rows that may wait; what comes then is answered with 503.", registry=registry
        )
        self._epoch = Gauge(
            "tagstream_http_epoch",
            "Epoch by whose champion requests are decided; 0 before the first change.",
            registry=registry,
        )
        self._table = counter("tagstream_http_table_rows", "Rows that were looked up in the table.", "result")
        for face in HttpFace:
            self._seconds.labels(face.value)
            for status in STATUSES:
                self._requests.labels(face.value, str(status))
        for destination in Destination:
            self._rows.labels(destination.value)
        for result in RESULTS:
            self._table.labels(result)

    @classmethod
    def alone(cls) -> Self:
        """The series on a registry of their own, with the figures of the process."""
        registry = CollectorRegistry()
        ProcessCollector(registry=registry)
        return cls(registry)

    def started(self, *, most_waiting: int) -> None:
        """Show the most rows that may wait."""
        self._most_waiting.set(most_waiting)

    def decides_by(self, epoch: int) -> None:
        """Show the epoch whose champion decides."""
        self._epoch.set(epoch)

    def request(self, face: HttpFace, status: int, seconds: float) -> None:
        """
        Count a request that has its answer.

        Args:
            face: The face that got the request.
            status: The HTTP status of the answer. A status that is not in `STATUSES` is counted as 500.
            seconds: From the head of the request to its answer.
        """
        self._requests.labels(face.value, str(status if status in STATUSES else 500)).inc()
        self._seconds.labels(face.value).observe(seconds)

    def answered(self, destinations: Sequence[Destination]) -> None:
        """Count rows that were decided and not looked up."""
        for destination, count in Tally(destinations).items():
            self._rows.labels(destination.value).inc(count)

    def waiting(self, rows: int) -> None:
        """Show the number of rows that wait for the model."""
        self._waiting.set(rows)

    def looked(self, *, found: int, of: int, failed: bool) -> None:
        """
        Count rows that were looked up in the table.

        Args:
            found: The number of rows for which the table had an answer.
            of: The number of all rows that were looked up.
            failed: True if the table did not answer; its rows count as failed and not as absent.
        """
        self._table.labels("found").inc(found)
        self._table.labels("failed" if failed else "absent").inc(of - found)

    def text(self) -> bytes:
        """The text of `/metrics`."""
        return generate_latest(self.registry)

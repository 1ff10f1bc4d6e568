"""The metrics of `tagstream serve`: requests, rows, the queue before the model, the table, and what was published."""

from collections import Counter as Tally
from collections.abc import Sequence
from typing import Self

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, Info, ProcessCollector, generate_latest

from monitoring.metrics.families import BATCH_BUCKETS, STAGE_BUCKETS
from monitoring.metrics.traces import TraceMetrics
from monitoring.observer import NullObserver
from monitoring.vocabulary import Destination, HttpDoor

# The statuses that the service gives; another one is counted as 500, since it is an error of ours.
STATUSES = (200, 400, 401, 403, 404, 405, 408, 413, 415, 421, 422, 500, 503, 504)
RESULTS = ("found", "absent", "failed")
WORDS = ("confirmed", "unconfirmed")


class HttpMetrics(NullObserver):
    """
    The series of one server on one registry. Implements `Observer`; of a pipeline it counts the exceptions of the model.

    Attributes:
        traces: Those of spans.
    """

    def __init__(self, registry: CollectorRegistry, traces: TraceMetrics | None = None) -> None:
        """Register every metric and create every series. `traces` are on the same registry; None makes them."""
        self.traces = TraceMetrics(registry) if traces is None else traces
        self._registry = registry

        def counter(name: str, text: str, *names: str) -> Counter:
            return Counter(name, text, names, registry=registry)

        self._requests = counter(
            "tagstream_http_requests", "Answers to requests for decisions, by face and status.", "door", "status"
        )
        self._seconds = Histogram(
            "tagstream_http_request_duration_seconds",
            "Time from the head of a request to its answer.",
            ["door"],
            buckets=STAGE_BUCKETS,
            registry=registry,
        )
        self._rows = counter("tagstream_http_rows", "Rows that the model decided or that were rejected.", "destination")
        self._batch = Histogram(
            "tagstream_http_batch_rows", "Rows that go to the model together.", buckets=BATCH_BUCKETS, registry=registry
        )
        self._waiting = Gauge("tagstream_http_waiting_rows", "Rows that wait for the model.", registry=registry)
        self._most_waiting = Gauge(
            "tagstream_http_most_waiting_rows", "Rows that may wait; what comes then is answered with 503.", registry=registry
        )
        self._table = counter("tagstream_http_table_rows", "Rows that were looked up in the table, by result.", "result")
        self._published = counter(
            "tagstream_http_published_events", "Events sent to the topic content, by the broker's word.", "word"
        )
        self._raised = counter("tagstream_http_model_exceptions", "Calls of the model that raised an exception.")
        self._model = Info("tagstream_http_model", "The bundle that decides.", registry=registry)
        for door in HttpDoor:
            self._seconds.labels(door.value)
            for status in STATUSES:
                self._requests.labels(door.value, str(status))
        for destination in Destination:
            self._rows.labels(destination.value)
        for result in RESULTS:
            self._table.labels(result)
        for word in WORDS:
            self._published.labels(word)

    @classmethod
    def alone(cls) -> Self:
        """On a registry of its own, with the figures of the process."""
        registry = CollectorRegistry()
        ProcessCollector(registry=registry)
        return cls(registry)

    def started(self, *, name: str, version: str, digest: str, most_waiting: int) -> None:
        """This bundle decides; so many rows may wait."""
        self._model.info({"name": name, "version": version, "digest": digest})
        self._most_waiting.set(most_waiting)

    def request(self, door: HttpDoor, status: int, seconds: float) -> None:
        """A request has its answer."""
        self._requests.labels(door.value, str(status if status in STATUSES else 500)).inc()
        self._seconds.labels(door.value).observe(seconds)

    def answered(self, destinations: Sequence[Destination]) -> None:
        """Rows were decided, not looked up."""
        for destination, count in Tally(destinations).items():
            self._rows.labels(destination.value).inc(count)

    def waiting(self, rows: int) -> None:
        """So many rows wait for the model now."""
        self._waiting.set(rows)

    def batch(self, rows: int) -> None:
        """So many rows went to the model together."""
        self._batch.observe(rows)

    def looked(self, *, found: int, of: int, failed: bool) -> None:
        """`of` rows were looked up in the table, which had answers to `found` of them, or did not answer."""
        self._table.labels("found").inc(found)
        self._table.labels("failed" if failed else "absent").inc(of - found)

    def sent_on(self, events: int, *, confirmed: bool) -> None:
        """Events were sent to `content`; the broker has confirmed all of them, or not all."""
        self._published.labels(WORDS[0] if confirmed else WORDS[1]).inc(events)

    def model_raised(self) -> None:
        """See `Observer`."""
        self._raised.inc()

    def text(self) -> bytes:
        """The text of `/metrics`."""
        return generate_latest(self._registry)

"""The metric of traces: spans by their result."""

from prometheus_client import CollectorRegistry, Counter

from tagstream.monitoring.vocabulary import SpanResult


class TraceMetrics:
    """Counts spans. All counters stay at zero if no receiver is set."""

    def __init__(self, registry: CollectorRegistry) -> None:
        """Register the metric and create every series."""
        self._spans = Counter(
            "tagstream_trace_spans",
            "Spans that the receiver took, that it did not take, or for which there was no room.",
            ["result"],
            registry=registry,
        )
        for result in SpanResult:
            self._spans.labels(result.value)

    def counted(self, result: SpanResult, spans: int) -> None:
        """Count `spans` with this result. Any thread may call this."""
        self._spans.labels(result.value).inc(spans)

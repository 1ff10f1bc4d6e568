"""Whether a receiver takes spans: one request without a span, as the exporter sends it."""

from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.trace.export import SpanExportResult

from stream.settings.tracing import Tracing


def takes_spans(tracing: Tracing, *, seconds: float) -> bool:
    """Whether the receiver took an empty request within so many seconds; if not, OpenTelemetry logs why."""
    exporter = OTLPSpanExporter(endpoint=tracing.url, timeout=seconds)
    try:
        return exporter.export([]) is SpanExportResult.SUCCESS
    finally:
        exporter.shutdown()  # type: ignore[no-untyped-call]

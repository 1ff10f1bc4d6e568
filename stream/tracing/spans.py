"""Exports spans by OpenTelemetry's SDK. Spans wait in a bounded queue, and a thread sends them."""

import os
import socket
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import version

from opentelemetry.context import Context
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import SERVICE_INSTANCE_ID, SERVICE_NAME, SERVICE_VERSION, OTELResourceDetector, Resource
from opentelemetry.sdk.trace import ReadableSpan, SpanLimits, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter, SpanExportResult
from opentelemetry.sdk.trace.id_generator import RandomIdGenerator
from opentelemetry.sdk.trace.sampling import ParentBased, TraceIdRatioBased
from opentelemetry.trace import (
    Link,
    NonRecordingSpan,
    Span,
    SpanContext,
    SpanKind,
    Status,
    StatusCode,
    set_span_in_context,
)
from opentelemetry.util.types import AttributeValue

from tagstream.monitoring.vocabulary import SpanResult
from tagstream.stream.logs import logger
from tagstream.stream.settings.tracing import Tracing

# The most spans in the queue and in the running request together, as in the SDK.
MOST_WAITING = 2048
# The most spans plus links in memory. A batch has a link to each event, and while the receiver hangs all links stay in memory.
MOST_PARTS = 16_384
MOST_AT_ONCE = 512
# The most links of a span: one per event of a batch (`batch_max_events`).
MOST_LINKS = 4096

Counted = Callable[[SpanResult, int], None]
"""Called with a result and the number of spans that had it, from any thread."""

log = logger("tagstream.tracing")


@dataclass(frozen=True, slots=True, kw_only=True)
class Done:
    """
    A span that has ended.

    Attributes:
        name: The name of the work, of low cardinality.
        kind: The span's kind in OpenTelemetry, such as consumer.
        began_ns: When the span began, Unix nanoseconds.
        ended_ns: When the span ended, Unix nanoseconds.
        attributes: The span's attributes, named by OpenTelemetry's conventions; `tagstream.*` are ours.
        links: Links to related spans.
        parent: The parent span; None begins a trace.
        span_id: The span's id; None for a random id.
        error: The kind of failure, of low cardinality; None without a failure.
        events: The times of the span's events by name, Unix nanoseconds.
    """

    name: str
    kind: SpanKind
    began_ns: int
    ended_ns: int
    attributes: Mapping[str, AttributeValue]
    links: Sequence[Link] = ()
    parent: SpanContext | None = None
    span_id: int | None = None
    error: str | None = None
    events: Mapping[str, int] | None = None


class Spans:
    """The exporter of spans. Any number of threads may use it."""

    def __init__(self, tracing: Tracing, *, service: str, counted: Counted, export_seconds: float | None = None) -> None:
        """
        Start the exporter.

        Args:
            tracing: The receiver, and the sampled share of traces that begin here. The SDK's own variables (such as
                `OTEL_EXPORTER_OTLP_HEADERS`) configure the connection further.
            service: The service name, unless `OTEL_SERVICE_NAME` or `OTEL_RESOURCE_ATTRIBUTES` sets it.
            counted: Counts spans by result.
            export_seconds: The most seconds of one request with its retries; None: `OTEL_EXPORTER_OTLP_TIMEOUT`, or 10.
        """
        self._ids = _Ids()
        exporter = OTLPSpanExporter(endpoint=tracing.url, timeout=export_seconds)
        self._provider = TracerProvider(
            resource=_resource(service),
            sampler=ParentBased(TraceIdRatioBased(tracing.sample_ratio)),
            id_generator=self._ids,
            span_limits=SpanLimits(max_links=MOST_LINKS),
            # The SDK would wait for the receiver at the interpreter's end; `close` has a bound.
            shutdown_on_exit=False,
        )
        self._provider.add_span_processor(_Bounded(_Watched(exporter, counted), counted))
        self._tracer = self._provider.get_tracer("tagstream", version("tagstream"))

    def begin(self, name: str, kind: SpanKind, parent: SpanContext | None) -> Span:
        """
        Return a span that begins now.

        Args:
            name: The name of the work, of low cardinality.
            kind: The span's kind in OpenTelemetry, such as server.
            parent: The parent span; None begins a trace.
        """
        return self._tracer.start_span(name, context=_below(parent), kind=kind)

    def add(self, done: Done) -> SpanContext:
        """Hand over an ended span, and return its context. Never waits."""
        self._ids.next_is(done.span_id)
        span = self._tracer.start_span(
            done.name,
            context=_below(done.parent),
            kind=done.kind,
            attributes=done.attributes,
            links=done.links,
            start_time=done.began_ns,
        )
        for name, at in (done.events or {}).items():
            span.add_event(name, timestamp=at)
        if done.error is not None:
            span.set_attribute("error.type", done.error)
            span.set_status(Status(StatusCode.ERROR, done.error))
        span.end(done.ended_ns)
        return span.get_span_context()

    def close(self, seconds: float) -> None:
        """Send the waiting spans for at most `seconds`. Spans that are left then are lost."""
        closing = threading.Thread(target=self._provider.shutdown, name="tracing-close", daemon=True)
        closing.start()
        closing.join(seconds)
        if closing.is_alive():
            log.warning("traces_cut_short", seconds=seconds, consequence="the last spans are lost; no event is")


def _below(parent: SpanContext | None) -> Context:
    """Return OpenTelemetry's context for a child of `parent`. Without a parent it is empty: for None the SDK would use the thread's own."""
    return Context() if parent is None else set_span_in_context(NonRecordingSpan(parent), Context())


def _resource(service: str) -> Resource:
    """Return the resource that names this process. OpenTelemetry's variables override our values."""
    ours = {
        SERVICE_NAME: service,
        SERVICE_VERSION: version("tagstream"),
        SERVICE_INSTANCE_ID: f"{socket.gethostname()}:{os.getpid()}",
    }
    return Resource.create(ours).merge(OTELResourceDetector().detect())


class _Ids(RandomIdGenerator):
    """Generates random ids, except for the next span of a thread that has set an id."""

    def __init__(self) -> None:
        self._given = threading.local()

    def next_is(self, span_id: int | None) -> None:
        """Set the id of this thread's next span; None for a random id."""
        self._given.span_id = span_id

    def generate_span_id(self) -> int:
        given: int | None = getattr(self._given, "span_id", None)
        self._given.span_id = None
        return super().generate_span_id() if given is None else given


class _Bounded(BatchSpanProcessor):
    """The SDK's queue and thread, with a count of dropped spans: the SDK drops spans silently."""

    def __init__(self, exporter: "_Watched", counted: Counted) -> None:
        super().__init__(exporter, max_queue_size=MOST_WAITING, max_export_batch_size=MOST_AT_ONCE)
        self._watched = exporter
        self._counted = counted

    def on_end(self, span: ReadableSpan) -> None:
        if span.context is None or not span.context.trace_flags.sampled:
            return
        if self._watched.take(_parts(span)):
            super().on_end(span)
        else:
            self._counted(SpanResult.DROPPED, 1)


class _Watched(SpanExporter):
    """Counts the spans that the receiver accepted, and logs when the receiver fails and when it accepts spans again."""

    def __init__(self, exporter: SpanExporter, counted: Counted) -> None:
        self._exporter = exporter
        self._counted = counted
        self._lock = threading.Lock()
        self._waiting = self._parts = 0
        self._taken = True

    def take(self, parts: int) -> bool:
        """Return True if there is room for one more span with `parts` parts. The span then counts as waiting."""
        with self._lock:
            if self._waiting >= MOST_WAITING or self._parts + parts > MOST_PARTS:
                return False
            self._waiting += 1
            self._parts += parts
            return True

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        result = SpanExportResult.FAILURE
        try:
            result = self._exporter.export(spans)
        finally:
            with self._lock:
                self._waiting -= len(spans)
                self._parts -= sum(map(_parts, spans))
            self._told(len(spans), taken=result is SpanExportResult.SUCCESS)
        return result

    def _told(self, spans: int, *, taken: bool) -> None:
        self._counted(SpanResult.EXPORTED if taken else SpanResult.FAILED, spans)
        if self._taken and not taken:
            log.warning(
                "traces_not_taken",
                why="the receiver is away or refuses, see the line before",
                consequence="spans are lost; events go on",
                next="tagstream doctor; docs/tracing.md",
            )
        if taken and not self._taken:
            log.info("traces_taken_again")
        self._taken = taken

    def shutdown(self) -> None:
        self._exporter.shutdown()

    def force_flush(self, timeout_millis: int = 30_000) -> bool:
        return self._exporter.force_flush(timeout_millis)


def _parts(span: ReadableSpan) -> int:
    """Return the number of parts of a span: one plus its links."""
    return 1 + len(span.links)


def takes_spans(tracing: Tracing, *, seconds: float) -> bool:
    """Return True if the receiver accepts an empty request within `seconds`. If not, OpenTelemetry logs why."""
    exporter = OTLPSpanExporter(endpoint=tracing.url, timeout=seconds)
    try:
        return exporter.export([]) is SpanExportResult.SUCCESS
    finally:
        exporter.shutdown()  # type: ignore[no-untyped-call]

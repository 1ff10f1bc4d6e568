"""Spans by OpenTelemetry's SDK: made in one call each, kept in a bounded queue, and sent by a thread of its own."""

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

# As in the SDK. The queue and the spans that are being sent together have no more.
MOST_WAITING = 2048
# The same for spans and their links: a batch has a link to each event, and while a receiver stands still all of them are in memory.
MOST_PARTS = 16_384
MOST_AT_ONCE = 512
# The most events of a batch (`batch_max_events`), each of which is a link.
MOST_LINKS = 4096

Counted = Callable[[SpanResult, int], None]
"""Is told how many spans had this result. May be called from any thread."""

log = logger("tagstream.tracing")


@dataclass(frozen=True, slots=True, kw_only=True)
class Done:
    """
    A span that is over.

    Attributes:
        name: Of the work that was done, one of few.
        kind: Its side of a conversation.
        began_ns: Unix nanoseconds.
        ended_ns: Unix nanoseconds.
        attributes: By their names in OpenTelemetry's conventions; `tagstream.*` are ours.
        links: The spans that it has to do with.
        parent: The span that it is part of; None begins a trace.
        span_id: Its id; None for a random one.
        error: Why it failed, one of few words; None if it did not.
        events: Unix nanoseconds by name.
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
        Begin to send.

        Args:
            tracing: The receiver, and the share of traces that begin here. The SDK's own variables (`OTEL_EXPORTER_OTLP_HEADERS` and
                the like) say more about the connection.
            service: The name of this door, unless `OTEL_SERVICE_NAME` or `OTEL_RESOURCE_ATTRIBUTES` names it.
            counted: Counts what becomes of spans.
            export_seconds: The most that one request may take with its repetitions; None: `OTEL_EXPORTER_OTLP_TIMEOUT`, or 10.
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
        A span that begins now.

        Args:
            name: Of the work, one of few.
            kind: Its side of a conversation.
            parent: The span that it is part of; None begins a trace.
        """
        return self._tracer.start_span(name, context=_below(parent), kind=kind)

    def add(self, done: Done) -> SpanContext:
        """Hand over a span that is over; returns its context. Never waits."""
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
        """Send what waits, for so many seconds at most; what is left then is lost."""
        closing = threading.Thread(target=self._provider.shutdown, name="tracing-close", daemon=True)
        closing.start()
        closing.join(seconds)
        if closing.is_alive():
            log.warning("traces_cut_short", seconds=seconds, consequence="the last spans are lost; no event is")


def _below(parent: SpanContext | None) -> Context:
    """OpenTelemetry's context for a span below this one. Not None without a parent, for which the SDK would take the thread's own."""
    return Context() if parent is None else set_span_in_context(NonRecordingSpan(parent), Context())


def _resource(service: str) -> Resource:
    """The name of the sender: the variables of OpenTelemetry win over our own words."""
    ours = {
        SERVICE_NAME: service,
        SERVICE_VERSION: version("tagstream"),
        SERVICE_INSTANCE_ID: f"{socket.gethostname()}:{os.getpid()}",
    }
    return Resource.create(ours).merge(OTELResourceDetector().detect())


class _Ids(RandomIdGenerator):
    """Random ids, but for the next span of a thread for which one was given."""

    def __init__(self) -> None:
        self._given = threading.local()

    def next_is(self, span_id: int | None) -> None:
        """The next span of this thread has this id; None for a random one."""
        self._given.span_id = span_id

    def generate_span_id(self) -> int:
        given: int | None = getattr(self._given, "span_id", None)
        self._given.span_id = None
        return super().generate_span_id() if given is None else given


class _Bounded(BatchSpanProcessor):
    """The SDK's queue and thread, with a count of what did not fit: the SDK drops without a word."""

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
    """Counts what the receiver took, and says when it stops to take and when it takes again."""

    def __init__(self, exporter: SpanExporter, counted: Counted) -> None:
        self._exporter = exporter
        self._counted = counted
        self._lock = threading.Lock()
        self._waiting = self._parts = 0
        self._taken = True

    def take(self, parts: int) -> bool:
        """Whether there is room for one more span of so many parts; it is then waiting."""
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
    """The span and its links."""
    return 1 + len(span.links)


def takes_spans(tracing: Tracing, *, seconds: float) -> bool:
    """Whether the receiver takes an empty request within so many seconds; if not, OpenTelemetry logs why."""
    exporter = OTLPSpanExporter(endpoint=tracing.url, timeout=seconds)
    try:
        return exporter.export([]) is SpanExportResult.SUCCESS
    finally:
        exporter.shutdown()  # type: ignore[no-untyped-call]

"""
The W3C trace context of a record: read from the record's headers, and continued in the headers of its outcome.

The span id of an outcome is a function of the producer's context and the outcome. So a redelivered event gets the same headers again.
docs/decisions/0023-traces.md says why.
"""

import hashlib

from opentelemetry.trace import SpanContext, TraceFlags, get_current_span
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from tagstream.stream.contract.event import Headers
from tagstream.stream.tracing.trace_headers import TRACEPARENT, TRACESTATE

SPAN_ID_BYTES = 8
# The flags of the standard. Other flags must not be passed on.
KNOWN_FLAGS = TraceFlags.SAMPLED | TraceFlags.RANDOM_TRACE_ID
PROPAGATOR = TraceContextTextMapPropagator()


def context_of(headers: Headers) -> SpanContext | None:
    """
    Return the producer's context in these headers; None if there is no `traceparent`, more than one, or a malformed one.

    >>> found = context_of((("traceparent", b"00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"),))
    >>> f"{found.trace_id:x} {found.span_id:x} {found.trace_flags}"
    'af7651916cd43dd8448eb211c80319c b7ad6b7169203331 1'
    >>> context_of((("traceparent", b"00-1"),)) is None
    True
    """
    parents = [_text(value) for name, value in headers if name == TRACEPARENT]
    if len(parents) != 1:
        return None
    carrier = {TRACEPARENT: parents, TRACESTATE: [_text(value) for name, value in headers if name == TRACESTATE]}
    found = get_current_span(PROPAGATOR.extract(carrier)).get_span_context()
    return found if found.is_valid else None


def _text(value: bytes | None) -> str:
    # Kafka allows a header without a value.
    return (value or b"").decode("ascii", "replace")


def child_id(parent: SpanContext, name: str) -> int:
    """
    Return the id of the span `name` below `parent`. It is the same at every call, and never 0.

    >>> parent = context_of((("traceparent", b"00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"),))
    >>> f"{child_id(parent, 'a'):016x} {child_id(parent, 'b'):016x}"
    'afcafbb7e4ec82fb 4821423bfdcce36b'
    """
    seed = b"%032x%016x%b" % (parent.trace_id, parent.span_id, name.encode())
    return int.from_bytes(hashlib.sha256(seed).digest()[:SPAN_ID_BYTES]) or 1


def traceparent(context: SpanContext, span_id: int | None = None) -> bytes:
    """
    Return the `traceparent` header of this context, or of the span with this id in its trace.

    >>> traceparent(context_of((("traceparent", b"00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"),)), 0xA)
    b'00-0af7651916cd43dd8448eb211c80319c-000000000000000a-01'
    """
    span_id = context.span_id if span_id is None else span_id
    return b"00-%032x-%016x-%02x" % (context.trace_id, span_id, context.trace_flags & KNOWN_FLAGS)


def continued(headers: Headers, parent: SpanContext, span_id: int) -> Headers:
    """
    Return the headers of an outcome. All headers but `traceparent` stay as they are, `tracestate` too.

    Args:
        headers: The event's headers, with one `traceparent`.
        parent: The producer's context.
        span_id: The id of the outcome's own span, which becomes the parent in `traceparent`.
    """
    value = traceparent(parent, span_id)
    return tuple((name, value if name == TRACEPARENT else content) for name, content in headers)

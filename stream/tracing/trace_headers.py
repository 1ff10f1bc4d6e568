"""The headers that carry a trace from a request into a record. No OpenTelemetry is needed: a trace is passed on even if tracing is off."""

from collections.abc import Iterable

from tagstream.stream.contract.event import Headers

TRACEPARENT, TRACESTATE = "traceparent", "tracestate"
# The standard allows 55 characters for `traceparent` and 512 for `tracestate`. Longer headers would only make the record larger.
MOST_BYTES = 512


def carried(headers: Iterable[tuple[bytes, bytes]]) -> Headers:
    """
    Return the headers of a record for a request with these ASGI headers: only the trace context.

    >>> carried([(b"host", b"x"), (b"traceparent", b"00-1-2-01"), (b"tracestate", b"a=1")])
    (('traceparent', b'00-1-2-01'), ('tracestate', b'a=1'))
    """
    names = {name.encode(): name for name in (TRACEPARENT, TRACESTATE)}
    return tuple((names[name], value) for name, value in headers if name in names and len(value) <= MOST_BYTES)

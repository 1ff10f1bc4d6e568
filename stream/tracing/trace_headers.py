"""The headers by which a trace goes from a request into a record. Without OpenTelemetry, since a trace passes where tracing is off too."""

from collections.abc import Iterable

from tagstream.stream.contract.event import Headers

TRACEPARENT, TRACESTATE = "traceparent", "tracestate"
# The standard allows 55 characters and 512; more of a foreign request would only make the record larger.
MOST_BYTES = 512


def carried(headers: Iterable[tuple[bytes, bytes]]) -> Headers:
    """
    The headers of a record for a request with these headers, as ASGI has them: its trace context, and nothing else.

    >>> carried([(b"host", b"x"), (b"traceparent", b"00-1-2-01"), (b"tracestate", b"a=1")])
    (('traceparent', b'00-1-2-01'), ('tracestate', b'a=1'))
    """
    names = {name.encode(): name for name in (TRACEPARENT, TRACESTATE)}
    return tuple((names[name], value) for name, value in headers if name in names and len(value) <= MOST_BYTES)

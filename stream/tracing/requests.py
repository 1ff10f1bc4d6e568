"""Traces of requests: a span for each, below that of the client, and the context that the application sees is this span's."""

from collections.abc import Awaitable, Callable
from typing import Any

from opentelemetry.trace import SpanKind, Status, StatusCode

from tagstream.stream.tracing.context import context_of, traceparent
from tagstream.stream.tracing.spans import Spans
from tagstream.stream.tracing.trace_headers import TRACEPARENT, carried

# Asked every few seconds by machines; a trace of them says nothing.
UNTRACED_PATHS = frozenset({"/healthz", "/readyz", "/metrics", "/v2/health/live", "/v2/health/ready"})
# From this status on the fault is ours, by OpenTelemetry's conventions.
FAILED_STATUS = 500


class TracedRequests:
    """
    An ASGI application around another one.

    The inner application finds in the request's headers one `traceparent`, that of the request's span, so what it sends on in the name
    of this request continues the trace (`carried`).
    """

    def __init__(self, application: Callable[[Any, Any, Any], Awaitable[None]], spans: Spans) -> None:
        """`application` answers; `spans` get a span for each of its answers."""
        self._application = application
        self._spans = spans

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Answer one connection, as ASGI has it; raises what the application raises."""
        if scope["type"] != "http" or scope["path"] in UNTRACED_PATHS:
            await self._application(scope, receive, send)
            return
        method = scope["method"]
        span = self._spans.begin(method, SpanKind.SERVER, context_of(carried(scope["headers"])))
        span.set_attributes(
            {"http.request.method": method, "url.path": scope["path"], "url.scheme": scope.get("scheme", "http")}
        )
        others = [(name, value) for name, value in scope["headers"] if name != TRACEPARENT.encode()]
        inner = {**scope, "headers": [*others, (TRACEPARENT.encode(), traceparent(span.get_span_context()))]}

        async def sending(message: Any) -> None:
            if message["type"] == "http.response.start":
                status = message["status"]
                span.set_attribute("http.response.status_code", status)
                if status >= FAILED_STATUS:
                    span.set_attribute("error.type", str(status))
                    span.set_status(Status(StatusCode.ERROR))
            await send(message)

        try:
            await self._application(inner, receive, sending)
        except BaseException as error:
            span.set_attribute("error.type", type(error).__name__)
            span.set_status(Status(StatusCode.ERROR))
            raise
        finally:
            route = getattr(inner.get("route"), "path", None)
            if route is not None:
                span.set_attribute("http.route", route)
                span.update_name(f"{method} {route}")
            span.end()

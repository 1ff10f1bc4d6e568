"""Traces of requests: a span for each request, below the client's span. The application sees the context of this span."""

from collections.abc import Awaitable, Callable
from typing import Any

from opentelemetry.trace import SpanKind, Status, StatusCode

from tagstream.stream.tracing.context import context_of, traceparent
from tagstream.stream.tracing.spans import Spans
from tagstream.stream.tracing.trace_headers import TRACEPARENT, carried

# Machines request these paths every few seconds, so traces of them are useless.
UNTRACED_PATHS = frozenset({"/healthz", "/readyz", "/metrics"})
# The lowest status that is the server's error, by OpenTelemetry's conventions.
FAILED_STATUS = 500


class TracedRequests:
    """
    An ASGI application around another application.

    The inner application finds one `traceparent` in the request's headers, with the request's span. So records that it sends for this
    request continue the trace (`carried`).
    """

    def __init__(self, application: Callable[[Any, Any, Any], Awaitable[None]], spans: Spans) -> None:
        """`application` answers requests; `spans` gets a span for each answer."""
        self._application = application
        self._spans = spans

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Answer one ASGI connection, and raise the application's exceptions."""
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

"""Makes the tracing hooks of a process from the settings. Without a receiver in the settings, OpenTelemetry is not imported."""

import contextlib
from collections.abc import Callable, Iterator

from tagstream.model_export.extras import install
from tagstream.monitoring.vocabulary import SpanResult
from tagstream.stream.deliver.hooks import UNTRACED, TracingHooks
from tagstream.stream.logs import logger
from tagstream.stream.settings.settings import Settings

# The most seconds that the end of a process waits for the receiver. It is less than the time that a worker has for leaving its group.
CLOSE_SECONDS = 2.0
PACKAGE = "opentelemetry"

log = logger("tagstream.tracing")


class TracingUnavailableError(Exception):
    """A receiver is set, but OpenTelemetry is not installed: the message has the next step."""

    exit_code = 2


def _uncounted(result: SpanResult, spans: int) -> None:
    """Count nothing."""


@contextlib.contextmanager
def tracing_of(
    settings: Settings,
    *,
    service: str,
    counted: Callable[[SpanResult, int], None] = _uncounted,
    client_id: str | None = None,
) -> Iterator[TracingHooks]:
    """
    Yield the tracing hooks of these settings. At the end, waiting spans are sent for at most `CLOSE_SECONDS`.

    Args:
        settings: The receiver, if one is set.
        service: The service name in traces.
        counted: Called with a result and the number of spans that had it, from several threads.
        client_id: The name of this process's consumer and producer at the brokers; None if it has none.

    Raises:
        TracingUnavailableError: A receiver is set, but OpenTelemetry is not installed.
    """
    if not settings.tracing.endpoint:
        yield UNTRACED
        return
    require()
    from tagstream.stream.tracing.batches import TracedDecide, TracedObserver
    from tagstream.stream.tracing.conventions import Development
    from tagstream.stream.tracing.requests import TracedRequests
    from tagstream.stream.tracing.spans import Spans

    spans = Spans(settings.tracing, service=service, counted=counted)
    development = Development.of(settings, client_id)
    log.info("tracing", to=settings.tracing.url, service=service)
    try:
        yield TracingHooks(
            deciding=TracedDecide,
            observing=lambda observer: TracedObserver(observer, spans, group=settings.group, development=development),
            requests=lambda application: TracedRequests(application, spans),
        )
    finally:
        spans.close(CLOSE_SECONDS)


def require() -> None:
    """
    Require that OpenTelemetry can be imported.

    Raises:
        TracingUnavailableError: OpenTelemetry is not installed.
    """
    try:
        import opentelemetry.exporter.otlp.proto.http
        import opentelemetry.sdk.trace  # noqa: F401
    except ModuleNotFoundError as error:
        if not (error.name or "").startswith(PACKAGE):
            raise
        msg = (
            "tracing.endpoint is set, and OpenTelemetry is not installed. "
            f"Next: {install('otel')}; or unset TAGSTREAM_TRACING__ENDPOINT."
        )
        raise TracingUnavailableError(msg) from error

"""The parts of a door that traces go around, as the settings say; without an import of OpenTelemetry where no receiver is set."""

import contextlib
from collections.abc import Callable, Iterator

from tagstream.model_export.extras import install
from tagstream.monitoring.vocabulary import SpanResult
from tagstream.stream.deliver.hooks import UNTRACED, TracingHooks
from tagstream.stream.logs import logger
from tagstream.stream.settings.settings import Settings

# The most that the end of a process waits for a receiver; less than what a worker has to leave its group.
CLOSE_SECONDS = 2.0
PACKAGE = "opentelemetry"

log = logger("tagstream.tracing")


class TracingUnavailableError(Exception):
    """A receiver is set, and OpenTelemetry is not installed: the message has the next step."""

    exit_code = 2


def _uncounted(result: SpanResult, spans: int) -> None:
    """Count nothing."""


@contextlib.contextmanager
def tracing_of(
    settings: Settings, *, service: str, counted: Callable[[SpanResult, int], None] = _uncounted
) -> Iterator[TracingHooks]:
    """
    The tracing of these settings; spans that wait are sent at the end, for `CLOSE_SECONDS` at most.

    Args:
        settings: The receiver, if there is one.
        service: The door's name in traces.
        counted: Is told how many spans had which result; called from several threads.

    Raises:
        TracingUnavailableError: A receiver is set, and OpenTelemetry is not installed.
    """
    if not settings.tracing.endpoint:
        yield UNTRACED
        return
    require()
    from tagstream.stream.tracing.batches import TracedDecide, TracedObserver
    from tagstream.stream.tracing.requests import TracedRequests
    from tagstream.stream.tracing.spans import Spans

    spans = Spans(settings.tracing, service=service, counted=counted)
    log.info("tracing", to=settings.tracing.url, service=service)
    try:
        yield TracingHooks(
            deciding=TracedDecide,
            observing=lambda observer: TracedObserver(observer, spans, group=settings.group),
            requests=lambda application: TracedRequests(application, spans),
        )
    finally:
        spans.close(CLOSE_SECONDS)


def require() -> None:
    """
    Make sure that OpenTelemetry can be imported.

    Raises:
        TracingUnavailableError: It cannot.
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

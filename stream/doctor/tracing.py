"""A check of the receiver of traces."""

import logging
from collections.abc import Iterator

from tagstream.stream.doctor.findings import CheckFinding, Status, finding_of
from tagstream.stream.settings.settings import Settings
from tagstream.stream.tracing.tracing import TracingUnavailableError, require

PROBE_SECONDS = 3.0


def tracing(settings: Settings) -> Iterator[CheckFinding]:
    """Check whether the receiver accepts spans. Yield nothing if the settings name no receiver."""
    if settings.tracing.endpoint is None:
        return
    try:
        require()
    except TracingUnavailableError as error:
        yield finding_of("tracing", Status.FAIL, error)
        return
    from tagstream.stream.tracing.spans import takes_spans

    said = _FirstLine()
    library = logging.getLogger("opentelemetry")
    library.addHandler(said)
    propagates, library.propagate = library.propagate, False
    try:
        taken = takes_spans(settings.tracing, seconds=PROBE_SECONDS)
    finally:
        library.removeHandler(said)
        library.propagate = propagates
    if taken:
        yield CheckFinding(check="tracing", status=Status.OK, detail=f"{settings.tracing.url} takes spans")
        return
    yield CheckFinding(
        check="tracing",
        status=Status.WARN,
        detail=f"{settings.tracing.url} does not take spans, and events go on without traces: {said.first or 'no reason was given'}",
        fix="start the receiver, correct TAGSTREAM_TRACING__ENDPOINT or OTEL_EXPORTER_OTLP_HEADERS, or unset the former",
    )


class _FirstLine(logging.Handler):
    """Keeps the first line that OpenTelemetry logs, because its exporter reports the cause of a failure only in the log."""

    def __init__(self) -> None:
        super().__init__()
        self.first = ""

    def emit(self, record: logging.LogRecord) -> None:
        self.first = self.first or " ".join(record.getMessage().split())

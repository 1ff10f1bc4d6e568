"""Serves the metrics of a command that runs beside the workers, on the command's own port."""

import contextlib
from collections.abc import Iterator

from tagstream.monitoring.metrics.controller import ControllerMetrics
from tagstream.monitoring.metrics.shadow import ShadowMetrics
from tagstream.monitoring.server.application import application
from tagstream.monitoring.server.server import serve
from tagstream.stream.cli.exits import EXIT_USAGE, fail
from tagstream.stream.settings.settings import Settings


@contextlib.contextmanager
def metrics_at(settings: Settings, port: int, metrics: ControllerMetrics | ShadowMetrics) -> Iterator[str]:
    """
    Serve `/metrics`, `/healthz` and `/readyz` while the context lasts, and yield `host:port`. End with exit code 2 if the address is taken.

    Args:
        settings: The host, and the host names that a request may use.
        port: The port; 0 takes a free port.
        metrics: The command's metrics, which also say whether the process makes progress.
    """
    app = application(metrics.registry, metrics.verdict, names=[settings.metrics_host, *settings.metrics_name_list])
    with contextlib.ExitStack() as opened:
        try:
            bound = opened.enter_context(serve(app, host=settings.metrics_host, port=port))
        except OSError as error:
            fail(
                f"the metrics address {settings.metrics_host}:{port} cannot be bound: {error}. Next: another --metrics-port, "
                "or 0 for a free one, which is said.",
                EXIT_USAGE,
            )
        yield f"{settings.metrics_host}:{bound}"

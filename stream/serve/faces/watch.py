"""`/watch/`: the page on which a person sees how the decisions on requests are, and whether the requests drift."""

import threading
import time
from collections.abc import Callable
from typing import TYPE_CHECKING

from fastapi import APIRouter
from fastapi.responses import RedirectResponse, Response

from tagstream.monitoring.figures.history import History, Look
from tagstream.monitoring.figures.scrape import of_families
from tagstream.monitoring.health import HealthVerdict
from tagstream.monitoring.metrics.http import HttpMetrics
from tagstream.monitoring.server.application import WORKER

if TYPE_CHECKING:
    from tagstream.monitoring.server.page import ServePage


def page_of_serve() -> "ServePage":
    """Return the page. It is imported at the first request for it."""
    from tagstream.monitoring.server.page import ServePage

    return ServePage()


def routes(metrics: HttpMetrics, trouble: Callable[[], str | None]) -> APIRouter:
    """
    Return the routes of the page. FastAPI calls them in threads, so that a look at the page delays no request.

    Args:
        metrics: Has the registry of this process.
        trouble: Returns why the service is not ready; None if it is ready.
    """
    router, history, one = APIRouter(), History(), threading.Lock()

    def look() -> Look:
        return history.see({WORKER: of_families(metrics.registry.collect(), at=time.time())})

    @router.get("/watch", include_in_schema=False)
    def moved() -> Response:
        # Relative, because a proxy may serve the service under another path. The page's own requests are relative, too.
        return RedirectResponse("watch/")

    @router.get("/watch/", include_in_schema=False)
    def page() -> Response:
        found = page_of_serve().document
        return Response(found.body, headers=dict(found.headers))

    @router.get("/watch/snapshot.json", include_in_schema=False)
    def snapshot() -> Response:
        why = trouble()
        verdict = HealthVerdict(ready=why is None, why=why or "ready")
        # One look at a time: many open pages wait for each other, and the model keeps its processors.
        with one:
            return Response(page_of_serve().seen(look(), verdict), media_type="application/json")

    return router

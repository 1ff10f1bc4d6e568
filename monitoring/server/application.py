"""The answers of `/metrics`, `/healthz`, `/readyz`, and of a page that is loaded at its first request."""

import functools
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from prometheus_client import CollectorRegistry, make_wsgi_app

from tagstream.monitoring.figures.history import History, Look
from tagstream.monitoring.figures.scrape import of_families
from tagstream.monitoring.health import HealthVerdict
from tagstream.monitoring.server.hosts import Hosts

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment

PATHS = "/metrics /healthz /readyz /snapshot.json"
OTHER_HOST = (
    "this server does not answer to the name in the request's Host header. Next: use an IP address or localhost, or add the name to "
    "TAGSTREAM_METRICS_NAMES of the worker"
)
# The server shows a single worker, its own.
WORKER = "of this page"


@dataclass(frozen=True, slots=True, kw_only=True)
class Document:
    """The page as one response: its body, and the headers of this body."""

    body: bytes
    headers: tuple[tuple[str, str], ...]


class Page(Protocol):
    """The page for a browser. The server loads the page at its first request, but keeps the page's history from the start."""

    @property
    def document(self) -> Document:
        """The page as one response."""

    def seen(self, look: Look, found: HealthVerdict) -> bytes:
        """Return the current figures, alarms and screen, as JSON."""


def application(
    registry: CollectorRegistry,
    verdict: Callable[[], HealthVerdict],
    *,
    names: Iterable[str] = (),
    page: Callable[[], Page] | None = None,
    now: Callable[[], float] = time.time,
) -> "WSGIApplication":
    """
    Return the WSGI application behind the paths.

    Args:
        registry: The metrics of this process.
        verdict: Returns whether the process is ready, and why not.
        names: Names that a request may give as `Host`, in addition to the names that `Hosts` always accepts.
        page: Loads the page; called at the first request for the page. None for `/metrics`, `/healthz` and `/readyz` alone.
        now: The clock, Unix seconds.
    """
    metrics = make_wsgi_app(registry)
    history = History()
    page = None if page is None else functools.cache(page)
    paths = "/metrics /healthz /readyz" if page is None else f"/ {PATHS}"

    def look() -> Look:
        return history.see({WORKER: of_families(registry.collect(), at=now())})

    def answer(environ: "WSGIEnvironment", start_response: "StartResponse") -> Iterable[bytes]:
        match environ.get("PATH_INFO"):
            case "/metrics":
                if page is not None:
                    # Each scrape also adds to the history that the page shows.
                    look()
                body: Iterable[bytes] = metrics(environ, start_response)
                return body
            case "/healthz":
                return _text(start_response, "200 OK", "alive")
            case "/readyz":
                return _readiness(start_response, verdict())
            case "/snapshot.json" if page is not None:
                return _json(start_response, page().seen(look(), verdict()))
            case "/" if page is not None:
                return _root(environ, start_response, page)
            case _:
                return _text(start_response, "404 Not Found", f"there are {paths} here")

    return _for_own_names(answer, names)


def _for_own_names(answer: "WSGIApplication", names: Iterable[str]) -> "WSGIApplication":
    hosts = Hosts(names)

    def answer_if_meant(environ: "WSGIEnvironment", start_response: "StartResponse") -> Iterable[bytes]:
        if hosts.know(environ.get("HTTP_HOST")):
            return answer(environ, start_response)
        return _text(start_response, "421 Misdirected Request", OTHER_HOST)

    return answer_if_meant


def _root(environ: "WSGIEnvironment", start_response: "StartResponse", page: Callable[[], Page]) -> list[bytes]:
    """Answer a browser with the page, and another client with a list of the paths."""
    if "text/html" not in environ.get("HTTP_ACCEPT", ""):
        return _text(start_response, "200 OK", f"tagstream worker: {PATHS}, and a page for browsers here")
    document = page().document
    start_response("200 OK", [*document.headers, ("Vary", "Accept")])
    return [document.body]


def _readiness(start_response: "StartResponse", found: HealthVerdict) -> list[bytes]:
    return _text(start_response, "200 OK" if found.ready else "503 Service Unavailable", found.why)


def _json(start_response: "StartResponse", data: bytes) -> list[bytes]:
    headers = [("Content-Type", "application/json"), ("Content-Length", str(len(data))), ("Cache-Control", "no-store")]
    start_response("200 OK", [*headers, ("X-Content-Type-Options", "nosniff")])
    return [data]


def _text(start_response: "StartResponse", status: str, body: str) -> list[bytes]:
    data = f"{body}\n".encode()
    headers = [("Content-Type", "text/plain; charset=utf-8"), ("Content-Length", str(len(data))), ("Vary", "Accept")]
    start_response(status, headers)
    return [data]

"""The answers of `/metrics`, `/healthz`, `/readyz` and the page."""

import time
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING

import msgspec
from prometheus_client import CollectorRegistry, make_wsgi_app

from monitoring.figures.alarms import alarms
from monitoring.figures.compute import figures, trouble_of
from monitoring.figures.history import History, Windows
from monitoring.figures.snapshot import of_families
from monitoring.health import Verdict
from monitoring.server.hosts import Hosts
from monitoring.server.page.document import document

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment

PATHS = "/metrics /healthz /readyz /snapshot.json"
OTHER_HOST = (
    "this server does not answer to the name in the request's Host header. Next: use an IP address or localhost, or add the name to "
    "TAGSTREAM_METRICS_NAMES of the worker"
)
# The server shows a single worker, its own.
WORKER = "of this page"


def application(
    registry: CollectorRegistry,
    verdict: Callable[[], Verdict],
    *,
    names: Iterable[str] = (),
    now: Callable[[], float] = time.time,
) -> "WSGIApplication":
    """The WSGI application behind the paths. `names` are those that a request may name as `Host` (`Hosts`); `now` is Unix seconds."""
    hosts = Hosts(names)
    metrics = make_wsgi_app(registry)
    history = History()

    def look() -> Windows:
        return history.see({WORKER: of_families(registry.collect(), at=now())})

    def answer(environ: "WSGIEnvironment", start_response: "StartResponse") -> Iterable[bytes]:
        match environ.get("PATH_INFO"):
            case "/metrics":
                # Each scrape also adds to the history that the page shows.
                look()
                body: Iterable[bytes] = metrics(environ, start_response)
                return body
            case "/healthz":
                return _text(start_response, "200 OK", "alive")
            case "/readyz":
                found = verdict()
                return _text(start_response, "200 OK" if found.ready else "503 Service Unavailable", found.why)
            case "/snapshot.json":
                return _json(start_response, _seen(look(), verdict()))
            case "/":
                return _root(environ, start_response)
            case _:
                return _text(start_response, "404 Not Found", f"there are / {PATHS} here")

    def answer_if_meant(environ: "WSGIEnvironment", start_response: "StartResponse") -> Iterable[bytes]:
        if hosts.know(environ.get("HTTP_HOST")):
            return answer(environ, start_response)
        return _text(start_response, "421 Misdirected Request", OTHER_HOST)

    return answer_if_meant


def _root(environ: "WSGIEnvironment", start_response: "StartResponse") -> list[bytes]:
    """The page for browsers, a list of the paths for other clients."""
    if "text/html" not in environ.get("HTTP_ACCEPT", ""):
        return _text(start_response, "200 OK", f"tagstream worker: {PATHS}, and a page for browsers here")
    page = document()
    start_response("200 OK", [*page.headers, ("Vary", "Accept")])
    return [page.body]


def _seen(windows: Windows, found: Verdict) -> bytes:
    trouble = trouble_of(WORKER, windows.total, ready=found.ready, why=found.why)
    seen = figures(windows, () if trouble is None else (trouble,))
    return msgspec.json.encode({"ready": found.ready, "why": found.why, "figures": seen, "alarms": alarms(seen)})


def _json(start_response: "StartResponse", data: bytes) -> list[bytes]:
    headers = [("Content-Type", "application/json"), ("Content-Length", str(len(data))), ("Cache-Control", "no-store")]
    start_response("200 OK", [*headers, ("X-Content-Type-Options", "nosniff")])
    return [data]


def _text(start_response: "StartResponse", status: str, body: str) -> list[bytes]:
    data = f"{body}\n".encode()
    headers = [("Content-Type", "text/plain; charset=utf-8"), ("Content-Length", str(len(data))), ("Vary", "Accept")]
    start_response(status, headers)
    return [data]

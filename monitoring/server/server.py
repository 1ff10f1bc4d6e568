"""Serves `/metrics`, `/healthz`, `/readyz` and a page from a thread of its own, so it answers if the event loop hangs."""

import contextlib
import socket
import socketserver
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer, make_server

import msgspec
from prometheus_client import CollectorRegistry, make_wsgi_app

from monitoring.figures.alarms import alarms
from monitoring.figures.compute import figures, trouble_of
from monitoring.figures.history import History, Windows
from monitoring.figures.snapshot import of_families
from monitoring.health import Verdict
from monitoring.server.page.document import document

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment

SECONDS_PER_REQUEST = 10
PATHS = "/metrics /healthz /readyz /snapshot.json"
# The server shows a single worker, its own.
WORKER = "of this page"


class _Server(socketserver.ThreadingMixIn, WSGIServer):
    daemon_threads = True


class _Server6(_Server):
    address_family = socket.AF_INET6


class _Handler(WSGIRequestHandler):
    # A client that connects and stays silent must not hold a thread for ever.
    timeout = SECONDS_PER_REQUEST

    def handle(self) -> None:
        """Handle one request. A client that is silent or disconnects leaves no traceback on stderr."""
        with contextlib.suppress(TimeoutError, ConnectionError):
            super().handle()

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002
        """Do not log requests: a scrape comes every few seconds."""


def application(
    registry: CollectorRegistry, verdict: Callable[[], Verdict], now: Callable[[], float] = time.time
) -> "WSGIApplication":
    """The WSGI application behind the paths; `now` is Unix seconds."""
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

    return answer


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


@contextlib.contextmanager
def serve(app: "WSGIApplication", *, host: str, port: int) -> Iterator[int]:
    """
    Serve from a daemon thread while the context lasts; yields the port that was bound.

    Raises:
        OSError: The address cannot be bound.
    """
    family = socket.getaddrinfo(host or None, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[0][0]
    server_class = _Server6 if family == socket.AF_INET6 else _Server
    server = make_server(host, port, app, server_class=server_class, handler_class=_Handler)
    thread = threading.Thread(target=server.serve_forever, name="metrics", daemon=True)
    thread.start()
    try:
        yield server.server_port
    finally:
        server.shutdown()
        server.server_close()

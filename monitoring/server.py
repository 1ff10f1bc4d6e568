"""`/metrics`, `/healthz` and `/readyz`, served from a thread of their own so that they answer while the event loop does not."""

import contextlib
import socketserver
import threading
from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer, make_server

from prometheus_client import CollectorRegistry, make_wsgi_app

from monitoring.health import Verdict

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment

SECONDS_PER_REQUEST = 10


class _Server(socketserver.ThreadingMixIn, WSGIServer):
    daemon_threads = True


class _Handler(WSGIRequestHandler):
    # A client that connects and says nothing must not hold a thread for ever.
    timeout = SECONDS_PER_REQUEST

    def handle(self) -> None:
        """One request. A client that stays silent or goes away is no error of ours, and no traceback on stderr."""
        with contextlib.suppress(TimeoutError, ConnectionError):
            super().handle()

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002
        """A scrape every few seconds is no news."""


def application(registry: CollectorRegistry, verdict: Callable[[], Verdict]) -> "WSGIApplication":
    """The WSGI application behind the three paths."""
    metrics = make_wsgi_app(registry)

    def answer(environ: "WSGIEnvironment", start_response: "StartResponse") -> Iterable[bytes]:
        match environ.get("PATH_INFO"):
            case "/metrics":
                body: Iterable[bytes] = metrics(environ, start_response)
                return body
            case "/healthz":
                return _text(start_response, "200 OK", "alive")
            case "/readyz":
                found = verdict()
                return _text(start_response, "200 OK" if found.ready else "503 Service Unavailable", found.why)
            case "/":
                return _text(start_response, "200 OK", "tagstream worker: /metrics /healthz /readyz")
            case _:
                return _text(start_response, "404 Not Found", "there are /metrics, /healthz and /readyz here")

    return answer


def _text(start_response: "StartResponse", status: str, body: str) -> list[bytes]:
    data = f"{body}\n".encode()
    start_response(status, [("Content-Type", "text/plain; charset=utf-8"), ("Content-Length", str(len(data)))])
    return [data]


@contextlib.contextmanager
def serve(app: "WSGIApplication", *, host: str, port: int) -> Iterator[int]:
    """
    Serve from a daemon thread while the context lasts; yields the port that was bound.

    Raises:
        OSError: The address cannot be bound.
    """
    server = make_server(host, port, app, server_class=_Server, handler_class=_Handler)
    thread = threading.Thread(target=server.serve_forever, name="metrics", daemon=True)
    thread.start()
    try:
        yield server.server_port
    finally:
        server.shutdown()
        server.server_close()

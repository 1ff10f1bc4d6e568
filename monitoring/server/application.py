"""The answers of `/metrics`, `/healthz`, `/readyz` and the page."""

import base64
import hashlib
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec
from prometheus_client import CollectorRegistry, make_wsgi_app

from tagstream.monitoring.alarms import alarms
from tagstream.monitoring.figures.compute import figures, trouble_of
from tagstream.monitoring.figures.history import History, Windows
from tagstream.monitoring.figures.snapshot import of_families
from tagstream.monitoring.health import Verdict
from tagstream.monitoring.screen import screen
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
PAGE = Path(__file__).parent / "page"


def application(
    registry: CollectorRegistry,
    verdict: Callable[[], Verdict],
    *,
    names: Iterable[str] = (),
    now: Callable[[], float] = time.time,
) -> "WSGIApplication":
    """
    The WSGI application behind the paths.

    Args:
        registry: The worker's metrics.
        verdict: Asks whether the worker is ready, and why not.
        names: Names that a request may give as `Host`, beside those that `Hosts` always takes.
        now: The clock, Unix seconds.
    """
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
                return _readiness(start_response, verdict())
            case "/snapshot.json":
                return _json(start_response, _seen(look(), verdict()))
            case "/":
                return _root(environ, start_response)
            case _:
                return _text(start_response, "404 Not Found", f"there are / {PATHS} here")

    return _for_own_names(answer, names)


def metrics_alone(
    registry: CollectorRegistry, verdict: Callable[[], Verdict], *, names: Iterable[str] = ()
) -> "WSGIApplication":
    """
    The application of a process beside the workers: `/metrics`, `/healthz` and `/readyz`, without a page.

    Args:
        registry: Its metrics.
        verdict: As for `application`.
        names: As for `application`.
    """
    metrics = make_wsgi_app(registry)

    def answer(environ: "WSGIEnvironment", start_response: "StartResponse") -> Iterable[bytes]:
        match environ.get("PATH_INFO"):
            case "/metrics":
                body: Iterable[bytes] = metrics(environ, start_response)
                return body
            case "/healthz":
                return _text(start_response, "200 OK", "alive")
            case "/readyz":
                return _readiness(start_response, verdict())
            case _:
                return _text(start_response, "404 Not Found", "there are /metrics /healthz /readyz here")

    return _for_own_names(answer, names)


def _for_own_names(answer: "WSGIApplication", names: Iterable[str]) -> "WSGIApplication":
    hosts = Hosts(names)

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
    return msgspec.json.encode(
        {"ready": found.ready, "why": found.why, "figures": seen, "alarms": alarms(seen), "screen": screen(seen)}
    )


def _readiness(start_response: "StartResponse", found: Verdict) -> list[bytes]:
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


@dataclass(frozen=True, slots=True, kw_only=True)
class Document:
    """The page as one response: its bytes, and the headers that belong to them."""

    body: bytes
    headers: tuple[tuple[str, str], ...]


@cache
def document() -> Document:
    """Read once: the files do not change while a worker runs."""
    names = ("page.css", "charts.js", "page.js", "index.html")
    style, charts, page, frame = ((PAGE / name).read_text(encoding="utf-8") for name in names)
    script = charts + page
    body = frame.replace("/*style*/", style).replace("/*script*/", script).encode()
    # The policy has the hashes of the style and the script, so an injected script does not run; requests go to the worker only.
    policy = (
        f"default-src 'none'; style-src '{_hash(style)}'; script-src '{_hash(script)}'; connect-src 'self'; img-src data:; "
        "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    )
    return Document(
        body=body,
        headers=(
            ("Content-Type", "text/html; charset=utf-8"),
            ("Content-Length", str(len(body))),
            ("Content-Security-Policy", policy),
            ("Referrer-Policy", "no-referrer"),
            ("X-Content-Type-Options", "nosniff"),
            ("Cache-Control", "no-cache"),
        ),
    )


def _hash(text: str) -> str:
    return f"sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}"

"""Asks one running worker over HTTP: its metrics and its readiness."""

import http.client
import time
from dataclasses import dataclass
from urllib.parse import urlsplit

from tagstream.monitoring.figures.compute import trouble_of
from tagstream.monitoring.figures.figures import Trouble
from tagstream.monitoring.figures.scrape import Scrape
from tagstream.monitoring.figures.snapshot import NotMetricsError, parse

ANSWER_SECONDS = 3.0
# A worker writes far less.
MOST_BYTES = 16 * 2**20


class WorkerAddressError(Exception):
    """A text is not an address. The message quotes the text and names the next step."""

    exit_code = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class Address:
    """The address of a worker's metrics."""

    scheme: str
    place: str
    path: str

    def __str__(self) -> str:
        return f"{self.scheme}://{self.place}{self.path}"

    @property
    def readiness(self) -> str | None:
        """The path of the readiness; None if it is unknown, because the path of the metrics does not end in `/metrics`."""
        return self.path.removesuffix("/metrics") + "/readyz" if self.path.endswith("/metrics") else None


def address(text: str) -> Address:
    """
    Read an address as a person types it.

    Raises:
        WorkerAddressError: The text is not an address.

    >>> str(address("worker-1:9108"))
    'http://worker-1:9108/metrics'
    """
    parts = urlsplit(text if "://" in text else f"http://{text}")
    try:
        usable = parts.scheme in {"http", "https"} and bool(parts.hostname) and parts.port != 0
    except ValueError:
        usable = False
    if not usable:
        msg = f"{text!r} is not the address of a worker. Next: give it as http://HOST:PORT/metrics or as HOST:PORT."
        raise WorkerAddressError(msg)
    path = parts.path if parts.path not in {"", "/"} else "/metrics"
    return Address(scheme=parts.scheme, place=parts.netloc, path=path + (f"?{parts.query}" if parts.query else ""))


def ask(at: Address) -> tuple[Scrape | None, Trouble | None]:
    """Return a worker's metrics, None if it does not answer with metrics; and the worker's trouble, None if it is ready."""
    try:
        status, text = get(at, at.path)
        if status != http.client.OK:
            said = f": {text.strip()}" if status == http.client.MISDIRECTED_REQUEST else ""
            return None, Trouble(worker=str(at), answers=False, why=f"it answers {status}{said}")
        found = parse(text, at=time.time())
        ready, why = _readiness(at)
    except NotMetricsError as error:
        return None, Trouble(worker=str(at), answers=False, why=str(error))
    except (OSError, http.client.HTTPException) as error:
        return None, Trouble(worker=str(at), answers=False, why=_why(error))
    return found, trouble_of(str(at), found, ready=ready, why=why)


def _readiness(at: Address) -> tuple[bool, str]:
    """Ask for the readiness. Only a 503 means "not ready": a proxy that serves only the metrics may answer with another status."""
    if at.readiness is None:
        return True, ""
    status, text = get(at, at.readiness)
    return status != http.client.SERVICE_UNAVAILABLE, text.strip()


def get(at: Address, path: str) -> tuple[int, str]:
    """
    Return the status and the body of an answer of a worker's server.

    Raises:
        OSError: No answer comes in time.
        HTTPException: The server does not speak HTTP.
    """
    kind = http.client.HTTPSConnection if at.scheme == "https" else http.client.HTTPConnection
    connection = kind(at.place, timeout=ANSWER_SECONDS)
    try:
        connection.request("GET", path)
        response = connection.getresponse()
        return response.status, response.read(MOST_BYTES).decode("utf-8", errors="replace")
    finally:
        connection.close()


def _why(error: Exception) -> str:
    if isinstance(error, TimeoutError):
        return f"no answer within {ANSWER_SECONDS:.0f} s"
    if isinstance(error, ConnectionRefusedError):
        return "nothing listens there"
    return str(error) or type(error).__name__

"""`tagstream top`: fetches the `/metrics` of running workers again and again; `panel` draws them."""

import http.client
import sys
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from urllib.parse import urlsplit

import msgspec
from rich.console import Console
from rich.live import Live

from monitoring.figures.alarms import alarms
from monitoring.figures.compute import figures, trouble_of
from monitoring.figures.figures import Figures, Trouble
from monitoring.figures.history import History
from monitoring.figures.snapshot import NotMetricsError, Snapshot, parse
from monitoring.top.panel import Frame

ANSWER_SECONDS = 3.0
# Far more than a worker writes.
MOST_BYTES = 16 * 2**20
AT_ONCE = 16


class NoWorkerError(Exception):
    """No address answers with a worker's metrics; the message names each, the reason and the next step."""

    exit_code = 1


class AddressError(Exception):
    """A text is not an address; the message quotes it and says the next step."""

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
        """The path of the readiness; None if the metrics path does not end in `/metrics`, so it is unknown."""
        return self.path.removesuffix("/metrics") + "/readyz" if self.path.endswith("/metrics") else None


def address(text: str) -> Address:
    """
    Read an address as a person types it.

    Raises:
        AddressError: The text is not an address.

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
        raise AddressError(msg)
    path = parts.path if parts.path not in {"", "/"} else "/metrics"
    return Address(scheme=parts.scheme, place=parts.netloc, path=path + (f"?{parts.query}" if parts.query else ""))


class Watcher:
    """Fetches the workers' metrics and keeps earlier ones, from which rates are computed."""

    def __init__(self, addresses: Sequence[Address]) -> None:
        """Store the addresses; no request is sent yet."""
        self._addresses = list(dict.fromkeys(addresses))
        self._history = History()

    def look(self) -> Figures:
        """
        Ask all workers at the same time.

        Raises:
            NoWorkerError: None of them answers.
        """
        with ThreadPoolExecutor(max_workers=min(AT_ONCE, len(self._addresses))) as pool:
            answers = list(pool.map(_ask, self._addresses))
        seen = {str(at): found for at, (found, _) in zip(self._addresses, answers, strict=True) if found is not None}
        troubles = [trouble for _, trouble in answers if trouble is not None]
        if not seen:
            raise NoWorkerError(_no_answer(troubles))
        return figures(self._history.see(seen), troubles)


def top(addresses: Sequence[Address], *, once: bool, as_json: bool, every_seconds: float, console: Console) -> None:
    """
    Show the workers until interrupted.

    Args:
        addresses: Addresses of the workers.
        once: Show one frame and end; the same happens if the output is not a terminal.
        as_json: Print JSON, one object a line, instead of frames.
        every_seconds: Time between two looks.
        console: The console for frames.

    Raises:
        NoWorkerError: No worker answers at the first look.
    """
    watcher = Watcher(addresses)
    try:
        # A rate needs two looks.
        watcher.look()
        time.sleep(every_seconds)
        if as_json:
            _print_json(watcher, once=once, every_seconds=every_seconds)
        elif once or not console.is_terminal or console.is_dumb_terminal:
            console.print(Frame(watcher.look(), whole=True))
        else:
            _watch(watcher, console, every_seconds)
    except KeyboardInterrupt:
        return


def _watch(watcher: Watcher, console: Console, every_seconds: float) -> None:
    """Draws on the alternate screen, a frame at a time: without flicker, and the terminal's content returns afterwards."""
    shown, lost, answered = watcher.look(), "", time.monotonic()
    with Live(console=console, screen=True, auto_refresh=False) as live:
        while True:
            live.update(Frame(shown, lost=lost), refresh=True)
            time.sleep(every_seconds)
            try:
                shown, lost, answered = watcher.look(), "", time.monotonic()
            except NoWorkerError as error:
                lost = f"These figures are {time.monotonic() - answered:.0f} s old: {error}"


def _print_json(watcher: Watcher, *, once: bool, every_seconds: float) -> None:
    while True:
        seen = watcher.look()
        sys.stdout.buffer.write(msgspec.json.encode({"figures": seen, "alarms": alarms(seen)}) + b"\n")
        sys.stdout.flush()
        if once:
            return
        time.sleep(every_seconds)


def _ask(at: Address) -> tuple[Snapshot | None, Trouble | None]:
    try:
        status, text = _get(at, at.path)
        if status != http.client.OK:
            return None, Trouble(worker=str(at), answers=False, why=f"it answers {status}")
        found = parse(text, at=time.time())
        ready, why = _readiness(at)
    except NotMetricsError as error:
        return None, Trouble(worker=str(at), answers=False, why=str(error))
    except (OSError, http.client.HTTPException) as error:
        return None, Trouble(worker=str(at), answers=False, why=_why(error))
    return found, trouble_of(str(at), found, ready=ready, why=why)


def _readiness(at: Address) -> tuple[bool, str]:
    """Ready unless it answers 503, because a proxy may pass on the metrics alone."""
    if at.readiness is None:
        return True, ""
    status, text = _get(at, at.readiness)
    return status != http.client.SERVICE_UNAVAILABLE, text.strip()


def _get(at: Address, path: str) -> tuple[int, str]:
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


def _no_answer(troubles: Sequence[Trouble]) -> str:
    what = "; ".join(f"{trouble.worker}: {trouble.why}" for trouble in troubles)
    return f"no worker answers ({what}). Next: start one (tagstream worker, or make demo), or name its address: tagstream top HOST:PORT."

"""`tagstream demo`: a broker, a worker and sample events, watched until every event is accounted for."""

import os
import queue
import secrets
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

from rich.console import Console

from monitoring.observer import Destination
from stream import topics
from stream.broker import Broker, broker
from stream.clients import SendError
from stream.demo import samples
from stream.demo.interrupt import Interrupt, interrupts
from stream.demo.ledger import Ledger
from stream.demo.opening import Opening
from stream.demo.process import Worker, WorkerError, worker
from stream.demo.summary import print_summary
from stream.demo.traffic import Broke, Came, Fact, Sent, Traffic
from stream.demo.watch import REFRESH_SECONDS, Scene, Watch, watch
from stream.settings import Settings, SettingsError, load

DRAIN_SECONDS = 20.0
# Joining a group on Tansu takes half of this; it is the least that a setting may be.
TANSU_SESSION_SECONDS = 6.0


def demo(
    *, seconds: float | None, rate: float, settings: Settings | None = None, console: Console, prefer: str | None = None
) -> int:
    """
    Run the demo; when it returns or raises, nothing that it started runs any more.

    Args:
        seconds: How long samples are sent; None: until SIGINT or SIGTERM.
        rate: Samples a second.
        settings: Those of the worker and the clients; None reads the environment.
        console: Where everything is shown: as a picture on a terminal, else as lines.
        prefer: The only kind of broker to try; see `stream.broker.broker`.

    Returns:
        0 if every event is accounted for and everything ended in order, else 1.

    Raises:
        BrokerUnavailable: No broker could be had.
        BrokerUnreachableError: The broker did not create the topics, or did not answer a client.
        WorkerError: The worker did not get ready.
        SettingsError: The settings ask for TLS or a user.
        ValueError: `seconds` or `rate` is not more than 0.
    """
    if rate <= 0 or (seconds is not None and seconds <= 0):
        msg = f"rate={rate!r} and seconds={seconds!r} must be more than 0"
        raise ValueError(msg)
    given = load(os.environ).settings if settings is None else settings
    if given.security.protocol != "PLAINTEXT":
        msg = (
            f"the demo's broker is its own, on loopback and without TLS; security.protocol = {given.security.protocol} cannot reach "
            f"it. Next: unset TAGSTREAM_SECURITY__*; to try a cluster with TLS, `tagstream send --samples` and `tagstream worker`."
        )
        raise SettingsError(msg)
    with interrupts() as interrupt, tempfile.TemporaryDirectory(prefix="tagstream-demo-") as folder:
        try:
            return _Demo(console, Path(folder), interrupt).run(given, seconds=seconds, rate=rate, prefer=prefer)
        except KeyboardInterrupt:
            console.print("stopped before anything was sent")
            return 1


class _Demo:
    """One run, from the first process to the last word."""

    def __init__(self, console: Console, folder: Path, interrupt: Interrupt) -> None:
        self._console = console
        self._folder = folder
        self._interrupt = interrupt
        self._problems: list[str] = []
        self._log = ""

    def run(self, given: Settings, *, seconds: float | None, rate: float, prefer: str | None) -> int:
        opening = Opening(self._console)
        with ExitStack() as stack:
            with opening.step("starting a broker") as say:
                found = stack.enter_context(broker(prefer=prefer, environ=_environ(given), log=say))
            opening.tell("broker", found.description)
            opening.tell("", found.bootstrap)
            settings = _settings(given, found)
            with opening.step("creating the topics"):
                made = topics.create(settings)
            opening.tell("topics", f"{len(made.made)} created, {len(made.found)} found")
            with opening.step("starting the worker") as say:
                running = stack.enter_context(worker(settings, self._folder, say))
            opening.tell("worker", f"process {running.pid} is ready")
            opening.addresses(running.address, found.bootstrap)
            ledger = self._watched(settings, found, running, seconds=seconds, rate=rate)
        problems = [*ledger.problems(), *self._problems]
        print_summary(self._console, ledger.totals(), problems)
        if problems:
            self._console.print(f"The end of the worker's log:\n{self._log}", soft_wrap=True, highlight=False, markup=False)
        return 1 if problems or not ledger.totals().sent else 0

    def _watched(self, settings: Settings, found: Broker, running: Worker, *, seconds: float | None, rate: float) -> Ledger:
        alone = found.kind != "external"
        names = settings.topics
        ledger = Ledger(
            {names.tagged: Destination.TAGGED, names.review: Destination.REVIEW, names.dlq: Destination.DLQ}, alone=alone
        )
        # On a broker that outlives the demo, the events of the last one bear the plain ids.
        mixed = samples.mix(samples.load_events(), samples.load_malformed(), run="" if alone else secrets.token_hex(3))
        traffic = Traffic(settings, mixed, rate=rate)
        self._interrupt.postpone()
        with traffic.reading(from_beginning=alone):
            scene = Scene(broker=f"{found.description} at {found.bootstrap}", address=running.address, seconds=seconds)
            with watch(self._console, scene) as view:
                self._send_and_account(_Pump(traffic, ledger, view, running), traffic, seconds)
                view.refresh(ledger.totals(), "stopping the worker")
                unclean = running.stop()
                self._log = running.tail()
                self._problems += [unclean] if unclean else []
        # What came while the worker stopped: a duplicate would be among it.
        for fact in _left(traffic.facts):
            _account(fact, ledger)
        return ledger

    def _send_and_account(self, pump: "_Pump", traffic: Traffic, seconds: float | None) -> None:
        try:
            with traffic.sending():
                pump.run(lambda _: self._interrupt.asked, at_most_seconds=seconds, phase="running")
            pump.run(
                lambda waiting: not waiting or self._interrupt.insisted,
                at_most_seconds=DRAIN_SECONDS,
                phase="sending is over, waiting for the last outcomes",
            )
        # The account says what is missing; this says why.
        except (WorkerError, SendError) as error:
            self._problems.append(str(error))


class _Pump:
    """Takes facts to the ledger and what landed to the view."""

    def __init__(self, traffic: Traffic, ledger: Ledger, view: Watch, running: Worker) -> None:
        self._facts = traffic.facts
        self._ledger = ledger
        self._view = view
        self._running = running
        self._due = time.monotonic()

    def run(self, enough: Callable[[bool], bool], *, at_most_seconds: float | None, phase: str) -> None:
        """Go on until there is `enough`, which is told whether anything is still waited for, or the time is over."""
        end = float("inf") if at_most_seconds is None else time.monotonic() + at_most_seconds
        while True:
            now = time.monotonic()
            if now >= self._due:
                self._view.refresh(self._ledger.totals(), phase)
                self._running.check()
                self._due = now + REFRESH_SECONDS
            waiting = not self._facts.empty() or self._ledger.waiting > 0
            if enough(waiting) or now >= end:
                return
            try:
                fact = self._facts.get(timeout=max(0.001, min(self._due, end) - now))
            except queue.Empty:
                continue
            _account(fact, self._ledger, self._view)


def _account(fact: Fact, ledger: Ledger, view: Watch | None = None) -> None:
    match fact:
        case Sent(sample=sample, at_ms=at_ms):
            ledger.sent(sample, at_ms)
        case Came(records=records):
            for record in records:
                landing = ledger.received(record)
                if landing is not None and view is not None:
                    view.landed(landing)
        case Broke(error=error):
            raise error


def _left(facts: "queue.SimpleQueue[Fact]") -> Iterator[Fact]:
    while not facts.empty():
        yield facts.get_nowait()


def _environ(settings: Settings) -> dict[str, str]:
    """Where the broker is looked for: a broker of the settings' own, wherever they have it from, is an external one."""
    environ = {name: value for name, value in os.environ.items() if name != "TAGSTREAM_BROKERS"}
    if "brokers" in settings.model_fields_set:
        environ["TAGSTREAM_BROKERS"] = settings.brokers
    return environ


def _settings(given: Settings, found: Broker) -> Settings:
    changed: dict[str, object] = {"brokers": found.bootstrap}
    if found.kind == "tansu":
        changed["session_timeout_seconds"] = TANSU_SESSION_SECONDS
    return given.model_copy(update=changed)

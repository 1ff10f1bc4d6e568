"""`tagstream demo`: a broker, a worker, people and sample events, watched until every event and answer is accounted for."""

import itertools
import os
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console

from monitoring.drift.findings import what_moved
from monitoring.top.top import Watcher
from monitoring.top.workers import address
from monitoring.vocabulary import Destination
from stream.demo import place, samples
from stream.demo.interrupt import Interrupt, interrupts
from stream.demo.ledger import Ledger
from stream.demo.people.labels import known_labels
from stream.demo.people.people import People, lacking, people
from stream.demo.place import Place
from stream.demo.process import Worker, WorkerError, worker
from stream.demo.pump import Accounts, Pump
from stream.demo.samples import Sample
from stream.demo.screen.frame import ORDINARY
from stream.demo.screen.opening import Opening, command
from stream.demo.screen.summary import print_summary
from stream.demo.screen.watch import Scene, watch
from stream.demo.shifts import ABOUT, Event, Shift, shifted
from stream.demo.traffic import Traffic
from stream.kafka import admin
from stream.kafka.producer import SendError
from stream.settings.loading import SettingsError, load
from stream.settings.settings import Settings

# Events, and the right labels of some of them by title.
Stock = tuple[list[Event], dict[str, str]]

DRAIN_SECONDS = 20.0
# At 20 events a second the worker has its reference after half a minute, and compares a window with it every 15 s.
WINDOW_EVENTS, REFERENCE_WINDOWS = 300, 2


@dataclass(frozen=True, slots=True, kw_only=True)
class Drift:
    """How the stream drifts, and from which second on. It is healthy before."""

    shift: Shift = Shift.LANGUAGE
    after_seconds: float = 75.0

    def begins(self, rate: float) -> int:
        """How many events come before it."""
        return round(self.after_seconds * rate)


def demo(  # noqa: PLR0913 - the options of the command
    *,
    seconds: float | None,
    rate: float,
    settings: Settings | None = None,
    console: Console,
    on_broker: bool = False,
    prefer: str | None = None,
    drift: Drift | None = None,
    events: Path | None = None,
) -> int:
    """
    Run the demo. When it returns or raises, every process that it started has ended.

    It starts a broker and touches no other one, also where the settings name brokers, unless `on_broker` is true.

    Args:
        seconds: How long samples are sent; None: until SIGINT or SIGTERM.
        rate: Samples a second.
        settings: Those of the worker and the clients; None reads the environment.
        console: Where everything is shown: as a picture on a terminal, else as lines.
        on_broker: Run on the brokers of the settings, with topics and a group of the demo's own, which are removed at the end.
        prefer: The only kind of broker to try; see `stream.broker.broker`.
        drift: How and when the stream drifts; None: other languages, after 75 s.
        events: A file of events in place of the samples, which are about machine learning.

    Returns:
        0 if every event and every answer is accounted for, everything ended in order and nothing is left on a named broker, else 1.

    Raises:
        BrokerUnavailable: No broker could be had.
        BrokerUnreachableError: The broker did not create the topics, or did not answer a client.
        WorkerError: The worker did not get ready.
        SettingsError: The settings ask for TLS or a user, and the demo is to start its own broker.
        RowsError: The file of events cannot be used.
        ValueError: `seconds` or `rate` is not more than 0.
    """
    if rate <= 0 or (seconds is not None and seconds <= 0):
        msg = f"rate={rate!r} and seconds={seconds!r} must be more than 0"
        raise ValueError(msg)
    given = load(os.environ).settings if settings is None else settings
    if given.security.protocol != "PLAINTEXT" and not on_broker:
        msg = (
            f"the demo's broker is its own, on loopback and without TLS; security.protocol = {given.security.protocol} cannot reach "
            f"it. Next: unset TAGSTREAM_SECURITY__*, or try a cluster with TLS: `{command()} demo --on-broker HOST:PORT`."
        )
        raise SettingsError(msg)
    stock = (samples.load_events(), known_labels()) if events is None else samples.events_of(events)
    with interrupts() as interrupt, tempfile.TemporaryDirectory(prefix="tagstream-demo-") as folder:
        try:
            running = _Demo(console, Path(folder), interrupt, drift or Drift(), stock)
            place = running.named(given) if on_broker else running.started(given, prefer)
            return running.run(place, seconds=seconds, rate=rate)
        except KeyboardInterrupt:
            console.print("stopped before anything was sent")
            return 1


class _Demo:
    """One run, from the first process to the last word. `started` and `named` are the two places for `run`."""

    def __init__(self, console: Console, folder: Path, interrupt: Interrupt, drift: Drift, stock: Stock) -> None:
        self._console = console
        self._events, self._labels = stock
        self._drift = drift
        self._folder = folder
        self._interrupt = interrupt
        self._opening = Opening(console)
        self._problems: list[str] = []
        self._logs: dict[str, str] = {}

    @contextmanager
    def started(self, given: Settings, prefer: str | None) -> Iterator[Place]:
        """See `place.started`."""
        with ExitStack() as stack:
            with self._opening.step("starting a broker") as say:
                found = stack.enter_context(place.started(given, prefer=prefer, say=say))
            yield found

    @contextmanager
    def named(self, given: Settings) -> Iterator[Place]:
        """See `place.named`."""
        with ExitStack() as stack:
            with self._opening.step("asking the broker"):
                found = stack.enter_context(place.named(given, removing=self._interrupt.postpone, left=self._problems.append))
            yield found
            before = len(self._problems)
            with self._opening.step("removing its topics and its group"):
                stack.close()
            if len(self._problems) == before:
                self._opening.tell("removed", f"the topics {found.settings.group}.* and the group {found.settings.group}")

    def run(self, where: AbstractContextManager[Place], *, seconds: float | None, rate: float) -> int:
        """Run it all; see `demo`."""
        try:
            with where as found:
                accounts = self._started(found, seconds=seconds, rate=rate)
        except BaseException:
            # The caller prints the error; topics that are left on a named broker must be named too.
            for problem in self._problems:
                self._console.print(problem, soft_wrap=True, highlight=False, markup=False)
            raise
        events, answers = accounts.events, accounts.answers
        problems, moved = [*events.problems(), *answers.problems()], [what_moved(one) for one in accounts.findings]
        print_summary(self._console, events.totals(), answers.totals(), problems, moved, self._problems)
        problems = [*problems, *self._problems]
        for name, log in self._logs.items() if problems else ():
            self._console.print(f"The end of the {name}'s log:\n{log}", soft_wrap=True, highlight=False, markup=False)
        return 1 if problems or not events.totals().sent else 0

    def _started(self, found: Place, *, seconds: float | None, rate: float) -> Accounts:
        opening, settings = self._opening, _settings(found.settings)
        opening.tell("broker", found.broker)
        opening.tell("", settings.brokers)
        with opening.step("creating the topics"), self._interrupt.held():
            made = admin.create(settings)
        opening.tell("topics", f"{settings.topics.content} and {len(made.made) - 1} more, created")
        opening.tell("group", settings.group)
        traffic = Traffic(settings, mixed_samples(self._events, self._drift, rate), rate=rate)
        with ExitStack() as stack:
            with opening.step("starting the worker") as say:
                running = stack.enter_context(worker(settings, self._folder, say))
            opening.tell("worker", f"process {running.pid} is ready")
            lacks = lacking()
            asked = None if lacks else stack.enter_context(people(settings, self._labels, traffic.facts.put))
            opening.tell("review", f"{asked.address}/  the console, from the first events on" if asked else f"{lacks}")
            opening.addresses(running.address, settings)
            return self._watched(settings, found.broker, running, traffic, asked, seconds)

    def _watched(
        self, settings: Settings, broker: str, running: Worker, traffic: Traffic, asked: People | None, seconds: float | None
    ) -> Accounts:
        names = settings.topics
        ledger = Ledger({names.tagged: Destination.TAGGED, names.review: Destination.REVIEW, names.dlq: Destination.DLQ})
        self._interrupt.postpone()
        with traffic.reading():
            scene = Scene(
                broker=f"{broker} at {settings.brokers}",
                address=running.address,
                console=asked.address if asked else None,
                seconds=seconds,
                look=Watcher([address(running.address)]).look,
            )
            with watch(self._console, scene) as view:
                pump = Pump(traffic, ledger, view, running, names, asked.begin if asked else _nobody)
                self._send_and_account(pump, traffic, asked, seconds)
                pump.refresh("stopping the worker")
                unclean = running.stop()
                self._logs["worker"] = running.tail()
                self._problems += [unclean] if unclean else []
        # Outcomes that came while the worker stopped: they may hold a duplicate.
        pump.take_the_rest()
        return pump.accounts

    def _send_and_account(self, pump: Pump, traffic: Traffic, asked: People | None, seconds: float | None) -> None:
        try:
            try:
                with traffic.sending():
                    self._while_sending(pump, seconds)
            finally:
                self._no_more_answers(pump, asked)
            pump.run(
                lambda waiting: not waiting or self._interrupt.insisted,
                at_most_seconds=DRAIN_SECONDS,
                phase="sending is over, waiting for the last outcomes",
            )
        # The account names the missing events, and this the reason.
        except (WorkerError, SendError) as error:
            self._problems.append(str(error))

    def _no_more_answers(self, pump: Pump, asked: People | None) -> None:
        """End the console before the last outcomes are waited for: after that nobody can answer."""
        if asked is not None:
            pump.refresh("sending is over, stopping the console")
            self._problems += asked.stop()
            self._logs["console"] = asked.log

    def _while_sending(self, pump: Pump, seconds: float | None) -> None:
        healthy = self._drift.after_seconds if self._drift.shift is not Shift.NONE else float("inf")
        end = float("inf") if seconds is None else seconds
        pump.run(lambda _: self._interrupt.asked, at_most_seconds=min(healthy, end), phase=ORDINARY)
        if healthy < end and not self._interrupt.asked:
            phase = f"it drifts: {ABOUT[self._drift.shift]}"
            pump.run(lambda _: self._interrupt.asked, at_most_seconds=end - healthy, phase=phase)


def mixed_samples(events: Sequence[Event], drift: Drift, rate: float) -> Iterator[Sample]:
    """The events as samples, ordinary until they drift. Those that drift have ids of their own."""
    malformed = samples.load_malformed()
    yield from itertools.islice(samples.mix(events, malformed), drift.begins(rate))
    yield from samples.mix(shifted(events, drift.shift), malformed, run="later")


def _nobody() -> None:
    """No console is there to begin."""


def _settings(given: Settings) -> Settings:
    """With windows for drift that fill within a demo, unless the settings have their own."""
    if {"drift_window_events", "drift_reference", "drift_reference_windows"} & given.model_fields_set:
        return given
    return given.model_copy(
        update={
            "drift_window_events": WINDOW_EVENTS,
            "drift_reference_windows": REFERENCE_WINDOWS,
            "drift_learning_seconds": 0.0,
        }
    )

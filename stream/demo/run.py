"""`tagstream demo`: runs a broker, a worker, a console and sample events until every event and answer is accounted for."""

import importlib.util
import os
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from pathlib import Path

from rich.console import Console

from tagstream.model_export.data.reader import RowsError
from tagstream.model_export.extras import install
from tagstream.monitoring.top.top import Watcher
from tagstream.monitoring.top.workers import address
from tagstream.stream.broker.processes import Processes
from tagstream.stream.demo import place, samples
from tagstream.stream.demo.account import Account
from tagstream.stream.demo.interrupt import Interrupt, interrupts
from tagstream.stream.demo.place import DemoBroker
from tagstream.stream.demo.program import COMMAND, Program, ProgramError, environment, port
from tagstream.stream.demo.rollout import ANSWER_SECONDS, Cast, Story, cast, with_rollout
from tagstream.stream.demo.shifts import ABOUT, Drift, Event, Shift
from tagstream.stream.demo.summary import print_summary
from tagstream.stream.demo.traffic import Traffic
from tagstream.stream.demo.view import REFRESH_SECONDS, StartupLines, View, command
from tagstream.stream.kafka import admin
from tagstream.stream.kafka.producer import SendError
from tagstream.stream.settings.loading import SettingsError, load
from tagstream.stream.settings.settings import Settings

# Events, and the right labels of some events by title.
LabelledEvents = tuple[list[Event], dict[str, str]]

DRAIN_SECONDS = 20.0
# At 20 events a second, the worker has its drift reference after half a minute and compares a window every 15 s.
WINDOW_EVENTS, REFERENCE_WINDOWS = 300, 2
ORDINARY = "an ordinary stream"
LOOPBACK, CONSOLE_PORT = "127.0.0.1", 8090
# The worker bounds its own shutdown by shutdown_timeout_seconds, counted from the signal. A worker that runs this much longer hangs: a
# busy machine only needs some seconds to deliver the signal and to end the process.
HANG_SECONDS = 20.0
# The console's server finishes its requests within 30 s. The thread that fills the store ends after at most one request to the brokers.
CONSOLE_STOP_SECONDS = 90.0
# The packages of the extra [review] that the console imports.
PACKAGES = ("fastapi", "jinja2", "python_multipart", "scipy", "sqlalchemy", "uvicorn")


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
    rollout: bool = False,
) -> int:
    """
    Run the demo. When it returns or raises, every process that it started has ended.

    The demo starts its own broker and does not connect to the brokers of the settings, unless `on_broker` is true.

    Args:
        seconds: The time for which samples are sent, in seconds; None sends until SIGINT or SIGTERM.
        rate: The number of samples a second.
        settings: The settings of the worker and the clients; None reads the environment.
        console: The output: a screen on a terminal, otherwise lines.
        on_broker: True to run on the brokers of the settings, with topics and a group of the demo's own, which are removed at the end.
        prefer: The only kind of broker to try; see `tagstream.stream.broker.broker`.
        drift: How and when the stream drifts; None for other languages after 75 s.
        events: A file of events to use instead of the samples about machine learning.
        rollout: True to change the model of the running stream and then end. The stream does not drift then.

    Returns:
        0 if every event and answer is accounted for, everything ended in order and nothing is left on a named broker; otherwise 1.

    Raises:
        BrokerUnavailable: No broker could be started.
        BrokerUnreachableError: The broker did not create the topics, or did not answer a client.
        ProgramError: The worker did not become ready, or a rollout is requested and the console cannot run.
        SettingsError: The settings require TLS or a user, and the demo starts its own broker.
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
    labelled = (samples.load_events(), samples.known_labels()) if events is None else samples.events_of(events)
    if rollout:
        labelled, drift = answerable(*labelled), Drift(shift=Shift.NONE)
    with interrupts() as interrupt:
        try:
            running = _Demo(console, interrupt, labelled, drift or Drift(), rate, seconds, rollout=rollout)
            opening, left = running.opening, running.problems.append
            if on_broker:
                return running.run(place.named(given, opening, removing=interrupt.postpone, left=left))
            return running.run(place.started(given, opening, prefer=prefer, rollout=rollout))
        except KeyboardInterrupt:
            console.print("stopped before anything was sent")
            return 1


class _Demo:
    """One run of the demo."""

    def __init__(
        self,
        console: Console,
        interrupt: Interrupt,
        labelled: LabelledEvents,
        drift: Drift,
        rate: float,
        seconds: float | None,
        *,
        rollout: bool,
    ) -> None:
        self._console = console
        self._interrupt = interrupt
        self._events, self._labels = labelled
        self._drift = drift
        self._rate = rate
        self._seconds = seconds
        self._rollout = rollout
        self.opening = StartupLines(console)
        self.problems: list[str] = []
        self._logs: list[str] = []

    def run(self, where: AbstractContextManager[DemoBroker]) -> int:
        """Run the demo and print its summary; see `demo`."""
        try:
            with where as found:
                account = self._at(found)
        except BaseException:
            # The caller prints the error. Topics that are left on a named broker are printed here.
            for problem in self.problems:
                self._console.print(problem, soft_wrap=True, highlight=False, markup=False)
            raise
        self._console.print(self._more(found), soft_wrap=True, highlight=False, markup=False)
        balances = print_summary(self._console, account, self.problems)
        for log in [] if balances else self._logs:
            self._console.print(log, soft_wrap=True, highlight=False, markup=False)
        return 0 if balances else 1

    def _at(self, found: DemoBroker) -> Account:
        """Start the worker and the console on the broker, print their addresses, and run until the end."""
        opening, settings = self.opening, _with_small_windows(found.settings)
        opening.tell("broker", found.broker)
        opening.tell("", settings.brokers)
        with opening.step("creating the topics"), self._interrupt.held():
            made = admin.create(settings)
        opening.tell("topics", f"{settings.topics.content} and {len(made.made) - 1} more, created")
        opening.tell("group", settings.group)
        folder = Path(tempfile.mkdtemp(prefix="tagstream-demo-"))
        with Processes(grace_seconds=CONSOLE_STOP_SECONDS, remove=folder) as processes:
            if actors := self._cast(settings, folder, found):
                settings = with_rollout(settings, actors.old, folder)
            worker = self._worker(settings, folder, processes)
            with opening.step("starting the worker") as say:
                worker.wait_until_ready(say)
            opening.tell("worker", f"process {worker.pid} is ready")
            console = None
            if lacks := lacking():
                opening.tell("review", lacks)
            else:
                console = self._review(settings, folder, processes)
                opening.tell("review", f"{console.address}/  the console, ready in a moment")
            opening.addresses(worker.address, settings, store=None if console is None else _store(folder))
            story = None if actors is None else Story(settings, actors, folder=folder, processes=processes)
            return self._watched(settings, worker, console, story, url=_store(folder))

    def _cast(self, settings: Settings, folder: Path, found: DemoBroker) -> Cast | None:
        """Make the bundles of a rollout; None if no rollout is requested or the broker has no transactions."""
        if not self._rollout or not found.has_transactions:
            return None
        if lacks := lacking():
            msg = f"a rollout is decided by people's answers, and there is {lacks}"
            raise ProgramError(msg)
        with self.opening.step("making two bundles that are worse"):
            actors = cast(settings, folder)
        self.opening.tell("bundles", f"{settings.bundle.name}, and two that are worse")
        return actors

    def _more(self, found: DemoBroker) -> str:
        """Return a line about the rollout, printed before the figures."""
        if not self._rollout:
            return f"Change the model of a running stream, and let answers decide which one stays: `{command()} demo --rollout` (some minutes)"
        if not found.has_transactions:
            return "A rollout of another model is left out: this broker has no transactions. It needs Apache Kafka, by Java 17 or Docker."
        return "docs/rollout.md has each of these commands, and docs/verdict.md what a verdict rests on."

    def _worker(self, settings: Settings, folder: Path, processes: Processes) -> Program:
        settings = settings.model_copy(update={"metrics_port": port(settings.metrics_port)})
        return Program(
            "worker",
            [*COMMAND, "worker"],
            env=environment(settings, folder),
            address=f"http://{settings.metrics_host}:{settings.metrics_port}",
            processes=processes,
            folder=folder,
            stop_seconds=settings.shutdown_timeout_seconds + HANG_SECONDS,
        )

    def _review(self, settings: Settings, folder: Path, processes: Processes) -> Program:
        # If the worker may take any port, so may the console: several demos may run at once.
        listening = port(CONSOLE_PORT if settings.metrics_port else 0)
        return Program(
            "console",
            [*COMMAND, "review", "--host", LOOPBACK, "--port", str(listening), "--store", _store(folder)],
            env=environment(settings, folder),
            address=f"http://{LOOPBACK}:{listening}",
            processes=processes,
            folder=folder,
            stop_seconds=CONSOLE_STOP_SECONDS,
        )

    def _watched(
        self, settings: Settings, worker: Program, console: Program | None, story: Story | None, *, url: str
    ) -> Account:
        addresses = "  ".join(f"{one.address}/" for one in (worker, console) if one is not None)
        look = Watcher([address(worker.address)]).look
        view = View(self._console, addresses=addresses, seconds=self._seconds, look=look, only_said=story is not None)
        traffic = Traffic(settings, view.tell)
        self._interrupt.postpone()
        with traffic.reading() as account, view.shown(traffic.counts):

            def wait(enough: Callable[[], bool], at_most_seconds: float, phase: Callable[[], str]) -> None:
                end = time.monotonic() + at_most_seconds
                while not enough() and time.monotonic() < end:
                    view.refresh(phase())
                    traffic.check()
                    worker.check()
                    time.sleep(max(0.0, min(REFRESH_SECONDS, end - time.monotonic())))

            try:
                with ExitStack() as stack:
                    if console is not None:
                        # The console ends before the wait for the last outcomes, so that no new answers arrive during the wait.
                        stack.callback(self._end, console)
                        stack.enter_context(self._reviewer(settings, traffic, console, url))
                    mixed = self._drift.mixed(self._events, samples.load_malformed(), rate=self._rate)
                    stack.enter_context(traffic.sending(mixed, rate=self._rate))
                    if story is not None:
                        stack.enter_context(self._told(story, traffic, view))
                    for seconds, phase in self._phases(story):
                        wait(lambda: self._interrupt.asked or (story is not None and story.ended), seconds, phase)
                    view.refresh("sending is over, stopping the console")
                wait(
                    lambda: traffic.is_balanced() or self._interrupt.insisted,
                    DRAIN_SECONDS,
                    lambda: "sending is over, waiting for the last outcomes",
                )
            # The account names the missing events. This line is the reason.
            except (ProgramError, SendError) as error:
                self.problems.append(str(error))
            view.refresh("stopping the worker")
            # Outcomes that arrive during the stop are read too, because they may be duplicates.
            self._end(worker)
        return account

    @contextmanager
    def _told(self, story: Story, traffic: Traffic, view: View) -> Iterator[None]:
        over = threading.Event()
        with traffic.thread("demo-rollout", lambda: story.run(over, view.say), over):
            yield
        if story.failed:
            self.problems.append(story.failed)

    @contextmanager
    def _reviewer(self, settings: Settings, traffic: Traffic, console: Program, url: str) -> Iterator[None]:
        from tagstream.stream.demo.reviewer import PACE_SECONDS, Reviewer

        over = threading.Event()
        pace = ANSWER_SECONDS if self._rollout else PACE_SECONDS
        reviewer = Reviewer(self._labels, traffic.answered, over, pace_seconds=pace)
        with traffic.thread("demo-reviewer", lambda: reviewer.run(settings, url, lambda: console.readiness()[0]), over):
            yield
        if reviewer.troubles:
            self.problems.append(f"{len(reviewer.troubles)} answers were not saved: {', '.join(reviewer.troubles[:5])}")

    def _end(self, program: Program) -> None:
        unclean = program.stop()
        if unclean and unclean not in self.problems:
            self.problems.append(unclean)
        self._logs.append(program.log())

    def _phases(self, story: Story | None) -> Iterator[tuple[float, Callable[[], str]]]:
        """Yield the phases of sending in order: the length in seconds, and a function that returns the phase's text."""
        end = float("inf") if self._seconds is None else self._seconds
        if story is not None:
            yield end, lambda: story.phase
            return
        healthy = end if self._drift.shift is Shift.NONE else min(end, self._drift.after_seconds)
        yield healthy, lambda: ORDINARY
        if healthy < end:
            yield end - healthy, lambda: f"it drifts: {ABOUT[self._drift.shift]}"


def lacking() -> str | None:
    """Return why the console cannot run, with the next step; None if its packages are installed."""
    found = [name for name in PACKAGES if importlib.util.find_spec(name) is None]
    return f"no console, since {', '.join(found)} is not installed. Next: {install('review')}" if found else None


def answerable(events: list[Event], labels: dict[str, str]) -> LabelledEvents:
    """Return the events that have a label, because a rollout needs answers to half of its questions."""
    found = [event for event in events if " ".join(event["title"].split()) in labels]
    if not found:
        msg = "no event has a label, so the scripted reviewer can answer none. Next: a file with a column `tag`, or leave --events out."
        raise RowsError(msg)
    return found, labels


def _store(folder: Path) -> str:
    return f"sqlite:///{folder}/review.sqlite"


def _with_small_windows(given: Settings) -> Settings:
    """
    Return settings with drift windows that fill within a demo, unless the settings name windows themselves.

    The events of the demo have the contract's shape.
    """
    given = given.with_columns
    if {"drift_window_events", "drift_reference", "drift_reference_windows"} & given.model_fields_set:
        return given
    return given.model_copy(
        update={
            "drift_window_events": WINDOW_EVENTS,
            "drift_reference_windows": REFERENCE_WINDOWS,
            "drift_learning_seconds": 0.0,
        }
    )

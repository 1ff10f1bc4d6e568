"""How a worker ends: by a signal, by Faust itself, or by its watchdog, each with its exit code."""

import asyncio
import contextlib
import os
import select
import signal
import socket
import sys
import threading
import time
import traceback
from collections.abc import Callable
from typing import Any

import faust

from tagstream.stream.deliver.fatal import EXIT_BROKEN, DeliveryError, alarm, end, last_word
from tagstream.stream.logs import logger

log = logger("tagstream.app")
EXIT_SHUTDOWN_TIMED_OUT = 1
# From the last commit to the end: leave the group, close the connections.
LEAVE_SECONDS = 4.0
LOOK_SECONDS = 1.0
# A loop that has not answered at this many looks in a row is blocked. Looks are counted and not seconds, since a process that was stopped
# (SIGSTOP) or starved of its processor is not blocked. The longest standstill measured in a working loop is 0.6 s (20,000 events and 300
# of 500 KB, two busy cores).
BLOCKED_LOOKS = 30
# The alarm runs out if this thread does not run for this long: code holds Python's lock, or SIGSTOP has stopped the process.
SILENT_SECONDS = 45.0
SIGNALS = (signal.SIGTERM, signal.SIGINT)
SHOWN_FRAMES = 8


class Watchdog:
    """
    A thread that ends the process when its event loop stands still, or when a stop takes longer than it may.

    Faust's heartbeats come from a thread of their own. A worker whose event loop is blocked would keep its partitions and read none of
    their events, and it would not hear SIGTERM, which the event loop handles. So this thread hears the signals and asks the loop for an
    answer every second. The thread exists from the start, since a process in trouble may be unable to start a thread. It needs no lock
    but Python's own. If it does not get Python's lock, the kernel ends the process (`KernelAlarm`).
    """

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        *,
        stop_seconds: float,
        on_signal: Callable[[signal.Signals], None],
        on_end: Callable[[], None],
    ) -> None:
        """
        Prepare to watch.

        Args:
            loop: The loop of the main thread.
            stop_seconds: The most seconds from the beginning of a stop to the end of the process.
            on_signal: Called on the loop after SIGTERM or SIGINT.
            on_end: Called before this thread ends the process.
        """
        self._loop = loop
        self._stop_seconds = stop_seconds
        self._on_signal = on_signal
        self._on_end = on_end
        self._hears, self._wakes = socket.socketpair()
        self._answered = True
        self._unanswered = 0
        self._stops_since: float | None = None
        self._asked = True
        self._drained_at: float | None = None

    def start(self) -> None:
        """
        Begin to watch and to hear the signals. Call this in the main thread.

        Raises:
            RuntimeError: No thread can be started.
        """
        threading.Thread(target=self._run, name="watchdog", daemon=True).start()
        self._wakes.settimeout(0)
        # The kernel's part of the handler writes to this socket even while the main thread is blocked.
        signal.set_wakeup_fd(self._wakes.fileno(), warn_on_full_buffer=False)
        for number in SIGNALS:
            signal.signal(number, lambda *_: None)

    def stops(self, *, asked: bool) -> None:
        """A stop has begun, and its time is bounded from now on. `asked` is true for a signal and false for a stop by Faust itself."""
        if self._stops_since is None:
            self._asked = asked
            self._stops_since = time.monotonic()

    def drained(self) -> None:
        """All events in hand are finished and committed."""
        self._drained_at = time.monotonic()

    def _run(self) -> None:
        while True:
            alarm.put_off(SILENT_SECONDS)
            if select.select([self._hears], [], [], self._wait_seconds())[0]:
                self._hear()
            elif self._stops_since is None:
                self._look()
            elif time.monotonic() >= self._deadline(self._stops_since):
                self._end_late()

    def _wait_seconds(self) -> float:
        if self._stops_since is None:
            return LOOK_SECONDS
        return max(0.0, min(LOOK_SECONDS, self._deadline(self._stops_since) - time.monotonic()))

    def _hear(self) -> None:
        for number in self._hears.recv(64):
            if number in SIGNALS:
                self.stops(asked=True)
                with contextlib.suppress(RuntimeError):  # The loop is closed: the process has all but ended.
                    self._loop.call_soon_threadsafe(self._on_signal, signal.Signals(number))

    def _look(self) -> None:
        """Ask the loop for an answer, or end the process if the last answer is overdue. A closed loop gives no answer."""
        if self._answered:
            self._answered, self._unanswered = False, 0
            with contextlib.suppress(RuntimeError):
                self._loop.call_soon_threadsafe(self._answer)
            return
        self._unanswered += 1
        if self._unanswered >= BLOCKED_LOOKS:
            end(EXIT_BROKEN, self._say_blocked)

    def _answer(self) -> None:
        self._answered = True

    def _say_blocked(self) -> None:
        self._on_end()
        frame = sys._current_frames().get(threading.main_thread().ident or 0)  # noqa: SLF001 - the documented way
        stands = traceback.extract_stack(frame)[-SHOWN_FRAMES:]
        seconds = BLOCKED_LOOKS * LOOK_SECONDS
        log.critical(
            "event_loop_blocked",
            seconds=seconds,
            stands_at=[f"{call.filename}:{call.lineno} {call.name}" for call in stands],
            exit_code=EXIT_BROKEN,
        )
        last_word(DeliveryError(f"the event loop did not run for {seconds:g} s"))

    def _deadline(self, since: float) -> float:
        latest = since + self._stop_seconds
        return latest if self._drained_at is None else min(latest, self._drained_at + LEAVE_SECONDS)

    def _end_late(self) -> None:
        on_time = EXIT_SHUTDOWN_TIMED_OUT if self._drained_at is None else 0
        end(on_time if self._asked else EXIT_BROKEN, self._say_late)

    def _say_late(self) -> None:
        self._on_end()
        if self._drained_at is None:
            log.error(
                "shutdown_timed_out",
                seconds=self._stop_seconds,
                waited_for="Faust to stop its services; unacknowledged events will be read again",
            )
            return
        log.warning(
            "shutdown_cut_short",
            waited_for="Faust to leave the group and to close its connections",
            consequence="all events in hand are finished; the group notices the loss of this member after its session timeout, "
            "and outcomes whose offsets could not be committed are sent again",
        )


class Worker(faust.Worker):  # type: ignore[misc]
    """Faust's worker, with our logs and under a watchdog, which bounds its shutdown."""

    def __init__(
        self, app: faust.App, *, loop: asyncio.AbstractEventLoop, shutdown_seconds: float, on_stopping: Callable[[], None]
    ) -> None:
        """
        Prepare to run the app.

        Args:
            app: The app.
            loop: The event loop that it runs on.
            shutdown_seconds: The most seconds from the beginning of the shutdown to the end of the process.
            on_stopping: Called when the shutdown begins, whether a signal or Faust itself began it, and before the watchdog ends the
                process. Another thread may call it.
        """
        super().__init__(app, quiet=True, override_logging=False, redirect_stdouts=False, loop=loop)
        self.spinner = None
        self._shutdown_seconds = shutdown_seconds
        self._on_stopping = on_stopping
        self._asked = True
        # Until Faust has installed its handlers, SIGTERM ends the process at once (`exit_on_early_stop`).
        self._hears = False
        self._watchdog = Watchdog(loop, stop_seconds=shutdown_seconds, on_signal=self._on_signal, on_end=on_stopping)
        app.on_before_shutdown.connect(self._nothing_in_hand, weak=False)

    async def _nothing_in_hand(self, *_: Any, **__: Any) -> None:
        self._watchdog.drained()

    def install_signal_handlers(self) -> None:
        """
        Start the watchdog, which hears the signals; from now on SIGTERM and SIGINT start a graceful stop.

        Faust's own handlers run on the event loop, which may be blocked. Faust's handler of SIGUSR2 opens a debugger, which blocks the loop.
        """
        self._watchdog.start()
        self._hears = True

    def _on_signal(self, received: signal.Signals) -> None:
        if received is signal.SIGINT:
            self._on_sigint()
        else:
            self._on_sigterm()

    def _schedule_shutdown(self, received: signal.Signals) -> None:
        if not self._signal_stop_time:
            log.info("worker_stopping", signal=received.name, at_most_seconds=self._shutdown_seconds)
            self._on_stopping()
        super()._schedule_shutdown(received)

    def on_worker_shutdown(self) -> None:
        """Overrides Faust's method: a stop without a signal gets the same deadline, and ends with another exit code."""
        if not self._signal_stop_time:
            self._watchdog.stops(asked=False)
            log.error("worker_stopping_by_itself", why=repr(self.crash_reason), at_most_seconds=self._shutdown_seconds)
            self._asked = False
            self._on_stopping()
        super().on_worker_shutdown()

    def work(self) -> None:
        """
        Run until a signal or Faust itself stops the worker.

        Raises:
            SystemExit: Code 0 after a signal. `EXIT_BROKEN` if Faust stopped by itself, whatever code Faust would exit with.
        """
        try:
            self.execute_from_commandline()
        except BaseException as error:
            if self._asked or (not self._hears and isinstance(error, SystemExit) and not error.code):
                raise
            log.critical("worker_died", error=f"{type(error).__name__}: {error}", exit_code=EXIT_BROKEN, exc_info=error)
            last_word(error)
            sys.exit(EXIT_BROKEN)


def exit_on_early_stop() -> None:
    """
    End the process at once on SIGTERM, until Faust installs its own handlers; no event is in hand before that.

    Process 1 of a container ignores SIGTERM if it has no handler. The handler calls `os._exit` and does not raise SystemExit: Python
    would only print an exception that a handler raises inside a finalizer, and go on.
    """
    signal.signal(signal.SIGTERM, lambda *_: os._exit(0))

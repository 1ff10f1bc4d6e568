"""How a worker ends: by a signal, by Faust itself, or by a deadline, each with its exit code."""

import logging
import os
import signal
import sys
import threading
import time
from collections.abc import Callable
from typing import Any

import faust

from stream.deliver.fatal import EXIT_BROKEN, last_word
from stream.logs import logger

log = logger("tagstream.app")

EXIT_SHUTDOWN_TIMED_OUT = 1
# From the last commit to the end: leave the group, close the connections.
LEAVE_SECONDS = 4.0
# To remove the crash file.
CLOSE_SECONDS = 1.0


class Worker(faust.Worker):  # type: ignore[misc]
    """Faust's worker, with our logs and with a bound on its shutdown."""

    def __init__(
        self,
        app: faust.App,
        *,
        shutdown_seconds: float,
        on_stopping: Callable[[], None],
        on_cut_short: Callable[[], None] = lambda: None,
    ) -> None:
        """
        Prepare to run the app.

        Args:
            app: The app.
            shutdown_seconds: The process ends within so long after its shutdown began.
            on_stopping: Called when the shutdown begins, whether a signal or Faust itself began it.
            on_cut_short: Called before the process exits at the deadline although no event is in hand; gets `CLOSE_SECONDS`.
        """
        super().__init__(app, quiet=True, override_logging=False, redirect_stdouts=False)
        self.spinner = None
        self._shutdown_seconds = shutdown_seconds
        self._on_stopping = on_stopping
        self._on_cut_short = on_cut_short
        self._drained = threading.Event()
        self._asked = True
        # Until Faust has installed its handlers, SIGTERM ends the process at once (`exit_on_early_stop`).
        self._hears = False
        app.on_before_shutdown.connect(self._nothing_in_hand, weak=False)

    async def _nothing_in_hand(self, *_: Any, **__: Any) -> None:
        self._drained.set()

    def install_signal_handlers(self) -> None:
        """As Faust does; from now on a signal starts a graceful stop."""
        super().install_signal_handlers()
        self._hears = True

    def _schedule_shutdown(self, received: signal.Signals) -> None:
        if not self._signal_stop_time:
            log.info("worker_stopping", signal=received.name, at_most_seconds=self._shutdown_seconds)
            self._on_stopping()
            self._bound()
        super()._schedule_shutdown(received)

    def on_worker_shutdown(self) -> None:
        """As Faust does; a stop without a signal gets the same deadline and ends with another exit code."""
        if not self._signal_stop_time:
            log.error("worker_stopping_by_itself", why=repr(self.crash_reason), at_most_seconds=self._shutdown_seconds)
            self._asked = False
            self._on_stopping()
            self._bound()
        super().on_worker_shutdown()

    def work(self) -> None:
        """
        Run until a signal or Faust itself stops the worker.

        Raises:
            SystemExit: Code 0 after a signal; `EXIT_BROKEN` if Faust stopped by itself, for which its own code could be any.
        """
        try:
            self.execute_from_commandline()
        except BaseException as error:
            if self._asked or (not self._hears and isinstance(error, SystemExit) and not error.code):
                raise
            log.critical("worker_died", error=f"{type(error).__name__}: {error}", exit_code=EXIT_BROKEN, exc_info=error)
            last_word(error)
            sys.exit(EXIT_BROKEN)

    def _bound(self) -> None:
        # A thread, because the event loop itself may hang.
        threading.Thread(target=self._exit_when_late, name="shutdown-deadline", daemon=True).start()

    def _exit_when_late(self) -> None:
        started = time.monotonic()
        if self._drained.wait(self._shutdown_seconds):
            time.sleep(max(0.0, min(LEAVE_SECONDS, started + self._shutdown_seconds - time.monotonic())))
            self._exit_drained()
        log.error(
            "shutdown_timed_out",
            seconds=self._shutdown_seconds,
            waited_for="Faust to stop its services; unacknowledged events will be read again",
        )
        logging.shutdown()
        os._exit(EXIT_SHUTDOWN_TIMED_OUT if self._asked else EXIT_BROKEN)

    def _exit_drained(self) -> None:
        log.warning(
            "shutdown_cut_short",
            waited_for="Faust to leave the group and to close its connections",
            consequence="all events in hand are finished; the group notices the loss of this member after its session timeout, "
            "and outcomes whose offsets could not be committed are sent again",
        )
        # In another thread, because this one is the deadline and must not hang.
        closing = threading.Thread(target=self._on_cut_short, name="closing", daemon=True)
        closing.start()
        closing.join(CLOSE_SECONDS)
        logging.shutdown()
        os._exit(0 if self._asked else EXIT_BROKEN)


def exit_on_early_stop() -> None:
    """
    End the process at once on SIGTERM, until Faust installs its own handlers; no event is in hand before that.

    A process without a handler that runs as process 1 of a container ignores SIGTERM. The handler calls `os._exit` and does not raise
    SystemExit, because Python prints an exception that a handler raises inside a finalizer and goes on.
    """
    signal.signal(signal.SIGTERM, lambda *_: os._exit(0))

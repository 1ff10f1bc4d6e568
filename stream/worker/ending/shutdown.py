"""How a worker ends: by a signal, by Faust itself, or by its watchdog, each with its exit code."""

import asyncio
import os
import signal
import sys
from collections.abc import Callable
from typing import Any

import faust

from stream.deliver.fatal import EXIT_BROKEN, last_word
from stream.logs import logger
from stream.worker.ending.watchdog import Watchdog

log = logger("tagstream.app")


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
            shutdown_seconds: The process ends within so long after its shutdown began.
            on_stopping: Called when the shutdown begins, whether a signal or Faust itself began it, and before the watchdog ends the
                process. May be called by another thread.
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

        Faust's own handlers run on the event loop, which may be blocked. That for SIGUSR2 opens a debugger, which blocks it.
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
        """As Faust does; a stop without a signal gets the same deadline and ends with another exit code."""
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


def exit_on_early_stop() -> None:
    """
    End the process at once on SIGTERM, until Faust installs its own handlers; no event is in hand before that.

    A process without a handler that runs as process 1 of a container ignores SIGTERM. The handler calls `os._exit` and does not raise
    SystemExit, because Python prints an exception that a handler raises inside a finalizer and goes on.
    """
    signal.signal(signal.SIGTERM, lambda *_: os._exit(0))

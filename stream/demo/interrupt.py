"""Handlers of Ctrl-C and SIGTERM for an orderly end. A signal raises an exception at first; after `postpone` it only sets a flag."""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

SIGNALS = (signal.SIGINT, signal.SIGTERM)


class Interrupt:
    """
    The signals received so far.

    Attributes:
        asked: True after the first signal.
        insisted: True after the second signal.
    """

    def __init__(self) -> None:
        """Start without signals. Until `postpone`, a signal raises KeyboardInterrupt."""
        self.asked = False
        self.insisted = False
        self._postponed = False

    def postpone(self) -> None:
        """Make later signals set only the attributes; the program must check them."""
        self._postponed = True

    @contextmanager
    def held(self) -> Iterator[None]:
        """
        Protect a step from signals.

        Raises:
            KeyboardInterrupt: A signal came, and signals are not postponed. It is raised at the end of the step.
        """
        before, self._postponed = self._postponed, True
        yield
        if self.asked and not before:
            raise KeyboardInterrupt
        self._postponed = before

    def received(self, *_: int | FrameType | None) -> None:
        """Handle a signal."""
        self.insisted = self.asked
        self.asked = True
        if not self._postponed:
            # A second signal must not interrupt the orderly end that the first signal starts.
            self._postponed = True
            raise KeyboardInterrupt


@contextmanager
def interrupts() -> Iterator[Interrupt]:
    """Handle the signals while the context lasts. Outside the main thread, Python allows no signal handlers, and none is set."""
    interrupt = Interrupt()
    if threading.current_thread() is not threading.main_thread():
        yield interrupt
        return
    before = {number: signal.signal(number, interrupt.received) for number in SIGNALS}
    try:
        yield interrupt
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)

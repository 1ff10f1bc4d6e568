"""Ctrl-C and SIGTERM for a program that wants to end in order: a question to ask while it runs, an exception before and after."""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

SIGNALS = (signal.SIGINT, signal.SIGTERM)


class Interrupt:
    """
    What the signals did.

    Attributes:
        asked: Was it asked to end?
        insisted: Was it asked again, after `asked` had been answered by "soon"?
    """

    def __init__(self) -> None:
        """Not asked; a signal raises KeyboardInterrupt until `postpone`."""
        self.asked = False
        self.insisted = False
        self._postponed = False

    def postpone(self) -> None:
        """From now on a signal is noted and not raised: the program looks for itself."""
        self._postponed = True

    def received(self, *_: int | FrameType | None) -> None:
        """Handle a signal."""
        self.insisted = self.asked
        self.asked = True
        if not self._postponed:
            # Once is enough: what is ended now must not be broken off by a second signal.
            self._postponed = True
            raise KeyboardInterrupt


@contextmanager
def interrupts() -> Iterator[Interrupt]:
    """Take the signals over while the context lasts; outside the main thread, where Python allows no handlers, they are left alone."""
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

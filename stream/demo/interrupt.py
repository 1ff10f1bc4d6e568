"""Ctrl-C and SIGTERM for a program that ends in order: an exception at first, after `postpone` a flag to look at."""

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
        asked: A signal has come.
        insisted: A second one has come.
    """

    def __init__(self) -> None:
        """Not asked; a signal raises KeyboardInterrupt until `postpone`."""
        self.asked = False
        self.insisted = False
        self._postponed = False

    def postpone(self) -> None:
        """From now on a signal only sets the attributes, and the program looks at them."""
        self._postponed = True

    @contextmanager
    def held(self) -> Iterator[None]:
        """
        A step that no signal breaks off.

        Raises:
            KeyboardInterrupt: At its end, if a signal has come and signals are not postponed.
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
            # A second signal must not break off the orderly end that this one begins.
            self._postponed = True
            raise KeyboardInterrupt


@contextmanager
def interrupts() -> Iterator[Interrupt]:
    """Handle the signals while the context lasts. Outside the main thread Python allows none."""
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

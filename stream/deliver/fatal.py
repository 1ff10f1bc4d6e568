"""The end of a broken worker: the errors that mean it, the exit code, and the functions that end the process."""

import asyncio
import ctypes
import os
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import NoReturn

from tagstream.stream.logs import logger

EXIT_BROKEN = 70
# The alarm ended the process.
EXIT_ALARM = int(signal.SIGALRM)
# Twice what a line of the log may wait for its reader.
LAST_WORDS_SECONDS = 10.0
log = logger("tagstream.delivery")


class DeliveryError(Exception):
    """A bound was exceeded or an invariant broken; the process must end."""


class InferenceTimeoutError(DeliveryError):
    """The model did not answer in time. Of all causes that end a worker, this is the only one blamed on the events in the model."""


class NotStartedError(DeliveryError):
    """The worker cannot begin with what it was told: starting it again does not help before that is corrected."""

    exit_code = 2


@contextmanager
def fatal(end: Callable[[BaseException], NoReturn]) -> Iterator[None]:
    """End the process, by `end`, for anything that is raised inside, whatever its type; no more events are acknowledged."""
    try:
        yield
    except GeneratorExit:
        raise
    except asyncio.CancelledError as error:
        task = asyncio.current_task()
        if task is not None and task.cancelling():
            raise
        # This task was not cancelled, but something that it waited for was. Treated as a stop, it would hang without a word.
        broken = DeliveryError("something that a batch waited for was cancelled, though the worker was not told to stop")
        broken.__cause__ = error
        end(broken)
    except BaseException as error:  # noqa: BLE001
        end(error)


class KernelAlarm:
    """
    The kernel's timer, which ends the process with `EXIT_ALARM` when it runs out: it needs no thread, no lock and no write.

    The handler of SIGALRM is the C library's `_exit`, which gets the number of the signal as its exit code. One of Python's would need
    Python's lock, and the default would not end process 1 of a container, for which the kernel ignores signals without a handler.

    >>> alarm = KernelAlarm()
    >>> alarm.put_off(60)
    >>> alarm.set(30)
    >>> alarm.put_off(60)
    >>> 20 < signal.getitimer(signal.ITIMER_REAL)[0] <= 30
    True
    >>> signal.setitimer(signal.ITIMER_REAL, 0)[1]
    0.0
    """

    def __init__(self) -> None:
        self._is_set = False
        self._is_handled = False

    def put_off(self, seconds: float) -> None:
        """Let it run out in so many seconds, unless it was set."""
        if not self._is_set:
            self._handle()
            signal.setitimer(signal.ITIMER_REAL, seconds)

    def set(self, seconds: float) -> None:
        """Let it run out in so many seconds, and do not put it off any more."""
        self._handle()
        self._is_set = True
        signal.setitimer(signal.ITIMER_REAL, seconds)

    def _handle(self) -> None:
        if self._is_handled:
            return
        c = ctypes.CDLL(None)
        c.signal.argtypes, c.signal.restype = [ctypes.c_int, ctypes.c_void_p], ctypes.c_void_p
        c.signal(signal.SIGALRM, ctypes.cast(c._exit, ctypes.c_void_p))  # noqa: SLF001 - a function of the C library
        self._is_handled = True


alarm = KernelAlarm()


def die(error: BaseException) -> NoReturn:
    """
    End the process now with `EXIT_BROKEN`, so that the orchestrator starts a new one; for a `NotStartedError` with its own code.

    Not by an exception: on a graceful stop Faust would commit.
    """
    exit_code = error.exit_code if isinstance(error, NotStartedError) else EXIT_BROKEN

    def say() -> None:
        log.critical("worker_died", error=f"{type(error).__name__}: {error}", exit_code=exit_code, exc_info=error)
        last_word(error, exit_code)

    end(exit_code, say)


def end(exit_code: int, say: Callable[[], None]) -> NoReturn:
    """
    End the process now, after its last words if they can be said.

    A write that blocks, a lock that another thread holds, or a thread that cannot be started may keep `say` from returning. After
    `LAST_WORDS_SECONDS` the alarm then ends the process.
    """
    alarm.set(LAST_WORDS_SECONDS)
    try:
        say()
    finally:
        # Even if logging raises, for example into a closed pipe.
        os._exit(exit_code)


def last_word(error: BaseException, exit_code: int = EXIT_BROKEN) -> None:
    """Close the log with one line that says what happened, why and the next step: the tracebacks before it fill a screen."""
    # A delivery can be decided without a client of Kafka; a process that ends by a broker's word has loaded one.
    from tagstream.stream.kafka.errors import SET_THE_CLOCK, clock_refused

    clock = clock_refused(error)
    log.critical(
        "worker_ended",
        what="the worker has ended; no event is lost, those that were not acknowledged are read again",
        why=clock or f"{type(error).__name__}: {' '.join(str(error).split()) or 'no message'}",
        exit_code=exit_code,
        next=SET_THE_CLOCK.removeprefix("Next: ")
        if clock
        else "start it again, as an orchestrator does; if it ends again: tagstream doctor"
        if exit_code == EXIT_BROKEN
        else "correct that, then start it again",
    )

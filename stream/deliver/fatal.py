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
    """The worker's configuration is wrong: a restart does not help until it is corrected."""

    exit_code = 2


@contextmanager
def fatal(end: Callable[[BaseException], NoReturn]) -> Iterator[None]:
    """Call `end` for anything that is raised inside, except GeneratorExit and a cancellation of this task. No more events are acknowledged."""
    try:
        yield
    except GeneratorExit:
        raise
    except asyncio.CancelledError as error:
        task = asyncio.current_task()
        if task is not None and task.cancelling():
            raise
        # A future that this task waited for was cancelled, and not this task. Treated as a stop, the worker would hang silently.
        broken = DeliveryError("something that a batch waited for was cancelled, though the worker was not told to stop")
        broken.__cause__ = error
        end(broken)
    except BaseException as error:  # noqa: BLE001
        end(error)


class KernelAlarm:
    """
    The kernel's timer, which ends the process with `EXIT_ALARM` when it runs out. It needs no thread, no lock and no write.

    The handler of SIGALRM is the C library's `_exit`, which gets the number of the signal as its exit code. A Python handler would need
    Python's lock. The default action would not end process 1 of a container: the kernel ignores its signals without a handler.

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
        """Let the timer run out in `seconds`, unless `set` was called before."""
        if not self._is_set:
            self._handle()
            signal.setitimer(signal.ITIMER_REAL, seconds)

    def set(self, seconds: float) -> None:
        """Let the timer run out in `seconds`. Later calls of `put_off` do nothing."""
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
    End the process now with `EXIT_BROKEN`, or the exit code of a `NotStartedError`, so that the orchestrator starts a new one.

    An exception would not do: Faust would stop gracefully, and a graceful stop commits.
    """
    exit_code = error.exit_code if isinstance(error, NotStartedError) else EXIT_BROKEN

    def say() -> None:
        log.critical("worker_died", error=f"{type(error).__name__}: {error}", exit_code=exit_code, exc_info=error)
        last_word(error, exit_code)

    end(exit_code, say)


def end(exit_code: int, say: Callable[[], None]) -> NoReturn:
    """
    Call `say`, then end the process.

    `say` may never return: a write blocks, another thread holds a lock, or a thread cannot be started. After `LAST_WORDS_SECONDS` the
    alarm then ends the process.
    """
    alarm.set(LAST_WORDS_SECONDS)
    try:
        say()
    finally:
        # Runs even if logging raises, for example into a closed pipe.
        os._exit(exit_code)


def last_word(error: BaseException, exit_code: int = EXIT_BROKEN) -> None:
    """Close the log with one line of what happened, why, and the next step: the tracebacks before it fill a screen."""
    # Imported here, because a delivery can run without a Kafka client. A process that ends by a broker's error has loaded one.
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

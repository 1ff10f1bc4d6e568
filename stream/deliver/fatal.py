"""The end of a broken worker: the errors that mean it, the exit code, and the function that ends the process."""

import asyncio
import logging
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import NoReturn

from stream.logs import logger

EXIT_BROKEN = 70
log = logger("tagstream.delivery")


class DeliveryError(Exception):
    """A bound was exceeded or an invariant broken; the process must end."""


class InferenceTimeoutError(DeliveryError):
    """The model did not answer in time. Of all causes that end a worker, this is the only one blamed on the events in the model."""


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


def die(error: BaseException) -> NoReturn:
    """
    End the process now with `EXIT_BROKEN`, so that the orchestrator starts a new one.

    Not by an exception: on a graceful stop Faust would commit.
    """
    try:
        log.critical("worker_died", error=f"{type(error).__name__}: {error}", exit_code=EXIT_BROKEN, exc_info=error)
        last_word(error)
        logging.shutdown()
        sys.stdout.flush()
    finally:
        # Even if logging raises, for example into a closed pipe.
        os._exit(EXIT_BROKEN)


def last_word(error: BaseException) -> None:
    """Close the log with one line that says what happened, why and the next step: the tracebacks before it fill a screen."""
    log.critical(
        "worker_ended",
        what="the worker has ended; no event is lost, those that were not acknowledged are read again",
        why=f"{type(error).__name__}: {' '.join(str(error).split()) or 'no message'}",
        exit_code=EXIT_BROKEN,
        next="start it again, as an orchestrator does; if it ends again: tagstream doctor",
    )

"""Waiting with a bound that only catches what hangs, and asking a broker again that has not answered in time.

No test is decided by how long something took: the bounds here are ten times what is seen on a quiet machine, and more.
"""

import socket
import time
from collections.abc import Callable
from typing import TypeVar

import stamina
from kafka.errors import KafkaError

from tagstream.stream.broker.processes import Process
from tagstream.stream.kafka.errors import BrokerUnreachableError

HANG_SECONDS = 600.0
POLL_SECONDS = 0.1
CONNECT_SECONDS = 5.0
LOG_CHARACTERS = 4_000
# How a client says that a broker has not answered. A server over HTTP that is slow or not there yet raises an OSError too.
UNANSWERED = (KafkaError, OSError, BrokerUnreachableError)
T = TypeVar("T")


class HangError(AssertionError):
    """Something was waited for that did not come: the message says what, and what was seen last."""


class SilentBrokerError(AssertionError):
    """A broker has not answered, however often it was asked: the message says which."""


def until(
    look: Callable[[], T],
    what: str,
    *,
    state: Callable[[], object] | None = None,
    process: Process | None = None,
    seconds: float = HANG_SECONDS,
) -> T:
    """
    Look again and again until the answer is true, and return it. A look that gets no answer from a server is repeated.

    Args:
        look: Gives something true when it is there.
        what: The awaited state, as a clause: "all events are committed".
        state: Gives what the message shows as seen last; otherwise the last answer of `look`.
        process: A process that must run for `look` to become true; when it has ended there is nothing to wait for.
        seconds: The bound.

    Raises:
        HangError: It did not become true within the bound, or the process has ended.

    >>> answers = iter(["", "", "there"])
    >>> until(lambda: next(answers), "it is there")
    'there'
    >>> until(lambda: 0, "the count is positive", seconds=0)
    Traceback (most recent call last):
        ...
    tests.waiting.HangError: waited 0 s until the count is positive; seen last: 0
    """
    deadline = time.monotonic() + seconds
    while True:
        seen: object
        try:
            # Whether it still runs is asked before the look: what a process did just before its end counts.
            ended = process is not None and not process.running()
            if found := look():
                return found
            seen = found
        except UNANSWERED as error:
            seen = repr(error)
        if not ended and time.monotonic() < deadline:
            time.sleep(POLL_SECONDS)
            continue
        seen = state() if state is not None else seen
        if process is None:
            msg = f"waited {seconds:g} s until {what}; seen last: {seen}"
        elif ended:
            msg = (
                f"waited until {what}, and the process ended with code {process.exit_code}; seen last: {seen}\n{_log(process)}"
            )
        else:
            msg = f"waited {seconds:g} s until {what}; seen last: {seen}\n{_log(process)}"
        raise HangError(msg)


def answered(ask: Callable[[], T], brokers: str, *, seconds: float = HANG_SECONDS) -> T:
    """
    The answer of a broker; it is asked again when it has not answered in time.

    Args:
        ask: Asks; may be called several times.
        brokers: The addresses that it asks, `host:port` with commas between.
        seconds: How long it is asked again.

    Raises:
        SilentBrokerError: No answer came; the message has the state of each address.
    """
    try:
        for attempt in stamina.retry_context(on=UNANSWERED, attempts=None, timeout=seconds, wait_initial=0.2, wait_max=5.0):
            with attempt:
                return ask()
    except UNANSWERED as error:
        states = ", ".join(f"{address} {_state(address)}" for address in brokers.split(","))
        msg = f"no answer within {seconds:g} s, the last error was {error!r}; {states}"
        raise SilentBrokerError(msg) from error
    raise AssertionError(brokers)


def _state(address: str) -> str:
    host, _, port = address.rpartition(":")
    try:
        with socket.create_connection((host, int(port)), timeout=CONNECT_SECONDS):
            return "accepts connections and does not answer"
    except OSError as error:
        return f"does not accept connections ({error})"


def _log(process: Process) -> str:
    return process.output()[-LOG_CHARACTERS:]

"""A broker of our own for a person: started, its address printed, ended when a signal comes."""

import signal
import time
from collections.abc import Callable

from tagstream.stream.broker.ladder import STARTED, VARIABLE, broker
from tagstream.stream.broker.probe import wait_for_port
from tagstream.stream.broker.provider import Deadline, ProviderUnavailable, to_stderr

_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
_LOOK_EVERY_SECONDS = 2.0
_SILENT_SECONDS = 10.0


class BrokerLostError(Exception):
    """A broker that was started here does not answer any more."""

    exit_code = 1


def until_stopped(kind: str | None, show: Callable[[str], None]) -> None:
    """
    Start a broker, and keep it until SIGINT, SIGTERM or SIGHUP.

    Args:
        kind: The only kind of broker to try: `docker`, `kafka` or `tansu`; None tries all, in this order.
        show: Called once with the broker's addresses, when it answers.

    Raises:
        BrokerUnavailable: None could be started; the message has the reasons.
        BrokerLostError: It was started, and has not answered for `_SILENT_SECONDS`.
    """
    asked = _Asked()
    for number in _SIGNALS:
        signal.signal(number, asked.received)
    try:
        with broker(prefer=kind, providers=STARTED) as found:
            show(found.bootstrap)
            to_stderr(f"for the commands in another terminal: export {VARIABLE}={found.bootstrap}")
            while not asked.to_end:
                time.sleep(_LOOK_EVERY_SECONDS)
                wait_for_port(found.bootstrap.split(","), deadline=Deadline.after(_SILENT_SECONDS))
    except KeyboardInterrupt:
        pass
    except ProviderUnavailable as error:
        msg = f"the broker went away: {error}. Next: start another; this one's records are gone."
        raise BrokerLostError(msg) from error


class _Asked:
    """A signal raises KeyboardInterrupt; the flag is for one in a finalizer, where Python swallows exceptions."""

    def __init__(self) -> None:
        self.to_end = False

    def received(self, *_: object) -> None:
        # A second signal must not break off the orderly end that the first one begins.
        for number in _SIGNALS:
            signal.signal(number, signal.SIG_IGN)
        self.to_end = True
        raise KeyboardInterrupt

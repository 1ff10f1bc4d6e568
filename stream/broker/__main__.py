"""`python -m tagstream.stream.broker`: start a broker, print its addresses on standard output, run until a signal comes."""

import argparse
import signal
import sys
import time
from collections.abc import Sequence

from tagstream.stream.broker.ladder import PROVIDERS, VARIABLE, broker
from tagstream.stream.broker.probe import wait_for_port
from tagstream.stream.broker.provider import BrokerUnavailable, Deadline, ProviderUnavailable, to_stderr

_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
_LOOK_EVERY_SECONDS = 2.0
_SILENT_SECONDS = 10.0


def main(arguments: Sequence[str] | None = None) -> int:
    """Run until SIGINT, SIGTERM or SIGHUP. 0: stopped when asked; 1: the broker went away; 3: none could be had."""
    parser = argparse.ArgumentParser(prog="python -m tagstream.stream.broker", description=__doc__)
    parser.add_argument("--prefer", choices=[provider.kind for provider in PROVIDERS], help="the only kind of broker to try")
    chosen = parser.parse_args(arguments)
    asked = _Asked()
    for number in _SIGNALS:
        signal.signal(number, asked.received)
    try:
        with broker(prefer=chosen.prefer) as found:
            print(found.bootstrap, flush=True)  # noqa: T201 - the program's output
            to_stderr(f"for the commands in another terminal: export {VARIABLE}={found.bootstrap}")
            while not asked.to_end:
                time.sleep(_LOOK_EVERY_SECONDS)
                wait_for_port(found.bootstrap.split(","), deadline=Deadline.after(_SILENT_SECONDS))
    except KeyboardInterrupt:
        pass
    except ProviderUnavailable as error:
        to_stderr(f"it went away: {error}")
        return 1
    except BrokerUnavailable as error:
        to_stderr(str(error))
        return 3
    return 0


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


if __name__ == "__main__":
    sys.exit(main())

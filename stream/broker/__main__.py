"""`python -m stream.broker`: start a broker, print its addresses on standard output, run until a signal comes."""

import argparse
import signal
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from stream.broker.external import VARIABLE
from stream.broker.ladder import RUNGS, broker
from stream.broker.probe import wait_for_ports
from stream.broker.rung import BrokerUnavailable, Deadline, RungUnavailable, to_stderr

_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
_LOOK_EVERY_SECONDS = 2.0
_SILENT_SECONDS = 10.0


def main(arguments: Sequence[str] | None = None) -> int:
    """Run until SIGINT, SIGTERM or SIGHUP. 0: stopped when asked; 1: the broker went away; 3: none could be had."""
    parser = argparse.ArgumentParser(prog="python -m stream.broker", description=__doc__)
    parser.add_argument("--prefer", choices=[rung.kind for rung in RUNGS], help="the only kind of broker to try")
    parser.add_argument("--nodes", type=int, choices=range(1, 10), metavar="N", default=1, help="brokers in the cluster")
    parser.add_argument("--data-dir", type=Path, help="keep the records (and the ports) here; else they go in the end")
    chosen = parser.parse_args(arguments)
    asked = _Asked()
    for number in _SIGNALS:
        signal.signal(number, asked.received)
    try:
        with broker(prefer=chosen.prefer, nodes=chosen.nodes, data_dir=chosen.data_dir) as found:
            print(found.bootstrap, flush=True)  # noqa: T201 - the program's output
            to_stderr(f"for the commands in another terminal: export {VARIABLE}={found.bootstrap}")
            while not asked.to_end:
                time.sleep(_LOOK_EVERY_SECONDS)
                wait_for_ports(found.bootstrap.split(","), deadline=Deadline.after(_SILENT_SECONDS), check=lambda: None)
    except KeyboardInterrupt:
        pass
    except RungUnavailable as error:
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

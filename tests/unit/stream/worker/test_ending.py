"""A stop of the worker's process before Faust has taken the signals over."""

import subprocess
import sys

from tests.waiting import HANG_SECONDS

STOPPED_IN_A_FINALIZER = """
import os, signal
from tagstream.stream.worker import ending

class Closing:
    def __del__(self):
        os.kill(os.getpid(), signal.SIGTERM)
        for _ in range(1000):
            pass

ending.exit_on_early_stop()
closing = Closing()
del closing
raise SystemExit("the signal was lost")
"""


def test_a_stop_is_not_lost_in_a_finalizer() -> None:
    """Python ignores an exception that a signal handler raises in a finalizer, so a starting worker would not stop."""
    ended = subprocess.run(
        [sys.executable, "-c", STOPPED_IN_A_FINALIZER], capture_output=True, text=True, timeout=HANG_SECONDS, check=False
    )

    assert (ended.returncode, ended.stderr) == (0, "")

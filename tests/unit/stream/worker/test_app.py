"""The worker's process, before it has a broker."""

import subprocess
import sys

STOPPED_IN_A_FINALIZER = """
import os, signal
from stream.worker import shutdown

class Closing:
    def __del__(self):
        os.kill(os.getpid(), signal.SIGTERM)
        for _ in range(1000):
            pass

shutdown.exit_on_early_stop()
closing = Closing()
del closing
raise SystemExit("the signal was lost")
"""


def test_a_stop_is_not_lost_in_a_finalizer() -> None:
    """Python swallows what a handler raises there: a worker told to stop while it starts would go on."""
    ended = subprocess.run(
        [sys.executable, "-c", STOPPED_IN_A_FINALIZER], capture_output=True, text=True, timeout=60, check=False
    )

    assert (ended.returncode, ended.stderr) == (0, "")

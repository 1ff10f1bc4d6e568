"""Ends a group of processes, and removes a folder, when the process that started them is gone.

    python -I -S guard.py PARENT_PID GRACE_SECONDS [FOLDER]

It leads the process group that the others join. When standard input ends or the parent has changed, the parent was
killed: the group gets SIGTERM, after the grace SIGKILL, and the folder goes. It runs on the standard library alone, so
that it is up in milliseconds.
"""

import os
import select
import shutil
import signal
import sys
import time

# A fork of the parent may hold the other end of standard input open, so the parent itself is looked for too.
PARENT_CHECK_SECONDS = 0.5
# After SIGKILL only the kernel can keep a process, in a disk that does not answer.
GONE_SECONDS = 10.0
POLL_SECONDS = 0.02


def guard(parent: int, grace_seconds: float, folder: str | None) -> None:
    """
    Wait until the parent is gone, then end the group and remove the folder.

    Args:
        parent: The id of the process that started this one.
        grace_seconds: Between SIGTERM and SIGKILL; 0 sends SIGKILL at once.
        folder: The folder to remove, if there is one.
    """
    while os.getppid() == parent and not select.select([0], [], [], PARENT_CHECK_SECONDS)[0]:
        pass
    group = os.getpgrp()
    if os.fork():
        # The leader goes, so that a group that is empty is seen to be gone.
        os._exit(0)
    os.setpgid(0, 0)
    if grace_seconds > 0:
        _end(group, signal.SIGTERM, grace_seconds)
    _end(group, signal.SIGKILL, GONE_SECONDS)
    if folder is not None:
        shutil.rmtree(folder, ignore_errors=True)


def _end(group: int, number: int, seconds: float) -> None:
    """Signal the group, and return when it is gone or the time is over."""
    deadline = time.monotonic() + seconds
    try:
        os.killpg(group, number)
        while time.monotonic() < deadline:
            os.killpg(group, 0)
            time.sleep(POLL_SECONDS)
    except ProcessLookupError:
        return


if __name__ == "__main__":
    guard(int(sys.argv[1]), float(sys.argv[2]), sys.argv[3] if len(sys.argv) > 3 else None)  # noqa: PLR2004 - the optional one

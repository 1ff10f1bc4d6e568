"""A process that may be ended: it dies with its parent, its memory is bounded, and the kernel ends it first when memory runs out."""

import contextlib
import ctypes
import os
import re
import resource
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

PR_SET_PDEATHSIG = 1
PROC = Path("/proc/self")


def started(module: str, *arguments: str, **options: Any) -> "subprocess.Popen[bytes]":
    """
    Run a module of ours in an interpreter of its own. The interpreter finds the same modules as this process, whatever the working folder.

    Args:
        module: The module. Its `main` first calls `belong_to` with the last argument.
        arguments: The arguments before the process id of this process.
        options: Options of `subprocess.Popen`.
    """
    return subprocess.Popen(  # noqa: S603 - our own file, in our own interpreter
        [sys.executable, "-P", "-m", module, *arguments, str(os.getpid())],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
        **options,
    )


def belong_to(parent: int) -> None:
    """Let the kernel end this process when the thread that started it ends. Signals of a terminal are ignored here."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
        # A sandbox may refuse this. The memory is bounded all the same.
        with contextlib.suppress(OSError):
            (PROC / "oom_score_adj").write_text("1000")
    if os.getppid() != parent:
        sys.exit(0)


def bound_memory(more_bytes: int) -> None:
    """From now on this process gets at most `more_bytes` beside its present memory."""
    if sys.platform == "linux":
        (taken,) = re.findall(r"VmData:\s+(\d+) kB", (PROC / "status").read_text())
        _, hard = resource.getrlimit(resource.RLIMIT_DATA)
        most = int(taken) * 1024 + more_bytes
        resource.setrlimit(resource.RLIMIT_DATA, (most if hard == resource.RLIM_INFINITY else min(most, hard), hard))

"""Pipes that are full, as standard error is when the reader of a log has stopped reading."""

import contextlib
import os
from collections.abc import Iterator


@contextlib.contextmanager
def full_pipe() -> Iterator[int]:
    """The writing end of a pipe that takes not one byte more, and that stays open."""
    reading, writing = os.pipe()
    try:
        fill(writing)
        yield writing
    finally:
        os.close(reading)
        os.close(writing)


def fill(writing: int) -> None:
    """
    Write to a pipe until it takes nothing more.

    >>> reading, writing = os.pipe()
    >>> fill(writing)
    >>> len(os.read(reading, 1 << 20))
    65536
    >>> os.close(reading), os.close(writing)
    (None, None)
    """
    # Opened anew: a process that shares this end must not find it non-blocking.
    own = os.open(f"/proc/self/fd/{writing}", os.O_WRONLY | os.O_NONBLOCK)
    try:
        with contextlib.suppress(BlockingIOError):
            while True:
                os.write(own, b"." * 4096)
    finally:
        os.close(own)

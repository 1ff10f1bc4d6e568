"""Standard output, whose trouble is a sentence: it is full, closed, or cannot hold a character. Owns no other stream.

Wherever the program writes, `print`, a console or bytes, its writes come through here, and no other error is taken for one of them.
"""

import codecs
import io
import os
import sys
from typing import Any


class OutputError(Exception):
    """Standard output cannot be written: the message says why and what to do."""

    exit_code = 1


def own() -> None:
    """
    Take standard output over; where it is closed, only what has something to print fails.

    The other two streams are given somewhere to go: the next file or connection would have their number, and be written to.
    """
    if sys.stdin is None:
        _nothing(os.O_RDONLY)
    before = sys.stdout
    # What is opened for reading alone refuses to be written, as what is closed does.
    raw = _Bytes(_nothing(os.O_RDONLY) if before is None else before.fileno(), "wb", closefd=False)
    if sys.stderr is None:
        sys.stderr = os.fdopen(_nothing(os.O_WRONLY), "w", encoding="utf-8")
    if before is None:
        sys.stdout = _Text(io.BufferedWriter(raw), encoding="utf-8")
    else:
        unbuffered = isinstance(before.buffer, io.RawIOBase)
        sys.stdout = _Text(
            # Without a buffer where Python was told to do without.
            raw if unbuffered else io.BufferedWriter(raw),
            encoding=before.encoding,
            errors=before.errors,
            line_buffering=bool(before.line_buffering),
            write_through=unbuffered,
        )


def _nothing(mode: int) -> int:
    """The lowest free number, which a program that we start has too."""
    number = os.open(os.devnull, mode)
    os.set_inheritable(number, True)  # noqa: FBT003 - it takes no name
    return number


def let_go() -> None:
    """Write nothing more: what is held back would be refused again, at the interpreter's end."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


class _Bytes(io.FileIO):
    def write(self, content: Any, /) -> int:
        try:
            return super().write(content)
        except BrokenPipeError:
            # Whoever reads has seen enough, and that is no trouble.
            raise
        except OSError as error:
            msg = (
                f"standard output cannot be written: {error.strerror}; not all of it is there. "
                f"Next: send it where it can be written, and run again."
            )
            raise OutputError(msg) from error


class _Text(io.TextIOWrapper):
    def write(self, text: str, /) -> int:
        try:
            return super().write(text)
        except UnicodeEncodeError as error:
            if codecs.lookup(self.encoding).name == "utf-8":
                # It can hold all that is text.
                raise
            msg = (
                f"standard output cannot hold {error.object[error.start]!a}, since its encoding is {self.encoding}. "
                f"Next: set PYTHONIOENCODING=utf-8, or use --json where there is one."
            )
            raise OutputError(msg) from error

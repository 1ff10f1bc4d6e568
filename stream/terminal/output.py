"""Standard output that turns its errors into a sentence: a full disk, a closed stream, a character that its encoding lacks.

`print`, the consoles and raw bytes all write through this module, so an error of standard output is not mistaken for another file's error.
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
    Replace `sys.stdout` by this module's stream. If standard output is closed, a command fails only when it prints.

    A closed standard input or error is opened on the null device. Otherwise the next file or connection would get its file descriptor,
    and errors would be written into that file.
    """
    if sys.stdin is None:
        _nothing(os.O_RDONLY)
    before = sys.stdout
    # A read-only file refuses writes as a closed file does.
    raw = _Bytes(_nothing(os.O_RDONLY) if before is None else before.fileno(), "wb", closefd=False)
    if sys.stderr is None:
        sys.stderr = os.fdopen(_nothing(os.O_WRONLY), "w", encoding="utf-8")
    if before is None:
        sys.stdout = _Text(io.BufferedWriter(raw), encoding="utf-8")
    else:
        unbuffered = isinstance(before.buffer, io.RawIOBase)
        sys.stdout = _Text(
            # No buffer if Python runs unbuffered.
            raw if unbuffered else io.BufferedWriter(raw),
            encoding=before.encoding,
            errors=before.errors,
            line_buffering=bool(before.line_buffering),
            write_through=unbuffered,
        )


def _nothing(mode: int) -> int:
    """Open the null device at the lowest free file descriptor. Child processes inherit the descriptor."""
    number = os.open(os.devnull, mode)
    os.set_inheritable(number, True)  # noqa: FBT003 - it takes no name
    return number


def let_go() -> None:
    """Send the buffered rest to the null device, because the interpreter's flush at exit would fail again."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


class _Bytes(io.FileIO):
    def write(self, content: Any, /) -> int:
        try:
            return super().write(content)
        except BrokenPipeError:
            # The reader (head, less) has ended. This is not an error.
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
                # UTF-8 can encode every character, so the string holds surrogates.
                raise
            msg = (
                f"standard output cannot hold {error.object[error.start]!a}, since its encoding is {self.encoding}. "
                f"Next: set PYTHONIOENCODING=utf-8, or use --json where there is one."
            )
            raise OutputError(msg) from error

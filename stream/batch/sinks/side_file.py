"""The side file on the disk: it grows beside its place, one run at a time, and a file that no batch wrote is left as it is."""

import contextlib
import fcntl
import os
import re
from pathlib import Path
from typing import BinaryIO

import msgspec

from stream.batch.sinks.sink import BatchError, ChangedError
from stream.batch.sinks.work import persist, writing

# How each line of `rejected_line` begins.
BEGINNING = re.compile(rb'\{"source":("(?:[^"\\]|\\.)*"),"line":\d+,"row":\d+,"stage":"')
BEGINNING_BYTES = 64 * 1024


def beside(path: Path) -> Path:
    """Where the side file grows: in the same folder, so that it can take its place in one step."""
    return path.with_name(f"{path.name}.new")


def source_in(path: Path) -> str | None:
    """
    The source of the first row in a side file; None where no batch wrote the file. Empty for an empty file.

    Raises:
        OSError: The file cannot be read.
    """
    if not path.is_file():
        return None
    with path.open("rb") as content:
        start = content.read(BEGINNING_BYTES)
    if not start:
        return ""
    found = BEGINNING.match(start)
    return None if found is None else msgspec.json.decode(found[1], type=str)


def check(path: Path) -> None:
    """
    Look at what a run would replace.

    Raises:
        ChangedError: It is no side file of a batch.
        BatchError: It cannot be read.
    """
    for file in (path, beside(path)):
        with writing(file):
            foreign = file.exists() and source_in(file) is None
        if foreign:
            msg = f"{file} is there already, and no batch made it. Next: name another side file by --rejected, or move it away."
            raise ChangedError(msg)


def grow(path: Path) -> BinaryIO:
    """
    An empty file beside the side file, held alone until it is closed.

    Raises:
        BatchError: Another run holds it, or it cannot be written.
    """
    place = beside(path)
    while True:
        with writing(place):
            content = os.fdopen(os.open(place, os.O_RDWR | os.O_CREAT, 0o644), "wb")
        try:
            fcntl.flock(content, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            content.close()
            msg = f"another batch is writing {path}. Next: wait until it has ended, or name another side file by --rejected."
            raise BatchError(msg) from error
        # A run that has just ended may have put the file in its place between the two calls.
        with contextlib.suppress(FileNotFoundError):
            if os.path.samestat(os.fstat(content.fileno()), place.stat()):
                content.truncate(0)
                return content
        content.close()


def put(path: Path, content: BinaryIO) -> None:
    """Give the side file what has grown beside it."""
    content.flush()
    persist(beside(path))
    beside(path).replace(path)
    persist(path.absolute().parent)


def remove(path: Path) -> None:
    """Take away the side file of an earlier run: this one has rejected no row."""
    for file in (path, beside(path)):
        if source_in(file) is not None:
            file.unlink(missing_ok=True)

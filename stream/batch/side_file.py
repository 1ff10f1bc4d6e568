"""
The side file of a batch: a line of JSON for each row that is not an event, with its place, the reason and its bytes.

The side file grows as another file in the same folder, one run at a time. A file that no batch wrote is not changed.
"""

import base64
import contextlib
import fcntl
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

import msgspec

from tagstream.stream.batch.run import BatchError, ChangedError, Rejected

# The beginning of each line of `rejected_line`.
BEGINNING = re.compile(rb'\{"source":("(?:[^"\\]|\\.)*"),"line":\d+,"row":\d+,"stage":"')
BEGINNING_BYTES = 64 * 1024


def rejected_line(source: str, found: Rejected) -> bytes:
    r"""
    Return the line of a rejected row, with its line end. The row's bytes are in `value` if they are UTF-8, else in `value_base64`.

    Args:
        source: The file or table of the row.
        found: The row.

    >>> from tagstream.model_export.data.reader import Fault, InputRow
    >>> wide = InputRow(3, b"\xff", Fault("not_csv", "too wide", "quote it."))
    >>> rejected_line("a.csv", Rejected(row=wide, number=1, publication=None, refusal=None))
    b'{"source":"a.csv","line":3,"row":1,"stage":"decode","code":"not_csv","message":"too wide. Next: quote it.","value_base64":"/w=="}\n'
    """
    place = {"source": source, "line": found.row.line, "row": found.number}
    return msgspec.json.encode(place | found.error | _bytes(found.row.value)) + b"\n"


def unfinished(path: Path) -> Path:
    """Return the path where the side file grows. It is in the same folder, so that it can replace the side file in one step."""
    return path.with_name(f"{path.name}.new")


def source_in(path: Path) -> str | None:
    """
    Return the source of the first row in a side file; None if no batch wrote the file, empty for an empty file.

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
    Check the files that a run would replace.

    Raises:
        ChangedError: A file exists, and no batch made it.
        BatchError: A file cannot be read.
    """
    for file in (path, unfinished(path)):
        with writing(file):
            foreign = file.exists() and source_in(file) is None
        if foreign:
            msg = f"{file} is there already, and no batch made it. Next: name another side file by --rejected, or move it away."
            raise ChangedError(msg)


def grow(path: Path) -> BinaryIO:
    """
    Open an empty file in which the side file grows. It is locked until it is closed.

    Raises:
        BatchError: Another run holds the lock, or the file cannot be written.
    """
    place = unfinished(path)
    while True:
        with writing(place):
            content = os.fdopen(os.open(place, os.O_RDWR | os.O_CREAT, 0o644), "wb")
        try:
            fcntl.flock(content, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            content.close()
            msg = f"another batch is writing {path}. Next: wait until it has ended, or name another side file by --rejected."
            raise BatchError(msg) from error
        # Between `open` and `flock` a run that just ended may have renamed the file to the side file. Then a new file is opened.
        with contextlib.suppress(FileNotFoundError):
            if os.path.samestat(os.fstat(content.fileno()), place.stat()):
                content.truncate(0)
                return content
        content.close()


def put(path: Path, content: BinaryIO) -> None:
    """Replace the side file by the file that has grown."""
    content.flush()
    persist(unfinished(path))
    unfinished(path).replace(path)
    persist(path.absolute().parent)


def remove(path: Path) -> None:
    """Delete the side file of an earlier run, because this run has rejected no row."""
    for file in (path, unfinished(path)):
        if source_in(file) is not None:
            file.unlink(missing_ok=True)


@contextlib.contextmanager
def writing(path: Path) -> Iterator[None]:
    """
    Turn an error of the file system into a message for people.

    Raises:
        BatchError: A file could not be written.
    """
    try:
        yield
    except OSError as error:
        msg = (
            f"{error.filename or path} cannot be written: {error.strerror}. Next: make room, or give the right to write there; the same "
            f"command then goes on where it stopped."
        )
        raise BatchError(msg) from error


def persist(path: Path) -> None:
    """Wait until a file's content, or a folder's names, are on disk (fsync)."""
    number = os.open(path, os.O_RDONLY)
    try:
        os.fsync(number)
    finally:
        os.close(number)


def _bytes(value: bytes) -> dict[str, str]:
    try:
        return {"value": value.decode()}
    except UnicodeDecodeError:
        return {"value_base64": base64.b64encode(value).decode()}

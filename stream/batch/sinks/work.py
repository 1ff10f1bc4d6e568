"""
The folder beside an output in which a batch grows: parts, and a state that says which of them are whole.

A part is written first and the state after it, in one step, so a kill at any moment leaves a state that is true. The state knows the
input by a digest of the rows so far: who goes on reads them again, and notices where they differ.
"""

import contextlib
import fcntl
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import msgspec

from stream.batch.sinks.sink import BatchError, ChangedError
from stream.batch.sinks.tally import Tally

VERSION = 1


class State(msgspec.Struct, kw_only=True):
    """
    What an output holds.

    Attributes:
        identity: What its decisions depend on beside the rows, by name.
        parts: How many parts are whole.
        digest: Of the rows in them, BLAKE2b in hex.
        tally: Counts of these rows.
        version: Of this form.
    """

    identity: dict[str, str]
    parts: int = 0
    digest: str = ""
    tally: Tally = msgspec.field(default_factory=Tally)
    version: int = VERSION


class Paths:
    """
    The places of an output and of all that stands beside it.

    Attributes:
        out: The output.
        rejected: The side file.
        summary: The state of the whole output.
        work: The folder of the unfinished batch.
    """

    def __init__(self, out: Path, rejected: Path | None = None) -> None:
        self.out = out
        self.rejected = rejected or out.with_name(f"{out.name}.rejected.jsonl")
        self.summary = out.with_name(f"{out.name}.batch.json")
        self.work = out.with_name(f"{out.name}.parts")

    @property
    def state(self) -> Path:
        """The state of the unfinished batch."""
        return self.work / "state.json"

    def part(self, number: int, suffix: str) -> Path:
        """The file of a part, from 0."""
        return self.work / "answers" / f"part-{number:06d}{suffix}"

    def rejects(self, number: int) -> Path:
        """The rejected rows of a part; there is no file where there are none."""
        return self.work / "rejected" / f"part-{number:06d}.jsonl"


@contextlib.contextmanager
def writing(path: Path) -> Iterator[None]:
    """
    Turn a refusal of the file system into a sentence.

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


def open_work(paths: Paths) -> int:
    """
    Make the folder, and hold it alone until this process ends.

    Returns:
        The file descriptor that holds it.

    Raises:
        BatchError: Another process holds it, or it cannot be made.
    """
    with writing(paths.work):
        for folder in ("answers", "rejected"):
            (paths.work / folder).mkdir(parents=True, exist_ok=True)
        held = os.open(paths.work / "lock", os.O_RDWR | os.O_CREAT, 0o644)
    try:
        fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        os.close(held)
        msg = f"another batch is writing {paths.out}. Next: wait until it has ended, or stop it; the same command then goes on."
        raise BatchError(msg) from error
    return held


def read_state(path: Path) -> State | None:
    """
    The state in a file; None where there is none.

    Raises:
        ChangedError: It cannot be read.
    """
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        return None
    except OSError as error:
        msg = f"{path} cannot be read: {error.strerror}. Next: give the right to read it."
        raise ChangedError(msg) from error
    try:
        state = msgspec.json.decode(content, type=State)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        msg = f"{path} is no state of a batch ({error}). Next: move it away, or give --fresh to begin anew."
        raise ChangedError(msg) from error
    if state.version != VERSION:
        msg = (
            f"{path} was written by another version of tagstream. Next: go on with that version, or give --fresh to begin anew."
        )
        raise ChangedError(msg)
    return state


def write_state(path: Path, state: State) -> None:
    """Replace a state in one step that outlasts a power cut."""
    beside = path.with_name(f"{path.name}.new")
    beside.write_bytes(msgspec.json.format(msgspec.json.encode(state), indent=1) + b"\n")
    persist(beside)
    beside.replace(path)
    persist(path.parent)


def persist(path: Path) -> None:
    """Wait until a file's content, or a folder's names, are on the disk."""
    number = os.open(path, os.O_RDONLY)
    try:
        os.fsync(number)
    finally:
        os.close(number)


def discard(folder: Path) -> None:
    """Remove a folder of work. Renamed first: a kill amid the removal must not leave a state without its parts."""
    old = folder.with_name(f"{folder.name}.old")
    if old.exists():
        shutil.rmtree(old)
    if folder.exists():
        folder.rename(old)
        shutil.rmtree(old)

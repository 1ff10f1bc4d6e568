"""A small file that says what a process has in hand, and outlives it. Knows files and locks, not what is written.

The file is held by `flock` for as long as its process lives, whatever becomes of it: a file whose lock can be had is a dead
process's. It has two slots, written in turn, each with a sequence number and a checksum: whatever is torn by a crash, the slot
before it is whole. There is no fsync. The death of a process does not lose what it wrote, since that is in the page cache; the
death of the machine may, and then nothing is held against any event. `pwrite` into space that was written once before, and not
`mmap`, which answers a full disk with SIGBUS.
"""

import errno
import fcntl
import os
import secrets
import struct
import time
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

# Magic, sequence, length of the payload, checksum of all that follows the magic but itself.
_HEADER = struct.Struct("<8sQII")
_MAGIC = b"tagmark1"
_SUFFIX = ".mark"
_MOST_BYTES = 64 * 1024 * 1024
# Longer than Kafka keeps events unless told otherwise: such a file says nothing of anything that will be read again.
FORGOTTEN_SECONDS = 30 * 24 * 3600.0


class CrashFile:
    """This process's own file. Not safe to be used by several threads at once."""

    def __init__(self, folder: Path, *, stem: str, payload_bytes: int) -> None:
        """
        Make the file, hold it and fill it with zeros.

        Args:
            folder: Where; it exists.
            stem: What the names of all files that belong together begin with.
            payload_bytes: The longest payload.

        Raises:
            OSError: It cannot be made, held or filled.
        """
        self._slot_bytes = _HEADER.size + payload_bytes
        self._sequence = 0
        self.path = folder / f"{stem}-{os.getpid()}-{secrets.token_hex(4)}{_SUFFIX}"
        # Under another name until it is held, or it would be a dead process's for a moment.
        new = self.path.with_suffix(".new")
        self._descriptor = os.open(new, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600)
        try:
            fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            _write(self._descriptor, bytes(2 * self._slot_bytes), 0)
            new.rename(self.path)
        except BaseException:
            os.close(self._descriptor)
            new.unlink(missing_ok=True)
            raise

    def write(self, payload: bytes) -> None:
        """
        Replace what the file says.

        Raises:
            OSError: It cannot be written, or is longer than what there is room for. The file may say what it said before.
        """
        slot = _slot(self._sequence + 1, payload)
        if len(slot) > self._slot_bytes:
            raise OSError(errno.EFBIG, f"{len(payload)} bytes where there is room for {self._slot_bytes - _HEADER.size}")
        self._sequence += 1
        _write(self._descriptor, slot, (self._sequence % 2) * self._slot_bytes)

    def close(self, *, remove: bool) -> None:
        """Let go of the file; with `remove` nothing of it stays."""
        if remove:
            self.path.unlink(missing_ok=True)
        os.close(self._descriptor)


@dataclass(frozen=True, slots=True, kw_only=True)
class Left:
    """A dead process's file, held by this one. `payload` is what it said last; None if it said nothing that is whole."""

    path: Path
    payload: bytes | None
    file: int

    def remove(self) -> None:
        """Remove it, once what it said is written elsewhere."""
        self.path.unlink(missing_ok=True)
        os.close(self.file)


def left_behind(folder: Path, *, stem: str) -> Iterator[Left]:
    """
    The files of dead processes with this stem; those with another are removed after `FORGOTTEN_SECONDS`.

    Raises:
        OSError: The folder cannot be read.
    """
    for path in sorted(folder.glob(f"*{_SUFFIX}")):
        file = _held(path)
        if file is None:
            continue
        ours = path.name.startswith(f"{stem}-")
        if not ours and time.time() - os.fstat(file).st_mtime < FORGOTTEN_SECONDS:
            os.close(file)
            continue
        left = Left(path=path, payload=newest(os.pread(file, _MOST_BYTES, 0)) if ours else None, file=file)
        if ours:
            yield left
        else:
            left.remove()


def newest(content: bytes) -> bytes | None:
    """
    The payload of the newest whole slot of a file; None if none is.

    >>> newest(_slot(1, b"old") + _slot(2, b"new"))
    b'new'
    >>> newest(_slot(1, b"old") + _slot(2, b"new")[:-1] + b"?")
    b'old'
    """
    half = len(content) // 2
    whole = [found for slot in (content[:half], content[half:]) if (found := _read(slot)) is not None]
    return max(whole)[1] if whole else None


def _held(path: Path) -> int | None:
    """A descriptor that holds the file; None if another process does, has removed it, or is another user's."""
    try:
        file = os.open(path, os.O_RDWR | os.O_NOFOLLOW)
    except (FileNotFoundError, PermissionError):
        return None
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(file)
        return None
    if os.fstat(file).st_nlink == 0:
        os.close(file)
        return None
    return file


def _write(file: int, content: bytes, at: int) -> None:
    written = os.pwrite(file, content, at)
    if written != len(content):
        raise OSError(errno.ENOSPC, f"{written} of {len(content)} bytes were written")


def _slot(sequence: int, payload: bytes) -> bytes:
    return _HEADER.pack(_MAGIC, sequence, len(payload), _checksum(sequence, payload)) + payload


def _read(slot: bytes) -> tuple[int, bytes] | None:
    if len(slot) < _HEADER.size:
        return None
    magic, sequence, length, checksum = _HEADER.unpack_from(slot)
    payload = slot[_HEADER.size : _HEADER.size + length]
    whole = magic == _MAGIC and len(payload) == length and checksum == _checksum(sequence, payload)
    return (sequence, payload) if whole else None


def _checksum(sequence: int, payload: bytes) -> int:
    # Not zero for zeros: of a slot whose magic alone was written nothing may be read.
    return zlib.crc32(payload, zlib.crc32(struct.pack("<QI", sequence, len(payload))))

"""
A small file with the state of a process, which outlives the process. This module handles files and locks; the content is opaque bytes.

A process holds a `flock` on its file until it ends, in whatever way: if another process can take the lock, the owner is dead. The file
has two slots that are written in turn, each with a sequence number and a checksum. A crash can tear one slot; the other is whole.

There is no fsync. If the process dies, its writes survive in the page cache. If the machine dies, the last writes may be lost, and then
no event is suspected. Writes go by `pwrite` into space that was allocated at the start, so a disk that fills up later cannot refuse
them. With `mmap`, a full disk would raise SIGBUS. `os.replace` would need no slots, but it would need new space for every write, and a
millisecond instead of microseconds on ext4, which flushes a file that replaces another.
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

# Magic, sequence, length of the payload, and a checksum over sequence, length and payload.
_HEADER = struct.Struct("<8sQII")
_MAGIC = b"tagmark1"
_SUFFIX = ".mark"
_MOST_BYTES = 64 * 1024 * 1024
# Longer than Kafka keeps events by default, so no event that such a file names will be read again.
FORGOTTEN_SECONDS = 30 * 24 * 3600.0


class CrashFile:
    """This process's own file. Not thread-safe."""

    def __init__(self, folder: Path, *, stem: str, payload_bytes: int) -> None:
        """
        Make the file, lock it and fill it with zeros.

        Args:
            folder: An existing folder.
            stem: The beginning of its name, the same for all files of one group.
            payload_bytes: The size of the largest payload.

        Raises:
            OSError: The file cannot be made, locked or filled.
        """
        self._slot_bytes = _HEADER.size + payload_bytes
        self._sequence = 0
        self.path = folder / f"{stem}-{os.getpid()}-{secrets.token_hex(4)}{_SUFFIX}"
        # Until the file is locked it has another name, or another process could take it for a dead process's file.
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
        Replace the payload.

        Raises:
            OSError: The payload cannot be written, or is larger than a slot. The file may still hold the previous payload.
        """
        slot = _slot(self._sequence + 1, payload)
        if len(slot) > self._slot_bytes:
            raise OSError(errno.EFBIG, f"{len(payload)} bytes where there is room for {self._slot_bytes - _HEADER.size}")
        self._sequence += 1
        _write(self._descriptor, slot, (self._sequence % 2) * self._slot_bytes)

    def close(self, *, remove: bool) -> None:
        """Release the file; with `remove`, also delete it."""
        if remove:
            self.path.unlink(missing_ok=True)
        os.close(self._descriptor)


@dataclass(frozen=True, slots=True, kw_only=True)
class Left:
    """The file of a dead process, locked by this process. `payload` is its last whole payload, or None."""

    path: Path
    payload: bytes | None
    file: int

    def remove(self) -> None:
        """Delete the file, once its payload is written elsewhere."""
        self.path.unlink(missing_ok=True)
        os.close(self.file)

    def release(self) -> None:
        """Unlock the file and leave it for the next process."""
        os.close(self.file)


def left_behind(folder: Path, *, stem: str) -> Iterator[Left]:
    """
    The files of dead processes with this stem. Files with another stem are deleted after `FORGOTTEN_SECONDS`.

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
    The payload of the newest whole slot of a file; None if no slot is whole.

    >>> newest(_slot(1, b"old") + _slot(2, b"new"))
    b'new'
    >>> newest(_slot(1, b"old") + _slot(2, b"new")[:-1] + b"?")
    b'old'
    """
    half = len(content) // 2
    whole = [found for slot in (content[:half], content[half:]) if (found := _read(slot)) is not None]
    return max(whole)[1] if whole else None


def _held(path: Path) -> int | None:
    """A descriptor with the lock. None if another process holds the lock, the file is gone, or it belongs to another user."""
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
    # The checksum of zeros is not zero, so a slot with only the magic written is not valid.
    return zlib.crc32(payload, zlib.crc32(struct.pack("<QI", sequence, len(payload))))

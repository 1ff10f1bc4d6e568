"""Reads whole regular files of bounded size. Files of a bundle or a model are read from one folder only, without links out of it.

A read of a FIFO or a device may never end. A folder may come from outside, and a link in it can lead to any file of this machine.
"""

import errno
import os
import stat
from pathlib import Path

# The rows of a user's file are held in memory. A training set of texts is far below this size.
MOST_BYTES = 1024**3


class BundleFileError(Exception):
    """A file of a bundle cannot be read: the message names the file and says why."""


def read(folder: Path, name: str, *, most_bytes: int) -> bytes:
    """
    The bytes of a file in a folder.

    A link is followed only if it leads to a file in the same folder or below, as in a volume that Kubernetes mounts
    (`model.onnx -> ..data/model.onnx`).

    Args:
        folder: The folder with links resolved, so that all files come from the same folder.
        name: The name of the file.
        most_bytes: The size beyond which a file is refused before it is read.

    Raises:
        BundleFileError: The file does not exist, cannot be read, is too large, is not a regular file, or is a link out of the folder.
    """
    try:
        # O_NOFOLLOW: a link that has replaced the file since it was resolved is an error.
        return read_whole(_resolved(folder, name), most_bytes, os.O_NOFOLLOW)
    except OSError as error:
        msg = f"{name} cannot be read: {error.strerror}"
        raise BundleFileError(msg) from error


def inside(folder: Path, name: str, *, most_bytes: int) -> Path:
    """
    The real path of a file in a folder, for a library that reads files by itself. Arguments as for `read`.

    Raises:
        BundleFileError: The file does not exist, is too large, is not a regular file, or is a link out of the folder.
    """
    real = _resolved(folder, name)
    try:
        _require_regular(real.stat(), most_bytes, real)
    except OSError as error:
        msg = f"{name} cannot be read: {error.strerror}"
        raise BundleFileError(msg) from error
    return real


def _resolved(folder: Path, name: str) -> Path:
    real = Path(os.path.realpath(folder / name))
    if not real.is_relative_to(folder):
        msg = f"{name} is a link to {real}, outside of its folder"
        raise BundleFileError(msg)
    return real


def _require_regular(found: os.stat_result, most_bytes: int, path: Path) -> None:
    if stat.S_ISDIR(found.st_mode):
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(path))
    if not stat.S_ISREG(found.st_mode):
        raise OSError(errno.EINVAL, "it is no regular file, and a pipe or a device may never end", str(path))
    _require_small(found.st_size, most_bytes, path)


def _require_small(size: int, most_bytes: int, path: Path) -> None:
    if size > most_bytes:
        raise OSError(errno.EFBIG, f"it has {size:,} bytes, the limit is {most_bytes:,}", str(path))


def read_whole(path: Path, most_bytes: int = MOST_BYTES, flags: int = 0) -> bytes:
    """
    The bytes of a file.

    Args:
        path: The file.
        most_bytes: The size beyond which a file is refused before it is read.
        flags: Further flags of `os.open`.

    Raises:
        OSError: The file cannot be read, is too large, or is not a regular file; `strerror` says why.
    """
    # With O_NONBLOCK, opening a FIFO does not wait for its writer.
    opened = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC | flags)
    with open(opened, "rb") as file:  # noqa: PTH123 - of a descriptor
        _require_regular(os.fstat(opened), most_bytes, path)
        # Reads one byte more than allowed, since the file may grow after its size was read.
        data = file.read(most_bytes + 1)
    _require_small(len(data), most_bytes, path)
    return data

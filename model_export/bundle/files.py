"""Reads the files of a bundle: regular files of bounded size from one folder; pipes, devices and links out of it are refused.

A bundle may come from outside. A FIFO has no end of waiting, a device no end of bytes, and a link can lead to any file of this machine.
"""

import os
import stat
from pathlib import Path


class BundleFileError(Exception):
    """A file of a bundle that is not read; the message names it and says why."""


def read(folder: Path, name: str, *, most_bytes: int) -> bytes:
    """
    The bytes of a file in a folder.

    A link is followed only if it leads to a file in the same folder or below, as in a volume that Kubernetes mounts
    (`model.onnx -> ..data/model.onnx`).

    Args:
        folder: The folder with links resolved, so that all files come from the same one.
        name: Of the file.
        most_bytes: A larger file is refused before it is read.

    Raises:
        BundleFileError: There is no such file, it cannot be read, it is too large, no regular file, or a link out of the folder.
    """
    real = Path(os.path.realpath(folder / name))
    if not real.is_relative_to(folder):
        msg = f"{name} is a link to {real}, outside of the bundle's folder"
        raise BundleFileError(msg)
    try:
        # O_NONBLOCK: opening a FIFO does not wait for its writer. O_NOFOLLOW: a link that was put there since is an error.
        opened = os.open(real, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError as error:
        msg = f"{name} cannot be read: {error.strerror}"
        raise BundleFileError(msg) from error
    with open(opened, "rb") as file:  # noqa: PTH123 - of a descriptor
        found = os.fstat(opened)
        if not stat.S_ISREG(found.st_mode):
            msg = f"{name} is no regular file"
            raise BundleFileError(msg)
        try:
            # One byte more than allowed, since the file may grow after its size was read.
            data = b"" if found.st_size > most_bytes else file.read(most_bytes + 1)
        except OSError as error:
            msg = f"{name} cannot be read: {error.strerror}"
            raise BundleFileError(msg) from error
    size = max(found.st_size, len(data))
    if size > most_bytes:
        msg = f"{name} has {size} bytes, the limit is {most_bytes}"
        raise BundleFileError(msg)
    return data

"""Wheel and sdist of a checkout: the same bytes whoever builds them, from the checkout or from the sdist."""

import os
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

from deploy.release.failure import ReleaseError, output


@dataclass(frozen=True, slots=True, kw_only=True)
class Distributions:
    """The files of one build."""

    wheel: Path
    sdist: Path


def build(root: Path, into: Path, *, epoch: int) -> Distributions:
    """
    Build both.

    Args:
        root: The checkout, or an unpacked sdist.
        into: The folder to write to.
        epoch: The time that all files in them get, in seconds since 1970.

    Raises:
        ReleaseError: They cannot be built.
    """
    output((sys.executable, "-m", "hatchling", "build", "--directory", into), at=root, environ=_dated(epoch))
    return Distributions(wheel=_only(into, "*.whl"), sdist=_only(into, "*.tar.gz"))


def require_same_from_sdist(built: Distributions, *, epoch: int) -> None:
    """
    Build a wheel from the sdist alone.

    Raises:
        ReleaseError: It has other bytes than the wheel of the checkout.
    """
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        words = ("wheel", "--quiet", "--no-deps", "--no-index", "--no-build-isolation", "--wheel-dir", folder, built.sdist)
        output((sys.executable, "-m", "pip", *words), at=folder, environ=_dated(epoch))
        again = _only(folder, "*.whl")
        if again.read_bytes() != built.wheel.read_bytes():
            msg = (
                f"the wheel that {built.sdist.name} makes is another one than {built.wheel.name}. "
                "Next: compare the lists of `python -m zipfile -l`; pyproject.toml says which files go where."
            )
            raise ReleaseError(msg)


def _dated(epoch: int) -> dict[str, str]:
    return {**os.environ, "SOURCE_DATE_EPOCH": str(epoch)}


def _only(folder: Path, pattern: str) -> Path:
    (found,) = folder.glob(pattern)
    return found

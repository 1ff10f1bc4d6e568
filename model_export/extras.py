"""The command that installs an extra of this project, which is on no package index."""

import shlex
import sys
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path

import msgspec


class _Origin(msgspec.Struct):
    """Pip's record of the file or folder that it installed (PEP 610)."""

    url: str = ""


def install(extra: str) -> str:
    """
    The installation of an extra, as part of a sentence: from the checkout, or from the wheel that was installed.

    >>> install("export").startswith("in the project's folder ")
    True
    >>> install("export").endswith(" -m pip install -e '.[export]'")
    True
    """
    pip = f"{shlex.quote(sys.executable)} -m pip install"
    if (Path(__file__).parents[2] / "pyproject.toml").is_file():
        return f"in the project's folder {pip} -e '.[{extra}]'"
    return f"{pip} {shlex.quote(f'tagstream[{extra}] @ {_wheel()}')}"


def install_package(requirement: str) -> str:
    """
    The installation of one package, as part of a sentence.

    >>> install_package("numpy").endswith(" -m pip install numpy")
    True
    """
    return f"{shlex.quote(sys.executable)} -m pip install {shlex.quote(requirement)}"


def _wheel() -> str:
    """The address of the wheel that this package came from, as pip kept it; a word in its place if pip kept none."""
    try:
        kept = distribution("tagstream").read_text("direct_url.json")
    except PackageNotFoundError:
        kept = None
    return (kept and msgspec.json.decode(kept, type=_Origin).url) or "file:///PATH/OF/THE.whl"

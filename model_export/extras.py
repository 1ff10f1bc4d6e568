"""The command that installs an extra of this project. The project is not on a package index."""

import shlex
import sys
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path

import msgspec

# The modules that the extra `worker` brings. `tests/unit/test_dependencies.py` compares them with pyproject.toml.
OF_WORKER = frozenset({"aiokafka", "cramjam", "faust", "kafka", "mode", "prometheus_client"})


class _Origin(msgspec.Struct):
    """Pip's record of the file or folder that it installed (PEP 610)."""

    url: str = ""


def install(extra: str) -> str:
    """
    Return the command that installs an extra, as part of a sentence: from the checkout, or from the installed wheel.

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
    Return the command that installs a package, as part of a sentence.

    >>> install_package("numpy").endswith(" -m pip install numpy")
    True
    """
    return f"{shlex.quote(sys.executable)} -m pip install {shlex.quote(requirement)}"


def _wheel() -> str:
    """Return the address of this package's wheel from pip's record; a placeholder without such a record."""
    try:
        kept = distribution("tagstream").read_text("direct_url.json")
    except PackageNotFoundError:
        kept = None
    return (kept and msgspec.json.decode(kept, type=_Origin).url) or "file:///PATH/OF/THE.whl"

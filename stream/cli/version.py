"""The version of this program. In a checkout, it includes the commit, because the number does not change between two releases."""

import os
import subprocess
from importlib import metadata
from pathlib import Path

_ROOT = Path(__file__).parents[3]
_GIT_SECONDS = 10


def version(root: Path = _ROOT) -> str:
    """Return the version. In a checkout that git can read, add the commit, and whether tracked files differ from the commit."""
    number = metadata.version("tagstream")
    commit = _commit(root)
    return number if commit is None else f"{number} (checkout at {commit})"


def _commit(root: Path) -> str | None:
    # The environment in which tagstream is installed may lie in another project's checkout.
    if not (root / ".git").exists() or not (root / "pyproject.toml").is_file():
        return None
    # Inside a git hook, these variables name the hook's repository.
    environ = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}
    words = ("git", "-C", str(root), "describe", "--always", "--exclude=*", "--abbrev=8", "--dirty=, changed")
    try:
        asked = subprocess.run(  # noqa: S603 - our own words
            words, env=environ, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=_GIT_SECONDS, check=False
        )
    except (OSError, subprocess.TimeoutExpired):
        # Git is missing or waits for a slow disk. The number is correct without the commit.
        return None
    return asked.stdout.strip() if asked.returncode == 0 else None

"""The version of this program, and of a checkout its commit too: between two releases the number alone says little."""

import os
import subprocess
from importlib import metadata
from pathlib import Path

_ROOT = Path(__file__).parents[3]
_GIT_SECONDS = 10


def version(root: Path = _ROOT) -> str:
    """The version; in a checkout that git can read, with the commit, and whether files that git knows differ from it."""
    number = metadata.version("tagstream")
    commit = _commit(root)
    return number if commit is None else f"{number} (checkout at {commit})"


def _commit(root: Path) -> str | None:
    # The checkout of another project may hold the environment that we are installed in.
    if not (root / ".git").exists() or not (root / "pyproject.toml").is_file():
        return None
    # Inside a hook of git these variables name the repository of the hook.
    environ = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}
    words = ("git", "-C", str(root), "describe", "--always", "--exclude=*", "--abbrev=8", "--dirty=, changed")
    try:
        asked = subprocess.run(  # noqa: S603 - our own words
            words, env=environ, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=_GIT_SECONDS, check=False
        )
    except (OSError, subprocess.TimeoutExpired):
        # No git here, or one that waits for a slow disk: the number is true without it.
        return None
    return asked.stdout.strip() if asked.returncode == 0 else None

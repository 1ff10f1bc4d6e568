"""The command that installs an extra of this project, which is on no package index."""

import shlex
import sys


def install(extra: str) -> str:
    """
    The installation of an extra, as part of a sentence.

    >>> install("export").startswith("in the project's folder ")
    True
    >>> install("export").endswith(" -m pip install -e '.[export]'")
    True
    """
    return f"in the project's folder {shlex.quote(sys.executable)} -m pip install -e '.[{extra}]'"

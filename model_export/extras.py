"""How an extra of this project is installed: no package index has it under its name."""

import shlex
import sys


def install(extra: str) -> str:
    """
    What to do for an extra, as part of a sentence.

    >>> install("export").startswith("in the project's folder ")
    True
    >>> install("export").endswith(" -m pip install -e '.[export]'")
    True
    """
    return f"in the project's folder {shlex.quote(sys.executable)} -m pip install -e '.[{extra}]'"

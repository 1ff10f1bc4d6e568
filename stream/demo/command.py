"""The command by which this demo was called, so that what it says to type can be typed."""

import shlex
import shutil
import sys
from pathlib import Path

NAME = "tagstream"


def command(called: str | None = None) -> str:
    """
    `tagstream` where a shell finds this one under that name, else the path that was typed; what `make demo` starts is on no PATH.

    >>> command("/usr/lib/python3/stream/cli/main.py")
    'tagstream'
    """
    path = Path(sys.argv[0] if called is None else called)
    # Started as a module it is no command, and a name without a folder is one that the shell has found.
    if path.name != NAME or path.parent == Path() or _found(path):
        return NAME
    return shlex.quote(str(path))


def _found(path: Path) -> bool:
    on_path = shutil.which(NAME)
    try:
        return on_path is not None and Path(on_path).samefile(path)
    except OSError:
        return False

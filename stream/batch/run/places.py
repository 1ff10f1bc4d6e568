"""What a batch may write: never its own input, a file of others, or one of its own files over another."""

import fnmatch
import glob
import os
import re
from itertools import takewhile
from pathlib import Path
from urllib.parse import unquote

from stream.batch.run.order import Order, UsageError, is_url, shown
from stream.batch.sinks import side_file
from stream.batch.sinks.work import Paths

SQLITE = re.compile(r"sqlite(?:\+\w+)?:///([^?#]+)")
DRIVER = re.compile(r"^(\w+)\+\w+://")
ELSEWHERE = "Next: write to another place."


def check_places(order: Order, files: list[Path], part: str | None = None) -> None:
    """
    Look at all that a run would write, before it writes.

    Args:
        order: What is to be done; the form of OUT is known to be right.
        files: Those of IN; none where it is a table.
        part: The suffix of the files in OUT, where it is a folder; else None.

    Raises:
        UsageError: OUT, the side file or the folder of work is IN or in it, or OUT or the side file is no place for a file.
        ChangedError: The side file is there, and no batch made it.
    """
    out = None if is_url(order.out) else Path(order.out)
    if out is not None:
        _check_out(order, out, is_folder=part is not None)
    side = order.side_file
    own = [] if out is None else _beside(out)
    inside = [] if out is None else _inside(out, part)
    _check_apart(order, files, [*own, *inside, side, side_file.beside(side)])
    _check_side_file(order, files, side, [*own, *map(Path, _databases(order))])


def _check_out(order: Order, out: Path, *, is_folder: bool) -> None:
    if out.exists() and not out.is_file() and not out.is_dir():
        msg = f"{order.out} is neither a file nor a folder, and a batch would put a file in its place. {ELSEWHERE}"
        raise UsageError(msg)
    if is_folder and out.is_file():
        msg = f"{order.out} is to be a folder, and there is a file of that name. {ELSEWHERE}"
        raise UsageError(msg)


def _check_apart(order: Order, files: list[Path], own: list[Path]) -> None:
    places = {name for path in own for name in _names(path)}
    for file in files:
        if any(name == place or place in name.parents for name in _names(file) for place in places):
            msg = f"{file} is in the input and is the output, or in it. {ELSEWHERE}"
            raise UsageError(msg)
    if is_url(order.source):
        return
    # What is not there yet would be an input of the next run, and of the run that goes on after a kill.
    for path in own:
        if any(_is_in(order.source, name) for name in _names(path)):
            msg = f"{path} would be in the input {order.source}, and the next run would read it. {ELSEWHERE}"
            raise UsageError(msg)


def _check_side_file(order: Order, files: list[Path], side: Path, taken: list[Path]) -> None:
    places = {name for path in taken for name in _names(path)}
    for name in [*_names(side), *_names(side_file.beside(side))]:
        if any(name == place or place in name.parents for place in places):
            msg = f"the side file {side} is the output, or another file of this batch. Next: name another one by --rejected."
            raise UsageError(msg)
    side_file.check(side)
    if order.rejected is None:
        return
    source = side_file.source_in(side)
    if source and not _is_source(order, files, source):
        msg = (
            f"{side} has the rejected rows of another input ({source}). Next: name another file by --rejected, or move it away."
        )
        raise UsageError(msg)
    folder = side.absolute().parent
    # The folder of OUT is made with OUT.
    is_made = not is_url(order.out) and folder == Path(order.out).absolute().parent and not folder.exists()
    if not is_made and not (folder.is_dir() and os.access(folder, os.W_OK)):
        msg = f"the side file {side} cannot be written: {folder} is no folder, or one that you may not write in. Next: make it, or name another."
        raise UsageError(msg)


def _beside(out: Path) -> list[Path]:
    """OUT and the files and folders of a run beside it, without the side file."""
    paths = Paths(out)
    new, old = (path.with_name(f"{path.name}.{end}") for path, end in ((paths.summary, "new"), (paths.work, "old")))
    return [out, paths.summary, new, paths.work, old]


def _inside(out: Path, part: str | None) -> list[Path]:
    """A file of each kind that a run makes in the folder of work and in OUT: a glob may match them and not the folder."""
    paths = Paths(out)
    suffix = out.suffix if part is None else part
    made = [
        paths.state,
        paths.part(0, suffix),
        paths.rejects(0),
        paths.work / "whole",
        paths.work / "whole" / f"part-000000{suffix}",
    ]
    return made if part is None else [*made, out / f"part-000000{part}"]


def _names(path: Path) -> list[Path]:
    """Where a path leads, and its own name there: a link is replaced, and what it leads to is read."""
    return [path.resolve(), path.parent.resolve() / path.name]


def _is_in(source: str, path: Path) -> bool:
    """Whether a path, which needs not exist, is below the folder IN or fits the glob IN."""
    if Path(source).is_dir():
        return Path(source).resolve() in path.parents
    if not glob.has_magic(source) or Path(source).exists():
        return False
    parts = Path(source).absolute().parts
    fixed = list(takewhile(lambda part: not glob.has_magic(part), parts))
    root = Path(*fixed).resolve()
    return path.is_relative_to(root) and _fits(path.relative_to(root).parts, parts[len(fixed) :])


def _fits(parts: tuple[str, ...], patterns: tuple[str, ...]) -> bool:
    """
    Whether a path fits a glob.

    >>> _fits(("a", "b", "c.csv"), ("**", "*.csv")), _fits(("b", "c.csv"), ("*.csv",))
    (True, False)
    """
    if not patterns:
        return not parts
    if patterns[0] == "**" and _fits(parts, patterns[1:]):
        return True
    if not parts or not fnmatch.fnmatchcase(parts[0], patterns[0]):
        return False
    return _fits(parts[1:], patterns if patterns[0] == "**" else patterns[1:])


def _is_source(order: Order, files: list[Path], source: str) -> bool:
    """Whether a side file's source is of IN; a file of a folder may be gone since."""
    if is_url(order.source):
        return _plain(source) == _plain(order.source)
    path = Path(source).resolve()
    return path in {file.resolve() for file in files} or _is_in(order.source, path)


def _plain(url: str) -> str:
    return unquote(DRIVER.sub(r"\1://", shown(url)))


def _databases(order: Order) -> list[str]:
    """The files of SQLite that are read or written."""
    found = [match[1] for argument in (order.source, order.out) if (match := SQLITE.match(argument))]
    return [f"{Path(path).expanduser()}{end}" for path in found for end in ("", "-wal", "-shm", "-journal")]

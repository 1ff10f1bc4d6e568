"""
`tagstream batch IN OUT`: reads the order, opens its source and sink, and runs the batch.

All output paths are checked before the run writes. A run must not overwrite its input, a file of another program, or another of its own
files.
"""

import contextlib
import fnmatch
import glob
import hashlib
import json
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import takewhile
from pathlib import Path
from typing import assert_never
from urllib.parse import unquote

from tagstream.model_export.data.reader import Columns
from tagstream.model_export.extras import install
from tagstream.stream.batch import side_file
from tagstream.stream.batch.file_out import FileOut, Paths
from tagstream.stream.batch.formats import SUFFIXES, Csv, Format, FormatName, JsonLines
from tagstream.stream.batch.run import Chunk, RowSource, Sink, Tally, run
from tagstream.stream.batch.sources import files_of, source_of
from tagstream.stream.contract.shape import PLAIN
from tagstream.stream.decide.from_settings import pipeline_of
from tagstream.stream.decide.pipeline import Decider, Pipeline
from tagstream.stream.settings.settings import Settings
from tagstream.stream.terminal import progress

PREDICTIONS = "predictions"
# SQLAlchemy's pattern for a user and a password.
USER = re.compile(r"[^:/]*(?::[^@]*)?@")
SQLITE = re.compile(r"sqlite(?:\+\w+)?:///([^?#]+)")
DRIVER = re.compile(r"^(\w+)\+\w+://")
ELSEWHERE = "Next: write to another place."


class OrderError(Exception):
    """The arguments do not name a usable input or output: the message says why, and the next step."""

    exit_code = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """
    The arguments of a run of `batch`.

    Attributes:
        source: A file, a folder, a glob, or `URL#TABLE`.
        out: A file, a folder, or `URL#TABLE`. The table's name is `predictions` if none is given.
        columns: The input's columns for the fields of the event.
        form: The format of the files in a folder. None: Parquet in a folder, by the suffix for a file.
        fresh: Begin anew, even if an earlier run has left an output.
        rejected: The side file; None: a file named after the output.
        escape_formulas: In CSV, escape cells that a spreadsheet would compute.
    """

    source: str
    out: str
    columns: Columns
    form: FormatName | None = None
    fresh: bool = False
    rejected: Path | None = None
    escape_formulas: bool = False

    @property
    def side_file(self) -> Path:
        """The file of rejected rows. For a table its name has a short hash of IN and OUT, since one table may have several inputs."""
        if self.rejected is not None:
            return self.rejected
        if not is_url(self.out):
            return Paths(Path(self.out)).rejected
        both = f"{shown(self.source)}\n{shown(self.out)}"
        short = hashlib.blake2b(both.encode(errors="surrogateescape"), digest_size=4).hexdigest()
        return Path(f"{table_of(self.out)[1] or PREDICTIONS}.{short}.rejected.jsonl")


def is_url(argument: str) -> bool:
    """Return True if IN or OUT is a table."""
    return "://" in argument


def table_of(argument: str) -> tuple[str, str]:
    """Return the URL and the name of a table. The name is empty if none is given."""
    url, _, name = argument.rpartition("#")
    return (url, name) if url else (name, "")


def shown(argument: str) -> str:
    """
    Return IN or OUT for people: a URL is shown without user, password and query, which may have a password.

    >>> shown("postgresql://me:secret@host/db?password=secret#papers"), shown("in/a.csv")
    ('postgresql://host/db#papers', 'in/a.csv')
    """
    if not is_url(argument):
        return argument
    url, name = table_of(argument)
    scheme, _, rest = url.partition("://")
    place = re.split(r"[?&]", USER.sub("", rest, count=1) if USER.match(rest) else rest)[0].rpartition("@")[2]
    return f"{scheme}://{place}{f'#{name}' if name else ''}"


def run_order(settings: Settings, order: Order, *, decider: Decider | None = None) -> Tally:
    """
    Decide all rows of the source that the output lacks, and complete the output.

    Args:
        settings: Limits on an event, and the decider if none is given.
        order: Input and output.
        decider: Replaces the settings' decider.

    Returns:
        The counts of the whole output.

    Raises:
        OrderError: The arguments do not name a readable input or a writable output.
        RowsError: The source cannot be read. The rows before the fault are decided, and kept for the next run.
        BatchError: The output cannot be written, or another command began it.
        BundleError: The bundle is refused.
        DatabaseUrlError: A URL does not name a usable database.
        DatabaseUnavailableError: A database does not answer within its bound.
        TableError: A table does not exist, or belongs to another program.
    """
    with contextlib.ExitStack() as stack:
        files = [] if is_url(order.source) else files_of(order.source)
        form, is_folder = ("", False) if is_url(order.out) else form_of(order)
        if order.escape_formulas and form != "csv":
            msg = f"--escape-formulas is for CSV, and {shown(order.out)} is not CSV. Next: leave the option out, or give a .csv file."
            raise OrderError(msg)
        check_places(order, files, f".{form}" if is_folder else None)
        source = stack.enter_context(_source(order, files))
        pipeline = pipeline_of(settings if source.as_in_topic else settings.with_columns, decider=decider)
        sink = stack.enter_context(_sink(order, source, pipeline))
        advance = stack.enter_context(progress.rows(f"tagging {shown(order.source)}", size=source.size))
        read = decided = 0

        def told(chunk: Chunk, count: int) -> None:
            nonlocal read, decided
            read += len(chunk.rows)
            decided += count
            advance(read, decided, chunk.done)

        return run(pipeline, source, sink, told=told)


def form_of(order: Order) -> tuple[FormatName, bool]:
    """
    Return the format of a file output, and whether the output is a folder.

    Raises:
        OrderError: The output has no name, its suffix is not supported, or its suffix contradicts `form`.

    >>> form_of(Order(source="a.csv", out="b.jsonl", columns=Columns())), form_of(Order(source="a.csv", out="b", columns=Columns()))
    (('jsonl', False), ('parquet', True))
    """
    path = Path(order.out)
    if path.name in {"", ".."}:
        msg = f"OUT is {order.out!r}, and that names no new file or folder. Next: give one, such as tagged.csv or tagged/."
        raise OrderError(msg)
    if order.out.endswith("/") or path.is_dir() or not path.suffix:
        return order.form or "parquet", True
    found = SUFFIXES.get(path.suffix.lower())
    if found is None or order.form not in {None, found}:
        msg = (
            f"{order.out} is to be written{f' as {order.form}' if found else ''}, and its suffix says otherwise. Next: give a file that "
            f"ends with one of {', '.join(SUFFIXES)}, or a folder with a / behind it."
        )
        raise OrderError(msg)
    return found, False


@contextlib.contextmanager
def _source(order: Order, files: list[Path]) -> Iterator[RowSource]:
    if not is_url(order.source):
        with _extra():
            found = source_of(files, order.columns)
        yield found
        return
    url, name = table_of(order.source)
    if not name:
        msg = f"{shown(order.source)} names no table. Next: give it behind a #, such as sqlite:///papers.db#papers."
        raise OrderError(msg)
    with _extra():
        from tagstream.stream.batch.tables import TableIn
        from tagstream.stream.tables.source import open_source
    with contextlib.closing(open_source(url, name)) as table:
        yield TableIn(table, order.columns)


@contextlib.contextmanager
def _sink(order: Order, source: RowSource, pipeline: Pipeline) -> Iterator[Sink]:
    if not is_url(order.out):
        name, folder = form_of(order)
        form = _form(name, source, order)
        paths = Paths(Path(order.out), order.rejected)
        identity = _identity(pipeline, source, order, name)
        out = FileOut(paths, form, identity, folder=folder, fresh=order.fresh)
        try:
            yield out
        finally:
            out.let_go()
        return
    with _extra():
        from tagstream.stream.batch.tables import TableOut
        from tagstream.stream.tables.predictions import open_predictions
    with open_predictions(order.out) as predictions:
        model = pipeline.decider.model.in_epoch
        table = TableOut(predictions, model=model, limits=pipeline.limits, rejected=order.side_file, fresh=order.fresh)
        try:
            yield table
        finally:
            table.let_go()


def _form(name: FormatName, source: RowSource, order: Order) -> Format:
    match name:
        case "jsonl":
            return JsonLines()
        case "csv":
            return Csv(source, order.columns, escape_formulas=order.escape_formulas)
        case "parquet":
            with _extra():
                from tagstream.stream.batch.parquet import Parquet
            return Parquet(source, order.columns)
        case _:
            assert_never(name)


def _identity(pipeline: Pipeline, source: RowSource, order: Order, form: str) -> dict[str, str]:
    """Return everything that the decisions and their format depend on, except the rows. The names are words for messages."""
    decider = pipeline.decider
    asked_below = {label: decider.asked_below(label) for label in decider.labels}
    return {
        "model": f"{decider.model.name} {decider.model.version} {decider.model.in_epoch}",
        "threshold": json.dumps(asked_below),
        "limit on events": str(pipeline.limits),
        "set of columns": ", ".join(source.columns),
        "naming of columns": json.dumps(order.columns.of_file),
        **({} if pipeline.limits.shape is PLAIN else {"place of the fields": str(pipeline.limits.shape)}),
        "form": f"{form} with escaped formulas" if order.escape_formulas else form,
    }


@contextlib.contextmanager
def _extra() -> Iterator[None]:
    try:
        yield
    except ModuleNotFoundError as error:
        msg = f"Parquet files and tables need the extra `batch` ({error}). Next: {install('batch')}"
        raise OrderError(msg) from error


def check_places(order: Order, files: list[Path], part: str | None = None) -> None:
    """
    Check all paths that a run would write, before it writes.

    Args:
        order: The order. The format of its OUT has been checked.
        files: The files of IN; empty if IN is a table.
        part: The suffix of the files in OUT if OUT is a folder; else None.

    Raises:
        OrderError: OUT, the side file or the work folder is IN or is in IN; or OUT or the side file cannot be made there.
        ChangedError: The side file exists, and no batch made it.
    """
    out = None if is_url(order.out) else Path(order.out)
    if out is not None:
        _check_out(order, out, is_folder=part is not None)
    side = order.side_file
    own = [] if out is None else _places(out)
    inside = [] if out is None else _inside(out, part)
    _check_apart(order, files, [*own, *inside, side, side_file.unfinished(side)])
    _check_side_file(order, files, side, [*own, *map(Path, _databases(order))])


def _check_out(order: Order, out: Path, *, is_folder: bool) -> None:
    if out.exists() and not out.is_file() and not out.is_dir():
        msg = f"{order.out} is neither a file nor a folder, and a batch would put a file in its place. {ELSEWHERE}"
        raise OrderError(msg)
    if is_folder and out.is_file():
        msg = f"{order.out} is to be a folder, and there is a file of that name. {ELSEWHERE}"
        raise OrderError(msg)


def _check_apart(order: Order, files: list[Path], own: list[Path]) -> None:
    places = {name for path in own for name in _names(path)}
    for file in files:
        if any(name == place or place in name.parents for name in _names(file) for place in places):
            msg = f"{file} is in the input and is the output, or in it. {ELSEWHERE}"
            raise OrderError(msg)
    if is_url(order.source):
        return
    # An output file that does not exist yet would be an input of the next run, or of the run that continues after a kill.
    for path in own:
        if any(_is_in(order.source, name) for name in _names(path)):
            msg = f"{path} would be in the input {order.source}, and the next run would read it. {ELSEWHERE}"
            raise OrderError(msg)


def _check_side_file(order: Order, files: list[Path], side: Path, taken: list[Path]) -> None:
    places = {name for path in taken for name in _names(path)}
    for name in [*_names(side), *_names(side_file.unfinished(side))]:
        if any(name == place or place in name.parents for place in places):
            msg = f"the side file {side} is the output, or another file of this batch. Next: name another one by --rejected."
            raise OrderError(msg)
    side_file.check(side)
    if order.rejected is None:
        return
    source = side_file.source_in(side)
    if source and not _is_source(order, files, source):
        msg = (
            f"{side} has the rejected rows of another input ({source}). Next: name another file by --rejected, or move it away."
        )
        raise OrderError(msg)
    folder = side.absolute().parent
    # The folder of OUT is made together with OUT.
    is_made = not is_url(order.out) and folder == Path(order.out).absolute().parent and not folder.exists()
    if not is_made and not (folder.is_dir() and os.access(folder, os.W_OK)):
        msg = f"the side file {side} cannot be written: {folder} is not a folder, or you may not write in it. Next: make that folder, or name another side file."
        raise OrderError(msg)


def _places(out: Path) -> list[Path]:
    """Return OUT and the files and folders of a run beside OUT, without the side file."""
    paths = Paths(out)
    new, old = (path.with_name(f"{path.name}.{end}") for path, end in ((paths.summary, "new"), (paths.work, "old")))
    return [out, paths.summary, new, paths.work, old]


def _inside(out: Path, part: str | None) -> list[Path]:
    """Return one file of each kind that a run makes in the work folder and in OUT. A glob may match the files but not the folder."""
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
    """Return the target of a path, and the path's own name in its resolved folder. A run replaces a link, but reads the link's target."""
    return [path.resolve(), path.parent.resolve() / path.name]


def _is_in(source: str, path: Path) -> bool:
    """Return True if a path is below the folder IN or matches the glob IN. The path need not exist."""
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
    Return True if the parts of a path match the parts of a glob.

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
    """Return True if a side file's source belongs to IN. A file of the folder IN may have been deleted since."""
    if is_url(order.source):
        return _plain(source) == _plain(order.source)
    path = Path(source).resolve()
    return path in {file.resolve() for file in files} or _is_in(order.source, path)


def _plain(url: str) -> str:
    return unquote(DRIVER.sub(r"\1://", shown(url)))


def _databases(order: Order) -> list[str]:
    """Return the SQLite files that are read or written."""
    found = [match[1] for argument in (order.source, order.out) if (match := SQLITE.match(argument))]
    return [f"{Path(path).expanduser()}{end}" for path in found for end in ("", "-wal", "-shm", "-journal")]

"""`tagstream batch IN OUT`: which source and which sink the two arguments mean, and the run between them."""

import contextlib
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from model_export.extras import install
from stream.batch.rows.columns import Columns
from stream.batch.run.engine import run
from stream.batch.sinks.file_out import FileOut
from stream.batch.sinks.formats import Csv, Format, JsonLines
from stream.batch.sinks.sink import Sink
from stream.batch.sinks.tally import Tally
from stream.batch.sinks.work import Paths
from stream.batch.sources.files_in import files_of, source_of
from stream.batch.sources.source import Chunk, Source
from stream.decide.decider import Decider
from stream.decide.from_settings import pipeline_of
from stream.decide.pipeline import Pipeline
from stream.settings.settings import Settings
from stream.terminal import progress

FormatName = Literal["csv", "jsonl", "parquet"]
SUFFIXES: dict[str, FormatName] = {
    ".csv": "csv",
    ".jsonl": "jsonl",
    ".ndjson": "jsonl",
    ".parquet": "parquet",
    ".pq": "parquet",
}
PREDICTIONS = "predictions"


class UsageError(Exception):
    """The arguments do not say what to read or where to write: the message says why and the next step."""

    exit_code = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """
    What is to be done.

    Attributes:
        source: A file, a folder, a glob, or `URL#TABLE`.
        out: A file, a folder, or `URL#TABLE`; without a table its name is `predictions`.
        columns: The names of the input for fields of the event.
        form: Of the files of a folder; None: by the suffix of a file, Parquet in a folder.
        fresh: Begin anew, whatever an earlier run has left.
        rejected: The side file; None: named after the output.
    """

    source: str
    out: str
    columns: Columns
    form: FormatName | None = None
    fresh: bool = False
    rejected: Path | None = None

    @property
    def side_file(self) -> Path:
        """The file of the rows that are no event."""
        if self.rejected is not None:
            return self.rejected
        return (
            Path(f"{_table_of(self.out)[1] or PREDICTIONS}.rejected.jsonl")
            if _is_url(self.out)
            else Paths(Path(self.out)).rejected
        )


def run_order(settings: Settings, order: Order) -> Tally:
    """
    Decide on all rows of the source that the output lacks, and make the output whole.

    Returns:
        The counts of the whole output.

    Raises:
        UsageError: The arguments name nothing that can be read, or no place to write to.
        RowsError: The source cannot be read; what stands before the fault is decided, and kept for the next run.
        BatchError: The output cannot be written, or holds what another command began.
        BundleError: The bundle is refused.
        DatabaseUrlError: A URL names no database that can be used.
        DatabaseUnavailableError: A database does not answer within its bound.
        TableError: A table is not there, or is another program's.
    """
    with contextlib.ExitStack() as stack:
        source = stack.enter_context(_source(order))
        pipeline = pipeline_of(settings)
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
    The form of an output of files, and whether it is a folder.

    Raises:
        UsageError: The suffix is none that can be written, or `form` says something else.

    >>> form_of(Order(source="a.csv", out="b.jsonl", columns=Columns())), form_of(Order(source="a.csv", out="b", columns=Columns()))
    (('jsonl', False), ('parquet', True))
    """
    path = Path(order.out)
    if order.out.endswith("/") or path.is_dir() or not path.suffix:
        return order.form or "parquet", True
    found = SUFFIXES.get(path.suffix.lower())
    if found is None or order.form not in {None, found}:
        msg = (
            f"{order.out} is to be written{f' as {order.form}' if found else ''}, and its suffix says otherwise. Next: give a file that "
            f"ends with one of {', '.join(SUFFIXES)}, or a folder with a / behind it."
        )
        raise UsageError(msg)
    return found, False


def shown(argument: str) -> str:
    """
    IN or OUT for a person: a URL without what stands before its host, where a password may be.

    >>> shown("postgresql://me:secret@host/db#papers"), shown("in/a.csv")
    ('postgresql://host/db#papers', 'in/a.csv')
    """
    scheme, separator, rest = argument.partition("://")
    return f"{scheme}://{rest.rpartition('@')[2]}" if separator else argument


@contextlib.contextmanager
def _source(order: Order) -> Iterator[Source]:
    if not _is_url(order.source):
        files = files_of(order.source)
        _refuse_own_output(order, files)
        yield source_of(files, order.columns)
        return
    url, name = _table_of(order.source)
    if not name:
        msg = f"{shown(order.source)} names no table. Next: give it behind a #, such as sqlite:///papers.db#papers."
        raise UsageError(msg)
    with _extra():
        from stream.batch.sources.table_in import TableIn
        from stream.tables.source import open_source
    with contextlib.closing(open_source(url, name)) as table:
        yield TableIn(table, order.columns)


@contextlib.contextmanager
def _sink(order: Order, source: Source, pipeline: Pipeline) -> Iterator[Sink]:
    decider = pipeline.decider
    if not _is_url(order.out):
        name, folder = form_of(order)
        form = _format(name, source, order.columns)
        paths = Paths(Path(order.out), order.rejected)
        identity = _identity(decider, pipeline, source, order, name)
        out = FileOut(paths, form, identity, folder=folder, fresh=order.fresh)
        try:
            yield out
        finally:
            out.let_go()
        return
    with _extra():
        from stream.batch.sinks.table_out import TableOut
        from stream.tables.predictions import open_predictions
    with open_predictions(order.out) as predictions:
        model = decider.model.identity
        table = TableOut(predictions, model=model, limits=pipeline.limits, rejected=order.side_file, fresh=order.fresh)
        try:
            yield table
        finally:
            table.let_go()


def _format(name: FormatName, source: Source, columns: Columns) -> Format:
    if name == "jsonl":
        return JsonLines()
    if name == "csv":
        return Csv(source, columns)
    with _extra():
        from stream.batch.sinks.parquet_out import Parquet
    return Parquet(source, columns)


def _identity(decider: Decider, pipeline: Pipeline, source: Source, order: Order, form: str) -> dict[str, str]:
    """What decisions and their form depend on beside the rows; the names are those of sentences."""
    asked_below = {label: decider.asked_below(label) for label in decider.labels}
    return {
        "model": f"{decider.model.name} {decider.model.version} {decider.model.identity}",
        "threshold": json.dumps(asked_below),
        "limit on events": str(pipeline.limits),
        "set of columns": ", ".join(source.columns),
        "naming of columns": json.dumps(order.columns.of_file),
        "form": form,
    }


def _refuse_own_output(order: Order, files: list[Path]) -> None:
    if _is_url(order.out):
        return
    out = Path(order.out).absolute()
    beside = Paths(out)
    for file in files:
        path = file.absolute()
        if path in {out, beside.rejected} or out in path.parents or beside.work in path.parents:
            msg = f"{file} is in the input and is the output, or in it. Next: write to another place."
            raise UsageError(msg)


@contextlib.contextmanager
def _extra() -> Iterator[None]:
    try:
        yield
    except ModuleNotFoundError as error:
        msg = f"Parquet files and tables need the extra `batch` ({error}). Next: {install('batch')}"
        raise UsageError(msg) from error


def _is_url(argument: str) -> bool:
    return "://" in argument


def _table_of(argument: str) -> tuple[str, str]:
    url, _, name = argument.rpartition("#")
    return (url, name) if url else (name, "")

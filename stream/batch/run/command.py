"""`tagstream batch IN OUT`: which source and which sink the two arguments mean, and the run between them."""

import contextlib
import json
from collections.abc import Iterator
from pathlib import Path

from model_export.extras import install
from stream.batch.run.engine import run
from stream.batch.run.order import FormatName, Order, UsageError, is_url, shown, table_of
from stream.batch.run.places import check_places
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

SUFFIXES: dict[str, FormatName] = {
    ".csv": "csv",
    ".jsonl": "jsonl",
    ".ndjson": "jsonl",
    ".parquet": "parquet",
    ".pq": "parquet",
}


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
        files = [] if is_url(order.source) else files_of(order.source)
        form, is_folder = ("", False) if is_url(order.out) else form_of(order)
        if order.escape_formulas and form != "csv":
            msg = f"--escape-formulas is for CSV, and {shown(order.out)} is none. Next: leave it out, or give a .csv file."
            raise UsageError(msg)
        check_places(order, files, f".{form}" if is_folder else None)
        source = stack.enter_context(_source(order, files))
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
        UsageError: It has no name, its suffix is none that can be written, or `form` says something else.

    >>> from stream.batch.rows.columns import Columns
    >>> form_of(Order(source="a.csv", out="b.jsonl", columns=Columns())), form_of(Order(source="a.csv", out="b", columns=Columns()))
    (('jsonl', False), ('parquet', True))
    """
    path = Path(order.out)
    if path.name in {"", ".."}:
        msg = f"OUT is {order.out!r}, and that names no new file or folder. Next: give one, such as tagged.csv or tagged/."
        raise UsageError(msg)
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


@contextlib.contextmanager
def _source(order: Order, files: list[Path]) -> Iterator[Source]:
    if not is_url(order.source):
        yield source_of(files, order.columns)
        return
    url, name = table_of(order.source)
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
    if not is_url(order.out):
        name, folder = form_of(order)
        form = _format(name, source, order)
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


def _format(name: FormatName, source: Source, order: Order) -> Format:
    if name == "jsonl":
        return JsonLines()
    if name == "csv":
        return Csv(source, order.columns, escape_formulas=order.escape_formulas)
    with _extra():
        from stream.batch.sinks.parquet_out import Parquet
    return Parquet(source, order.columns)


def _identity(decider: Decider, pipeline: Pipeline, source: Source, order: Order, form: str) -> dict[str, str]:
    """What decisions and their form depend on beside the rows; the names are those of sentences."""
    asked_below = {label: decider.asked_below(label) for label in decider.labels}
    return {
        "model": f"{decider.model.name} {decider.model.version} {decider.model.identity}",
        "threshold": json.dumps(asked_below),
        "limit on events": str(pipeline.limits),
        "set of columns": ", ".join(source.columns),
        "naming of columns": json.dumps(order.columns.of_file),
        "form": f"{form} with escaped formulas" if order.escape_formulas else form,
    }


@contextlib.contextmanager
def _extra() -> Iterator[None]:
    try:
        yield
    except ModuleNotFoundError as error:
        msg = f"Parquet files and tables need the extra `batch` ({error}). Next: {install('batch')}"
        raise UsageError(msg) from error

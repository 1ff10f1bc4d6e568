"""Files as the input of a batch: one file, a folder, or a glob; CSV, JSON Lines and Parquet."""

import glob
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from model_export.extras import install
from stream.batch.rows.columns import Columns
from stream.batch.rows.files import CSV_SUFFIXES, JSON_SUFFIXES, header_of, rows_of
from stream.batch.rows.row import RowsError
from stream.batch.sources.source import Chunk, in_chunks

PARQUET_SUFFIXES = frozenset({".parquet", ".pq"})
KNOWN = CSV_SUFFIXES | JSON_SUFFIXES | PARQUET_SUFFIXES
# JSON Lines have no columns; these are the fields that the contract of `content` names.
FIELDS = ("id", "title", "description", "created_on", "source")


def files_of(argument: str) -> list[Path]:
    """
    The files that an argument names, in the order of their names: itself, those below a folder, or those of a glob.

    Of a folder, files with the suffixes that can be read are taken. Names that begin with `_` or `.` are those of other programs
    (`_SUCCESS`), so they are left out.

    Raises:
        RowsError: There is none.
    """
    path = Path(argument)
    if path.is_dir():
        inside = (found for found in path.rglob("*") if found.is_file() and found.suffix.lower() in KNOWN)
        files = sorted(found for found in inside if not any(part[0] in "_." for part in found.relative_to(path).parts))
        wanted = f"a folder with files of these suffixes in it: {', '.join(sorted(KNOWN))}"
    elif glob.has_magic(argument) and not path.exists():
        files = sorted(found for name in glob.iglob(argument, recursive=True) if (found := Path(name)).is_file())  # noqa: PTH207 - a glob may begin anywhere
        wanted = "a glob that names files, in quotes, so that the shell leaves it alone"
    else:
        return [path]
    if not files:
        msg = f"{argument} names no file to read. Next: give {wanted}."
        raise RowsError(msg)
    return files


def source_of(files: list[Path], columns: Columns) -> "LineFiles | Any":
    """
    The files as one source.

    Raises:
        RowsError: A file cannot be opened, columns are missing, or Parquet and other files are mixed.
    """
    parquet = [file for file in files if file.suffix.lower() in PARQUET_SUFFIXES]
    if not parquet:
        return LineFiles(files, columns)
    if len(parquet) < len(files):
        other = next(file for file in files if file not in parquet)
        msg = f"{parquet[0]} is Parquet and {other} is not. Next: give files of one kind; a glob such as 'FOLDER/*.parquet' chooses."
        raise RowsError(msg)
    try:
        from stream.batch.sources.parquet_in import ParquetFiles
    except ModuleNotFoundError as error:
        msg = f"{parquet[0]} is Parquet, and reading it needs the extra `batch` ({error}). Next: {install('batch')}"
        raise RowsError(msg) from error
    return ParquetFiles(parquet, columns)


class LineFiles:
    """CSV and JSON Lines, one file after the other. Implements `Source`; its size is in bytes."""

    schema: Any = None

    def __init__(self, files: list[Path], columns: Columns) -> None:
        """
        Read the headers.

        Raises:
            RowsError: A file cannot be opened or its header cannot be read.
        """
        self._files, self._columns = files, columns
        self.size = float(sum(_bytes(file) for file in files))
        headers = [header_of(str(file), columns) for file in files]
        # A column that only some files have is empty in the rows of the others.
        named = dict.fromkeys(name for header in headers for name in (FIELDS if header is None else header))
        self.columns = tuple(name for name in named if name)

    def chunks(self) -> Iterator[Chunk]:
        """As of `Source`."""
        done = 0

        def seen(count: int) -> None:
            nonlocal done
            done += count

        for file in self._files:
            for rows in in_chunks(rows_of(str(file), self._columns, go_on=True, seen=seen)):
                yield Chunk(source=str(file), rows=rows, done=done)


def _bytes(file: Path) -> int:
    try:
        if file.is_file():
            return file.stat().st_size
    except OSError as error:
        msg = f"{file} cannot be read: {error.strerror}. Next: give a file that exists and may be read."
        raise RowsError(msg) from error
    msg = f"{file} is no file, and a batch that was stopped reads its input again. Next: write it into a file first."
    raise RowsError(msg)
